"""A stored frame may be used while its footage may, and after the redaction asked for now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cityforge.cards.dataset import Dataset
from cityforge.errors import TableError
from cityforge.footage.catalogue import catalogue_path, read_catalogue
from cityforge.footage.sealing import withdraw
from cityforge.footage.stored import LawfulFrames, lawful_frames, part
from cityforge.tables import FOOTAGE, FRAMES, read_table, write_table

Make = Callable[..., Dataset]
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
FILM = "路口 早.mp4"
PRIVATE = {
    "grade": "personal", "lawful_basis": "x", "redact": ["face"], "retention_days": 30,
    "redaction": {"method": "fill", "padding": 0.1, "hold_s": 1},
}  # fmt: skip


def ids(found: LawfulFrames) -> list[int]:
    """Files in `frames`, frames in it, in `barred` and in `unredacted`."""
    parts = (found.frames, found.barred, found.unredacted)
    return [len(found.frames["footage_id"].unique()), *(each.num_rows for each in parts)]


@pytest.mark.parametrize(
    ("changes", "counts", "note"),
    [
        ({}, [5, 8, 0, 0], ""),
        ({"retain_until": NOW + timedelta(seconds=1)}, [5, 8, 0, 0], ""),
        (
            {"retain_until": NOW}, [4, 5, 3, 0],
            "3 frames of 1 withdrawn, expired or unknown files left out",
        ),
        (
            {"withdrawn_at": NOW, "withdrawn_reason": "x"}, [4, 5, 3, 0],
            "3 frames of 1 withdrawn, expired or unknown files left out",
        ),
        (
            {"footage_id": "not this one"}, [4, 5, 3, 0],
            "3 frames of 1 withdrawn, expired or unknown files left out",
        ),
    ],
)  # fmt: skip
def test_frames_follow_their_footage(
    streets: Any, make_card: Make, changes: dict[str, Any], counts: list[int], note: str
) -> None:
    rows = read_catalogue(streets.folder).to_pylist()
    for row in rows:
        row.update(changes if row["name"] == FILM else {})
    footage = FOOTAGE.empty_table().from_pylist(rows, schema=FOOTAGE)
    write_table(footage, FOOTAGE, catalogue_path(streets.folder))
    found = lawful_frames(make_card(), streets.folder, NOW)
    assert (ids(found), found.note) == (counts, note)


def test_frames_follow_a_seal_that_the_catalogue_does_not_know_of(
    streets: Any, make_card: Make
) -> None:
    catalogue = catalogue_path(streets.folder)
    stored = {path: path.read_bytes() for path in (catalogue, streets.folder / "frames" /
              "frames.parquet")}  # fmt: skip
    withdraw(streets.folder, streets.ids[FILM], "x", NOW, "me")
    for path, content in stored.items():  # as `dvc checkout` of an older commit does
        path.write_bytes(content)
    assert ids(lawful_frames(make_card(), streets.folder, NOW)) == [4, 5, 3, 0]


@pytest.mark.parametrize(
    ("redactors", "now", "passed"),
    [
        (["d", "d", "d"], "d", 3),
        (["d", "old", None], "d", 1),
        (["d", "old", None], "new", 0),
        ([None, None, None], None, 0),
    ],
)
def test_frames_must_have_passed_the_redactor_of_now(
    streets: Any, make_card: Make, redactors: list[str | None], now: str | None, passed: int
) -> None:
    rows = read_table(FRAMES, streets.folder / "frames" / "frames.parquet").to_pylist()
    rows = [row for row in rows if row["footage_id"] == streets.ids[FILM]]
    for row, redactor in zip(rows, redactors, strict=True):
        row["redacted_by"] = redactor
    frames = FRAMES.empty_table().from_pylist(rows, schema=FRAMES)
    footage = read_catalogue(streets.folder)
    found = part(make_card(privacy=PRIVATE), footage, frames, NOW, now)
    assert (found.frames.num_rows, found.unredacted.num_rows) == (passed, 3 - passed)
    if passed < 3:
        said = f"{3 - passed} frames that did not pass the card's redaction left out"
        assert found.note == said
    assert part(make_card(), footage, frames, NOW, None).frames.num_rows == 3


def test_without_stored_frames_it_is_an_error(streets: Any, make_card: Make) -> None:
    (streets.folder / "frames" / "frames.parquet").unlink()
    with pytest.raises(TableError, match="found no file"):
        lawful_frames(make_card(), streets.folder, NOW)
