"""What several trainings that differ by their seed say together: mean, deviation, interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class SeedResult:
    """One finished training.

    Attributes:
        figures: the val_* figures of its best epoch.
    """

    seed: int
    figures: dict[str, float]
    best_epoch: int
    epochs: int
    seconds: float
    mlflow_run_id: str


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, deviation of one training, and the interval of the mean by Student's t.

    One value has no deviation. The interval is mean ± t(0.975; n - 1) · s / √n
    (ISO 2602:1980).
    """
    from scipy import stats

    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return {"mean": mean, "deviation": None, "low": None, "high": None}
    deviation = float(np.std(values, ddof=1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * deviation / count**0.5
    return {"mean": mean, "deviation": deviation, "low": mean - half, "high": mean + half}


def summary(results: Sequence[SeedResult]) -> dict[str, Any]:
    """What train.json says of the seeds: how many, whose weights, and each figure's spread."""
    names = [name for name in results[0].figures if all(name in each.figures for each in results)]
    return {
        "count": len(results),
        "seeds": [each.seed for each in results],
        "weights_of": results[0].seed,
        "confidence": CONFIDENCE,
        "figures": {name: spread([each.figures[name] for each in results]) for name in names},
    }


def detailed(results: Sequence[SeedResult]) -> dict[str, Any]:
    """What seeds.json says: the summary, and each training by itself."""
    return summary(results) | {"runs": [vars(each) for each in results]}


def lines(found: dict[str, Any], names: Sequence[str]) -> list[str]:
    """A line for each of these figures that is there, as a person reads it."""
    count, share = found["count"], f"{found['confidence']:.0%}"
    said = []
    for name in names:
        each = found["figures"].get(f"val_{name}")
        if each and each["deviation"] is not None:
            said.append(
                f"{name} of {count} seeds: {each['mean']:.3f}, deviation {each['deviation']:.3f}, "
                f"{share} interval {each['low']:.3f} to {each['high']:.3f} on val"
            )
    return said
