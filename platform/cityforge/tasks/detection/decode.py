"""From raw network output to boxes; numpy only, the same in evaluation and in the endpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# More candidates than this, and the weakest are dropped before overlaps are looked at.
MOST_CANDIDATES = 1000


def decode_boxes(
    scores: NDArray[Any],
    boxes: NDArray[Any],
    *,
    scale: float,
    width: int,
    height: int,
    score_floor: float,
    overlap: float,
    max_boxes: int,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Turn one picture's raw output into its answer.

    Args:
        scores: (A, C) probabilities.
        boxes: (A, 4) xyxy, pixels of the network's input.
        scale: input pixels for each pixel of the picture.
        width: of the picture, pixels; boxes are cut at its edges.
        height: likewise.
        score_floor: under it a box is no candidate.
        overlap: IoU over which the weaker of two boxes of one class is dropped.
        max_boxes: at most so many are answered.

    Returns:
        (K, 4) xyxy in pixels of the picture, (K,) scores falling, (K,) class indices.
    """
    cell, cls = np.nonzero(scores > score_floor)
    score = scores[cell, cls]
    if len(score) > MOST_CANDIDATES:
        weakest = np.partition(score, -MOST_CANDIDATES)[-MOST_CANDIDATES]
        strong = score >= weakest
        cell, cls, score = cell[strong], cls[strong], score[strong]
    order = np.lexsort((cell, cls, -score))  # ties are broken alike on every machine
    order = order[:MOST_CANDIDATES]
    cell, cls, score = cell[order], cls[order], score[order]
    xyxy = boxes[cell].astype(np.float32) / np.float32(scale)
    xyxy[:, 0::2] = xyxy[:, 0::2].clip(0, width)
    xyxy[:, 1::2] = xyxy[:, 1::2].clip(0, height)
    keep = suppress(xyxy, cls, overlap, max_boxes)
    return xyxy[keep], score[keep].astype(np.float32), cls[keep]


def suppress(xyxy: NDArray[Any], cls: NDArray[Any], overlap: float, most: int) -> NDArray[Any]:
    """Indices that greedy non-maximum suppression keeps, within each class.

    Args:
        xyxy: (K, 4), sorted by falling score.
        cls: (K,) class indices.
    """
    area = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    alive = area > 0
    kept: list[int] = []
    for i in range(len(xyxy)):
        if not alive[i]:
            continue
        kept.append(i)
        if len(kept) == most:
            break
        rest = slice(i + 1, None)
        size = np.minimum(xyxy[i, 2:], xyxy[rest, 2:]) - np.maximum(xyxy[i, :2], xyxy[rest, :2])
        inside = size.clip(0).prod(1)
        share = inside / (area[i] + area[rest] - inside + 1e-9)
        alive[rest] &= (share <= overlap) | (cls[rest] != cls[i])
    return np.array(kept, dtype=np.int64)
