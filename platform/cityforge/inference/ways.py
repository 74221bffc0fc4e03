"""Which way things go that begin at a place: the objects seen before tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cityforge.inference.motion import MOST_WAYS

Floats = NDArray[np.float64]

REMEMBERED = 256  # objects
NEAR = 1.5  # how far off an object began that counts, in sizes
ALIKE = 0.6  # difference of the logarithm of sizes


class Ways:
    """Remembers where the last objects began and with which speed.

    At a few frames a second the next vehicle stands where the one before it stood a frame ago;
    a speed seen before tells them apart.
    """

    def __init__(self) -> None:
        self._began: Floats = np.zeros((0, 5))  # cx, cy, log size, vx, vy

    def learn(self, xyxy: Floats, speed: Floats) -> None:
        """Objects began in xyxy (N, 4) with speed (N, 2), pixels a second."""
        rows = np.concatenate([_places(xyxy), speed], axis=1)
        self._began = np.concatenate([self._began, rows])[-REMEMBERED:]

    def from_here(self, xyxy: Floats) -> Floats:
        """The speeds of those that began nearest to boxes (N, 4), the nearest first.

        Returns:
            (N, MOST_WAYS, 2) pixels a second; NaN where there are fewer.
        """
        ways = np.full((len(xyxy), MOST_WAYS, 2), np.nan)
        if not len(self._began):
            return ways
        for row, place in enumerate(_places(xyxy)):
            off = np.hypot(*(self._began[:, :2] - place[:2]).T) / np.exp(place[2])
            alike = np.abs(self._began[:, 2] - place[2]) < ALIKE
            near = np.flatnonzero((off < NEAR) & alike)
            near = near[np.argsort(off[near], kind="stable")[:MOST_WAYS]]
            ways[row, : len(near)] = self._began[near, 3:]
        return ways


def _places(xyxy: Floats) -> Floats:
    """(N, 3) cx, cy and the logarithm of the root of the area."""
    sides = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 1.0)
    size = np.log(sides).mean(axis=1, keepdims=True)
    return np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, size], axis=1)
