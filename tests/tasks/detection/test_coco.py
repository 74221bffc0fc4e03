"""COCO's twelve numbers are those of pycocotools, the protocol's own implementation."""

from __future__ import annotations

import contextlib
import io
import math
from typing import Any

import numpy as np
import pytest
from drawn_boxes import boxes, random_boxes

from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.metrics import coco_metrics

# In the order of `COCOeval.stats`.
TWELVE = (
    "map50_95", "map50", "map75", "map_small", "map_medium", "map_large",
    "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip
NAMES = ["car", "巴士", "tram"]
A, B, C = (0, 0, 100, 100), (200, 0, 300, 100), (0, 200, 20, 220)
EXACTLY_SMALL = (50, 300, 82, 332)  # 32² square pixels: COCO counts it as small and as medium


def of_pycocotools(
    truth: Boxes, found: Boxes, frames: int, crowd: np.ndarray | None
) -> dict[str, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for own, marks in ((truth, crowd), (found, None)):
            side = COCO()
            side.dataset = as_coco(own, frames, marks)
            side.createIndex()
            sides.append(side)
        run = COCOeval(*sides, "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return {n: math.nan if v < 0 else v for n, v in zip(TWELVE, run.stats, strict=True)}


def as_coco(own: Boxes, frames: int, crowd: np.ndarray | None) -> dict[str, Any]:
    annotations = []
    for i in range(len(own)):
        x1, y1, x2, y2 = own.xyxy[i].tolist()
        annotations.append(
            {
                "id": i + 1, "image_id": int(own.frame[i]), "category_id": int(own.cls[i]),
                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1),
                "score": float(own.score[i]), "iscrowd": int(crowd[i]) if crowd is not None else 0,
            }
        )  # fmt: skip
    return {
        "images": [{"id": i} for i in range(frames)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(NAMES)],
        "annotations": annotations,
    }


def assert_the_same(truth: Boxes, found: Boxes, frames: int, crowd: Any = None) -> None:
    metrics = coco_metrics(truth, found, frames, NAMES, crowd=crowd)
    expected = of_pycocotools(truth, found, frames, crowd)
    own = {name: getattr(metrics, name) for name in TWELVE}
    assert own == pytest.approx(expected, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("truth", "found"),
    [
        ([], []),
        ([(0, 0, A, 1)], []),
        ([], [(0, 0, A, 0.9)]),
        # two detections of one truth: the second is a false alarm
        ([(0, 0, A, 1), (0, 0, B, 1)], [(0, 0, A, 0.9), (0, 0, A, 0.8), (0, 0, B, 0.7)]),
        # the same box twice in the truth and in the detections
        ([(0, 0, A, 1), (0, 0, A, 1)], [(0, 0, A, 0.9), (0, 0, A, 0.9)]),
        # a false alarm and a hit of the same score, in both orders
        ([(0, 0, A, 1)], [(0, 0, B, 0.5), (0, 0, A, 0.5)]),
        ([(0, 0, A, 1)], [(0, 0, A, 0.5), (0, 0, B, 0.5)]),
        # across frames
        ([(1, 0, A, 1)], [(0, 0, B, 0.5), (1, 0, A, 0.5)]),
        # an empty frame with a false alarm, a class without truth, sizes on the edge
        ([(0, 0, A, 1), (1, 2, C, 1)], [(0, 1, A, 0.9), (1, 2, C, 0.4), (2, 0, A, 0.3)]),
        ([(0, 0, EXACTLY_SMALL, 1)], [(0, 0, EXACTLY_SMALL, 0.9)]),
        ([(0, 0, EXACTLY_SMALL, 1), (0, 0, A, 1)], [(0, 0, C, 0.9), (0, 0, A, 0.8)]),
    ],
)
def test_small_cases(truth, found):
    assert_the_same(boxes(*truth), boxes(*found), 3)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_random_boxes(seed, ties):
    truth, found = random_boxes(seed, 20, 3, ties=ties)
    assert_the_same(truth, found, 20)


def test_more_than_a_hundred_detections_of_a_frame():
    truth, found = random_boxes(5, 2, 1, ties=False, each=180)
    assert np.bincount(found.frame).max() > 100
    assert_the_same(truth, found, 2)


@pytest.mark.parametrize("seed", range(3))
def test_crowds_are_neither_missed_nor_false_alarms(seed):
    truth, found = random_boxes(seed, 20, 3, ties=True)
    crowd = np.random.default_rng(seed).random(len(truth)) < 0.3
    assert_the_same(truth, found, 20, crowd)
    inside = boxes((0, 0, A, 1), (0, 0, B, 1)), boxes((0, 0, (10, 10, 40, 40), 0.9), (0, 0, B, 0.8))
    assert coco_metrics(*inside, 1, NAMES, crowd=np.array([True, False])).map50 == 1.0
    assert coco_metrics(*inside, 1, NAMES).map50 < 0.5
