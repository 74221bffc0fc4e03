"""How far counts are from the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import DataError


@dataclass(frozen=True)
class CountMetrics:
    """Errors over all pictures and classes, in objects a picture; nan where there is no picture.

    Attributes:
        mae: mean absolute error.
        rmse: root of the mean squared error.
        relative_mae: `mae` as a share of the mean true count; nan where nothing was to count.
        bias: mean error; above 0 too many are counted.
        mean_count: mean true count.
        r2: coefficient of determination, 1 - squared errors / squared distances of the true counts
            from their mean; nan where all true counts are the same.
        per_class: the same of each class, by its name.
    """

    mae: float
    rmse: float
    relative_mae: float
    bias: float
    mean_count: float
    r2: float
    per_class: dict[str, CountMetrics]


def count_metrics(
    truth: NDArray[Any], found: NDArray[Any], class_names: Sequence[str]
) -> CountMetrics:
    """Compare counts with the true ones, both (frames, classes).

    Raises:
        DataError: counts of other frames or classes than the truth.
    """
    if truth.shape != found.shape or truth.shape[1:] != (len(class_names),):
        raise DataError(
            f"counts of {len(truth)} frames and {len(class_names)} classes",
            found=f"truth {truth.shape} and counts {found.shape}",
            where="count_metrics",
        )
    per_class = {
        name: _errors(truth[:, number], found[:, number], {})
        for number, name in enumerate(class_names)
    }
    return _errors(truth, found, per_class)


def score_of(relative_mae: float) -> float:
    """By what epochs and trials are ranked, 0 to 1: 1 / (1 + relative_mae); 0 for nan.

    It tells better from worse however far the counts are off: at the start of a training,
    and where scenes are sparse, they are often off by more than the mean count.

    >>> score_of(0.0), score_of(0.25), score_of(1.0), score_of(3.0), score_of(float("nan"))
    (1.0, 0.8, 0.5, 0.25, 0.0)
    """
    return 0.0 if math.isnan(relative_mae) else 1 / (1 + relative_mae)


def _errors(
    truth: NDArray[Any], found: NDArray[Any], per_class: dict[str, CountMetrics]
) -> CountMetrics:
    if not truth.size:
        nothing = float("nan")
        return CountMetrics(nothing, nothing, nothing, nothing, nothing, nothing, per_class)
    apart = found.astype(np.float64) - truth
    mae, mean = float(np.abs(apart).mean()), float(truth.mean())
    spread = float(((truth - mean) ** 2).sum())
    return CountMetrics(
        mae=mae,
        rmse=float(np.sqrt((apart**2).mean())),
        relative_mae=mae / mean if mean > 0 else float("nan"),
        bias=float(apart.mean()),
        mean_count=mean,
        r2=1 - float((apart**2).sum()) / spread if spread > 0 else float("nan"),
        per_class=per_class,
    )
