"""Segments are known by their names, and one process at a time records a camera."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cityforge.errors import ServiceError
from cityforge.footage.spool import leftovers, safe_name, segment_name, sole_recorder


def test_names_of_cameras_never_meet_in_a_file_name() -> None:
    names = ["北门", "a/b", "a%2Fb", "a:b", ".a", "门" * 200, "门" * 199, "a b", "..", "~x"]
    safe = [safe_name(each) for each in names]
    assert len(set(safe)) == len(names)
    assert all(len(each.encode()) < 200 and "/" not in each and each[0] != "." for each in safe)
    assert safe[0] == "北门"


def test_leftovers_are_known_by_their_names(tmp_path: Path) -> None:
    moment = datetime(2026, 11, 22, 14, 0, 0, 123_000, tzinfo=UTC)
    for name in [
        segment_name("北门", moment) + ".part",
        segment_name("a/b", moment.replace(hour=9)),
        segment_name("elsewhere", moment),
        segment_name("北门", moment) + ".refused",
        "notes.txt",
    ]:
        (tmp_path / name).touch()
    found = leftovers(tmp_path, ["北门", "a/b"])
    assert [(each.camera, each.started_at) for each in found] == [
        ("a/b", moment.replace(hour=9)),
        ("北门", moment),
    ]


def test_one_recorder_a_camera(tmp_path: Path) -> None:
    with (
        sole_recorder(tmp_path, "北门"),
        sole_recorder(tmp_path, "harbour"),
        pytest.raises(ServiceError, match="one recorder of a camera"),
        sole_recorder(tmp_path, "北门"),
    ):
        pass
    with sole_recorder(tmp_path, "北门"):
        pass
