"""Originals become stored frames: the same bytes each time, and no more than the catalogue says."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from cityforge.cards.dataset import Dataset
from cityforge.errors import CheckFailed, DataError
from cityforge.footage.catalogue import add_footage, read_catalogue
from cityforge.footage.ingest import FRAMES_TABLE, ingest
from cityforge.footage.listing import list_files
from cityforge.footage.recordings import Recording
from cityforge.footage.redact import redactor_digest
from cityforge.footage.sealing import withdraw
from cityforge.footage.shards import FrameStore, read_shard
from cityforge.tables import FRAMES, read_table

Make = Callable[..., Path]
START = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def card(make_card: Callable[..., Dataset]) -> Dataset:
    return make_card()


@pytest.fixture
def dataset(tmp_path: Path, card: Dataset, make_film: Make, make_picture: Make) -> Path:
    """A dataset of two films and two stills."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    make_film(tmp_path / "in" / "北门" / "早.mp4", range(20, 220, 10))
    make_film(tmp_path / "in" / "harbour" / "b.mp4", range(220, 20, -10))
    make_picture(tmp_path / "in" / "harbour" / "c.jpg", 1)
    make_picture(tmp_path / "in" / "harbour" / "d.jpg", 2, orientation=6)
    add_footage(card, folder, list_files([tmp_path / "in"]), {}, Recording(started_at=START))
    return folder


def brought_in(card: Dataset, folder: Path, footage: pa.Table | None = None) -> pa.Table:
    footage = read_catalogue(folder) if footage is None else footage
    return ingest(card, folder, footage, folder / "frames", workers=1, now=START).frames


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "frames").glob("*.tar")}


def test_frames_of_films_and_stills(card: Dataset, dataset: Path) -> None:
    frames = brought_in(card, dataset)
    assert frames.schema == FRAMES
    assert frames.equals(read_table(FRAMES, dataset / "frames" / FRAMES_TABLE))
    films = {row["footage_id"]: row for row in read_catalogue(dataset).to_pylist()}
    rows = frames.to_pylist()
    assert [row["frame_id"] for row in rows] == sorted(row["frame_id"] for row in rows)
    moments: dict[str, list[float]] = {}
    for row in rows:
        film = films[row["footage_id"]]
        moments.setdefault(film["name"], []).append(row["pts_s"])
        assert row["frame_id"] == f"{film['footage_id']}-{round(row['pts_s'] * 1000)}"
        assert (row["captured_at"] - START).total_seconds() == row["pts_s"]
        assert (row["width"], row["height"]) == (film["width"], film["height"])
        assert (len(row["phash"]), row["redactions"]) == (16, [])
    halves = [0.0, 0.5, 1.0, 1.5]
    assert {name: sorted(times) for name, times in moments.items()} == {
        "北门/早.mp4": halves, "harbour/b.mp4": halves,
        "harbour/c.jpg": [0.0], "harbour/d.jpg": [0.0],
    }  # fmt: skip


def test_brightness_is_that_of_the_frame(card: Dataset, dataset: Path) -> None:
    frames = brought_in(card, dataset).to_pylist()
    name_of = {r["footage_id"]: r["name"] for r in read_catalogue(dataset).to_pylist()}
    seen = [row["brightness"] for row in frames if name_of[row["footage_id"]] == "北门/早.mp4"]
    assert sorted(seen) == pytest.approx([20, 70, 120, 170], abs=4)


def test_stored_frames_are_read_back(card: Dataset, dataset: Path) -> None:
    frames = brought_in(card, dataset)
    store = FrameStore(dataset / "frames", frames)
    still = next(r for r in read_catalogue(dataset).to_pylist() if r["name"].endswith("c.jpg"))
    assert store.read(f"{still['footage_id']}-0") == (dataset / still["path"]).read_bytes()


def test_building_anew_gives_the_same_bytes_in_whatever_order(card: Dataset, dataset: Path) -> None:
    first, before = brought_in(card, dataset), shards(dataset)
    for name in before:
        (dataset / "frames" / name).unlink()
    footage = read_catalogue(dataset)
    turned = footage.take(list(range(footage.num_rows))[::-1])
    again = brought_in(card, dataset, turned)
    assert shards(dataset) == before
    assert again.equals(first)
    assert len(before) == 3


def test_several_processes_give_the_same_frames(card: Dataset, dataset: Path) -> None:
    first, before = brought_in(card, dataset), shards(dataset)
    out = dataset / "elsewhere"
    other = ingest(card, dataset, read_catalogue(dataset), out, workers=2, now=START).frames
    assert other.equals(first)
    assert {path.name: path.read_bytes() for path in out.glob("*.tar")} == before


def test_a_second_ingest_keeps_the_shards(card: Dataset, dataset: Path) -> None:
    brought_in(card, dataset)
    paths = sorted((dataset / "frames").glob("*.tar"))
    for path in paths:
        os.utime(path, ns=(1, 1))
    brought_in(card, dataset)
    assert [path.stat().st_mtime_ns for path in paths] == [1, 1, 1]


