"""Frames whose labels a model contradicts most: likely mistakes, for a person to look at again.

Each contradiction has a weight of 0 to 1, after the three kinds of Tkachenko et al. 2023,
"ObjectLab: Automated Diagnosis of Mislabeled Images in Object Detection Data" (its library is
AGPL, so the kinds are computed here): an object overlooked by people, a label of another class
than the model sees, and a label where the model sees nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SAME = 0.5  # IoU from which a label and a find speak of one object
NEAR = 0.1  # IoU under which a find has nothing to do with a label


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Boxes of one frame: (K, 4) xyxy in pixels, (K,) class index, (K,) score (labels: 1)."""

    xyxy: Array
    cls: Array
    score: Array


@dataclass(frozen=True)
class Contradiction:
    """The strongest contradiction of one frame."""

    frame_id: str
    weight: float  # 0 to 1
    reason: str


def likely_mistakes(
    frames: Iterable[tuple[str, Boxes, Boxes]], classes: Sequence[str], *, floor: float
) -> list[Contradiction]:
    """Frames that the model contradicts, the strongest first.

    Args:
        frames: id, labels and the model's finds (at low scores too) of each labelled frame.
        classes: what the class indices stand for.
        floor: weights under it are no contradiction, 0 to 1.
    """
    found = [_strongest(frame_id, labels, finds, classes) for frame_id, labels, finds in frames]
    return sorted(
        (each for each in found if each is not None and each.weight >= floor),
        key=lambda each: (-round(each.weight, 6), each.frame_id),
    )


def _strongest(
    frame_id: str, labels: Boxes, finds: Boxes, classes: Sequence[str]
) -> Contradiction | None:
    iou = _iou(labels.xyxy, finds.xyxy)
    every = [
        *_overlooked(labels, finds, iou, classes),
        *_of_labels(labels, finds, iou, classes),
    ]
    if not every:
        return None
    weight, reason = max(every)
    return Contradiction(frame_id, weight, reason)


def _overlooked(
    labels: Boxes, finds: Boxes, iou: Array, classes: Sequence[str]
) -> list[tuple[float, str]]:
    """Finds that lie on no label: the surer the find, the heavier."""
    free = iou.max(0, initial=0) < NEAR
    return [
        (float(finds.score[k]), f"'{classes[finds.cls[k]]}' found, not labelled, {_at(finds, k)}")
        for k in np.flatnonzero(free)
    ]


def _of_labels(
    labels: Boxes, finds: Boxes, iou: Array, classes: Sequence[str]
) -> list[tuple[float, str]]:
    """Labels that the model gives another class, or sees nothing of."""
    every = []
    for row, cls in enumerate(labels.cls):
        on = iou[row] >= SAME
        own = float(finds.score[on & (finds.cls == cls)].max(initial=0))
        others = np.where(on & (finds.cls != cls), finds.score, 0)
        name, at = classes[cls], _at(labels, row)
        if others.max(initial=0) > own:
            best = int(others.argmax())
            other = classes[finds.cls[best]]
            weight = float(others[best]) * (1 - own)
            every.append((weight, f"labelled '{name}', looks like '{other}', {at}"))
            continue
        near = float(finds.score[(iou[row] >= NEAR)].max(initial=0))
        every.append((1 - max(own, near), f"labelled '{name}', nothing found there, {at}"))
    return every


def _iou(one: Array, other: Array) -> Array:
    """(K, 4) and (M, 4) xyxy to (K, M)."""
    corner = np.maximum(one[:, None, :2], other[None, :, :2])
    end = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(end - corner, 0, None).prod(-1)
    areas = _area(one)[:, None] + _area(other)[None] - shared
    return np.where(areas > 0, shared / np.maximum(areas, 1e-12), 0)


def _area(boxes: Array) -> Array:
    sides: Array = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return sides[:, 0] * sides[:, 1]


def _at(boxes: Boxes, row: int) -> str:
    x1, y1, x2, y2 = (round(float(edge)) for edge in boxes.xyxy[row])
    return f"at {x1},{y1} to {x2},{y2}"
