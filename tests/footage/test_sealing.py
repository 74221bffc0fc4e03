"""What is withdrawn is sealed whole, nothing else is touched, and a kill leaves nothing open."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cityforge.errors import InputError, NameUnknown
from cityforge.footage.catalogue import read_catalogue
from cityforge.footage.lawful import barred
from cityforge.footage.sealing import find_footage, withdraw, withdraw_all
from cityforge.footage.seals import LABELS_FILE, read_seals, read_with_seals
from cityforge.footage.shards import FrameStore
from cityforge.labeling.intake import labels_path, read_labels
from cityforge.tables import (
    ANNOTATIONS,
    FOOTAGE,
    FRAMES,
    LABELS,
    from_rows,
    read_table,
    write_table,
)

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
FILM, STILL = "路口 早.mp4", "b.jpg"
Contents = Callable[[Path], dict[str, object]]


def test_a_film_is_sealed_whole(streets: Any) -> None:
    footage_id = streets.ids[FILM]
    before = streets.folder / "footage" / f"{footage_id}.mp4"
    original, stored = before.read_bytes(), FrameStore(streets.folder / "frames", frames(streets))
    pictures = {f"{footage_id}-{ms}": stored.read(f"{footage_id}-{ms}") for ms in (0, 500, 1000)}
    del stored
    sealed = withdraw(streets.folder, footage_id, "当事人要求", NOW, "王芳")
    assert (sealed.original, sealed.shards, sealed.frames, sealed.labels) == (True, 1, 3, 6)
    assert (sealed.withdrawn_at, sealed.reason, sealed.by) == (NOW, "当事人要求", "王芳")
    assert (sealed.folder / f"{footage_id}.mp4").read_bytes() == original
    rows = read_table(FRAMES, sealed.folder / "frames.parquet")
    again = FrameStore(sealed.folder, rows)
    assert {each: again.read(each) for each in rows.column("frame_id").to_pylist()} == pictures
    labels = read_table(LABELS, sealed.folder / "labels.parquet").to_pylist()
    assert {row["frame_id"] for row in labels} == set(pictures)
    assert streets.left_of(FILM) == []


def test_a_still_is_sealed_and_its_shard_is_left_to_be_made_anew(streets: Any) -> None:
    footage_id = streets.ids[STILL]
    store = FrameStore(streets.folder / "frames", frames(streets))
    picture = store.read(f"{footage_id}-0")
    del store
    sealed = withdraw(streets.folder, footage_id, "wrong place", NOW, "李雷")
    assert (sealed.original, sealed.shards, sealed.frames, sealed.labels) == (True, 0, 1, 2)
    row = read_table(FRAMES, sealed.folder / "frames.parquet")
    assert FrameStore(sealed.folder, row).read(f"{footage_id}-0") == picture
    assert not list((streets.folder / "frames").glob("stills-*"))
    assert streets.left_of(STILL) == []
    others = [name for name in streets.ids if name != STILL]
    kept = set(frames(streets).column("footage_id").to_pylist())
    assert kept == {streets.ids[name] for name in others}


def test_nothing_of_other_files_is_touched(streets: Any, contents: Contents) -> None:
    before = contents(streets.folder)
    withdraw(streets.folder, streets.ids[FILM], "x", NOW, "me")
    after = contents(streets.folder)
    other = streets.ids["harbour.mp4"]
    checked = 0
    for name, was in before.items():
        if isinstance(was, list):
            key = "footage_id" if "footage.parquet" in name else "frame_id"
            if streets.ids[FILM] in name:
                continue
            wanted = [row for row in was if not row[key].startswith(streets.ids[FILM])]
            now = [row for row in after[name] if not row[key].startswith(streets.ids[FILM])]  # type: ignore[attr-defined]
            assert now == wanted, name
            checked += 1
        elif streets.ids[FILM] not in name:
            assert after[name] == was, name
            checked += 1
    assert f"frames/{other}-every0.5s.tar" in before
    assert checked == 13


def test_the_catalogue_keeps_the_row_with_time_and_reason(streets: Any) -> None:
    withdraw(streets.folder, streets.ids[FILM], "当事人要求", NOW, "王芳")
    footage = read_catalogue(streets.folder)
    assert footage.num_rows == 5
    assert barred(footage, NOW) == {streets.ids[FILM]: "withdrawn 2026-03-02: 当事人要求"}


def test_only_the_owner_reads_what_is_sealed(streets: Any) -> None:
    sealed = withdraw(streets.folder, streets.ids[STILL], "x", NOW, "me")
    withdraw(streets.folder, streets.ids[FILM], "x", NOW, "me")
    modes = {
        path: stat.S_IMODE(path.stat().st_mode)
        for path in [sealed.folder.parent, *sealed.folder.parent.rglob("*")]
    }
    assert len(modes) >= 12
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_labels_that_older_tables_kept_are_sealed_too(streets: Any) -> None:
    history = streets.folder / "labels" / "history" / "0123.parquet"
    before = read_table(LABELS, history)
    for name in streets.ids:
        withdraw(streets.folder, streets.ids[name], "x", NOW, "me")
    assert read_table(LABELS, history).num_rows == 0
    assert read_labels(streets.folder).num_rows == 0
    kept = [
        row
        for path in streets.folder.glob("sealed/*/history/0123.parquet")
        for row in read_table(LABELS, path).to_pylist()
    ]
    assert sorted(kept, key=lambda row: str(row["label_id"])) == before.to_pylist()


def test_annotations_are_sealed_with_what_the_pull_wrote_beside_them(streets: Any) -> None:
    frame_id = read_labels(streets.folder)["frame_id"][0].as_py()
    footage_id = frame_id.partition("-")[0]
    common = {
        "task_id": 1, "ground_truth": False, "skipped": False, "origin": "human",
        "result": "[]", "source": "label-studio:1",
    }  # fmt: skip
    rows = [
        common | {"annotation_id": "1", "frame_id": frame_id, "data": "{}"},
        common | {"annotation_id": "2", "data": f'{{"footage_id": "{footage_id}"}}'},  # a clip
        common | {"annotation_id": "3", "frame_id": f"{'0' * 16}-0", "data": "{}"},
    ]
    schema = ANNOTATIONS.with_metadata({**ANNOTATIONS.metadata, b"pull": b"state"})
    paths = [
        streets.folder / "labels" / name
        for name in ("annotations.parquet", "history/annotations-0123.parquet")
    ]
    for path in paths:
        write_table(from_rows(rows, ANNOTATIONS), schema, path)
    withdraw(streets.folder, footage_id, "asked", NOW, "li")
    for path in paths:
        left = pq.read_table(path)
        assert left["annotation_id"].to_pylist() == ["3"]
        assert left.schema.metadata[b"pull"] == b"state"
        name = path.relative_to(streets.folder / "labels")
        (sealed,) = streets.folder.glob(f"sealed/*/{name}")
        assert pq.read_table(sealed)["annotation_id"].to_pylist() == ["1", "2"]


def test_labels_lie_where_the_import_puts_them(tmp_path: Path) -> None:
    assert labels_path(tmp_path) == tmp_path / "labels" / LABELS_FILE


def test_a_second_withdrawal_changes_nothing_and_says_the_same(
    streets: Any, contents: Contents
) -> None:
    first = withdraw(streets.folder, streets.ids[FILM], "first", NOW, "me")
    before = contents(streets.folder)
    later = NOW + timedelta(days=3)
    assert withdraw(streets.folder, streets.ids[FILM], "second", later, "other") == first
    assert contents(streets.folder) == before


def test_several_at_once_are_as_one_after_the_other(
    streets: Any, contents: Contents, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(streets.folder, other)
    reasons = {streets.ids[name]: f"reason {name}" for name in (FILM, STILL, "harbour.mp4")}
    together = withdraw_all(streets.folder, reasons, NOW, "me")
    for footage_id, reason in reasons.items():
        withdraw(other, footage_id, reason, NOW, "me")
    assert contents(streets.folder) == contents(other)
    assert [each.frames for each in together if each.shards == 0] == [1]


def test_stills_of_one_shard_are_sealed_each_with_its_own_picture(streets: Any) -> None:
    sealed = withdraw_all(
        streets.folder, {streets.ids[name]: "x" for name in ("a.jpg", "b.jpg")}, NOW, "me"
    )
    names = sorted(path.name for each in sealed for path in each.folder.glob("*-0.jpg"))
    assert names == sorted(f"{each.footage_id}-0.jpg" for each in sealed)


def test_a_still_whose_shard_is_gone_already_is_sealed_as_its_original(streets: Any) -> None:
    for name in ("a.jpg", "b.jpg"):  # no ingest between them, which would make the shard anew
        sealed = withdraw(streets.folder, streets.ids[name], "x", NOW, "me")
        assert (sealed.original, sealed.labels) == (True, 2)
        assert streets.left_of(name) == []


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"none": "x"}, NameUnknown, "'none'"),
        ({FILM: "  "}, InputError, "a reason that stays on record"),
    ],
)
def test_what_cannot_be_withdrawn_changes_nothing(
    streets: Any, contents: Contents, change: dict[str, str], error: type, said: str
) -> None:
    before = contents(streets.folder)
    reasons = {streets.ids.get(key, key): reason for key, reason in change.items()}
    with pytest.raises(error, match=said):
        withdraw_all(streets.folder, {streets.ids[STILL]: "x", **reasons}, NOW, "me")
    assert contents(streets.folder) == before


def test_footage_without_frames_or_labels_or_its_original_is_withdrawn(streets: Any) -> None:
    for part in ("frames", "labels"):
        shutil.rmtree(streets.folder / part)
    (streets.folder / "footage" / f"{streets.ids[FILM]}.mp4").unlink()
    sealed = withdraw(streets.folder, streets.ids[FILM], "x", NOW, "me")
    assert (sealed.original, sealed.shards, sealed.frames, sealed.labels) == (False, 0, 0, 0)
    assert set(barred(read_catalogue(streets.folder), NOW)) == {streets.ids[FILM]}


def test_a_half_written_copy_is_removed_and_a_shared_file_is_let_go(
    streets: Any, tmp_path: Path
) -> None:
    footage_id = streets.ids[FILM]
    half = streets.folder / "frames" / f".{footage_id}-every0.5s.tar.77"
    half.write_bytes(b"half")
    shared = tmp_path / "cache"
    original = streets.folder / "footage" / f"{footage_id}.mp4"
    os.link(original, shared)
    shared.chmod(0o444)
    withdraw(streets.folder, footage_id, "x", NOW, "me")
    assert not half.exists()
    assert not original.exists()
    # The cache's own file keeps its mode and is not the sealed one.
    assert (stat.S_IMODE(shared.stat().st_mode), shared.stat().st_nlink) == (0o444, 1)


def test_what_a_killed_ingest_left_half_written_is_removed(streets: Any) -> None:
    """A shard of stills does not say by its name what is in it."""
    stored = streets.folder / "frames"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        half = stored / f".stills-0123456789abcdef.tar.{ended.pid}"
        later = stored / f".stills-00.tar.{running.pid}"  # the number of a process that is gone
        alive = stored / f".stills-fedcba9876543210.tar.{running.pid}"
        for path in (half, later, alive):
            path.write_bytes(b"half")
        os.utime(later, (NOW.timestamp(), 0))
        withdraw(streets.folder, streets.ids[STILL], "x", NOW, "me")
        assert [path.exists() for path in (half, later, alive)] == [False, False, True]
        running.communicate(b"\n")


def test_an_older_catalogue_does_not_undo_a_withdrawal(streets: Any) -> None:
    older = read_catalogue(streets.folder)
    withdraw(streets.folder, streets.ids[FILM], "asked for", NOW, "me")
    write_table(older, FOOTAGE, streets.folder / "footage" / "footage.parquet")
    assert barred(read_catalogue(streets.folder), NOW) == {}
    told = barred(read_with_seals(streets.folder), NOW)
    assert told == {streets.ids[FILM]: "withdrawn 2026-03-02: asked for"}
    # What came back with it is sealed again, as it was withdrawn first.
    (streets.folder / "footage" / f"{streets.ids[FILM]}.mp4").write_bytes(b"again")
    sealed = withdraw(streets.folder, streets.ids[FILM], "again", NOW + timedelta(1), "other")
    assert (sealed.withdrawn_at, sealed.reason, sealed.by) == (NOW, "asked for", "me")
    assert streets.left_of(FILM) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [("harbour.mp4", "harbour.mp4"), ("deep/c.jpg", "deep/c.jpg"), ("另名.mp4", FILM)],
)
def test_footage_is_found_by_any_of_its_names_or_its_id(streets: Any, text: str, name: str) -> None:
    rows = read_catalogue(streets.folder).to_pylist()
    for row in rows:
        row["other_names"] = ["另名.mp4"] if row["name"] == FILM else None
    footage = FOOTAGE.empty_table().from_pylist(rows, schema=FOOTAGE)
    assert find_footage(footage, text, "streets")["name"] == name
    assert find_footage(footage, streets.ids[name], "streets")["name"] == name
    with pytest.raises(NameUnknown, match=r"did you mean 'harbour.mp4'"):
        find_footage(footage, "harbor.mp4", "streets")


def test_a_name_of_two_files_asks_for_the_id(streets: Any) -> None:
    rows = read_catalogue(streets.folder).to_pylist()
    rows[0]["name"] = rows[1]["name"]
    footage = FOOTAGE.empty_table().from_pylist(rows, schema=FOOTAGE)
    with pytest.raises(InputError, match=f"name its id: {rows[0]['footage_id']}, "):
        find_footage(footage, rows[1]["name"], "streets")


KILLED = """
import os, shutil, signal, sys
import pandas  # pyarrow would import it anew in every child
from datetime import datetime
from pathlib import Path
from cityforge.footage.sealing import withdraw_all

