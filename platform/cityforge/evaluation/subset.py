"""The frames of a subset that a task can be judged on, with what people said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cityforge.dataset.labelled import READ_FROM, FlatBoxes, LabelledFrames, labelled_frames
from cityforge.errors import DataError, NameUnknown
from cityforge.evaluation.boxes import found_boxes, positions, truth_boxes
from cityforge.evaluation.evidence import Note
from cityforge.tasks.boxes import Boxes

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """Frames under evaluation.

    Attributes:
        frames: table FRAMES, a row a frame.
        truth: (N, C) labels of each class in each frame.
        notes: on what was left out.
    """

    frames: pa.Table
    truth: Ints
    notes: list[Note]

    @property
    def frame_ids(self) -> list[str]:
        """Ids in the order of the rows."""
        ids: list[str] = self.frames["frame_id"].to_pylist()
        return ids


def judged_frames(
    frames: pa.Table,
    labels: pa.Table,
    classes: Sequence[str],
    task: str,
    subset: str,
    *,
    several_labels: bool = False,
) -> Judged:
    """Take from a subset the frames whose labels say what the task asks.

    They are read as training reads them; frames that nobody looked at are left out.

    Args:
        frames: the frames of the subset, table FRAMES.
        labels: their labels, table LABELS; class null says looked at and empty.
        subset: its name, for messages.

    Raises:
        DataError: no frame is left, or the labels name frames that are not in the subset.
    """
    ids = frames["frame_id"]
    positions(labels["frame_id"], ids.to_pylist(), "labels")
    labels = of_task(labels, task)
    looked_at = ids.filter(pc.is_in(ids, labels["frame_id"].combine_chunks()))
    table = pa.table({"frame_id": looked_at, "subset": pa.repeat(subset, len(looked_at))})
    found = labelled_frames(table, labels, subset, classes, task, several_labels=several_labels)
    if not len(found):
        raise DataError("at least one labelled frame", found="none", where=f"subset '{subset}'")
    rows = pc.index_in(pa.array(found.frame_ids), ids.combine_chunks())
    notes = label_notes(labels, classes, len(frames) - len(looked_at))
    if found.left_out:
        notes.append(Note(kind="frames_without_one_class", name="", count=found.left_out))
    return Judged(frames.take(rows), labels_by_class(found, len(classes)), notes)


@dataclass(frozen=True)
class JudgedBoxes:
    """Frames under evaluation, with boxes numbered by their rows.

    Attributes:
        frames: table FRAMES, a row a frame.
        truth: the boxes that people drew.
        found: the detections at all scores.
        notes: on what was left out.
    """

    frames: pa.Table
    truth: Boxes
    found: Boxes
    notes: list[Note]


def judged_boxes(
    frames: pa.Table, labels: pa.Table, predictions: pa.Table, classes: Sequence[str], subset: str
) -> JudgedBoxes:
    """Take from a subset the frames that somebody looked at.

    Raises:
        DataError: no frame is left, or the tables name frames that are not in the subset.
        NameUnknown: a prediction names a class that is not among `classes`.
    """
    labels = of_task(labels, "detection")
    looked_at = pc.is_in(frames["frame_id"], labels["frame_id"].combine_chunks())
    notes = label_notes(labels, classes, len(frames) - int(pc.sum(looked_at).as_py() or 0))
    all_ids = frames["frame_id"].to_pylist()
    frames = frames.filter(looked_at)
    if not len(frames):
        raise DataError("at least one labelled frame", found="none", where=f"subset '{subset}'")
    found_boxes(predictions, all_ids, classes)  # refuses frames outside the subset
    ids = frames["frame_id"].to_pylist()
    kept = predictions.filter(pc.is_in(predictions["frame_id"], pa.array(ids)))
    truth = truth_boxes(labels, ids, classes)
    return JudgedBoxes(frames, truth, found_boxes(kept, ids, classes), notes)


def of_task(labels: pa.Table, task: str) -> pa.Table:
    """The rows that speak of what the task learns."""
    return labels.filter(pc.is_in(labels["task"], pa.array(READ_FROM[task])))


def labels_by_class(frames: LabelledFrames, class_count: int) -> Ints:
    """Count the labels of each class in each frame, (N, C)."""
    flat = FlatBoxes.of(frames.boxes)
    rows = np.repeat(np.arange(len(frames)), np.diff(flat.first))
    cells = np.bincount(rows * class_count + flat.cls, minlength=len(frames) * class_count)
    return cells.reshape(len(frames), class_count).astype(np.int64)


def numbers_by_class(
    predictions: pa.Table, frame_ids: Sequence[str], classes: Sequence[str], column: str
) -> npt.NDArray[np.float64]:
    """One column of table PREDICTIONS as (N, C); rows of other frames are passed over.

    Raises:
        NameUnknown: a prediction names a class that is not among `classes`.
        DataError: a frame without a number for each class.
    """
    kept = predictions.filter(pc.is_in(predictions["frame_id"], pa.array(frame_ids, pa.string())))
    unknown = pc.invert(pc.is_in(kept["class"], pa.array(classes)))
    for name in kept["class"].filter(unknown).to_pylist()[:1]:
        raise NameUnknown("a class of the algorithm", name, classes, where="predictions")
    numbers = np.full((len(frame_ids), len(classes)), np.nan)
    rows = positions(kept["frame_id"], frame_ids, "predictions")
    numbers[rows, positions(kept["class"], classes, "predictions")] = kept[column].to_numpy()
    lacking = np.flatnonzero(np.isnan(numbers).any(1))
    if len(lacking):
        raise DataError(
            f"a {column} of each class for every frame",
            found=f"{len(lacking)} frames without, such as {frame_ids[lacking[0]]}",
            where="predictions",
        )
    return numbers


def label_notes(labels: pa.Table, classes: Sequence[str], unseen: int) -> list[Note]:
    """Say which labels and how many frames an evaluation leaves out."""
    notes = []
    other = labels["class"].filter(pc.invert(pc.is_in(labels["class"], pa.array(classes))))
    for row in sorted(other.drop_null().value_counts().to_pylist(), key=lambda r: r["values"]):
        notes.append(Note(kind="labels_of_other_classes", name=row["values"], count=row["counts"]))
    if unseen:
        notes.append(Note(kind="frames_not_looked_at", name="", count=unseen))
    return notes
