"""Tracks of CVAT: what stands between the frames that a track states."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cityforge.labeling.formats.rows import Task
from cityforge.labeling.formats.shapes import Edges
from cityforge.labeling.formats.values import UnusableError


@dataclass(frozen=True, kw_only=True)
class TrackRow:
    """One frame of a track, or a fault that breaks the line between its neighbours."""

    number: int  # of the frame, from 0; of the row before where the row names none
    outside: bool = False  # the object is not in the picture, from here to the next row
    edges: Edges | None = None
    task: Task = "detection"
    bends: bool = False  # a polygon, that does not move in a straight line
    fault: UnusableError | None = None
    names_frame: bool = True


def filled(rows: Sequence[TrackRow], numbers: Sequence[int]) -> Iterator[tuple[TrackRow, bool]]:
    """The rows of every frame where the object is, and whether the row is filled in.

    `rows` ascend by frame, none twice; `numbers` are the task's frames, ascending. A filled-in
    row without edges is a frame whose label cannot be told, because a row beside it cannot be
    used or bends. The last row lasts to the end of the task.
    """
    for index, row in enumerate(rows):
        if row.outside:
            continue
        if row.edges is not None:
            yield row, False
        after = rows[index + 1] if index + 1 < len(rows) else None
        first = bisect_right(numbers, row.number)
        stop = bisect_left(numbers, after.number) if after else len(numbers)
        for number in numbers[first:stop]:
            yield _between(row, after, number), True


def _between(row: TrackRow, after: TrackRow | None, number: int) -> TrackRow:
    if after is None or row.edges is None:
        return TrackRow(number=number, edges=row.edges, task=row.task)
    if after.edges is None or after.task != row.task or row.bends or after.bends:
        return TrackRow(number=number)
    part = (number - row.number) / (after.number - row.number)
    x1, y1, x2, y2 = (
        begin + (end - begin) * part for begin, end in zip(row.edges, after.edges, strict=True)
    )
    return TrackRow(number=number, edges=(x1, y1, x2, y2), task=row.task)
