"""The labelled frames of one subset, as flat arrays: a box takes 24 bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

BoxesOfFrame = tuple[NDArray[Any], NDArray[Any]]  # (M, 4) xyxy float32, (M,) class index

# Labels of which tasks each task learns from.
READ_FROM = {
    "detection": ("detection",),
    "classification": ("classification",),
    "density": ("density", "detection"),
}
CORNERS = ("x1", "y1", "x2", "y2")


class FlatBoxes(Sequence[BoxesOfFrame]):
    """The boxes of many frames behind one another; those of a frame are views.

    Args:
        xyxy: (B, 4) float32, pixels of the stored frame.
        cls: (B,) int64 class index.
        first: (N + 1,) where the boxes of each frame begin, and where the last ones end.
    """

    def __init__(self, xyxy: NDArray[Any], cls: NDArray[Any], first: NDArray[Any]) -> None:
        self.xyxy = xyxy
        self.cls = cls
        self.first = first

    @classmethod
    def of(cls, boxes: Iterable[BoxesOfFrame]) -> FlatBoxes:
        """Lay the boxes of frames behind one another."""
        pairs = list(boxes)
        counts = [len(kinds) for _, kinds in pairs]
        xyxy = [np.zeros((0, 4), np.float32), *(np.reshape(each, (-1, 4)) for each, _ in pairs)]
        kinds = [np.zeros(0, np.int64), *(each for _, each in pairs)]
        return cls(
            np.concatenate(xyxy).astype(np.float32, copy=False),
            np.concatenate(kinds).astype(np.int64, copy=False),
            np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.first) - 1

    @overload
    def __getitem__(self, index: int) -> BoxesOfFrame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[BoxesOfFrame]: ...
    def __getitem__(self, index: int | slice) -> BoxesOfFrame | Sequence[BoxesOfFrame]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        row = range(len(self))[index]  # IndexError where there is none; -1 is the last
        begin, end = self.first[row], self.first[row + 1]
        return self.xyxy[begin:end], self.cls[begin:end]


@dataclass(frozen=True)
class LabelledFrames:
    """The frames of one subset with their boxes in pixels of the stored frame.

    Of task density the boxes are points, x1 = x2 and y1 = y2; of classification they are
    zeros, and the classes are those of the whole frame.
    """

    frame_ids: list[str]
    boxes: Sequence[BoxesOfFrame]  # a list is laid out flat
    task: str = "detection"
    left_out: int = 0  # frames of the subset from which this task can learn nothing

    def __post_init__(self) -> None:
        if not isinstance(self.boxes, FlatBoxes):
            object.__setattr__(self, "boxes", FlatBoxes.of(self.boxes))

    def __len__(self) -> int:
        return len(self.frame_ids)

    def take(self, rows: Iterable[int]) -> LabelledFrames:
        """Some of the frames, in the order asked for."""
        chosen = list(rows)
        return LabelledFrames(
            [self.frame_ids[row] for row in chosen],
            FlatBoxes.of(self.boxes[row] for row in chosen),
            self.task,
        )


def labelled_frames(
    split: pa.Table,
    labels: pa.Table,
    subset: str,
    classes: Sequence[str],
    task: str = "detection",
    *,
    several_labels: bool = False,
) -> LabelledFrames:
    """Collect a subset; labels of classes that the algorithm does not name are left out.

    Boxes of detection are xyxy. A point of density has x1 = x2 and y1 = y2; where a frame
    was labelled with boxes alone, their centres are its points. A class of classification
    has four zeros. Frames that were labelled for other tasks only are left out.

    Args:
        several_labels: of classification; a frame may have several classes, or none. Else
            frames with none of the classes, or with two, are left out.
    """
    wanted = split.filter(pc.equal(split["subset"], subset))["frame_id"].combine_chunks()
    inside = pc.is_in(labels["frame_id"], value_set=wanted)
    labels = labels.select(["frame_id", "task", "class", *CORNERS]).filter(inside)
    kind, row = _codes(labels["task"], READ_FROM[task]), _codes(labels["frame_id"], wanted)
    looked_at = _any_of(row[kind >= 0], len(wanted))
    # A frame without any label is taken as empty; one looked at for another task is not.
    usable = looked_at | ~_any_of(row, len(wanted))
    cls = _codes(labels["class"], classes)
    read = (kind >= 0) & (cls >= 0)
    if task == "density":  # its points say more than its boxes do
        read &= (kind == 0) | ~_any_of(row[kind == 0], len(wanted))[row]
    row, cls, xyxy = row[read], cls[read], _xyxy(labels, read, task, kind[read])
    if task == "classification":
        _, once = np.unique(row * (len(classes) + 1) + cls, return_index=True)
        row, cls, xyxy = row[once], cls[once], xyxy[once]
        counts = np.bincount(row, minlength=len(wanted))
        usable = looked_at if several_labels else counts == 1
    frames = _flat(wanted, row, cls, xyxy, usable, task)
    pa.default_memory_pool().release_unused()  # which a training would carry to its end
    return frames


def _codes(column: pa.ChunkedArray, values: Any) -> NDArray[Any]:
    """Which of the values each row is; -1 for another one, or none."""
    of = values if isinstance(values, pa.Array) else pa.array(list(values), pa.string())
    found = pc.fill_null(pc.index_in(column, value_set=of, skip_nulls=True), -1)
    return np.asarray(found, np.int64)


def _any_of(rows: NDArray[Any], count: int) -> NDArray[Any]:
    found = np.zeros(count, bool)
    found[rows] = True
    return found


def _xyxy(labels: pa.Table, read: NDArray[Any], task: str, kind: NDArray[Any]) -> NDArray[Any]:
    if task == "classification":
        return np.zeros((int(read.sum()), 4), np.float32)
    corners = [np.asarray(labels[name], np.float64)[read] for name in CORNERS]
    xyxy = np.stack(corners, 1).astype(np.float32)
    if task == "density":
        boxes = kind > 0
        middle = (xyxy[boxes, :2] + xyxy[boxes, 2:]) / 2
        xyxy[boxes] = np.concatenate([middle, middle], 1)
    return xyxy


def _flat(
    wanted: pa.Array,
    row: NDArray[Any],
    cls: NDArray[Any],
    xyxy: NDArray[Any],
    usable: NDArray[Any],
    task: str,
) -> LabelledFrames:
    """Sort the labels by frame, leave out the frames that are not usable."""
    kept = usable[row]
    row, cls, xyxy = row[kept], cls[kept], xyxy[kept]
    order = np.argsort(row, kind="stable")
    counts = np.bincount(row, minlength=len(wanted))[usable]
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ids = wanted.filter(pa.array(usable, pa.bool_())).to_pylist()
    boxes = FlatBoxes(np.ascontiguousarray(xyxy[order]), cls[order], first)
    return LabelledFrames(ids, boxes, task, len(wanted) - len(ids))
