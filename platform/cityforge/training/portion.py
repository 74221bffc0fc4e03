"""Which of an epoch's draws one process takes, also behind a cut in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Sampler

from cityforge.cards.params import TrainParams
from cityforge.errors import DataError


class Portion(Sampler[int]):
    """The draws of `draws` that belong to one of several processes; whole steps only.

    Args:
        draws: a sampler with `set_epoch`.
        step: draws of one step, of all the processes together.
    """

    def __init__(self, draws: Any, step: int, rank: int = 0, ranks: int = 1) -> None:
        self.draws = draws
        self.step = step
        self.rank, self.ranks = rank, ranks
        self.steps_done = 0  # of the next epoch to be drawn; they are left out once

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.draws.set_epoch(epoch)

    @property
    def steps(self) -> int:
        """Steps of a whole epoch."""
        return len(self.draws) // self.step

    def __len__(self) -> int:
        return self.steps * self.step // self.ranks

    def __iter__(self) -> Iterator[int]:
        keys = list(self.draws)[self.steps_done * self.step : self.steps * self.step]
        self.steps_done = 0
        return iter(keys[self.rank :: self.ranks])


def frames_a_step(train: TrainParams, count: int) -> int:
    """Frames that all devices together take in one step, of `count` frames in all.

    Raises:
        DataError: the batch, or what there is, cannot be parted evenly between the devices.
    """
    step = min(train.batch, count)
    if step % train.devices and train.batch > count:
        step -= step % train.devices
    if not step or step % train.devices:
        raise DataError(
            f"frames that {train.devices} devices can share evenly", found=f"{step} a step",
            where="train.batch", do="make it a multiple of train.devices, or use fewer devices",
        )  # fmt: skip
    return step


def take_portion(loader: DataLoader[Any], portion: Portion) -> None:
    """Let a loader draw by `portion` from now on."""
    sampler: Any = loader.batch_sampler
    sampler.sampler = portion
