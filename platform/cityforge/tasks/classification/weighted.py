"""Figures of classes for many resamples of the frames at once.

A resample draws each frame 0, 1 or more times; its figures are those of `classification_metrics`
on the frames repeated as often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cityforge.tasks.classification.metrics import Bools, Floats, Ints


@dataclass(frozen=True)
class WeightedClasses:
    """Frames with their classes, to be counted with any weights.

    Attributes:
        truth: (N, C).
        scores: (N, C).
        answered: (N, C) the classes that were given.
    """

    truth: Bools
    scores: npt.NDArray[np.floating]
    answered: Bools

    def figures(self, weights: Ints) -> dict[str, Floats]:
        """Figures of each resample, each (R,), as in the evidence; nan with nothing to count.

        Args:
            weights: (R, N) how often each resample draws each frame.
        """
        correct = (weights @ (self.truth & self.answered)).astype(np.float64)  # (R, C)
        found = (weights @ self.answered).astype(np.float64)
        truth = (weights @ self.truth).astype(np.float64)
        return {
            "accuracy": self.accuracy(weights),
            "f1": _mean(_ratio(2 * correct, found + truth)),
            "map": self.map(weights),
            "precision": _mean(_ratio(correct, found)),
            "recall": _mean(_ratio(correct, truth)),
            "f1_micro": _ratio(2 * correct.sum(1), (found + truth).sum(1)),
            "hamming_loss": self._hamming_loss(weights),
        }

    def accuracy(self, weights: Ints) -> Floats:
        """Share of the frames whose classes are all right, (R,)."""
        right = (self.truth == self.answered).all(1)
        return _ratio((weights @ right).astype(np.float64), weights.sum(1).astype(np.float64))

    def map(self, weights: Ints) -> Floats:
        """Mean of the average precision over the classes that are in the truth, (R,)."""
        columns = [
            _average_precision(self.truth[:, k], self.scores[:, k], weights)
            for k in range(self.truth.shape[1])
        ]
        return _mean(np.stack(columns, 1))

    def _hamming_loss(self, weights: Ints) -> Floats:
        wrong = (weights @ (self.truth != self.answered).sum(1)).astype(np.float64)
        return _ratio(wrong, weights.sum(1).astype(np.float64) * self.truth.shape[1])


def _average_precision(
    truth: Bools, scores: npt.NDArray[np.floating], weights: Ints
) -> npt.NDArray[np.float64]:
    """AP of one class, (R,): sum of (R_n - R_{n-1}) P_n; equal scores are one step."""
    if not truth.any():
        return np.full(len(weights), np.nan)
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    drawn = weights[:, order]
    shown = np.cumsum(drawn, 1)[:, last]
    correct = np.cumsum(drawn * truth[order], 1)[:, last]
    gained = np.diff(correct, axis=1, prepend=0)
    area = (gained * correct / np.maximum(shown, 1)).sum(1)
    return _ratio(area, correct[:, -1].astype(np.float64))


def _mean(values: Floats) -> Floats:
    """Mean of each row over what is not nan, (R,)."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(1), known.sum(1).astype(np.float64))


def _ratio(part: Floats, whole: Floats) -> Floats:
    out: Floats = np.full(np.shape(part), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out
