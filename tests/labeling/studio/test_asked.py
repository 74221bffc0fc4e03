"""Which frames are asked, in which order, and that nothing tells a frame of known answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from cityforge.labeling.studio.asked import in_time, queued, with_footage
from cityforge.tables import QUEUE, from_rows

START = datetime(2024, 5, 1, tzinfo=UTC)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows)


FOOTAGE = table([
    {"footage_id": "b", "name": "late.mp4", "camera": "harbour", "site": None},
    {"footage_id": "a", "name": "early.mp4", "camera": "北门", "site": "Elsewhere"},
])  # fmt: skip


def frames(*moments: tuple[str, float, int | None]) -> pa.Table:
    """(footage, seconds, minute of the day or none)."""
    rows = [
        {
            "frame_id": f"{film}-{pts:g}", "footage_id": film, "pts_s": pts,
            "captured_at": None if minute is None else START.replace(minute=minute),
            "shard": "s.tar", "offset": 0, "bytes": 1, "width": 64, "height": 48,
        }
        for film, pts, minute in moments
    ]  # fmt: skip
    return pa.Table.from_pylist(rows).set_column(
        3, "captured_at", pa.array([row["captured_at"] for row in rows], pa.timestamp("us", "UTC"))
    )


def test_frames_go_camera_by_camera_as_time_went_by() -> None:
    stored = frames(("b", 2, 5), ("b", 1, None), ("a", 0, 9), ("b", 7, 1), ("a", 3, 2))
    assert in_time(stored, FOOTAGE) == ["b-7", "b-2", "b-1", "a-3", "a-0"]


def test_a_site_that_footage_does_not_state_is_the_camera_s(
    make_card: Callable[..., Any],
) -> None:
    rows = with_footage(make_card(), frames(("b", 0, 0), ("a", 1, None)), FOOTAGE)
    assert [(row["name"], row["camera"], row["site"]) for row in rows] == [
        ("late.mp4", "harbour", "Old harbour"), ("early.mp4", "北门", "Elsewhere")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("labelled", "every", "asked"),
    [
        (set(), False, ["f0", "f1", "f2", "f3"]),
        ({"f0", "f1", "f2", "f3"}, False, ["f1", "f2"]),
        ({"f0", "f3"}, True, ["f0", "f1", "f2", "f3"]),
    ],
)
def test_labelled_frames_are_asked_only_where_the_queue_wants_them_again(
    labelled: set[str], every: bool, asked: list[str]
) -> None:
    purposes = ["teach", "review", "gold", "teach"]
    rows: list[dict[str, object]] = [
        {"frame_id": f"f{rank}", "rank": rank, "purpose": purpose, "reason": f"why {rank}"}
        for rank, purpose in enumerate(purposes)
    ]
    order = queued(from_rows(rows[::-1], QUEUE), labelled, every)
    assert list(order) == asked
    assert order["f2"] == "why 1"  # gold says what its neighbour says
