"""Which boxes belong together: the cheapest pairs, and how far boxes overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def pairs(cost: Floats, alone: float) -> list[tuple[int, int]]:
    """Rows and columns with the least sum of costs, where to stay alone costs `alone` for two."""
    from scipy.optimize import linear_sum_assignment

    if not cost.size or not (cost < alone).any():
        return []
    rows, columns = linear_sum_assignment(np.minimum(cost, alone))
    good = cost[rows, columns] < alone
    return list(zip(rows[good].tolist(), columns[good].tolist(), strict=True))


def overlaps(first: Floats, second: Floats) -> Floats:
    """Intersection over union (N, M) of xyxy boxes (N, 4) and (M, 4)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=2)
    area = [np.clip(each[:, 2:] - each[:, :2], 0, None).prod(axis=1) for each in (first, second)]
    union = area[0][:, None] + area[1][None] - inside
    return np.asarray(inside / np.maximum(union, 1e-9))