source, out, moment, *ids = sys.argv[1:]
WATCHED = {"os.rename", "os.remove", "os.mkdir", "os.chmod"}

def withdraw_until(event_number, folder):
    seen = 0
    def hook(event, _):
        nonlocal seen
        if event in WATCHED:
            seen += 1
            if seen > event_number:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    withdraw_all(folder, {each: "asked for" for each in ids}, datetime.fromisoformat(moment), "me")
    os._exit(0)

number, killed = 0, True
while killed:
    folder = Path(out) / str(number)
    shutil.copytree(source, folder)
    child = os.fork()
    if child == 0:
        withdraw_until(number, folder)
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    number += 1
"""


def test_a_kill_before_any_step_is_made_good_by_the_next_call(
    streets: Any, contents: Contents, tmp_path: Path
) -> None:
    """SIGKILL before the first, second, … rename, removal, folder and mode of a withdrawal."""
    ids = [streets.ids[FILM], streets.ids[STILL]]
    out = tmp_path / "killed"
    words = [sys.executable, "-c", KILLED, str(streets.folder), str(out), NOW.isoformat(), *ids]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folders = sorted(out.iterdir(), key=lambda path: int(path.name))
    undisturbed = contents(folders.pop())
    untouched = contents(streets.folder)
    for folder in folders:
        if whole(contents(folder)) != whole(untouched):
            assert set(barred(read_catalogue(folder), NOW)) == set(ids), folder.name
        withdraw_all(folder, dict.fromkeys(ids, "asked for"), NOW, "me")
        assert whole(contents(folder)) == undisturbed, folder.name
    assert len(folders) >= 30


def whole(found: dict[str, object]) -> dict[str, object]:
    """Less what a killed write left half written beside a table; nothing is in a seal."""
    return {
        name: each
        for name, each in found.items()
        if name.startswith("sealed/") or not Path(name).name.startswith(".")
    }


def test_a_seal_says_who_when_and_why(streets: Any) -> None:
    sealed = withdraw(streets.folder, streets.ids[FILM], "当事人要求", NOW, "王芳")
    told = json.loads((sealed.folder / "reason.json").read_text(encoding="utf-8"))
    assert told == {
        "footage_id": streets.ids[FILM], "name": FILM, "withdrawn_at": NOW.isoformat(),
        "reason": "当事人要求", "by": "王芳",
    }  # fmt: skip
    assert read_seals(streets.folder)[streets.ids[FILM]]["withdrawn_at"] == NOW


def frames(streets: Any) -> Any:
    return read_table(FRAMES, streets.folder / "frames" / "frames.parquet")
