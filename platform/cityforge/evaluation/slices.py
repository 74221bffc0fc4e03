"""Accuracy by camera, light, weather and size: an average hides the camera that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cityforge.evaluation.evidence import Slice
from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.metrics import (
    LARGE_ABOVE,
    SMALL_BELOW,
    DetectionMetrics,
    coco_metrics,
)

_BY: tuple[Literal["camera", "lighting", "weather"], ...] = ("camera", "lighting", "weather")


def footage_column(frames: pa.Table, footage: pa.Table | None, name: str) -> list[str | None]:
    """Look up a column of FOOTAGE for each frame; null where the footage does not state it."""
    if footage is None:
        return [None] * len(frames)
    at = pc.index_in(frames["footage_id"], footage["footage_id"].combine_chunks())
    values: list[str | None] = footage[name].take(at).to_pylist()
    return values


def slice_detection(
    truth: Boxes,
    found: Boxes,
    frames: pa.Table,
    footage: pa.Table | None,
    classes: Sequence[str],
    whole: DetectionMetrics,
) -> list[Slice]:
    """Measure each camera, light, weather and size by itself.

    Args:
        truth: boxes numbered by the rows of `frames`.
        found: detections numbered alike.
        frames: the evaluated frames, table FRAMES.
        footage: table FOOTAGE; without it only sizes are told apart.
        classes: names of the classes, in the order of the boxes' numbers.
        whole: the figures over all frames, which hold those by size.
    """

    def map50(rows: npt.NDArray[np.bool_]) -> float:
        parts = truth.where(rows[truth.frame]), found.where(rows[found.frame])
        return coco_metrics(*parts, len(frames), classes).map50

    slices: list[Slice] = []
    for by in _BY:
        names = footage_column(frames, footage, by)
        if any(name is not None for name in names):
            slices += _by_footage(by, names, truth, map50)
    return slices + list(_by_size(truth, whole))


def _by_footage(
    by: Literal["camera", "lighting", "weather"],
    names: Sequence[str | None],
    truth: Boxes,
    map50: Callable[[npt.NDArray[np.bool_]], float],
) -> Iterator[Slice]:
    of_frame = np.array([name or "" for name in names])
    for name in sorted(set(of_frame.tolist())):
        rows = of_frame == name
        boxes = int(rows[truth.frame].sum())
        yield Slice(by=by, name=name, frames=int(rows.sum()), boxes=boxes, map50=map50(rows))


def _by_size(truth: Boxes, whole: DetectionMetrics) -> Iterator[Slice]:
    area = truth.area()
    parts = (
        ("small", area < SMALL_BELOW, whole.map50_small),
        ("medium", (area >= SMALL_BELOW) & (area <= LARGE_ABOVE), whole.map50_medium),
        ("large", area > LARGE_ABOVE, whole.map50_large),
    )
    for name, rows, map50 in parts:
        frames = len(np.unique(truth.frame[rows]))
        yield Slice(by="size", name=name, frames=frames, boxes=int(rows.sum()), map50=map50)
