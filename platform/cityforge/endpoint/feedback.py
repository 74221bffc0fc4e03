"""What people say of answers: right or wrong, and what would have been right; kept in SQLite."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.endpoint.schema import CorrectedBox
from cityforge.errors import InputError, ServiceError

FILE = "feedback.sqlite"
WAIT_S = 2.0  # for another process that writes
MOST_WAITING = 64  # that wait for the disk at once; more are sent away
TURN_S = 5.0  # after which one that waits is sent away

# One picture of one answer is judged once: the key decides between processes, too.
TABLE = """
CREATE TABLE IF NOT EXISTS feedback (
    request_id TEXT NOT NULL,
    picture INTEGER NOT NULL,
    is_right INTEGER NOT NULL,
    boxes TEXT,
    note TEXT NOT NULL,
    caller TEXT NOT NULL,
    at TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (request_id, picture)
)
"""


class FeedbackTwice(InputError):
    """Feedback for a picture that has some already."""


@dataclass(frozen=True)
class FeedbackRow:
    """What one person said of one picture.

    The id begins with the digest of the package that answered; `version` is 0 where another than
    the one that answers now did, and nobody looked up which.
    """

    request_id: str
    picture: int
    right: bool
    boxes: list[CorrectedBox] | None  # None: not said
    note: str
    caller: str
    at: str  # ISO 8601, UTC
    algorithm: str
    version: int


class FeedbackStore:
    """Keeps feedback on the disk; several processes share it.

    Args:
        folder: where the database lies; None: none is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / FILE if folder else None
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)  # device, inode
        self._lock = threading.Lock()
        self._waiting = 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="feedback")

    def add(self, row: FeedbackRow) -> None:
        """Store feedback; it is on the disk when this returns.

        Raises:
            FeedbackTwice: the picture has some already.
            ServiceError: it cannot be written now.
        """
        if self._path is None:
            raise ServiceError("a place to store feedback", found="none: it is not kept here")
        with self._lock:
            self._insert(self._path, row)

    async def add_soon(self, row: FeedbackRow) -> None:
        """`add` in a thread of its own, in turn; who would wait long is sent away.

        Raises:
            FeedbackTwice, ServiceError: see `add`.
        """
        if self._waiting >= MOST_WAITING:
            raise ServiceError("room for feedback", found=f"{self._waiting} that wait")
        self._waiting += 1
        until = time.monotonic() + TURN_S
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._writer, self._add_before, until, row)
        finally:
            self._waiting -= 1

    def _add_before(self, until: float, row: FeedbackRow) -> None:
        if time.monotonic() > until:
            raise ServiceError(f"a turn to write within {TURN_S:g} s", found="none", do="try again")
        self.add(row)

    def rows(self, algorithm: str) -> list[FeedbackRow]:
        """What is stored of an algorithm, in the order it came; none where there is no database.

        Raises:
            ServiceError: the database cannot be read.
        """
        if self._path is None or not self._path.is_file():
            return []
        try:
            with closing(_connect(self._path)) as connection:
                return list(_read(connection, algorithm))
        except sqlite3.Error as error:
            raise ServiceError(
                "a database of feedback", found=str(error), where=str(self._path)
            ) from error

    def close(self) -> None:
        """Close the database; the next feedback opens it again."""
        with self._lock:
            self._close()

    def _insert(self, path: Path, row: FeedbackRow) -> None:
        try:
            connection = self._open(path)
            connection.execute("INSERT INTO feedback VALUES (?,?,?,?,?,?,?,?,?)", _stored(row))
        except sqlite3.IntegrityError as error:
            raise FeedbackTwice(
                "feedback once for each picture", found="some already",
                where=f"{row.request_id}, picture {row.picture}",
            ) from error  # fmt: skip
        except (sqlite3.Error, OSError) as error:
            self._close()
            raise ServiceError("feedback to be stored", found=str(error), do="try again") from error

    def _open(self, path: Path) -> sqlite3.Connection:
        """The open database; opened anew when its file was taken away."""
        if self._connection is not None and _identity(path) == self._file:
            return self._connection
        self._close()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._connection = _connect(path)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(TABLE)
        self._file = _identity(path)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _connect(path: Path) -> sqlite3.Connection:
    """Each statement is a transaction of its own, on the disk when it ends."""
    connection = sqlite3.connect(
        path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def _stored(row: FeedbackRow) -> tuple[Any, ...]:
    boxes = None
    if row.boxes is not None:
        boxes = json.dumps([each.model_dump() for each in row.boxes], ensure_ascii=False)
    return (
        row.request_id, row.picture, int(row.right), boxes, row.note, row.caller, row.at,
        row.algorithm, row.version,
    )  # fmt: skip


def _read(connection: sqlite3.Connection, algorithm: str) -> Iterator[FeedbackRow]:
    found = connection.execute(
        "SELECT * FROM feedback WHERE algorithm = ? ORDER BY at, request_id, picture", (algorithm,)
    )
    for request_id, picture, right, boxes, *rest in found:
        corrected = None
        if boxes is not None:
            corrected = [CorrectedBox.model_validate(each) for each in json.loads(boxes)]
        yield FeedbackRow(request_id, picture, bool(right), corrected, *rest)
