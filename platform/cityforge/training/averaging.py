"""The average of the weights over the steps, which is what is validated and kept."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class Average(WeightAveraging):
    """An exponential average whose decay grows with the steps up to `decay`.

    After n averaged steps it is min(decay, (1 + n) / (10 + n)), as in TensorFlow's
    ExponentialMovingAverage, so that a training of few steps is not held back by its start.
    """

    def __init__(self, decay: float) -> None:
        def average(kept: Any, current: Any, steps: Tensor | int) -> None:
            n = float(steps)
            share = 1 - min(decay, (1 + n) / (10 + n))
            if kept[0].is_floating_point():
                torch._foreach_lerp_(kept, current, share)
            else:  # counters of steps
                torch._foreach_copy_(kept, current)

        super().__init__(use_buffers=True, multi_avg_fn=average)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return step_idx is not None
