"""What tests of withdrawal share: whose files, and a catalogue that says otherwise."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cityforge.footage.catalogue import catalogue_path, read_catalogue
from cityforge.tables import FOOTAGE, write_table

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
FILM = "路口 早.mp4"
OTHER = "deep/c.jpg"
WHO = "王芳"


def change_catalogue(folder: Path, name: str, **changes: object) -> None:
    rows = read_catalogue(folder).to_pylist()
    for row in rows:
        if row["name"] == name:
            row.update(changes)
    table = FOOTAGE.empty_table().from_pylist(rows, schema=FOOTAGE)
    write_table(table, FOOTAGE, catalogue_path(folder))
