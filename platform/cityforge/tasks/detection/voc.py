"""Average precision of detections, by the PASCAL VOC protocol.

Source: Everingham et al., "The PASCAL Visual Object Classes Challenge: A Retrospective", 2015, and
its development kit (`VOCevaldet.m`). A detection belongs to the truth of its class that it covers
best, and the first by score takes it; any other detection of that truth is a false alarm, even
where another truth is free. The kit's boxes hold their last pixel; ours are continuous and end
where it ends. An overlap of exactly `iou` counts, as in Padilla et al., "A Survey on Performance
Metrics for Object-Detection Algorithms", 2020.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.matching import Floats, group_keys, paired_iou, pairs_of_groups

ELEVEN_LEVELS: Floats = np.arange(11) / 10


def voc_ap(
    truth: Boxes,
    found: Boxes,
    class_count: int,
    iou: float = 0.5,
    *,
    eleven_points: bool = False,
) -> Floats:
    """AP of each class, (K,), 0 to 1; nan for a class without truth.

    Args:
        iou: smallest overlap that counts, 0 to 1.
        eleven_points: the rule of 2007, the mean of the highest precision at the recalls 0, 0.1,
            ..., 1 or beyond; else the rule since 2010, the area under that curve.
    """
    correct = voc_hits(truth, found, iou)
    ap = np.full(class_count, np.nan)
    for k, boxes in enumerate(np.bincount(truth.cls, minlength=class_count)[:class_count]):
        if boxes:
            rows = np.flatnonzero(found.cls == k)
            order = rows[np.argsort(-found.score[rows], kind="stable")]
            ap[k] = _area(correct[order], int(boxes), eleven_points)
    return ap


def voc_hits(truth: Boxes, found: Boxes, iou: float = 0.5) -> npt.NDArray[np.bool_]:
    """Which detections are the first on the truth that they cover best, (M,)."""
    keys_t, keys_f = group_keys(truth, found)
    d, t = pairs_of_groups(keys_t, keys_f)
    overlap = paired_iou(found.xyxy[d], truth.xyxy[t])
    order = np.lexsort((t, -overlap, d))
    d, t, overlap = d[order], t[order], overlap[order]
    first = np.unique(d, return_index=True)[1]  # of each detection its best truth
    d, t = (each[first][overlap[first] >= iou] for each in (d, t))
    falling = np.argsort(-found.score[d], kind="stable")
    taken = np.unique(t[falling], return_index=True)[1]
    hits = np.zeros(len(found), np.bool_)
    hits[d[falling][taken]] = True
    return hits


def _area(correct: npt.NDArray[np.bool_], boxes: int, eleven_points: bool) -> float:
    """AP of detections in falling score."""
    hits = np.cumsum(correct)
    recall, precision = hits / boxes, hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if eleven_points:
        at = np.searchsorted(recall, ELEVEN_LEVELS, side="left")
        return float(np.append(envelope, 0.0)[at].mean())
    return float((np.diff(recall, prepend=0.0) * envelope).sum())