def test_a_shard_cut_in_half_is_reported(card: Dataset, dataset: Path) -> None:
    rows = brought_in(card, dataset).to_pylist()
    path = dataset / "frames" / rows[0]["shard"]
    ends = [row["offset"] + row["bytes"] for row in rows if row["shard"] == path.name]
    os.truncate(path, max(ends) // 2)
    with pytest.raises(DataError, match=path.name):
        brought_in(card, dataset)


def asking(make_card: Callable[..., Dataset], **redaction: object) -> Dataset:
    """The card of a dataset whose faces must not be seen."""
    return make_card(
        privacy={
            "grade": "personal", "lawful_basis": "x", "redact": ["face"], "retention_days": 3650,
            "redaction": {"method": "pixelate", "padding": 0.1, "hold_s": 0.2, **redaction},
        }
    )  # fmt: skip


def test_frames_are_private_before_they_are_stored(
    make_card: Callable[..., Dataset], dataset: Path
) -> None:
    plain, without = brought_in(make_card(), dataset).to_pylist(), shards(dataset)
    frames = brought_in(asking(make_card), dataset).to_pylist()
    assert {row["frame_id"] for row in frames} == {row["frame_id"] for row in plain}
    assert {row["redacted_by"] for row in plain} == {None}
    (digest,) = {row["redacted_by"] for row in frames}
    assert digest == redactor_digest(asking(make_card).privacy, dataset)
    assert not without.keys() & shards(dataset).keys()  # what was not looked at is gone


def test_another_way_of_redacting_is_another_shard(
    make_card: Callable[..., Dataset], dataset: Path
) -> None:
    brought_in(asking(make_card), dataset)
    before = shards(dataset)
    brought_in(asking(make_card, padding=0.3), dataset)
    assert not before.keys() & shards(dataset).keys()


def test_a_detector_that_is_gone_stores_nothing(
    make_card: Callable[..., Dataset], dataset: Path
) -> None:
    detector = {
        "path": "face.onnx", "sha256": "0" * 64, "width": 320, "height": 240, "mean": 127.0,
        "divide_by": 128.0, "colour": "rgb", "score": 0.5, "tiles": 1, "layout": "scores_boxes",
    }  # fmt: skip
    with pytest.raises(CheckFailed, match=r"face\.onnx"):
        brought_in(asking(make_card, detectors={"face": detector}), dataset)
    assert not (dataset / "frames").exists()


@pytest.mark.real
def test_a_face_is_made_private_and_its_place_is_kept(
    make_card: Callable[..., Dataset], tmp_path: Path, real_data: Callable[[str], Path]
) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    photographs = [real_data("face_detector") / name for name in ("1.jpg", "10.jpg", "22.jpg")]
    card = asking(make_card)
    add_footage(card, folder, list_files(photographs), {}, Recording("北门", START))
    rows = brought_in(card, folder).to_pylist()
    assert len(rows) == 3
    assert all(row["redactions"] for row in rows)
    for row in rows:
        for each in row["redactions"]:
            assert each["kind"] == "face"
            assert 0 <= each["x1"] < each["x2"] <= row["width"]
            assert 0 <= each["y1"] < each["y2"] <= row["height"]
    stored = b"".join(shards(folder).values())
    for path in photographs:
        assert path.read_bytes()[2000:4000] not in stored


def test_footage_taken_from_the_catalogue_loses_its_shard(card: Dataset, dataset: Path) -> None:
    brought_in(card, dataset)
    footage = read_catalogue(dataset)
    kept = footage.filter(pa.array([name != "北门/早.mp4" for name in footage["name"].to_pylist()]))
    gone = next(r["footage_id"] for r in footage.to_pylist() if r["name"] == "北门/早.mp4")
    frames = brought_in(card, dataset, kept)
    assert gone not in frames.column("footage_id").to_pylist()
    assert len(shards(dataset)) == 2
    assert not any(name.startswith(gone) for name in shards(dataset))


def test_an_original_that_is_gone_is_named(card: Dataset, dataset: Path) -> None:
    row = read_catalogue(dataset).to_pylist()[0]
    (dataset / row["path"]).unlink()
    with pytest.raises(DataError, match=row["footage_id"]):
        brought_in(card, dataset)


def test_no_footage_at_all_is_said(card: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="footage add tiny"):
        brought_in(card, tmp_path)


@pytest.mark.parametrize("shards_read", [1, 3])
@pytest.mark.parametrize("name", ["北门/早.mp4", "harbour/c.jpg"])
def test_what_is_withdrawn_meanwhile_is_left_out(
    card: Dataset, dataset: Path, name: str, shards_read: int
) -> None:
    """After the first shard its original is gone; after the last one its shard is."""
    ids = {row["name"]: str(row["footage_id"]) for row in read_catalogue(dataset).to_pylist()}

    def interfere(done: int, whole: int) -> None:
        if (done, whole) == (shards_read, 3):
            withdraw(dataset, ids[name], "asked for", START, "me")

    footage, out = read_catalogue(dataset), dataset / "frames"
    done = ingest(card, dataset, footage, out, 1, interfere, now=START)
    kept = {each for other, each in ids.items() if other != name}
    assert set(done.frames.column("footage_id").to_pylist()) == kept
    assert read_table(FRAMES, out / FRAMES_TABLE).equals(done.frames)
    assert done.barred == {ids[name]: "withdrawn 2026-03-02: asked for"}
    store = FrameStore(out, done.frames)
    assert all(store.read(each) for each in done.frames.column("frame_id").to_pylist())
    inside = {each.name for path in out.glob("*.tar") for each in read_shard(path)}
    assert inside == {f"{each}.jpg" for each in done.frames.column("frame_id").to_pylist()}


def test_an_original_that_is_missing_is_still_an_error(card: Dataset, dataset: Path) -> None:
    for path in (dataset / "footage").glob("*.jpg"):
        path.unlink()
    with pytest.raises(DataError, match="an original, found no file"):
        brought_in(card, dataset)
    assert not (dataset / "frames" / FRAMES_TABLE).exists()
