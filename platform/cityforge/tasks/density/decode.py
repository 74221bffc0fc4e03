"""From a density map to counts and a heat map; numpy only, the same in evaluation and serving."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRIDE = 8  # input pixels for each cell of the map


def decode_counts(density: NDArray[Any], *, score_floor: float) -> NDArray[Any]:
    """Objects of each class in one picture, (C,) float64.

    Args:
        density: (C, h, w) objects a cell; see `density_on` for the part inside the picture.
        score_floor: cells with fewer objects do not count.

    >>> decode_counts(np.array([[[0.75, 0.5], [0.0, 0.01]]]), score_floor=0.05)
    array([1.25])
    """
    counted = np.where(density >= score_floor, density, 0)
    total: NDArray[Any] = counted.sum((1, 2), dtype=np.float64)
    return total


def density_on(density: NDArray[Any], scale: float, width: int, height: int) -> NDArray[Any]:
    """The cells that lie on the picture, (C, rows, columns): a heat map without the grey margin.

    A cell that the picture covers in part is kept whole. The picture lies in the upper left
    corner of the input, see `cityforge.tasks.picture.Fitted`.

    Args:
        density: (C, h, w) objects a cell, of the whole input.
        scale: input pixels for each pixel of the picture.
        width: of the picture, pixels.
        height: likewise.

    >>> density_on(np.ones((1, 12, 16)), 0.5, 256, 144).shape
    (1, 9, 16)
    """
    rows = math.ceil(max(1, round(height * scale)) / STRIDE)
    columns = math.ceil(max(1, round(width * scale)) / STRIDE)
    return density[:, :rows, :columns]
