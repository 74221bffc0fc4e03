"""What a person knows of films: on the command line, or in a CSV for many."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cityforge.errors import InputError, NameUnknown, suggest

COLUMNS = (
    "file",
    "camera",
    "started_at",
    "lighting",
    "weather",
    "lawful_basis",
    "retain_until",
)
# Footage is of a time between these: no other is meant, and tables could not hold every one.
EARLIEST, TOO_LATE = datetime(1970, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Recording:
    """What a person knows about a file that the file itself may not say."""

    camera: str = ""
    started_at: datetime | None = None
    lighting: str | None = None
    weather: str | None = None
    lawful_basis: str | None = None  # None: the card's
    retain_until: datetime | None = None  # None: by the card's retention_days


def completed(about: Recording, common: Recording) -> Recording:
    """What is said of one file, and where that says nothing, what is said of all."""
    names = [each.name for each in fields(Recording)]
    return Recording(**{name: getattr(about, name) or getattr(common, name) for name in names})


def read_recordings(path: Path) -> dict[str, Recording]:
    """Read a CSV with the columns file and camera; the others of `COLUMNS` are free.

    Raises:
        InputError: no UTF-8, no CSV, a missing or unknown column, a cell too many, a doubled
            file, or a time that is none, with its line.
    """
    found: dict[str, Recording] = {}
    for line, row in _rows(path):
        where = f"{path} line {line}"
        if None in row:
            raise InputError("a cell for each column", found=f"also {row[None]}", where=where)
        if not row.get("file") or not row.get("camera"):
            raise InputError("the columns file and camera", where=where)
        if row["file"] in found:
            raise InputError("each file once", found=f"'{row['file']}' again", where=where)
        found[row["file"]] = Recording(
            row["camera"],
            parse_time(row.get("started_at") or "", where),
            row.get("lighting") or None,
            row.get("weather") or None,
            row.get("lawful_basis") or None,
            parse_time(row.get("retain_until") or "", where),
        )
    return found


def _rows(path: Path) -> list[tuple[int, dict[Any, Any]]]:
    """Each row with the line that it ends on; cells beyond the columns stand under None."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        try:
            rows = [(reader.line_num, row) for row in reader]
        except UnicodeDecodeError as error:
            raise InputError(
                "UTF-8 text",
                found=f"byte {error.start} that is none",
                where=str(path),
                do="save it as CSV UTF-8",
            ) from error
        except csv.Error as error:
            where = f"{path} line {reader.reader.line_num}"
            raise InputError("a CSV", found=str(error), where=where) from error
    for name in reader.fieldnames or ():
        if name not in COLUMNS:
            raise InputError(
                f"columns of {', '.join(COLUMNS)}", found=f"'{name}'", where=str(path),
                do=suggest(name, COLUMNS),
            )  # fmt: skip
    return rows


def hold_against(recordings: dict[str, Recording], names: list[str], path: Path) -> None:
    """Every file that the CSV names is among those that are added.

    Raises:
        NameUnknown: one is not.
    """
    added = set(names)
    for name in recordings:
        if name not in added:
            raise NameUnknown("a file that is added", name, names, where=str(path))


def is_plausible(moment: datetime) -> bool:
    """Whether footage can be of this moment, or be kept until then.

    >>> is_plausible(datetime(2026, 3, 2, tzinfo=UTC)), is_plausible(datetime(1, 1, 1, tzinfo=UTC))
    (True, False)
    """
    return EARLIEST <= moment < TOO_LATE


def parse_time(text: str, where: str) -> datetime | None:
    """An ISO 8601 time, UTC when it names no zone; nothing gives None.

    Raises:
        InputError: no time, or none of the years 1970 to 2100.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            "a time such as 2026-03-02T09:00:00Z", found=f"'{text}'", where=where
        ) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not is_plausible(moment):
        raise InputError("a time of the years 1970 to 2100", found=f"'{text}'", where=where)
    return moment
