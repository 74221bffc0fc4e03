"""How tests of several processes (`-n`) keep out of each other's way."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import ReadWriteLock
from xdist.scheduler import LoadScopeScheduling

# What is dear to start is started by one process: tests of such a folder stay together.
TOGETHER = ("tests/labeling/", "tests/loop/", "tests/trust/", "tests/training/tuning/")


class Together(LoadScopeScheduling):
    """Tests of a file, or of a folder of `TOGETHER`, go to the same process."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((each for each in TOGETHER if file.startswith(each)), file)


def pytest_configure(config: pytest.Config) -> None:
    """execnet has its processes ignore Ctrl-C, and what tests start would inherit that."""
    if hasattr(config, "workerinput"):
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    return Together(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """While a test marked `alone` runs, the other processes wait; it waits for theirs."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        return (yield)
    lock = ReadWriteLock(lock_file(run))
    with lock.write_lock() if item.get_closest_marker("alone") else lock.read_lock():
        return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    run = getattr(config, "workerinput", {}).get("testrunuid")
    if run:
        lock_file(run).unlink(missing_ok=True)


def lock_file(run: str) -> Path:
    return Path(tempfile.gettempdir()) / f"cityforge-tests-{run}.db"
