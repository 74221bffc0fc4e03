"""What waits in a pool: one thing to be answered, and how that can end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cityforge.endpoint.wire import Buffer


class Lost(Exception):
    """A job that nobody can do any more: its model is gone, or the pool ends."""


class Fatal(Exception):
    """A job that ended several processes, though it was alone in them."""


class Faulty(Fatal):
    """A job that failed several times by a fault of ours, and ended no process."""


@dataclass(eq=False)
class Job:
    """One thing to be answered by the model of a digest."""

    digest: str
    head: dict[str, Any]
    body: Buffer
    done: asyncio.Future[tuple[dict[str, Any], Buffer]]
    begun: float  # by the loop's clock
    tries: int = 0

    def settle(self, head: dict[str, Any], body: Buffer) -> None:
        """It is answered."""
        if not self.done.done():
            self.done.set_result((head, body))

    def drop(self) -> None:
        """Nobody waits for it any more."""
        if not self.done.cancel() and not self.done.cancelled():
            self.done.exception()  # looked at, so that asyncio does not complain of it


def fail(jobs: Iterable[Job], error: BaseException) -> None:
    """These are not answered."""
    for job in jobs:
        if not job.done.done():
            job.done.set_exception(error)


def fits(job: Job, taken: list[Job], most: int) -> bool:
    """Whether a job may go into one message with others.

    One that was tried goes alone: it may be what ended the process of several.
    """
    same = job.digest == taken[0].digest and not job.tries and not taken[0].tries
    return same and len(taken) < most
