"""Answers to labelled frames, by task: the truth, the main figure, and how far two sides differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.dataset.labelled import FlatBoxes, LabelledFrames
from cityforge.inference.package import About
from cityforge.inference.runtime import Answer
from cityforge.tasks.boxes import Boxes
from cityforge.tasks.classification.metrics import answers as answered_classes
from cityforge.tasks.classification.metrics import best_thresholds, classification_metrics
from cityforge.tasks.density.decode import density_on
from cityforge.tasks.density.metrics import count_metrics
from cityforge.tasks.detection.matching import match
from cityforge.tasks.detection.metrics import best_threshold, coco_metrics
from cityforge.tasks.picture import Fitted

# Truth, or what one side answers: boxes, or a number of each class for each frame (N, C).
Answers = Boxes | NDArray[Any]
MAIN = {"detection": "map50", "classification": "accuracy", "density": "mae"}
PAIR_IOU = 0.5  # at which two sides mean the same box


@dataclass(frozen=True)
class Gap:
    """The largest differences of two sides."""

    box_px: float | None = None  # of a box edge, pixels of the frame
    answer: float = 0.0  # of a score, or of a count a cell

    def or_more(self, other: Gap) -> Gap:
        """The larger of both, part by part."""
        known = [each.box_px for each in (self, other) if each.box_px is not None]
        # numpy's: a nan on either side stays one
        return Gap(
            float(np.max(known)) if known else None, float(np.maximum(self.answer, other.answer))
        )


def main_figure_name(about: About) -> str:
    """The figure by which versions of a task are told apart."""
    return "map" if about.several_labels else MAIN[about.task]


def truth_of(about: About, frames: LabelledFrames) -> Answers:
    """What people said: boxes, or how many of each class a frame has."""
    flat = FlatBoxes.of(frames.boxes)
    row = np.repeat(np.arange(len(frames)), np.diff(flat.first))
    if about.task == "detection":
        return Boxes(row, flat.cls, flat.xyxy, np.ones(len(row), np.float32))
    counts = np.zeros((len(frames), len(about.classes)), np.int64)
    np.add.at(counts, (row, flat.cls), 1)
    return counts


def answers_of(about: About, given: Sequence[Answer]) -> Answers:
    """What one side answered to each frame.

    A class that was not answered, as an endpoint leaves it out, has score 0.
    """
    if about.task == "detection":
        row = np.repeat(np.arange(len(given)), [len(each.score) for each in given])
        nothing = Boxes.empty()
        return Boxes(
            row.astype(np.int64),
            np.concatenate([nothing.cls, *(each.cls for each in given)]).astype(np.int64),
            np.concatenate([nothing.xyxy, *(each.xyxy for each in given)]),
            np.concatenate([nothing.score, *(each.score for each in given)]),
        )
    numbers = np.zeros((len(given), len(about.classes)))
    for number, each in enumerate(given):
        numbers[number, each.cls] = each.score if each.counts is None else each.counts
    return numbers


def main_figure(
    about: About, truth: Answers, found: Answers, rows: NDArray[Any] | None = None
) -> float | None:
    """The task's main figure, over all frames or those of `rows` (N,) bool; None without truth."""
    if isinstance(truth, Boxes) and isinstance(found, Boxes):
        frames = 1 + max((int(b.frame.max()) for b in (truth, found) if len(b)), default=0)
        if rows is not None:
            truth, found = truth.where(rows[truth.frame]), found.where(rows[found.frame])
        value = coco_metrics(truth, found, frames, about.classes).map50
        return None if math.isnan(value) else value
    said, given = np.asarray(truth), np.asarray(found)  # (N, C)
    if rows is not None:
        said, given = said[rows], given[rows]
    if about.task == "density":
        value = count_metrics(said, given, about.classes).mae
    else:
        several = bool(about.several_labels)
        figures = classification_metrics(said > 0, given, several_labels=several)
        value = figures.map if several else figures.accuracy
    return None if math.isnan(value) else float(value)


def with_thresholds(about: About, truth: Answers, found: Answers) -> About:
    """The package as it will be: thresholds of the highest F1, as the evaluate stage takes them."""
    if isinstance(truth, Boxes) and isinstance(found, Boxes):
        chosen = best_threshold(truth, found, len(about.classes))
        return about.model_copy(update={"score_threshold": chosen})
    if not about.several_labels:
        return about
    best = best_thresholds(np.asarray(truth) > 0, np.asarray(found))
    own = dict(zip(about.classes, best.tolist(), strict=True))
    return about.model_copy(update={"class_thresholds": own})


def unmatched(about: About, one: Answers, other: Answers) -> int:
    """Boxes over the threshold that only one has, or frames whose classes differ; counts: none."""
    if isinstance(one, Boxes) and isinstance(other, Boxes):
        pairs = match(
            one.above(about.score_threshold), other.above(about.score_threshold), PAIR_IOU
        )
        return int((pairs.truth_of < 0).sum() + (pairs.found_of < 0).sum())
    if about.task == "density":
        return 0
    own = about.class_thresholds or {}
    least = np.array([own.get(name, about.score_threshold) for name in about.classes])
    several = bool(about.several_labels)
    said = [
        answered_classes(np.asarray(each), several_labels=several, thresholds=least)
        for each in (one, other)
    ]
    return int((said[0] != said[1]).any(1).sum())


def raw_gap(
    about: About, one: Sequence[NDArray[Any]], other: Sequence[NDArray[Any]], fitted: Fitted
) -> Gap:
    """How far raw outputs of one frame differ, each in the order of OUTPUTS, without (N,).

    Of detection: candidates that either side has over the score floor, before any is dropped.
    """
    if about.task == "density":
        maps = [density_on(e[0], fitted.scale, fitted.width, fitted.height) for e in (one, other)]
        return Gap(answer=_most(maps[0] - maps[1]))
    if about.task == "classification":
        return Gap(answer=_most(one[0] - other[0]))
    seen = np.maximum(one[0], other[0]) > about.score_floor  # (A, C)
    edges = (one[1] - other[1])[seen.any(1)]
    return Gap(_most(edges) / fitted.scale, _most((one[0] - other[0])[seen]))


def answer_gap(about: About, one: Answer, other: Answer) -> Gap:
    """How far decoded answers to one frame differ, where both say the same thing."""
    mine, theirs = (answers_of(about, [each]) for each in (one, other))
    if isinstance(mine, Boxes) and isinstance(theirs, Boxes):
        truth_of = match(mine, theirs, PAIR_IOU).truth_of
        paired = truth_of >= 0
        edges = one.xyxy[truth_of[paired]] - other.xyxy[paired]
        scores = one.score[truth_of[paired]] - other.score[paired]
        return Gap(_most(edges), _most(scores))
    if one.density is not None and other.density is not None:
        return Gap(answer=_most(one.density - other.density))
    both = np.intersect1d(one.cls, other.cls)
    return Gap(answer=_most((np.asarray(mine) - np.asarray(theirs))[0, both]))


def _most(apart: NDArray[Any]) -> float:
    return float(np.abs(apart).max(initial=0.0))
