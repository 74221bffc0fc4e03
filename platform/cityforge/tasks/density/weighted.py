"""Errors of counts for many resamples of the frames at once.

A resample draws each frame 0, 1 or more times; its errors are those of `count_metrics` on the
frames repeated as often.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class WeightedCounts:
    """True and estimated counts, (N, C) each."""

    truth: NDArray[Any]
    found: NDArray[Any]

    def figures(self, weights: NDArray[np.int64]) -> dict[str, Floats]:
        """Errors of each resample, each (R,), as in `CountMetrics`; nan with nothing to count.

        Args:
            weights: (R, N) how often each resample draws each frame.
        """
        apart, truth = self.found.astype(np.float64) - self.truth, self.truth.astype(np.float64)
        cells = weights.sum(1).astype(np.float64) * truth.shape[1]
        total, squared = weights @ truth.sum(1), weights @ (apart**2).sum(1)
        absolute = weights @ np.abs(apart).sum(1)
        spread = weights @ (truth**2).sum(1) - _ratio(total**2, cells)
        return {
            "mae": _ratio(absolute, cells),
            "rmse": np.sqrt(_ratio(squared, cells)),
            "relative_mae": _ratio(absolute, total),
            "bias": _ratio(weights @ apart.sum(1), cells),
            "r2": 1 - _ratio(squared, np.where(spread > 1e-9 * total, spread, 0.0)),
        }

    def mae(self, weights: NDArray[np.int64]) -> Floats:
        """Mean absolute error of each resample, (R,)."""
        cells = weights.sum(1).astype(np.float64) * self.truth.shape[1]
        apart = np.abs(self.found.astype(np.float64) - self.truth).sum(1)
        return _ratio(weights @ apart, cells)


def _ratio(part: Floats, whole: Floats) -> Floats:
    out: Floats = np.full(np.shape(part), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out
