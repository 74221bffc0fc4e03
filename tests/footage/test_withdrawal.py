"""A withdrawal in the stages: what was withdrawn or expired is left out, and shards made anew."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cityforge.cards.dataset import Dataset
from cityforge.dataset.history import read_history
from cityforge.dataset.snapshot import open_snapshot
from cityforge.errors import CheckFailed, DataError
from cityforge.footage.catalogue import (
    add_footage,
    catalogue_path,
    read_catalogue,
)
from cityforge.footage.ingest import ingest
from cityforge.footage.listing import list_files
from cityforge.footage.recordings import Recording
from cityforge.footage.sealing import withdraw, withdraw_all
from cityforge.footage.seals import read_with_seals
from cityforge.footage.shards import FrameStore, read_shard
from cityforge.settings import Settings
from cityforge.tables import FOOTAGE, write_table

sys.path.insert(0, str(Path(__file__).parents[1] / "registry"))

from withdrawals import FILM, NOW, OTHER, change_catalogue


def held(folder: Path) -> set[str]:
    """Footage ids in the frames and labels of the snapshot that lies there."""
    _, frames, labels = open_snapshot(folder / "snapshot")
    ids = frames.column("frame_id").to_pylist() + labels.column("frame_id").to_pylist()
    return {each.partition("-")[0] for each in ids}


def test_withdrawn_and_expired_footage_leaves_the_next_snapshot(
    streets: Any, snapshot_stage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, ids = streets.folder, streets.ids
    snapshot_stage(streets.project, Settings(), "streets")
    assert held(folder) == set(ids.values())
    assert "left out" not in capsys.readouterr().out
    first = open_snapshot(folder / "snapshot")[0].digest

    withdraw(folder, ids[FILM], "asked for", NOW, "me")
    snapshot_stage(streets.project, Settings(), "streets")
    assert held(folder) == set(ids.values()) - {ids[FILM]}

    # Withdrawn in the catalogue alone, as a kill leaves it: its frames and labels still lie there.
    change_catalogue(folder, "harbour.mp4", withdrawn_at=NOW, withdrawn_reason="x")
    change_catalogue(folder, OTHER, retain_until=datetime.now(UTC) - timedelta(seconds=1))
    capsys.readouterr()
    snapshot_stage(streets.project, Settings(), "streets")
    assert held(folder) == {ids["a.jpg"], ids["b.jpg"]}
    said = capsys.readouterr().out
    assert said.startswith("3 frames of 2 withdrawn or expired files left out\n2 frames, 4 boxes")

    history = read_history(folder)
    assert len(history) == 3
    assert history[first].footage == set(ids.values())

    for name in ("a.jpg", "b.jpg"):
        change_catalogue(folder, name, withdrawn_at=NOW, withdrawn_reason="x")
    with pytest.raises(DataError, match="none; 5 frames of 4 withdrawn or expired files left out"):
        snapshot_stage(streets.project, Settings(), "streets")
    assert held(folder) == {ids["a.jpg"], ids["b.jpg"]}, "the snapshot before stands as it was"


def test_an_older_catalogue_does_not_bring_withdrawn_footage_back(
    streets: Any, snapshot_stage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    older = read_catalogue(streets.folder)
    stored = {
        path: path.read_bytes()
        for part in ("frames", "labels")
        for path in (streets.folder / part).rglob("*")
        if path.is_file()
    }
    withdraw(streets.folder, streets.ids[FILM], "asked for", NOW, "me")
    write_table(older, FOOTAGE, catalogue_path(streets.folder))
    for path, content in stored.items():  # as `dvc checkout` of an older commit does
        path.write_bytes(content)
    snapshot_stage(streets.project, Settings(), "streets")
    assert held(streets.folder) == set(streets.ids.values()) - {streets.ids[FILM]}
    assert "3 frames of 1 withdrawn or expired files left out" in capsys.readouterr().out


def test_frames_that_did_not_pass_the_cards_redaction_make_no_snapshot(
    streets: Any, snapshot_stage: Any
) -> None:
    card = streets.folder / "dataset.yaml"
    asked = "redact: [face], redaction: {method: fill, padding: 0.1, hold_s: 1.0}"
    card.write_text(card.read_text(encoding="utf-8").replace("redact: []", asked), encoding="utf-8")
    with pytest.raises(CheckFailed, match=r"8 of 8 labelled frames that did not"):
        snapshot_stage(streets.project, Settings(), "streets")
    assert not (streets.folder / "snapshot").exists()


def test_the_next_ingest_makes_the_shards_without_what_was_withdrawn(
    tmp_path: Path,
    make_card: Callable[..., Dataset],
    make_film: Callable[..., Path],
    make_picture: Callable[..., Path],
) -> None:
    card, folder = make_card(), tmp_path / "tiny"
    folder.mkdir()
    paths = [make_film(tmp_path / f"{n}.mp4", rate=5 + n) for n in range(2)]
    paths += [make_picture(tmp_path / f"{n}.jpg", n) for n in range(3)]
    add_footage(card, folder, list_files(paths), {}, Recording("北门"))
    out = folder / "frames"
    before = ingest(card, folder, read_with_seals(folder), out, 1).frames
    ids = {row["name"]: str(row["footage_id"]) for row in read_catalogue(folder).to_pylist()}
    gone = {ids["0.mp4"]: "x", ids["1.jpg"]: "x"}
    sealed = withdraw_all(folder, gone, NOW, "me")
    assert [each.original for each in sealed] == [True, True]
    done = ingest(card, folder, read_with_seals(folder), out, 1)
    assert set(done.barred) == set(gone)
    left = [row for row in before.to_pylist() if row["footage_id"] not in gone]
    keys = ("frame_id", "width", "height", "phash")
    assert [[row[key] for key in keys] for row in done.frames.to_pylist()] == [
        [row[key] for key in keys] for row in left
    ]
    store = FrameStore(out, done.frames)
    assert all(store.read(each)[:2] == b"\xff\xd8" for each in store_ids(done.frames))
    inside = {each.name for path in out.glob("*.tar") for each in read_shard(path)}
    assert inside == {f"{each}.jpg" for each in store_ids(done.frames)}
    assert sum(each.frames for each in sealed) + len(inside) == before.num_rows
    again = add_footage(card, folder, list_files(paths), {}, Recording("北门"))
    assert sorted(each.where for each in again.refused) == ["0.mp4", "1.jpg"]


def store_ids(frames: Any) -> list[str]:
    found: list[str] = frames.column("frame_id").to_pylist()
    return found
