"""The most memory that a training took: of its processes, and of the accelerator."""

from __future__ import annotations

import os
import resource
import time

import psutil

MB = 1e6
# Between two looks; a look walks the memory maps: 50 ms for a training of 1.5 GB.
LOOK_EVERY_S = 15.0


class MemoryPeak:
    """The highest memory seen of this process and its children; look often enough."""

    def __init__(self, every: float = LOOK_EVERY_S) -> None:
        self.every = every
        self._peak = 0.0
        self._looked = -every

    def look(self) -> None:
        """Measure, unless that was done just now."""
        now = time.monotonic()
        if now - self._looked >= self.every:
            self._looked = now
            self._peak = max(self._peak, tree_megabytes())

    def figures(self) -> dict[str, float]:
        """`memory_peak_mb`, and where there is an accelerator `device_memory_peak_mb`."""
        import torch

        self._looked = -self.every
        self.look()
        # Linux counts in KB (getrusage(2)); the peak of this very process is never missed.
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
        figures = {"memory_peak_mb": round(max(self._peak, own), 1)}
        if torch.cuda.is_available():
            figures["device_memory_peak_mb"] = round(torch.cuda.max_memory_allocated() / MB, 1)
        return figures


def tree_megabytes() -> float:
    """Memory of this process and its children; what they share is counted once."""
    here = psutil.Process(os.getpid())
    return sum(_proportional(each) for each in (here, *here.children(recursive=True))) / MB


def _proportional(process: psutil.Process) -> float:
    """Bytes, a page that several processes share by its share (PSS of proc(5))."""
    try:
        return float(process.memory_full_info().pss)
    except AttributeError:  # not on this system
        return float(process.memory_info().rss)
    except psutil.Error:  # gone meanwhile, or of another user
        return 0.0
