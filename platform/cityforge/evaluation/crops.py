"""The worst misses and false alarms, each cut out of its frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from gettext import gettext as _
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from cityforge.evaluation.boxes import found_boxes, truth_boxes
from cityforge.evaluation.evidence import Evidence
from cityforge.evaluation.picking import facts_of_frames
from cityforge.evaluation.pictures import Corners, Mark, marks, svg_crop
from cityforge.evaluation.subset import of_task
from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.matching import match, paired_iou

SHOWN = 6  # of each kind
IOU = 0.5  # from which a detection counts as right
NEAR = 0.3  # overlap from which a box of the same class was about an object at all

Kind = Literal["missed", "false_alarm"]


@dataclass(frozen=True)
class Crop:
    """One mistake: where it is and what lies there instead."""

    kind: Kind
    frame: int  # row among the evaluated frames
    xyxy: Corners  # pixels of the stored frame
    said: str  # what was answered there, or what is marked there


@dataclass(frozen=True)
class ShownCrop:
    """A mistake ready for the page."""

    picture: Markup
    said: str
    where: tuple[str, ...]  # camera and time


def worst_crops(
    evidence: Evidence,
    labels: pa.Table,
    predictions: pa.Table,
    read_frame: Callable[[str], bytes],
    frames: pa.Table | None = None,
    footage: pa.Table | None = None,
) -> dict[Kind, list[ShownCrop]]:
    """Cut the worst misses and false alarms out of their frames; of other tasks there are none.

    Args:
        labels: table LABELS; frames without a row in it were looked at by nobody.
        predictions: table PREDICTIONS of the evaluated subset.
        read_frame: gives the stored JPEG of a frame_id.
        frames: rows of FRAMES of the subset; without it, the frames of `predictions`.
        footage: table FOOTAGE, to name cameras.
    """
    if evidence.task != "detection":
        return {}
    ids, where = _frames_of(evidence, labels, predictions, frames, footage)
    kept = [table.filter(pc.is_in(table["frame_id"], pa.array(ids, pa.string())))
            for table in (of_task(labels, "detection"), predictions)]  # fmt: skip
    truth = truth_boxes(kept[0], ids, evidence.classes)
    found = found_boxes(kept[1], ids, evidence.classes)
    shown: dict[Kind, list[ShownCrop]] = {}
    for crop in find_crops(truth, found, ids, evidence.classes, evidence.score_threshold):
        here = [boxes.of_frame(crop.frame) for boxes in (truth, found)]
        drawn = marks(here[0], here[1].above(evidence.score_threshold), evidence.classes)
        picture = svg_crop(read_frame(ids[crop.frame]), crop.xyxy, _one_named(drawn, crop))
        shown.setdefault(crop.kind, []).append(ShownCrop(picture, crop.said, where[crop.frame]))
    return shown


def find_crops(
    truth: Boxes, found: Boxes, frame_ids: Sequence[str], classes: Sequence[str], threshold: float
) -> list[Crop]:
    """The largest objects missed, and the false alarms of highest score.

    One of each film and class comes before a second of it.

    Args:
        truth: boxes numbered by `frame_ids`.
        found: detections at all scores, alike.
        threshold: score from which a detection is reported.
    """
    reported = found.above(threshold)
    pairs = match(truth, reported, IOU)
    missed = np.flatnonzero(pairs.found_of < 0)
    alarms = np.flatnonzero(pairs.truth_of < 0)
    missed = missed[np.argsort(-truth.area()[missed], kind="stable")]
    alarms = alarms[np.argsort(-reported.score[alarms], kind="stable")]
    crops = [
        Crop("missed", int(truth.frame[i]), _corners(truth, i),
             _answered_there(truth, i, found, classes, threshold))
        for i in _spread(missed, truth, frame_ids)
    ]  # fmt: skip
    return crops + [
        Crop("false_alarm", int(reported.frame[i]), _corners(reported, i),
             _marked_there(reported, i, truth, classes))
        for i in _spread(alarms, reported, frame_ids)
    ]  # fmt: skip


def _spread(order: npt.NDArray[np.intp], boxes: Boxes, frame_ids: Sequence[str]) -> list[int]:
    """The first rows of `order`, one of each film and class before a second."""
    turn: dict[tuple[str, int], int] = {}
    rounds = []
    for row in order:
        film = frame_ids[int(boxes.frame[row])].rpartition("-")[0]
        key = (film, int(boxes.cls[row]))
        rounds.append(turn.get(key, 0))
        turn[key] = rounds[-1] + 1
    return [int(row) for row in order[np.argsort(rounds, kind="stable")][:SHOWN]]


def _answered_there(
    truth: Boxes, i: int, found: Boxes, classes: Sequence[str], threshold: float
) -> str:
    """What the model said of a missed object."""
    j, overlap = _nearest(truth, i, found)
    if j < 0 or (overlap < IOU and found.cls[j] != truth.cls[i]):
        return _("nothing was found there")
    name, score = classes[int(found.cls[j])], f"{found.score[j]:.2f}"
    if found.score[j] < np.float32(threshold):
        return _("only {name} {score}, under the threshold").format(name=name, score=score)
    if overlap < IOU:
        return _("a box beside it: {n} of 100 overlap").format(n=round(100 * overlap))
    if found.cls[j] == truth.cls[i]:
        return _("one box for two objects")
    return _("taken for {name} {score}").format(name=name, score=score)


def _marked_there(found: Boxes, i: int, truth: Boxes, classes: Sequence[str]) -> str:
    """What people marked where a false alarm is."""
    j, overlap = _nearest(found, i, truth)
    if j < 0 or (overlap < IOU and truth.cls[j] != found.cls[i]):
        return _("nothing is marked there")
    name = classes[int(truth.cls[j])]
    if truth.cls[j] != found.cls[i]:
        return _("marked as {name}").format(name=name)
    if overlap < IOU:
        return _("box off the mark: {n} of 100 overlap").format(n=round(100 * overlap))
    return _("second box of one object")


def _nearest(of: Boxes, i: int, among: Boxes) -> tuple[int, float]:
    """Row of `among` in the same frame that overlaps most, the surest of equal ones; -1 for none.

    What overlaps by half or more comes before what is surer, and that before what overlaps less.
    """
    rows = np.flatnonzero(among.frame == of.frame[i])
    overlap = paired_iou(np.repeat(of.xyxy[i : i + 1], len(rows), 0), among.xyxy[rows])
    rows, overlap = rows[overlap >= NEAR], overlap[overlap >= NEAR]
    if not len(rows):
        return -1, 0.0
    best = np.lexsort((overlap, among.score[rows], overlap >= IOU))[-1]
    return int(rows[best]), float(overlap[best])


def _frames_of(
    evidence: Evidence,
    labels: pa.Table,
    predictions: pa.Table,
    frames: pa.Table | None,
    footage: pa.Table | None,
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Ids of the frames that were evaluated, and camera and time of each."""
    looked_at = pa.array(of_task(labels, "detection")["frame_id"].unique().to_pylist(), pa.string())
    if frames is not None:
        kept = frames.filter(pc.is_in(frames["frame_id"], looked_at))
        facts = facts_of_frames(kept, footage)
        return [f["frame_id"] for f in facts], [_where(f) for f in facts]
    known = {f.frame_id: f.model_dump() for f in (*evidence.worst_frames, *evidence.best_frames)}
    answered = predictions["frame_id"].unique().to_pylist()
    ids = sorted({*answered, *known} & set(looked_at.to_pylist()))
    return ids, [_where(known.get(name, {"frame_id": name})) for name in ids]


def _where(fact: dict[str, Any]) -> tuple[str, ...]:
    at = (fact.get("captured_at") or "")[:16].replace("T", " ")
    place = str(fact.get("camera") or fact["frame_id"])
    return (place, at) if at else (place,)


def _one_named(drawn: Sequence[Mark], crop: Crop) -> list[Mark]:
    """The boxes of a frame, of which only the mistake itself keeps its text."""
    about = [m for m in drawn if m.kind == crop.kind and m.xyxy == crop.xyxy]
    others = [Mark(m.kind, m.xyxy, "") for m in drawn if m not in about]
    return [*others, *about]


def _corners(boxes: Boxes, i: int) -> Corners:
    x1, y1, x2, y2 = boxes.xyxy[i].tolist()
    return x1, y1, x2, y2
