"""What a person knows of films: on the command line, or in a CSV for many."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

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


@dataclass(frozen=True)
class Recording:
    """What a person knows about a file that the file itself may not say."""

    camera: str = ""
    started_at: datetime | None = None
    lighting: str | None = None
    weather: str | None = None
    lawful_basis: str | None = None  # None: the card's
    retain_until: datetime | None = None  # None: by the card's retention_days


def read_recordings(path: Path) -> dict[str, Recording]:
    """Read a CSV with the columns file and camera; the others of `COLUMNS` are free.

    Raises:
        InputError: no UTF-8, a missing or unknown column, a doubled file, or a time that is
            none, with its line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
    except UnicodeDecodeError as error:
        raise InputError(
            "UTF-8 text",
            found=f"byte {error.start} that is none",
            where=str(path),
            do="save it as CSV UTF-8",
        ) from error
    for name in reader.fieldnames or ():
        if name not in COLUMNS:
            raise InputError(
                f"columns of {', '.join(COLUMNS)}", found=f"'{name}'", where=str(path),
                do=suggest(name, COLUMNS),
            )  # fmt: skip
    found: dict[str, Recording] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{path} line {line}"
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


def hold_against(recordings: dict[str, Recording], names: list[str], path: Path) -> None:
    """Every file that the CSV names is among those that are added.

    Raises:
        NameUnknown: one is not.
    """
    for name in recordings:
        if name not in names:
            raise NameUnknown("a file that is added", name, names, where=str(path))


def parse_time(text: str, where: str) -> datetime | None:
    """An ISO 8601 time, UTC when it names no zone; nothing gives None."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            "a time such as 2026-03-02T09:00:00Z", found=f"'{text}'", where=where
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
