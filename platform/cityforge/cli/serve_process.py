"""A child process that ends with its parent; the parent looks after something meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

LOOK_EVERY_S = 1.0
ENDING_S = 30.0  # for the child, before it is killed


def supervise(
    command: Sequence[str], environment: Mapping[str, str], look: Callable[[], None]
) -> int:
    """Run a command until it ends, and `look` every second; its exit code.

    Signals that ask this process to end go to the child, which ends in its own time. A child
    whose parent is killed is asked to end, too.
    """
    wrapped = [sys.executable, "-m", "cityforge.cli.end_with_parent", str(os.getpid()), *command]
    child = subprocess.Popen(wrapped, env=dict(environment))

    def forward(number: int, _: FrameType | None) -> None:
        if child.poll() is None:
            child.send_signal(number)

    before = {each: signal.signal(each, forward) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        while child.poll() is None:
            begun = time.monotonic()
            look()
            _wait(child, LOOK_EVERY_S - (time.monotonic() - begun))
    finally:
        _end(child)
        for each, handler in before.items():
            signal.signal(each, handler)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _wait(child: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=max(seconds, 0.05))


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        _wait(child, ENDING_S)
    if child.poll() is None:
        child.kill()
        child.wait()
