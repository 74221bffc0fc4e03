"""Annotators scored against known answers, which stand hidden among the tasks of the queue."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.labeling import Labeling
from cityforge.errors import DataError
from cityforge.labeling.agreement import Tally, count_matches, match_labels
from cityforge.labeling.looks import Looks
from cityforge.labeling.results import TASK_OF_KIND


@dataclass(frozen=True)
class Answer:
    """What is known of one frame."""

    cls: npt.NDArray[np.int32]  # (N,) index of the class
    xyxy: npt.NDArray[np.float64]  # (N, 4) pixels of the stored frame


@dataclass(frozen=True)
class GoldScore:
    """One annotator on frames of known answer."""

    annotator: str
    frames: int
    precision: float | None  # of what was drawn, 0 to 1; None: nothing was
    recall: float | None  # of what is there, 0 to 1; None: nothing is
    f1: float | None
    mean_iou: float | None  # of what was found, 0 to 1
    count_error: float | None  # points: mean difference of their number a frame


def gold_path(folder: Path) -> Path:
    """Where the ids of frames lie that were queued for their known answer (JSON list)."""
    return folder / "labels" / "gold.json"


def read_gold(folder: Path) -> set[str]:
    """The frames that were queued for their known answer.

    Raises:
        DataError: the file is no JSON list of frame ids.
    """
    path = gold_path(folder)
    if not path.exists():
        return set()
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError("a JSON list of frame ids", found=str(error), where=str(path)) from None
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise DataError("a JSON list of frame ids", found="other JSON", where=str(path))
    return set(listed)


def trusted_frames(imported: pa.Table, gold: set[str], labeling: Labeling) -> set[str]:
    """Frames of the gold list that imported labels of the card's kind give the answer of."""
    known = _of_gold(imported, gold, labeling)
    return set(known["frame_id"].unique().to_pylist())


def score(looks: Looks, imported: pa.Table, gold: set[str], labeling: Labeling) -> list[GoldScore]:
    """Score everyone on frames of known answer.

    An answer is an annotation that another person marked as ground truth, or else, on a frame
    of the gold list, the imported labels.
    """
    answers = _answers(looks, _of_gold(imported, gold, labeling))
    tallies: dict[str, Tally] = {}
    for frame, of_frame in looks.by_frame():
        truths = [each for each in of_frame if looks.by(each).ground_truth]
        for look in of_frame:
            annotation = looks.by(look)
            if annotation.annotator is None or not looks.says_something(look):
                continue
            answer = _answer_of_reviewer(looks, truths, annotation.annotator)
            if answer is None and not truths:
                answer = answers.get(looks.frame_ids[frame])
            if answer is not None:
                tally = tallies.setdefault(annotation.annotator, Tally())
                _count(looks, frame, look, answer, labeling, tally)
    return [_scored(who, tallies[who], labeling) for who in sorted(tallies)]


def _answers(looks: Looks, known: pa.Table) -> Mapping[str, Answer]:
    """Answers by frame id; labels of a class that the card does not name teach nothing."""
    of = {name: number for number, name in enumerate(looks.classes)}
    rows: dict[str, list[tuple[int, list[float]]]] = {}
    for row in known.select(["frame_id", "class", "x1", "y1", "x2", "y2"]).to_pylist():
        found = rows.setdefault(row["frame_id"], [])
        if row["class"] in of:
            edges = [row[key] or 0.0 for key in ("x1", "y1", "x2", "y2")]
            found.append((of[row["class"]], edges))
    return {
        frame_id: Answer(
            np.array([cls for cls, _ in found], np.int32),
            np.array([edges for _, edges in found], np.float64).reshape(-1, 4),
        )
        for frame_id, found in rows.items()
    }


def _answer_of_reviewer(looks: Looks, truths: list[int], annotator: str) -> Answer | None:
    others = [each for each in truths if looks.by(each).annotator != annotator]
    if not others:
        return None
    rows = looks.rows(others[-1])
    return Answer(looks.cls[rows], looks.xyxy[rows])


def _count(
    looks: Looks, frame: int, look: int, answer: Answer, labeling: Labeling, tally: Tally
) -> None:
    rows = looks.rows(look)
    drawn = looks.cls[rows]
    matches = match_labels(
        looks.xyxy[rows], drawn, answer.xyxy, answer.cls, labeling, looks.sizes[frame]
    )
    nobody = [Tally() for _ in looks.classes]
    count_matches(drawn, answer.cls, matches, tally, nobody, Counter())


def _scored(who: str, tally: Tally, labeling: Labeling) -> GoldScore:
    placeless = labeling.kind in ("classes", "points")
    return GoldScore(
        annotator=who,
        frames=tally.frames,
        precision=tally.matched / tally.one if tally.one else None,
        recall=tally.matched / tally.other if tally.other else None,
        f1=tally.f1,
        mean_iou=None if placeless else tally.mean_iou,
        count_error=tally.difference / tally.frames if labeling.kind == "points" else None,
    )


def _of_gold(imported: pa.Table, gold: set[str], labeling: Labeling) -> pa.Table:
    here = pc.is_in(imported["frame_id"], pa.array(sorted(gold), pa.string()))
    of_kind = pc.equal(imported["task"], TASK_OF_KIND[labeling.kind])
    return imported.filter(pc.and_(here, of_kind))
