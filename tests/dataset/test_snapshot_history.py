"""Earlier snapshots still say which footage they held."""

from __future__ import annotations

from pathlib import Path

import pytest

from cityforge.dataset.history import (
    Held,
    history_folder,
    read_history,
    record_snapshot,
    record_split,
)
from cityforge.errors import DataError


def test_a_split_holds_what_its_snapshot_held(tmp_path: Path) -> None:
    record_snapshot(tmp_path, "s1", ["b", "a", "b"])
    record_snapshot(tmp_path, "s2", ["c"])
    record_split(tmp_path, "p1", "bins", "s1")
    record_split(tmp_path, "p2", "bins", "gone")  # of a snapshot that is not on record
    assert read_history(tmp_path) == {
        "s1": Held("s1", "", frozenset("ab"), "s1"),
        "s2": Held("s2", "", frozenset("c"), "s2"),
        "p1": Held("p1", "bins", frozenset("ab"), "s1"),
    }


def test_a_record_is_never_written_again(tmp_path: Path) -> None:
    record_snapshot(tmp_path, "s1", ["a"])
    path = history_folder(tmp_path) / "s1.json"
    before = path.stat().st_mtime_ns
    record_snapshot(tmp_path, "s1", ["a"])
    assert path.stat().st_mtime_ns == before
    assert [each.name for each in history_folder(tmp_path).iterdir()] == ["s1.json"]


def test_a_dataset_without_a_snapshot_has_no_history(tmp_path: Path) -> None:
    assert read_history(tmp_path) == {}


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    record_snapshot(tmp_path, "s1", ["a"])
    (history_folder(tmp_path) / "s1.json").write_text("{")
    with pytest.raises(DataError, match=r"s1\.json"):
        read_history(tmp_path)
