"""Which detection found which truth: greedy by score, as in the COCO protocol.

Source: Lin et al., "Microsoft COCO: Common Objects in Context", 2014, and its evaluation code
(cocodataset/cocoapi, `cocoeval.py`, `evaluateImg`): detections in falling score, each takes the
free truth of highest IoU, if that is at least the threshold; among equal IoUs the later truth.
A truth that does not count (of another size) is taken only where none that counts is free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cityforge.tasks.boxes import Boxes

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Matches:
    """The pairs of truth and detection.

    Attributes:
        truth_of: (M,) int64, for each detection the row of its truth; -1 is a false alarm.
        found_of: (N,) int64, for each truth the row of its detection; -1 is missed.
        iou: (M,) float64, overlap of each detection with its truth; 0 for a false alarm.
    """

    truth_of: Ints
    found_of: Ints
    iou: Floats


def match(
    truth: Boxes,
    found: Boxes,
    iou: float = 0.5,
    *,
    by_class: bool = True,
    uncounted: npt.NDArray[np.bool_] | None = None,
) -> Matches:
    """Pair detections with truth, frame by frame.

    Args:
        truth: (N) boxes that people drew.
        found: (M) detections, in any order.
        iou: smallest overlap that counts, 0 to 1; an overlap of exactly `iou` counts.
        by_class: pair only boxes of the same class; else of any class.
        uncounted: (N,) truths that are taken last.
    """
    truth_of = np.full(len(found), -1, np.int64)
    found_of = np.full(len(truth), -1, np.int64)
    overlap = np.zeros(len(found), np.float64)
    keys_t, keys_f = group_keys(truth, found, by_class=by_class)
    rank = rank_in_group(keys_f, found.score)
    d, t = pairs_of_groups(keys_t, keys_f)
    pair_iou = paired_iou(found.xyxy[d], truth.xyxy[t])
    kept = pair_iou >= min(iou, 1 - 1e-10)  # the tolerance is COCO's
    d, t, pair_iou = d[kept], t[kept], pair_iou[kept]
    last = np.zeros(len(t), np.bool_) if uncounted is None else uncounted[t]
    order = np.lexsort((-t, -pair_iou, last, d, rank[d]))
    d, t, pair_iou = d[order], t[order], pair_iou[order]
    ends = np.flatnonzero(np.diff(rank[d], append=-1)) + 1
    start = 0
    for end in ends:  # all frames at once: their best detection, their second, ...
        free = start + np.flatnonzero(found_of[t[start:end]] < 0)
        best = free[np.unique(d[free], return_index=True)[1]]
        truth_of[d[best]], found_of[t[best]] = t[best], d[best]
        overlap[d[best]] = pair_iou[best]
        start = int(end)
    return Matches(truth_of, found_of, overlap)


def paired_iou(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> Floats:
    """Intersection over union of boxes row by row: (P, 4) and (P, 4) xyxy to (P,), 0 to 1.

    >>> paired_iou(np.array([[0.0, 0, 10, 10]]), np.array([[0.0, 0, 10, 5]])).tolist()
    [0.5]
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=1)
    union = np.prod(a[:, 2:] - a[:, :2], axis=1) + np.prod(b[:, 2:] - b[:, :2], axis=1) - inter
    out: Floats = np.zeros(len(inter))
    np.divide(inter, union, out=out, where=union > 0)
    return out


def group_keys(truth: Boxes, found: Boxes, *, by_class: bool = True) -> tuple[Ints, Ints]:
    """Number the groups within which boxes may pair: a frame, or a frame and a class."""
    if not by_class:
        return truth.frame, found.frame
    classes = 1 + max((int(b.cls.max()) for b in (truth, found) if len(b)), default=0)
    return truth.frame * classes + truth.cls, found.frame * classes + found.cls


def rank_in_group(keys: Ints, score: npt.NDArray[np.float32]) -> Ints:
    """Rank each detection among those of its group, 0 the highest score; (M,)."""
    order = np.lexsort((-score, keys))  # stable: equal scores keep their order
    first = np.searchsorted(keys[order], keys[order], side="left")
    rank = np.empty(len(keys), np.int64)
    rank[order] = np.arange(len(keys)) - first
    return rank


def pairs_of_groups(keys_t: Ints, keys_f: Ints) -> tuple[Ints, Ints]:
    """Every detection with every truth of its group: rows of both, (P,) and (P,)."""
    order = np.argsort(keys_t, kind="stable")
    ordered = keys_t[order]
    low = np.searchsorted(ordered, keys_f, side="left")
    count = np.searchsorted(ordered, keys_f, side="right") - low
    d = np.repeat(np.arange(len(keys_f)), count)
    within = np.arange(len(d)) - np.repeat(np.cumsum(count) - count, count)
    return d, order[np.repeat(low, count) + within]
