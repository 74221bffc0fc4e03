"""Rows of an export on their way into a table: on disk, found again by the annotation's number."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from cityforge.errors import ServiceError
from cityforge.labeling.studio.annotation_rows import Row
from cityforge.tables import ANNOTATIONS


class Spill:
    """A private SQLite file that ends with this process, however it ends."""

    def __init__(self) -> None:
        self._rows = sqlite3.connect("", isolation_level=None)  # "": a file without a name
        self._rows.execute("PRAGMA journal_mode = OFF")
        self.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rows.close()

    def clear(self) -> None:
        """Forget all rows."""
        with _room():
            self._rows.execute("DROP TABLE IF EXISTS rows")
            self._rows.execute(
                "CREATE TABLE rows (id INTEGER PRIMARY KEY, task INTEGER, parent INTEGER, row TEXT)"
            )
            self._rows.execute("CREATE INDEX of_task ON rows (task)")

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows in; a later one of the same annotation takes the place of the earlier."""
        for row in rows:
            line = json.dumps({key: row[key] for key in ANNOTATIONS.names})
            values = (int(row["annotation_id"]), row["task_id"], row["parent"], line)
            with _room():
                self._rows.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", values)

    def drop(self, tasks: Iterable[int]) -> None:
        """Forget the rows of these tasks."""
        some = [(task,) for task in tasks]
        self._rows.executemany("DELETE FROM rows WHERE task = ?", some)

    def count(self) -> int:
        """How many annotations."""
        return int(self._rows.execute("SELECT count(*) FROM rows").fetchone()[0])

    def parents(self) -> dict[int, int]:
        """The task of each prediction whose model version is still to be found."""
        found = self._rows.execute("SELECT parent, task FROM rows WHERE parent IS NOT NULL")
        return dict(found)

    def ordered(self, versions: dict[int, str]) -> Iterator[Row]:
        """The rows by the number of their annotation, with the model versions that were found."""
        for parent, line in self._rows.execute("SELECT parent, row FROM rows ORDER BY id"):
            row: Row = json.loads(line)
            if parent in versions:
                row["model_version"] = versions[parent]
            yield row


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise ServiceError(
            "room for an export in the folder of temporary files",
            found=str(error),
            do="free some, or set SQLITE_TMPDIR to another folder",
        ) from error
