"""The log of requests that no model answered: refusals, and feedback; small, whatever comes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.inference.answers import AnswerLog, now

FOLDER = "requests"  # in the folder of the log of answers: what counts answers passes it by
A_SECOND, AT_ONCE = 1.0, 100  # rows of each caller and status
SAY_LEFT_OUT_S = 10.0  # after the first row that was left out, how many were is written

Kind = tuple[str, int]  # caller, status


@dataclass(frozen=True)
class RequestRow:
    """One request; or, without an id, only how many were left out."""

    request_id: str
    at: str  # ISO 8601, UTC
    route: str
    status: int
    caller: str  # name of the token; empty where there was none
    bytes: int  # of the body, as the request says; 0 where it does not
    ms: float
    left_out: int = 0  # requests of this caller and status that came before, and have no row


class RequestLog:
    """Writes `requests/<day>.jsonl`; of each caller and status at most `A_SECOND` rows a second.

    `AT_ONCE` more may come together (the generic cell rate algorithm, as in `guard.Buckets`).
    What a flood leaves out is counted, and the count is written.

    Args:
        folder: of the log of answers; None: nothing is written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._log = AnswerLog(folder / FOLDER) if folder else None
        self._due: dict[Kind, float] = {}
        self._left_out: Counter[Kind] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, scope: Any, request_id: str, route: str, status: int, seconds: float) -> None:
        """Write a request down, or count it; a log that cannot be written fails no answer."""
        if self._log is None:
            return
        kind = (scope.get("state", {}).get("caller", ""), status)
        if not self._has_room(kind, time.monotonic()):
            self._leave_out(kind)
            return
        self._write(kind, request_id, route, _declared(scope["headers"]), seconds)

    def _has_room(self, kind: Kind, at: float) -> bool:
        due = max(self._due.get(kind, 0.0), at)
        if due - at > (AT_ONCE - 1) / A_SECOND:
            return False
        self._due[kind] = due + 1 / A_SECOND
        return True

    def _leave_out(self, kind: Kind) -> None:
        self._left_out[kind] += 1
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(SAY_LEFT_OUT_S, self._say_left_out)

    def _say_left_out(self) -> None:
        self._timer = None
        for kind in list(self._left_out):
            self._write(kind, "", "", 0, 0.0)

    def _write(self, kind: Kind, request_id: str, route: str, size: int, seconds: float) -> None:
        if self._log:
            caller, status = kind
            left_out = self._left_out.pop(kind, 0)
            ms = round(1000 * seconds, 3)
            self._log.write(
                RequestRow(request_id, now(), route, status, caller, size, ms, left_out)
            )


def _declared(headers: Iterable[tuple[bytes, bytes]]) -> int:
    for name, value in headers:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 20 else 0
    return 0
