"""Heavy work spread over processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

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
    """Yield `function(item)` in the order of `items`; one worker means this process.

    Raises:
        ServiceError: a worker was killed, most often for want of memory.
    """
    if workers <= 1 or len(items) <= 1:
        yield from map(function, items)
        return
    try:
        with _pool(min(workers, len(items))) as pool:
            yield from pool.map(function, items, chunksize=max(1, len(items) // (workers * 16)))
    except BrokenProcessPool as error:
        raise ServiceError(
            f"{workers} workers to finish",
            found="one was killed",
            do="free some memory or set CITYFORGE_WORKERS=1, then run it again",
        ) from error


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
