"""Which moments of a film are taken: the first of each slot of film time, and of the hour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.dataset import Sampling
from cityforge.footage.film import TOLERANCE_S


@dataclass(frozen=True)
class Stretch:
    """The part of a film that is sampled at one go: [begin, end) in seconds of film time."""

    begin: float = 0.0
    end: float = math.inf


WHOLE = Stretch()


@dataclass(frozen=True)
class Quota:
    """At most one frame in each slot of the camera's clock, so many slots an hour."""

    per_hour: int
    started_at: datetime | None  # without it the film's own clock counts
    blocked: tuple[tuple[int, int], ...] = ()  # slots [first, last] that other films fill

    @property
    def width_s(self) -> float:
        """Length of a slot, s."""
        return 3600 / self.per_hour

    def slot(self, moment: float) -> int:
        """Number of the slot at `moment` of film time."""
        return math.floor((self._epoch + moment + TOLERANCE_S) / self.width_s)

    def snap(self, moment: float) -> float:
        """Film time of the first slot that begins at or behind `moment`."""
        if moment <= 0 or math.isinf(moment):
            return moment
        slots = math.ceil((self._epoch + moment) / self.width_s - 1e-6)
        return slots * self.width_s - self._epoch

    def is_free(self, slot: int) -> bool:
        """No other film fills this slot."""
        return not any(first <= slot <= last for first, last in self.blocked)

    @property
    def _epoch(self) -> float:
        return self.started_at.timestamp() if self.started_at else 0.0


class Taken:
    """The first frame in each slot of `seconds` of film, and in each slot of the quota."""

    def __init__(self, sampling: Sampling, stretch: Stretch, quota: Quota | None) -> None:
        self.seconds = sampling.seconds
        self.offset = sampling.offset_s or 0.0
        self._quota = quota
        self.begin = quota.snap(stretch.begin) if quota else stretch.begin
        self.end = quota.snap(stretch.end) if quota else stretch.end
        self._last = -1
        self._last_quota: int | None = None
        self._last_ms = -1

    def slots(self, moments: NDArray[np.float64]) -> NDArray[np.int64]:
        """(N,) number of the slot that each moment lies in, -1 where it lies in none of these."""
        if self.seconds > 0:
            slot = np.floor((moments - self.offset + TOLERANCE_S) / self.seconds)
            due = slot * self.seconds + self.offset
        else:
            slot = np.round(moments * 1000)
            due = moments
        inside = (due > self.begin - 1e-6) & (due < self.end - 1e-6)
        inside &= (moments >= self.offset - TOLERANCE_S) & (slot >= 0)
        return np.where(inside, slot, -1).astype(np.int64)

    def takes(self, moment: float) -> bool:
        """Whether this frame, shown behind all that were asked for, is taken; then it counts."""
        slot = int(self.slots(np.array([moment]))[0])
        milliseconds = round(moment * 1000)
        if slot <= self._last or milliseconds <= self._last_ms:
            return False
        self._last = slot  # whether the quota takes it or not
        if self._quota and not self._within_quota(self._quota, moment):
            return False
        self._last_ms = milliseconds
        return True

    def _within_quota(self, quota: Quota, moment: float) -> bool:
        part = quota.slot(moment)
        if part == self._last_quota or not quota.is_free(part):
            return False
        if not math.isinf(self.end) and part >= quota.slot(self.end):
            return False  # the next stretch's
        self._last_quota = part
        return True
