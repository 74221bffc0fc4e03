"""The log of answers: which model gave which answer, and to whom; never a picture or a token."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cityforge.inference.request_ids import PREFIX, RequestIds, open_secret

__all__ = ["AnswerLog", "AnswerRow", "RequestIds", "now", "open_secret", "request_id"]

logger = logging.getLogger(__name__)
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode


@dataclass(frozen=True)
class AnswerRow:
    """One answer."""

    request_id: str
    at: str  # ISO 8601, UTC
    algorithm: str
    version: int
    package_digest: str
    pictures: int  # or frames of a clip
    ms: float
    caller: str = ""  # name of the token; empty where none is asked for
    route: str = "predict"
    bytes: int = 0  # that were sent


def request_id(package_digest: str) -> str:
    """An id as `RequestIds.new` gives it, by a key that nobody has.

    >>> len(request_id("ab" * 32))
    49
    """
    return f"{package_digest[:PREFIX]}-{uuid.uuid4().hex}"


class Row(Protocol):
    """What a log takes: a dataclass that says when."""

    @property
    def at(self) -> str:
        """ISO 8601, UTC."""


class AnswerLog:
    """One file a day, one line an answer; a log that cannot be written fails no answer.

    The day's file stays open, and is opened anew when another lies in its place.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.lost = 0  # answers that are not in it
        self._failing = False
        self._torn = False  # the line written last has no end
        self._path = Path()
        self._handle = -1
        self._file = (0, 0)  # device, inode
        self._lock = threading.Lock()

    def write(self, row: Row) -> None:
        """Append one line by a single write, so that several processes can share the file."""
        if self._folder is None:
            return
        line = (_encode(vars(row)) + "\n").encode()
        with self._lock:
            try:
                self._append(self._folder, row.at[:10], line)
            except OSError as error:
                self._say_lost(error)
            else:
                self._say_found()

    def close(self) -> None:
        """Let go of the day's file; the next write opens it again."""
        with self._lock:
            self._close()

    def _append(self, folder: Path, day: str, line: bytes) -> None:
        if self._handle < 0 or self._path.stem != day or not self._is_in_place():
            self._open(folder, day)
        if self._torn:
            line = b"\n" + line
        written = os.write(self._handle, line)
        self._torn = written < len(line)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _is_in_place(self) -> bool:
        try:
            found = os.stat(self._path)  # noqa: PTH116 twice as quick as Path.stat
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._file

    def _open(self, folder: Path, day: str) -> None:
        self._close()
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{day}.jsonl"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._handle = os.open(self._path, flags, 0o600)
        found = os.fstat(self._handle)
        self._file = (found.st_dev, found.st_ino)
        self._torn = found.st_size > 0 and os.pread(self._handle, 1, found.st_size - 1) != b"\n"

    def _close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._handle, self._torn = -1, False

    def _say_lost(self, error: OSError) -> None:
        self.lost += 1
        if not self._failing:
            logger.warning("answers are not logged: %s in %s", error.strerror, self._path)
        self._failing = True

    def _say_found(self) -> None:
        if self._failing:
            logger.warning("answers are logged again, %d in all are missing", self.lost)
        self._failing = False


def now() -> str:
    """The time of an answer: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
