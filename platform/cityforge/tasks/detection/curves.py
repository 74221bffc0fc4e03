"""How precision and recall move with the score threshold, and what is wrong at one threshold.

Precision, recall and F1 as in van Rijsbergen, "Information Retrieval", 1979; the precision that
is drawn over recall is COCO's (highest precision at that recall or beyond, 101 levels).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.matching import Floats, Ints, match

RECALL_LEVELS: Floats = np.linspace(0.0, 1.0, 101, dtype=np.float64)
UNDECIDED = 0.5  # the threshold when there is nothing to choose it by


@dataclass(frozen=True)
class Rates:
    """Counts and rates of each class at one or more score thresholds; all arrays (K, S).

    Attributes:
        correct: detections that found a truth.
        found: detections at or above the threshold.
        truth: boxes that people drew, (K, 1).
        precision: correct / found; nan where nothing was found.
        recall: correct / truth; nan where there is no truth.
        f1: 2 correct / (found + truth); nan where there is neither.
    """

    correct: Ints
    found: Ints
    truth: Ints
    precision: Floats
    recall: Floats
    f1: Floats


@dataclass(frozen=True)
class FrameErrors:
    """What went wrong in each frame; all arrays (F,).

    Attributes:
        correct: truths that were found.
        missed: truths that were not.
        false_alarms: detections without a truth.
        error: missed + the sum of the false alarms' scores: a sure false alarm weighs as a miss.
    """

    correct: Ints
    missed: Ints
    false_alarms: Ints
    error: Floats


def rates(
    truth: Boxes,
    found: Boxes,
    class_count: int,
    thresholds: npt.ArrayLike,
    iou: float = 0.5,
) -> Rates:
    """Count correct and found boxes of each class at each score threshold, (S,) in any order."""
    at = np.atleast_1d(np.asarray(thresholds, np.float32))
    is_correct = match(truth, found, iou).truth_of >= 0
    n_found = np.zeros((class_count, len(at)), np.int64)
    n_correct = np.zeros_like(n_found)
    for k in range(class_count):
        scores, correct = _falling(found, is_correct, k)
        n_found[k] = np.searchsorted(-scores, -at, side="right")
        n_correct[k] = np.concatenate(([0], np.cumsum(correct)))[n_found[k]]
    n_truth = np.bincount(truth.cls, minlength=class_count)[:class_count, None].astype(np.int64)
    return Rates(
        correct=n_correct,
        found=n_found,
        truth=n_truth,
        precision=_ratio(n_correct, n_found),
        recall=_ratio(n_correct, n_truth),
        f1=_ratio(2 * n_correct, n_found + n_truth),
    )


def best_threshold(truth: Boxes, found: Boxes, class_count: int, iou: float = 0.5) -> float:
    """Return the score threshold of highest mean F1 over the classes that have truth.

    It lies midway between the lowest score kept and the highest one left out, so that rounding
    it changes nothing; among equals the highest wins. 0.5 where truth or detections are missing.
    """
    if not len(truth) or not len(found):
        return UNDECIDED
    scores = np.unique(found.score)
    result = rates(truth, found, class_count, scores, iou)
    mean_f1 = result.f1[result.truth[:, 0] > 0].mean(axis=0)  # (S,)
    best = len(scores) - 1 - int(np.argmax(mean_f1[::-1]))
    if best == 0:  # an answer at its threshold is none: see decode_boxes
        return float(np.nextafter(scores[0], np.float32(0)))
    return (float(scores[best]) + float(scores[best - 1])) / 2


def pr_curves(truth: Boxes, found: Boxes, class_count: int, iou: float = 0.5) -> Floats:
    """Precision at the 101 recall levels for each class, (K, 101); nan for a class without truth.

    The mean over the levels is COCO's average precision at `iou`.
    """
    is_correct = match(truth, found, iou).truth_of >= 0
    curves = np.full((class_count, len(RECALL_LEVELS)), np.nan)
    for k, boxes in enumerate(np.bincount(truth.cls, minlength=class_count)[:class_count]):
        if boxes:
            curves[k] = _precision_at_levels(_falling(found, is_correct, k)[1], int(boxes))
    return curves


def confusion(
    truth: Boxes, found: Boxes, class_count: int, threshold: float, iou: float = 0.5
) -> Ints:
    """Count truth (rows) against detections (columns) at `threshold`, (K + 1, K + 1).

    Boxes pair whatever their class. The last row and column are the background: the last column
    holds what was missed, the last row false alarms.
    """
    found = found.above(threshold)
    pairs = match(truth, found, iou, by_class=False)
    hit, missed = pairs.truth_of >= 0, pairs.found_of < 0
    rows = np.full(len(found), class_count)
    rows[hit] = truth.cls[pairs.truth_of[hit]]
    rows = np.concatenate((rows, truth.cls[missed]))
    columns = np.concatenate((found.cls, np.full(int(missed.sum()), class_count)))
    size = class_count + 1
    cells = np.bincount(rows * size + columns, minlength=size * size)
    return cells.reshape(size, size).astype(np.int64)


def frame_errors(
    truth: Boxes, found: Boxes, frame_count: int, threshold: float, iou: float = 0.5
) -> FrameErrors:
    """Count what was found, missed and wrongly reported in each frame at `threshold`."""
    found = found.above(threshold)
    pairs = match(truth, found, iou)
    missed, false_alarm = pairs.found_of < 0, pairs.truth_of < 0

    def count(
        frames: Ints, weights: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.generic]:
        return np.bincount(frames, weights, minlength=frame_count)

    n_missed = count(truth.frame[missed]).astype(np.int64)
    sure = count(found.frame[false_alarm], found.score[false_alarm]).astype(np.float64)
    return FrameErrors(
        correct=count(truth.frame[~missed]).astype(np.int64),
        missed=n_missed,
        false_alarms=count(found.frame[false_alarm]).astype(np.int64),
        error=n_missed + sure,
    )


def _falling(
    found: Boxes, is_correct: npt.NDArray[np.bool_], k: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Scores of class `k` from high to low, and whether each was correct."""
    rows = np.flatnonzero(found.cls == k)
    order = rows[np.lexsort((found.frame[rows], -found.score[rows]))]  # COCO's order of equals
    return found.score[order], is_correct[order]


def _precision_at_levels(correct: npt.NDArray[np.bool_], boxes: int) -> Floats:
    """Interpolate precision at the recall levels, as in COCO's `accumulate`; 0 beyond reach."""
    hits = np.cumsum(correct)
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / boxes, RECALL_LEVELS, side="left")
    return np.append(envelope, 0.0)[at]


def _ratio(part: Ints, whole: Ints) -> Floats:
    part, whole = np.broadcast_arrays(part, whole)
    out: Floats = np.full(part.shape, np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out
