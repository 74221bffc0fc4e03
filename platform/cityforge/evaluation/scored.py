"""What a model said of the frames of a subset, ready to be counted with any weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cityforge.evaluation.bootstrap import Figures
from cityforge.evaluation.subset import judged_boxes, judged_frames, numbers_by_class
from cityforge.tasks.classification.metrics import UNDECIDED, answers
from cityforge.tasks.classification.weighted import WeightedClasses
from cityforge.tasks.density.weighted import WeightedCounts
from cityforge.tasks.detection.weighted import WeightedDetections


@dataclass(frozen=True)
class Answers:
    """What one model said of the frames.

    Attributes:
        predictions: table PREDICTIONS at all scores; rows of other frames and classes are passed
            over.
        score_threshold: of its package.
        class_thresholds: of each class, where a frame may have several.
    """

    predictions: pa.Table
    score_threshold: float
    class_thresholds: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Scored:
    """The frames that can be judged, and their figures.

    Attributes:
        frames: table FRAMES, a row a frame.
        count: boxes, objects, or classes that people gave to the frames.
        figures: of each resample.
    """

    frames: pa.Table
    count: int
    figures: Figures

    @property
    def groups(self) -> list[str]:
        """The footage of each frame."""
        groups: list[str] = self.frames["footage_id"].to_pylist()
        return groups


def score(
    task: str,
    frames: pa.Table,
    labels: pa.Table,
    classes: Sequence[str],
    said: Answers,
    *,
    subset: str,
    several_labels: bool | None = None,
) -> Scored:
    """Take the frames that people labelled, and pair their labels with the answers.

    Args:
        frames: the frames of the subset, table FRAMES.
        labels: the labels of these frames, table LABELS.
        classes: that are compared; others are left out.
        subset: its name, for messages.
        several_labels: which frames of classification are taken; as `said` states it, if None.

    Raises:
        DataError: no frame is labelled, or one has not a number of each class.
    """
    rows = _rows_of(said.predictions, frames["frame_id"].to_pylist(), classes)
    if task == "detection":
        boxes = judged_boxes(frames, labels, rows, classes, subset)
        pairs = WeightedDetections.of(
            boxes.truth, boxes.found, len(boxes.frames), len(classes),
            threshold=said.score_threshold,
        )  # fmt: skip
        return Scored(boxes.frames, len(boxes.truth), pairs.figures)
    several = said.class_thresholds is not None if several_labels is None else several_labels
    judged = judged_frames(frames, labels, classes, task, subset, several_labels=several)
    count = int(judged.truth.sum())
    if task == "density":
        counts = numbers_by_class(rows, judged.frame_ids, classes, "value")
        return Scored(judged.frames, count, WeightedCounts(judged.truth, counts).figures)
    scores = numbers_by_class(rows, judged.frame_ids, classes, "score")
    least = said.class_thresholds
    given = answers(
        scores,
        several_labels=least is not None,
        thresholds=np.array([least[name] for name in classes]) if least else UNDECIDED,
    )
    return Scored(judged.frames, count, WeightedClasses(judged.truth > 0, scores, given).figures)


def _rows_of(table: pa.Table, frame_ids: Sequence[str], classes: Sequence[str]) -> pa.Table:
    of_frames = pc.is_in(table["frame_id"], pa.array(frame_ids, pa.string()))
    return table.filter(pc.and_(of_frames, pc.is_in(table["class"], pa.array(classes))))
