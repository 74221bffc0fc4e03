"""The pictures that the labelling server serves: there when asked for, gone when unlawful."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cityforge.errors import DataError
from cityforge.footage.shards import FrameStore
from cityforge.labeling.studio.pictures import Pictures, picture_name, remove_pictures

Rows = list[dict[str, Any]]
Store = Callable[..., Rows]


def pictures(folder: Path, files: Path, rows: Rows) -> Pictures:
    keys = ("frame_id", "shard", "offset", "bytes")
    table = pa.table({key: [row[key] for row in rows] for key in keys})
    return Pictures(files, "tiny", FrameStore(folder, table))


def names(files: Path) -> list[str]:
    return sorted(path.name for path in files.rglob("*") if path.is_file())


def test_pictures_are_the_stored_bytes_and_are_written_once(
    tmp_path: Path, store_frames: Store
) -> None:
    rows = store_frames(tmp_path / "frames", 3)
    ours = pictures(tmp_path / "frames", tmp_path / "files", rows)
    assert ours.write(rows) == 3
    assert ours.write(rows) == 0
    path = tmp_path / "files" / "tiny" / "00" / "0000000000000001-500.jpg"
    assert path.read_bytes() == ours.store.read("0000000000000001-500")
    assert names(tmp_path / "files") == sorted(f"{row['frame_id']}.jpg" for row in rows)


def test_a_picture_of_another_size_or_older_than_its_shard_is_written_again(
    tmp_path: Path, store_frames: Store
) -> None:
    rows = store_frames(tmp_path / "frames", 2)
    ours = pictures(tmp_path / "frames", tmp_path / "files", rows)
    ours.write(rows)
    short, old = (tmp_path / "files" / picture_name("tiny", row["frame_id"]) for row in rows)
    short.write_bytes(b"cut")
    os.utime(old, (1, 1))
    assert ours.write(rows) == 2
    assert short.stat().st_size == rows[0]["bytes"]


def test_only_pictures_of_lawful_frames_stay(tmp_path: Path, store_frames: Store) -> None:
    rows = store_frames(tmp_path / "frames", 3)
    ours = pictures(tmp_path / "frames", tmp_path / "files", rows)
    ours.write(rows)
    left = tmp_path / "files" / "tiny" / "00" / ".0000000000000001-0.jpg.4711"  # of a killed push
    left.write_bytes(b"half")
    assert ours.keep_only([rows[1]["frame_id"]]) == 3
    assert names(tmp_path / "files") == ["0000000000000001-500.jpg"]


def test_pictures_go_by_frame_and_by_footage(tmp_path: Path, store_frames: Store) -> None:
    one, two = (store_frames(tmp_path / "frames", 2, footage=each) for each in (1, 2))
    files = tmp_path / "files"
    pictures(tmp_path / "frames", files, one + two).write(one + two)
    assert remove_pictures(files, "tiny", frame_ids=[one[0]["frame_id"], one[0]["frame_id"]]) == 1
    assert remove_pictures(files, "tiny", footage_ids=[two[0]["footage_id"]]) == 2
    assert names(files) == [f"{one[1]['frame_id']}.jpg"]
    assert remove_pictures(files, "other", footage_ids=[two[0]["footage_id"]]) == 0


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../b-1", "ab-1", "", "0000-1.jpg/x"])
def test_an_id_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="a frame id"):
        picture_name("tiny", name)


def test_a_folder_that_cannot_be_written_is_an_error_of_the_system(
    tmp_path: Path, store_frames: Store
) -> None:
    rows = store_frames(tmp_path / "frames", 1)
    (tmp_path / "files").write_text("no folder")
    with pytest.raises(OSError, match="files"):
        pictures(tmp_path / "frames", tmp_path / "files", rows).write(rows)
