"""The average of the weights over the steps, which is what is validated and kept."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

Pair = tuple[list[Tensor], list[Tensor]]  # what is kept, and what it follows


class Average(WeightAveraging):
    """An exponential average whose decay grows with the steps up to `decay`.

    After n averaged steps it is min(decay, (1 + n) / (10 + n)), as in TensorFlow's
    ExponentialMovingAverage, so that a training of few steps is not held back by its start.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=True)
        self.decay = decay
        self._pairs: list[Pair] = []
        self._steps = 0
        self._latest_update_step = 0  # by global_step; kept in checkpoints

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Line up what belongs together, once: to walk the network costs 2 % of each step."""
        average: Any = self._average_model
        average.to(pl_module.device)  # it was made before the network was moved there
        self._pairs = pairs_of(average.module, pl_module)
        self._steps = int(average.n_averaged)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
        if trainer.global_step > self._latest_update_step:
            self._latest_update_step = trainer.global_step
            follow(self._pairs, self._steps, self.decay)
            self._steps += 1
            average: Any = self._average_model
            average.n_averaged += 1


def pairs_of(average: Any, module: Any) -> list[Pair]:
    """Weights and buffers of both, those of one kind of number together."""
    found: dict[torch.dtype, Pair] = {}
    theirs = chain(module.parameters(), module.buffers())
    for kept, current in zip(chain(average.parameters(), average.buffers()), theirs, strict=True):
        own = found.setdefault(kept.dtype, ([], []))
        own[0].append(kept)
        own[1].append(current)
    return list(found.values())


@torch.no_grad()
def follow(pairs: list[Pair], steps: int, decay: float) -> None:
    """Take one step into the average; the first is a copy.

    Args:
        steps: that are in it already.
    """
    share = 1 - min(decay, (1 + steps) / (10 + steps)) if steps else 1.0
    for kept, current in pairs:
        if steps and kept[0].is_floating_point():
            torch._foreach_lerp_(kept, current, share)
        else:  # counters of steps
            torch._foreach_copy_(kept, current)
