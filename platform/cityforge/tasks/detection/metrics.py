"""Average precision and recall of detections, by the COCO protocol.

Sources: Lin et al., "Microsoft COCO: Common Objects in Context", 2014, and its evaluation code
(cocodataset/cocoapi, `cocoeval.py`): IoU 0.50 to 0.95 in steps of 0.05, precision at 101 recall
levels, at most 100 detections a frame and class, sizes split at 32² and 96² square pixels.
Counted by faster-coco-eval, which does the same in C++.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cityforge.errors import DataError
from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.curves import best_threshold
from cityforge.tasks.detection.matching import Matches, match

__all__ = ["DetectionMetrics", "Matches", "best_threshold", "coco_metrics", "match"]

SMALL_BELOW, LARGE_ABOVE = 32.0**2, 96.0**2  # square pixels of the stored frame
_SMALL, _MEDIUM, _LARGE = 1, 2, 3  # position among COCO's area ranges; 0 is all sizes
_IOU_50, _IOU_75 = 0, 5  # position among COCO's ten IoU thresholds
_MOST_FOUND = (1, 10, 100)  # detections a frame and class that count

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DetectionMetrics:
    """COCO's figures, 0 to 1; nan where there is no truth to find.

    Attributes:
        map50_95: mean over classes and IoU 0.50 to 0.95.
        map50: mean over classes at IoU 0.50.
        map75: mean over classes at IoU 0.75.
        ar1: mean recall over classes and IoU 0.50 to 0.95, 1 detection a frame and class.
        ar10: the same, 10 detections.
        ar100: the same, 100 detections.
        map_small: as map50_95, boxes below 32² square pixels.
        map_medium: as map50_95, boxes of 32² to 96² square pixels.
        map_large: as map50_95, boxes above 96² square pixels.
        ar_small: as ar100, boxes below 32² square pixels.
        ar_medium: as ar100, boxes of 32² to 96² square pixels.
        ar_large: as ar100, boxes above 96² square pixels.
        map50_small: as map50, boxes below 32² square pixels.
        map50_medium: as map50, boxes of 32² to 96² square pixels.
        map50_large: as map50, boxes above 96² square pixels.
        per_class_ap50: average precision at IoU 0.50, by class name.
        per_class_ap: average precision over IoU 0.50 to 0.95, by class name.
    """

    map50_95: float
    map50: float
    map75: float
    ar1: float
    ar10: float
    ar100: float
    map_small: float
    map_medium: float
    map_large: float
    ar_small: float
    ar_medium: float
    ar_large: float
    map50_small: float
    map50_medium: float
    map50_large: float
    per_class_ap50: dict[str, float]
    per_class_ap: dict[str, float]


def coco_metrics(
    truth: Boxes,
    found: Boxes,
    frame_count: int,
    class_names: Sequence[str],
    *,
    crowd: npt.NDArray[np.bool_] | None = None,
) -> DetectionMetrics:
    """Compare detections with truth over `frame_count` frames.

    Args:
        crowd: (N,) truths that mark many objects at once, COCO's `iscrowd`: nobody has to find
            them, and detections inside are no false alarms.

    Raises:
        DataError: a box names a frame or a class that does not exist.
    """
    for name, boxes in (("truth", truth), ("detections", found)):
        _check(boxes, name, frame_count, len(class_names))
    precision, recall = _accumulate(truth, found, frame_count, class_names, crowd)
    by_class = [precision[:, :, k, 0] for k in range(len(class_names))]  # each (10, 101)
    return DetectionMetrics(
        map50_95=_mean(precision[:, :, :, 0]),
        map50=_mean(precision[_IOU_50, :, :, 0]),
        map75=_mean(precision[_IOU_75, :, :, 0]),
        ar1=_mean(recall[:, :, 0, 0]),
        ar10=_mean(recall[:, :, 0, 1]),
        ar100=_mean(recall[:, :, 0, 2]),
        map_small=_mean(precision[:, :, :, _SMALL]),
        map_medium=_mean(precision[:, :, :, _MEDIUM]),
        map_large=_mean(precision[:, :, :, _LARGE]),
        ar_small=_mean(recall[:, :, _SMALL, 2]),
        ar_medium=_mean(recall[:, :, _MEDIUM, 2]),
        ar_large=_mean(recall[:, :, _LARGE, 2]),
        map50_small=_mean(precision[_IOU_50, :, :, _SMALL]),
        map50_medium=_mean(precision[_IOU_50, :, :, _MEDIUM]),
        map50_large=_mean(precision[_IOU_50, :, :, _LARGE]),
        per_class_ap50={n: _mean(p[_IOU_50]) for n, p in zip(class_names, by_class, strict=True)},
        per_class_ap={n: _mean(p) for n, p in zip(class_names, by_class, strict=True)},
    )


def _check(boxes: Boxes, name: str, frame_count: int, class_count: int) -> None:
    for column, values, limit in (
        ("frame", boxes.frame, frame_count),
        ("class", boxes.cls, class_count),
    ):
        bad = np.flatnonzero((values < 0) | (values >= limit))
        if bad.size:
            raise DataError(
                f"a {column} index from 0 to {limit - 1}",
                found=str(int(values[bad[0]])),
                where=f"{name}, box {int(bad[0])}",
            )


def _mean(values: npt.NDArray[np.float64]) -> float:
    """Mean of what COCO could compute; it marks the rest (no truth) with -1."""
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")


def _accumulate(
    truth: Boxes,
    found: Boxes,
    frame_count: int,
    class_names: Sequence[str],
    crowd: npt.NDArray[np.bool_] | None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return COCO's precision (10, 101, K, 4) and recall (10, K, 4, 3).

    The axes are IoU, recall level, class, size and how many detections count.
    """
    classes, ious, levels, sizes = len(class_names), 10, 101, 4
    if not frame_count or not classes:
        nothing = np.full((ious, classes, sizes, len(_MOST_FOUND)), -1.0)
        return np.full((ious, levels, classes, sizes), -1.0), nothing
    from faster_coco_eval import COCO, COCOeval_faster

    sets = [
        COCO(_dataset(b, frame_count, class_names, c), print_function=logger.debug)
        for b, c in ((truth, crowd), (found, None))
    ]
    run = COCOeval_faster(*sets, iouType="bbox", print_function=logger.debug)
    run.params.maxDets = list(_MOST_FOUND)
    run.evaluate()
    run.accumulate()
    precision = np.asarray(run.eval["precision"], np.float64)[..., -1]
    return precision, np.asarray(run.eval["recall"], np.float64)


def _dataset(
    boxes: Boxes,
    frame_count: int,
    class_names: Sequence[str],
    crowd: npt.NDArray[np.bool_] | None,
) -> dict[str, Any]:
    """Write boxes as a COCO dictionary; ids start at 1 because COCO reads 0 as 'no match'."""
    xywh = boxes.xyxy.astype(np.float64)
    xywh[:, 2:] -= xywh[:, :2]
    columns = zip(
        boxes.frame.tolist(),
        boxes.cls.tolist(),
        xywh.tolist(),
        boxes.score.tolist(),
        boxes.area().tolist(),
        [0] * len(boxes) if crowd is None else crowd.astype(int).tolist(),
        strict=True,
    )
    keys = ("image_id", "category_id", "bbox", "score", "area", "iscrowd")
    return {
        "images": [{"id": i} for i in range(frame_count)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(class_names)],
        "annotations": [
            {"id": i, **dict(zip(keys, row, strict=True))} for i, row in enumerate(columns, start=1)
        ],
    }
