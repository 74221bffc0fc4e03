"""Which frames a training draws, in which order and size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from cityforge.cards.params import DataParams, TrainParams

STRIDE = 32  # every side of an input is a multiple of it


class Draw(NamedTuple):
    """One sample to make: which draw it is of the whole training, and its size in pixels."""

    key: int
    width: int
    height: int


def size_at(progress: float, data: DataParams, train: TrainParams) -> tuple[int, int]:
    """Width and height of the training's input when `progress` (0 to 1) of it is done.

    The side grows evenly from `train.grow_from` of the full one until `train.grow_until`
    (Tan and Le 2021, "EfficientNetV2", section 4); both are multiples of 32.
    """
    share = 1.0
    if progress < train.grow_until:
        share = train.grow_from + (1 - train.grow_from) * max(0.0, progress) / train.grow_until
    width, height = (
        max(STRIDE, STRIDE * round(share * side / STRIDE))
        for side in (data.input_width, data.input_height)
    )
    return width, height


class EpochSampler(Sampler[Draw]):
    """Every frame once an epoch, in an order that the seed and the epoch decide."""

    def __init__(self, count: int, seed: int, size: tuple[int, int]) -> None:
        self.count = count
        self.seed = seed
        self.size = size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def set_size(self, width: int, height: int) -> None:
        """Size of the samples from the next epoch on, pixels; see `size_at`."""
        self.size = (width, height)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Draw]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        keys = (order + self.epoch * self.count).tolist()
        return iter([Draw(key, *self.size) for key in keys])
