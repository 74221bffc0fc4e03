"""What makes training on a processor quick, found by profiling; no result changes by it."""

from __future__ import annotations

import ctypes
import ctypes.util

import torch
from torch import Tensor, nn

# glibc's mallopt parameters (malloc.h).
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
LARGEST = (1 << 31) - 1


def keep_memory() -> None:
    """Let this process keep the memory that each step frees and takes again.

    By default glibc hands every large tensor back to the kernel, which then has to clear
    it anew: a third of the time of a training on two cores.
    """
    name = ctypes.util.find_library("c")
    libc = ctypes.CDLL(name) if name else None
    if libc is not None and hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST)


class Float32Depthwise(nn.Conv2d):
    """A depthwise convolution outside autocast.

    On processors its backward pass is two to five times slower in bfloat16 than in float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


def quicken_depthwise(network: nn.Module) -> int:
    """Take every depthwise convolution of a network out of autocast; returns how many."""
    found = [each for each in network.modules() if isinstance(each, nn.Conv2d) and each.groups > 1]
    for each in found:
        each.__class__ = Float32Depthwise
    return len(found)
