"""COCO's figures of many resamples of the frames at once: boxes are paired once, then counted.

A resample draws each frame 0, 1 or more times. Its figures are those of `coco_metrics` on the
frames repeated as often, each frame's repeats standing together; only where two detections of one
frame and class have exactly the same score may the order within the repeats differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.curves import RECALL_LEVELS
from cityforge.tasks.detection.matching import Floats, Ints, group_keys, match, rank_in_group

Bools = npt.NDArray[np.bool_]

IOUS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
MOST_FOUND = 100  # detections a frame and class that count, as in COCO
CELLS = 8_000_000  # of the largest array: resamples are taken in parts


@dataclass(frozen=True)
class RankedClass:
    """One class: its detections in falling score, and its truth.

    Attributes:
        frame: (D,) of each detection.
        hit: (I, D) it found a truth at each IoU.
        shown: (I, D) it counts at all; detections of another size do not.
        boxes: (F,) truths in each frame.
    """

    frame: Ints
    hit: Bools
    shown: Bools
    boxes: Ints


@dataclass(frozen=True)
class WeightedDetections:
    """Detections that are paired with their truth, to be counted with any weights of the frames.

    Attributes:
        classes: one each.
        ious: (I,) overlaps at which they were paired.
        at_threshold: (3, F) correct, found and true boxes of each frame at a score threshold.
    """

    classes: tuple[RankedClass, ...]
    ious: tuple[float, ...]
    at_threshold: Ints

    @classmethod
    def of(
        cls,
        truth: Boxes,
        found: Boxes,
        frame_count: int,
        class_count: int,
        *,
        threshold: float = 0.0,
        ious: Sequence[float] = IOUS,
        area: tuple[float, float] = (0.0, float("inf")),
    ) -> WeightedDetections:
        """Pair detections with truth.

        Args:
            threshold: score from which a detection is reported, for `at_threshold`.
            ious: overlaps that count, the first for `at_threshold`.
            area: smallest and largest area that counts, square pixels, both included.
        """
        at_threshold = _counts_of_frames(truth, found, frame_count, threshold, ious[0])
        rank = rank_in_group(group_keys(truth, found)[1], found.score)
        found = found.where(rank < MOST_FOUND)
        too_small_or_large, hit, shown = _paired(truth, found, ious, area)
        ranked = []
        for k in range(class_count):
            rows = np.flatnonzero(found.cls == k)
            order = rows[np.lexsort((found.frame[rows], -found.score[rows]))]
            counted = truth.frame[(truth.cls == k) & ~too_small_or_large]
            boxes = np.bincount(counted, minlength=frame_count)
            ranked.append(RankedClass(found.frame[order], hit[:, order], shown[:, order], boxes))
        return cls(tuple(ranked), tuple(ious), at_threshold)

    def within(self, rows: Bools) -> WeightedDetections:
        """Leave out the detections of the frames that are not among `rows`, (F,).

        The weights of those frames must be 0 from then on.
        """
        classes = []
        for each in self.classes:
            kept = rows[each.frame]
            frame, hit, shown = each.frame[kept], each.hit[:, kept], each.shown[:, kept]
            classes.append(RankedClass(frame, hit, shown, each.boxes))
        return replace(self, classes=tuple(classes))

    def figures(self, weights: Ints) -> dict[str, Floats]:
        """Figures of each resample, each (R,), named as in `DetectionMetrics`; nan without truth.

        Args:
            weights: (R, F) how often each resample draws each frame.
        """
        ap, recall = self.average_precision(weights)  # (I, K, R) each
        correct, found, truth = (self.at_threshold @ weights.T).astype(np.float64)
        return {
            "map50": mean_of_known(ap[0], 0),
            "map50_95": mean_of_known(mean_of_known(ap, 1), 0),
            "map75": mean_of_known(ap[5], 0),
            "ar100": mean_of_known(mean_of_known(recall, 1), 0),
            "precision": _ratio(correct, found),
            "recall": _ratio(correct, truth),
            "f1": _ratio(2 * correct, found + truth),
        }

    def map50(self, weights: Ints) -> Floats:
        """Mean over the classes at the first IoU, (R,)."""
        first = replace(
            self,
            ious=self.ious[:1],
            classes=tuple(replace(c, hit=c.hit[:1], shown=c.shown[:1]) for c in self.classes),
        )
        return mean_of_known(first.average_precision(weights)[0][0], 0)

    def average_precision(self, weights: Ints) -> tuple[Floats, Floats]:
        """AP and recall of each IoU, class and resample, (I, K, R) each; nan without truth."""
        shape = (len(self.ious), len(self.classes), len(weights))
        ap, recall = np.full(shape, np.nan), np.full(shape, np.nan)
        for k, each in enumerate(self.classes):
            part = max(1, CELLS // max(1, len(each.frame)))
            for start in range(0, len(weights), part):
                here = slice(start, start + part)
                ap[:, k, here], recall[:, k, here] = _of_class(each, weights[here])
        return ap, recall


def _paired(
    truth: Boxes, found: Boxes, ious: Sequence[float], area: tuple[float, float]
) -> tuple[Bools, Bools, Bools]:
    """Truths outside the area, (N,); hits and detections that count at each IoU, (I, M) each."""
    outside, found_outside = _outside(truth, area), _outside(found, area)
    hit = np.zeros((len(ious), len(found)), np.bool_)
    shown = np.ones_like(hit)
    for i, iou in enumerate(ious):
        truth_of = match(truth, found, iou, uncounted=outside).truth_of
        free = truth_of < 0
        of_outside = ~free & np.append(outside, False)[truth_of]
        hit[i] = ~free & ~of_outside
        shown[i] = ~of_outside & ~(free & found_outside)
    return outside, hit, shown


def _outside(boxes: Boxes, area: tuple[float, float]) -> Bools:
    own = boxes.area()
    return np.asarray((own < area[0]) | (own > area[1]), np.bool_)


def _of_class(ranked: RankedClass, weights: Ints) -> tuple[Floats, Floats]:
    """AP and recall, (I, R) each."""
    drawn = np.asarray(weights[:, ranked.frame], np.int32)  # (R, D)
    boxes = (weights @ ranked.boxes).astype(np.float64)  # (R,)
    ap, recall = np.full((2, len(ranked.hit), len(weights)), np.nan)
    seen = boxes > 0
    if not seen.any():
        return ap, recall
    drawn, boxes = drawn[seen], boxes[seen]
    n_all = None
    for i, (hit, shown) in enumerate(zip(ranked.hit, ranked.shown, strict=True)):
        if shown.all():
            n_all = np.cumsum(drawn, axis=1) if n_all is None else n_all
            n = n_all[:, hit]
        else:
            n = np.cumsum(drawn * shown, axis=1)[:, hit]
        correct = np.cumsum(drawn[:, hit], axis=1)  # (R, H)
        ap[i, seen] = _mean_precision(correct, n, boxes)
        recall[i, seen] = correct[:, -1] / boxes if hit.any() else 0.0
    return ap, recall


def _mean_precision(
    correct: npt.NDArray[np.integer], n: npt.NDArray[np.integer], boxes: Floats
) -> Floats:
    """Mean of the precision at the 101 recall levels, (R,).

    Args:
        correct: (R, H) weight of the hits down to each hit.
        n: (R, H) weight of the detections down to each hit.
        boxes: (R,) weight of the truth.
    """
    if not correct.shape[1]:
        return np.zeros(len(boxes))
    precision = correct / np.maximum(n, 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(RECALL_LEVELS, correct / boxes[:, None], side="right")
    levels = np.diff(reached, axis=1, prepend=0)  # of the 101, first reached at this hit
    return np.asarray((envelope * levels).sum(1) / len(RECALL_LEVELS), np.float64)


def _counts_of_frames(
    truth: Boxes, found: Boxes, frame_count: int, threshold: float, iou: float
) -> Ints:
    reported = found.score >= np.float32(threshold)
    correct = reported & (match(truth, found, iou).truth_of >= 0)
    columns = (found.frame[correct], found.frame[reported], truth.frame)
    return np.stack([np.bincount(each, minlength=frame_count) for each in columns])


def mean_of_known(values: Floats, axis: int) -> Floats:
    """Mean over an axis of what is not nan; nan where all is."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis), known.sum(axis).astype(np.float64))


def _ratio(part: Floats, whole: Floats) -> Floats:
    out: Floats = np.full(np.shape(part), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out
