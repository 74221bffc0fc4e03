"""Footage may be used until it is withdrawn or its retention ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest

from cityforge.footage.lawful import barred, expiring, footage_of, usable
from cityforge.tables import FOOTAGE, from_rows

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CHINA = timezone(timedelta(hours=8))


def rows(*changes: dict[str, object]) -> pa.Table:
    """One row of FOOTAGE for each, named f0, f1, …"""
    facts = {
        "camera": "北门", "duration_s": 1.0, "width": 64, "height": 48, "codec": "h264",
        "frames": 1, "errors": 0, "lawful_basis": "made here",
    }  # fmt: skip
    named = [
        {"footage_id": f"f{number}", "path": f"footage/f{number}.mp4", "name": f"{number}.mp4"}
        | facts
        | change
        for number, change in enumerate(changes)
    ]
    return from_rows(named, FOOTAGE)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),  # no limit
        ({"retain_until": NOW + SECOND}, None),
        ({"retain_until": NOW}, "retention ended 2026-03-02"),  # kept until then, no longer
        ({"retain_until": NOW - timedelta(days=400)}, "retention ended 2025-01-26"),
        ({"retain_until": datetime(2026, 3, 2, 17, tzinfo=CHINA)}, "retention ended 2026-03-02"),
        ({"retain_until": datetime(2026, 3, 2, 17, 1, tzinfo=CHINA)}, None),
        ({"withdrawn_at": NOW, "withdrawn_reason": "撤回"}, "withdrawn 2026-03-02: 撤回"),
        # Withdrawn for a time to come is withdrawn
        (
            {"withdrawn_at": NOW + SECOND, "withdrawn_reason": "x"},
            "withdrawn 2026-03-02: x",
        ),
        (
            {"withdrawn_at": NOW, "withdrawn_reason": "asked", "retain_until": NOW - SECOND},
            "withdrawn 2026-03-02: asked",
        ),
    ],
)
def test_footage_is_barred_with_its_reason(change: dict[str, object], reason: str | None) -> None:
    footage = rows(change, {})
    assert barred(footage, NOW) == ({"f0": reason} if reason else {})
    assert usable(footage, NOW).column("footage_id").to_pylist() == (
        ["f1"] if reason else ["f0", "f1"]
    )


def test_nothing_is_barred_in_an_empty_catalogue() -> None:
    assert barred(FOOTAGE.empty_table(), NOW) == {}
    assert usable(FOOTAGE.empty_table(), NOW).schema == FOOTAGE


def test_the_same_moment_is_said_in_any_zone() -> None:
    footage = rows({"retain_until": NOW})
    assert barred(footage, NOW.astimezone(CHINA)) == barred(footage, NOW) != {}


def test_what_ends_soon_is_listed_the_first_to_end_first() -> None:
    footage = rows(
        {"retain_until": NOW + timedelta(days=7)},
        {"retain_until": NOW - timedelta(days=1)},
        {"retain_until": NOW + timedelta(days=7, seconds=1)},
        {"retain_until": NOW - timedelta(days=2), "withdrawn_at": NOW, "withdrawn_reason": "x"},
        {},
    )
    assert expiring(footage, NOW).column("footage_id").to_pylist() == ["f1"]
    soon = expiring(footage, NOW, timedelta(days=7))
    assert soon.column("footage_id").to_pylist() == ["f1", "f0"]


@pytest.mark.parametrize(
    ("frame_id", "footage_id"),
    [("00c66ade1f52f103-0", "00c66ade1f52f103"), ("f0-1500", "f0"), ("f0--40", "f0")],
)
def test_a_frame_id_names_its_footage(frame_id: str, footage_id: str) -> None:
    assert footage_of(pa.chunked_array([[frame_id]])).to_pylist() == [footage_id]
    assert footage_of(pa.chunked_array([], pa.string())).to_pylist() == []
