"""How good classes of frames are; counted as scikit-learn counts, with which tests compare.

All functions take truth (N, C) bool and scores (N, C); a frame of one class has one True.
`nan` stands where there is nothing to count, and means leave it out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cityforge.errors import DataError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

UNDECIDED = 0.5  # the threshold of a class when there is nothing to choose it by


@dataclass(frozen=True)
class ClassRates:
    """Counts and rates of each class; all arrays (C,).

    Attributes:
        truth: frames of the class.
        found: frames that were given the class.
        correct: both.
        precision: correct / found.
        recall: correct / truth.
        f1: 2 correct / (found + truth).
    """

    truth: Ints
    found: Ints
    correct: Ints
    precision: Floats
    recall: Floats
    f1: Floats


@dataclass(frozen=True)
class ClassificationMetrics:
    """Figures of one subset, 0 to 1.

    Attributes:
        accuracy: share of the frames whose classes are all right, and no more.
        f1: mean over the classes that are in the truth or were answered (macro).
        f1_micro: of all frames and classes together.
        hamming_loss: share of the frames and classes that are wrong.
        map: mean of the average precision over the classes that are in the truth.
        per_class_ap: (C,) average precision.
        per_class: counts and rates.
    """

    accuracy: float
    f1: float
    f1_micro: float
    hamming_loss: float
    map: float
    per_class_ap: Floats
    per_class: ClassRates


def classification_metrics(
    truth: Bools,
    scores: npt.NDArray[np.floating],
    *,
    several_labels: bool,
    thresholds: npt.ArrayLike = UNDECIDED,
) -> ClassificationMetrics:
    """Compare scores with the truth.

    Args:
        thresholds: one, or one a class (C,); asked only with several labels.

    Raises:
        DataError: truth and scores of different shapes.
    """
    _check(truth, scores)
    answered = answers(scores, several_labels=several_labels, thresholds=thresholds)
    rates = class_rates(truth, answered)
    ap = average_precision(truth, scores)
    wrong = truth != answered
    both = int(rates.found.sum() + rates.truth.sum())
    return ClassificationMetrics(
        accuracy=_mean((~wrong).all(1).astype(np.float64)),
        f1=_mean(rates.f1),
        f1_micro=2 * int(rates.correct.sum()) / both if both else float("nan"),
        hamming_loss=_mean(wrong.astype(np.float64)),
        map=_mean(ap),
        per_class_ap=ap,
        per_class=rates,
    )


def answers(
    scores: npt.NDArray[np.floating],
    *,
    several_labels: bool,
    thresholds: npt.ArrayLike = UNDECIDED,
) -> Bools:
    """Which classes are answered, (N, C): the likeliest, or each that reaches its threshold."""
    if several_labels:
        return np.asarray(scores >= np.asarray(thresholds), np.bool_)
    answered = np.zeros(scores.shape, np.bool_)
    answered[np.arange(len(scores)), scores.argmax(1)] = True
    return answered


def class_rates(truth: Bools, answered: Bools) -> ClassRates:
    """Count each class over the frames."""
    correct = (truth & answered).sum(0).astype(np.int64)
    n_truth, n_found = truth.sum(0).astype(np.int64), answered.sum(0).astype(np.int64)
    return ClassRates(
        truth=n_truth,
        found=n_found,
        correct=correct,
        precision=_ratio(correct, n_found),
        recall=_ratio(correct, n_truth),
        f1=_ratio(2 * correct, n_found + n_truth),
    )


def average_precision(truth: Bools, scores: npt.NDArray[np.floating]) -> Floats:
    """AP of each class, (C,): sum of (R_n - R_{n-1}) P_n over the falling scores.

    Without interpolation, as scikit-learn's `average_precision_score`; equal scores are one step.
    """
    _check(truth, scores)
    found = np.full(truth.shape[1], np.nan)
    for k in range(truth.shape[1]):
        positives = int(truth[:, k].sum())
        if not positives:
            continue
        correct, shown, _ = _steps(truth[:, k], scores[:, k])
        gained = np.diff(correct, prepend=0) / positives
        found[k] = float((gained * correct / shown).sum())
    return found


def best_thresholds(truth: Bools, scores: npt.NDArray[np.floating]) -> Floats:
    """The threshold of highest F1 of each class, (C,); 0.5 for a class without truth.

    It lies midway between the lowest score kept and the highest one left out, so that rounding
    it changes nothing; among equals the highest wins.
    """
    _check(truth, scores)
    found = np.full(truth.shape[1], UNDECIDED)
    for k in range(truth.shape[1]):
        positives = int(truth[:, k].sum())
        if not positives:
            continue
        correct, shown, at = _steps(truth[:, k], scores[:, k])
        best = int(np.argmax(2 * correct / (shown + positives)))  # the first is the highest
        below = at[best + 1] if best + 1 < len(at) else at[best]
        found[k] = (at[best] + below) / 2
    return found


def confusion(truth: Ints, answered: Ints, class_count: int) -> Ints:
    """Count truth (rows) against answers (columns), (C, C), of frames with one class each.

    Args:
        truth: (N,) class indices.
        answered: (N,) class indices.
    """
    cells = np.bincount(truth * class_count + answered, minlength=class_count**2)
    return cells.reshape(class_count, class_count).astype(np.int64)


def _steps(truth: Bools, scores: npt.NDArray[np.floating]) -> tuple[Ints, Ints, Floats]:
    """At each score, falling and each once, (S,): correct and shown down to it, and itself."""
    order = np.argsort(-scores, kind="stable")
    values = scores[order].astype(np.float64)
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # of each group of equals
    correct = np.cumsum(truth[order], dtype=np.int64)[last]
    return correct, (last + 1).astype(np.int64), values[last]


def _check(truth: Bools, scores: npt.NDArray[np.floating]) -> None:
    if truth.ndim != 2 or truth.shape != scores.shape:
        raise DataError(
            "truth and scores of one shape (N, C)", found=f"{truth.shape} and {scores.shape}"
        )


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _ratio(part: Ints, whole: Ints) -> Floats:
    out = np.full(part.shape, np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out
