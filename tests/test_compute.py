"""Work in processes: in order, an item that kills its worker costs itself only, none outlives us.

Items are Python expressions, so that a worker can be told to die.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cityforge.compute import WorkerDied, attempt_in_processes, map_in_processes
from cityforge.errors import ServiceError

DIES = "__import__('os')._exit(1)"
DEAD = WorkerDied()
LATEST_END_S = 15


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_answers_come_in_the_order_of_the_items(workers: int) -> None:
    items = [f"{number} ** 2" for number in range(20)]
    squares = [number**2 for number in range(20)]
    assert list(map_in_processes(eval, items, workers)) == squares
    assert list(attempt_in_processes(eval, items, workers)) == squares


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (["1", DIES, "3", "4"], [1, DEAD, 3, 4]),
        ([DIES, "2"], [DEAD, 2]),
        (["1", "2", DIES], [1, 2, DEAD]),  # the last
        ([DIES, DIES, "3"], [DEAD, DEAD, 3]),
        (["None", DIES, "None"], [None, DEAD, None]),
    ],
)
def test_an_item_whose_worker_dies_costs_itself_only(
    items: list[str], expected: list[object]
) -> None:
    assert list(attempt_in_processes(eval, items, 2)) == expected


def test_where_every_item_is_needed_a_dead_worker_is_said() -> None:
    dies_in_a_worker = f"__import__('multiprocessing').parent_process() and {DIES}"
    with pytest.raises(ServiceError, match="one was killed"):
        list(map_in_processes(eval, [dies_in_a_worker, "__import__('time').sleep(0.2)"] * 20, 2))


def test_whoever_is_free_takes_the_next() -> None:
    """This process works, too, and no worker waits while there is something to do."""
    item = "(__import__('time').sleep(0.2), __import__('os').getpid())[1]"
    pids = list(map_in_processes(eval, [item] * 20, 3))
    assert len(set(pids)) == 3
    assert os.getpid() in pids
    assert min(map(pids.count, set(pids))) >= 3


def test_an_error_of_an_item_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        list(attempt_in_processes(eval, ["1", "1 / 0", "3"], 2))


PARENT = r"""
from cityforge.compute import {call}
item = r"__import__('os').write(1, b'at work\n') and __import__('time').sleep(600)"  # one write
list({call}(eval, [item, item], 2))
"""


@pytest.mark.parametrize("call", ["map_in_processes", "attempt_in_processes"])
def test_workers_end_with_a_killed_parent(call: str) -> None:
    command = [sys.executable, "-c", PARENT.format(call=call)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert [parent.stdout.readline() for _ in range(2)] == ["at work\n"] * 2
        parent.kill()
        parent.communicate(timeout=LATEST_END_S)  # a worker that lives keeps the output open
