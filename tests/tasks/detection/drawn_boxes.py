"""Boxes that the tests of detection metrics share."""

from __future__ import annotations

import numpy as np

from cityforge.tasks.boxes import Boxes


def boxes(*rows: tuple[int, int, tuple[float, float, float, float], float]) -> Boxes:
    """Boxes from rows of frame, class, xyxy, score."""
    if not rows:
        return Boxes.empty()
    frame, cls, xyxy, score = zip(*rows, strict=True)
    return Boxes(
        np.array(frame, np.int64),
        np.array(cls, np.int64),
        np.array(xyxy, np.float64),
        np.array(score, np.float32),
    )


def random_boxes(
    seed: int, frames: int, classes: int, *, ties: bool, each: int = 6
) -> tuple[Boxes, Boxes]:
    """Truth, `each` a frame, and detections that are partly shifted truth and partly noise."""
    rng = np.random.default_rng(seed)
    n = frames * each
    frame, cls = np.sort(rng.integers(0, frames, n)), rng.integers(0, classes, n)
    corner, side = rng.uniform(0, 500, (n, 2)), rng.uniform(8, 160, (n, 2))
    truth = Boxes(frame, cls, np.hstack([corner, corner + side]), np.ones(n, np.float32))
    keep = np.flatnonzero(rng.random(n) < 0.8)
    copies = np.concatenate([keep, keep[::3]])
    xyxy = truth.xyxy[copies] + rng.normal(0, 0.12, (len(copies), 4)) * np.tile(side[copies], 2)
    xyxy = np.hstack([np.minimum(xyxy[:, :2], xyxy[:, 2:]), np.maximum(xyxy[:, :2], xyxy[:, 2:])])
    wrong = rng.random(len(copies)) < 0.15
    cls_found = np.where(wrong, rng.integers(0, classes, len(copies)), cls[copies])
    score = rng.random(len(copies)).astype(np.float32)
    score = np.round(score, 1) if ties else score
    order = np.argsort(frame[copies], kind="stable")
    return truth, Boxes(frame[copies], cls_found, xyxy, score.astype(np.float32)).where(order)


def repeated(drawn: Boxes, times: np.ndarray) -> Boxes:
    """The boxes of frames that are repeated `times`, (F,), each frame's repeats in a row."""
    of_frames = [np.flatnonzero(drawn.frame == i) for i in range(len(times))]
    rows, frame, new = [], [], 0
    for i, often in enumerate(times):
        for _ in range(often):
            rows.append(of_frames[i])
            frame.append(np.full(len(of_frames[i]), new))
            new += 1
    none = np.zeros(0, np.int64)
    taken = drawn.where(np.concatenate([none, *rows]))
    return Boxes(np.concatenate([none, *frame]), taken.cls, taken.xyxy, taken.score)
