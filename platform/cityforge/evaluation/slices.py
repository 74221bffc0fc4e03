"""Accuracy by camera, hour, light, weather, size and crowding: an average hides what fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cityforge.evaluation.bootstrap import SliceFigure, slice_figure
from cityforge.evaluation.evidence import Slice
from cityforge.evaluation.figures import FootagePart
from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.metrics import LARGE_ABOVE, SMALL_BELOW
from cityforge.tasks.detection.weighted import WeightedDetections

BY_FOOTAGE: tuple[FootagePart, ...] = ("camera", "hour", "lighting", "weather")
BLOCK_HOURS = 3
# Objects in a frame, all classes: few enough to count at a glance, a full street, a crowd.
CROWDING: tuple[tuple[str, int, float], ...] = (
    ("1-5", 1, 5),
    ("6-15", 6, 15),
    ("16+", 16, float("inf")),
)
IOU_50 = (0.5,)

SliceKind = FootagePart | Literal["size", "crowding"]
Bools = npt.NDArray[np.bool_]
SliceFigures = dict[tuple[str, str], SliceFigure]


def footage_column(frames: pa.Table, footage: pa.Table | None, name: str) -> list[str | None]:
    """Look up a column of FOOTAGE for each frame; null where the footage does not state it."""
    if footage is None:
        return [None] * len(frames)
    at = pc.index_in(frames["footage_id"], footage["footage_id"].combine_chunks())
    values: list[str | None] = footage[name].take(at).to_pylist()
    return values


def hour_block(captured_at: datetime | None) -> str | None:
    """The three hours of the day, UTC, in which a frame was captured.

    >>> hour_block(datetime(2026, 3, 1, 8, 59))
    '06-09'
    """
    if captured_at is None:
        return None
    first = captured_at.hour // BLOCK_HOURS * BLOCK_HOURS
    return f"{first:02}-{first + BLOCK_HOURS:02}"


def parts_of_footage(
    frames: pa.Table, footage: pa.Table | None
) -> Iterator[tuple[FootagePart, str, Bools]]:
    """Each camera, hour, light and weather: kind, name ("" where not stated), its frames, (N,).

    A kind that no footage states is left out.
    """
    for by in BY_FOOTAGE:
        if by == "hour":
            names = [hour_block(at) for at in frames["captured_at"].to_pylist()]
        else:
            names = footage_column(frames, footage, by)
        if not any(name is not None for name in names):
            continue
        of_frame = np.array([name or "" for name in names])
        for name in sorted(set(of_frame.tolist())):
            yield by, name, of_frame == name


def figures_of_parts(
    main: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]],
    frames: pa.Table,
    footage: pa.Table | None,
    *,
    resamples: int,
    few: int,
) -> Iterator[tuple[FootagePart, str, Bools, SliceFigure]]:
    """The main figure of each camera, hour, light and weather; counted are frames.

    Args:
        main: the figure of each resample, (R,), from its weights, (R, N).
    """
    groups = frames["footage_id"].to_pylist()
    for by, name, rows in parts_of_footage(frames, footage):
        count = int(rows.sum())
        found = slice_figure(main, rows, groups, resamples=resamples, few=few, count=count)
        yield by, name, rows, found


def slice_detection(
    truth: Boxes,
    found: Boxes,
    frames: pa.Table,
    footage: pa.Table | None,
    class_count: int,
    *,
    resamples: int,
    few: int,
) -> tuple[list[Slice], SliceFigures]:
    """Measure mAP50 of each camera, hour, light, weather, size and crowding by itself.

    Args:
        truth: boxes numbered by the rows of `frames`.
        found: detections numbered alike.
        frames: the evaluated frames, table FRAMES.
        footage: table FOOTAGE; without it cameras, light and weather are not told apart.
        resamples: of the bootstrap.
        few: a slice of fewer boxes is too few.
    """
    groups = frames["footage_id"].to_pylist()
    slices: list[Slice] = []
    figures: SliceFigures = {}
    for by, name, rows, boxes, pairs in _parts(truth, found, frames, footage, class_count):
        figure = slice_figure(
            pairs.map50, rows, groups, resamples=resamples, few=few, count=int(boxes.sum())
        )
        figures[by, name] = figure
        with_boxes = len(np.unique(truth.frame[boxes])) if by == "size" else int(rows.sum())
        slices.append(
            Slice(
                by=by,
                name=name,
                frames=with_boxes,
                boxes=figure.count,
                map50=figure.value,
                low=figure.low,
                high=figure.high,
                few=figure.few,
            )
        )
    return slices, figures


def _parts(
    truth: Boxes, found: Boxes, frames: pa.Table, footage: pa.Table | None, class_count: int
) -> Iterator[tuple[SliceKind, str, Bools, Bools, WeightedDetections]]:
    """Kind, name, frames (N,), boxes (M,) and the pairs to count."""

    def pairs(low: float = 0.0, high: float = float("inf")) -> WeightedDetections:
        return WeightedDetections.of(
            truth, found, len(frames), class_count, ious=IOU_50, area=(low, high)
        )

    whole = pairs()
    for by, name, rows in (*parts_of_footage(frames, footage), *_by_crowding(truth, len(frames))):
        yield by, name, rows, rows[truth.frame], whole.within(rows)
    area, every = truth.area(), np.ones(len(frames), np.bool_)
    # COCO counts a box of exactly 32² or 96² square pixels on both sides; a list counts it once.
    yield "size", "small", every, area < SMALL_BELOW, pairs(0.0, SMALL_BELOW)
    medium = (area >= SMALL_BELOW) & (area <= LARGE_ABOVE)
    yield "size", "medium", every, medium, pairs(SMALL_BELOW, LARGE_ABOVE)
    yield "size", "large", every, area > LARGE_ABOVE, pairs(LARGE_ABOVE)


def _by_crowding(truth: Boxes, frame_count: int) -> Iterator[tuple[SliceKind, str, Bools]]:
    """Frames by their number of objects; frames without any have nothing to find."""
    objects = np.bincount(truth.frame, minlength=frame_count)
    for name, least, most in CROWDING:
        rows = (objects >= least) & (objects <= most)
        if rows.any():
            yield "crowding", name, rows
