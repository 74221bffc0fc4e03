"""What every pipeline stage does around its work: find the project, stay quiet, fail in a line."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cityforge.errors import line_of
from cityforge.project import Project, find_project
from cityforge.settings import Settings, load_settings, stay_offline

SAY_EVERY_S = 10.0


def run_stage(work: Callable[[Project, Settings, str], None]) -> None:
    """Run `work(project, settings, name)` for the name on the command line.

    A foreseen failure ends the process with 1 and its lines on stderr.
    """
    if len(sys.argv) != 2:
        sys.stderr.write(f"usage: python {sys.argv[0]} NAME\n")
        sys.exit(2)
    try:
        project = find_project()
        settings = load_settings(project.root)
        stay_offline(settings, os.environ)
        work(project, settings, sys.argv[1])
    except Exception as error:
        line = None if os.environ.get("CITYFORGE_VERBOSE") else line_of(error)
        if line is None:
            raise
        sys.stderr.write(f"{line}\n")
        sys.exit(1)


def say(line: str) -> None:
    """A line of progress."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def showing(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Say how far long work is, every ten seconds and with the time left."""
    begun = said = time.monotonic()

    def advance(done: int, whole: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said < SAY_EVERY_S or not done:
            return
        said = now
        left = (now - begun) / done * (whole - done)
        say(f"{done} of {whole} {unit}, about {_spoken(left)} left")

    yield advance


def _spoken(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
