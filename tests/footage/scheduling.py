"""SVT-AV1 gives whoever encodes with it as root the real-time scheduling class, for good.

Processes started later inherit it, and OpenBLAS's threads then wait for each other for ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_scheduling() -> Iterator[None]:
    """Give this thread back the scheduling that it had before an encoder changed it."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)
