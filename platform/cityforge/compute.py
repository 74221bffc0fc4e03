"""Heavy work spread over processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Generic, TypeVar

from cityforge.errors import ServiceError

Item = TypeVar("Item")
Result = TypeVar("Result")
PR_SET_PDEATHSIG, SIGKILL = 1, 9


@dataclass(frozen=True)
class WorkerDied:
    """The process that worked on an item ended without an answer: a crash, or out of memory."""


def map_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """Yield `function(item)` in the order of `items`; this process is one of the workers.

    Raises:
        ServiceError: a worker was killed, most often for want of memory.
    """
    if workers <= 1 or len(items) <= 1:
        yield from map(function, items)
        return
    try:
        yield from _map_with_others(function, items, min(workers, len(items)) - 1)
    except BrokenProcessPool as error:
        raise ServiceError(
            f"{workers} workers to finish",
            found="one was killed",
            do="free some memory or set CITYFORGE_WORKERS=1, then run it again",
        ) from error


def _map_with_others(
    function: Callable[[Item], Result], items: Sequence[Item], others: int
) -> Iterator[Result]:
    """Work on the items with `others` at one's side; whoever is free takes the next one."""
    pool = _pool(others)
    shared = _Shared(function, items, pool)
    try:
        for _ in range(others):
            shared.hand_out()
        for due in range(len(items)):
            while not shared.is_done(due) and (number := shared.take()) is not None:
                shared.found[number] = function(items[number])
            yield shared.answer(due)
    finally:
        pool.shutdown(cancel_futures=True)


class _Shared(Generic[Item, Result]):
    """Items that this process and those of a pool take one after another."""

    def __init__(
        self, function: Callable[[Item], Result], items: Sequence[Item], pool: ProcessPoolExecutor
    ) -> None:
        self._function = function
        self._items = items
        self._pool = pool
        self._next = 0
        self._lock = threading.Lock()
        self._given: dict[int, Future[Result]] = {}
        self.found: dict[int, Result] = {}

    def take(self) -> int | None:
        """The next item that nobody has; None: all are taken."""
        with self._lock:
            if self._next == len(self._items):
                return None
            self._next += 1
            return self._next - 1

    def hand_out(self, _: object = None) -> None:
        """Give the next item to the pool; it asks again by itself when that is done."""
        with self._lock:
            if self._next == len(self._items):
                return
            try:
                given = self._pool.submit(self._function, self._items[self._next])
            except RuntimeError:  # broken, or shut down: whoever waits for an answer is told
                return
            self._given[self._next] = given
            self._next += 1
        given.add_done_callback(self.hand_out)

    def is_done(self, number: int) -> bool:
        """Whether the answer to an item is there."""
        given = self._given.get(number)
        return number in self.found or (given is not None and given.done())

    def answer(self, number: int) -> Result:
        """Wait for the answer to an item that was taken."""
        if number in self.found:
            return self.found.pop(number)
        return self._given.pop(number).result()


def attempt_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result | WorkerDied]:
    """As `map_in_processes`, but an item whose worker dies costs itself only."""
    if workers <= 1 or len(items) <= 1:
        yield from map(function, items)
        return
    done = 0
    while done < len(items):
        pool = _pool(min(workers, len(items) - done))
        try:
            for result in pool.map(function, items[done:]):
                done += 1
                yield result
        except BrokenProcessPool:
            done += 1
            yield _alone(function, items[done - 1])
        finally:
            pool.shutdown(cancel_futures=True)


def _alone(function: Callable[[Item], Result], item: Item) -> Result | WorkerDied:
    try:
        with _pool(1) as pool:
            return pool.submit(function, item).result()
    except BrokenProcessPool:
        return WorkerDied()


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(
        workers, mp_context=context, initializer=_end_with_parent, initargs=(os.getpid(),)
    )


def _end_with_parent(parent: int) -> None:
    """Let the kernel end this worker with the process that started it, even one that is killed."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != parent:  # it was killed before the kernel was asked
        os._exit(1)
