"""The same frames through torch, ONNX and INT8, answer by answer.

Boxes are compared before thresholds: every candidate over the score floor, cell by cell and
class by class, in pixels of the frame. Beside that each side's own answers are decoded and
measured against the labels, as a whole and by slice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import BoxAnswers, DataParams, ScoreAnswers
from cityforge.dataset.labelled import LabelledFrames
from cityforge.errors import DataError
from cityforge.export.answers import (
    Answers,
    Gap,
    answers_of,
    main_figure,
    main_figure_name,
    raw_gap,
    truth_of,
    unmatched,
)
from cityforge.export.found import Parity, Side, SideName
from cityforge.inference.package import About
from cityforge.inference.runtime import Answer, answer_of, open_session
from cityforge.tasks.kinds import OUTPUTS
from cityforge.tasks.picture import decode_and_fit

# (N, H, W, 3) uint8 to the task's OUTPUTS, each (N, ...).
Way = Callable[[NDArray[Any]], Sequence[NDArray[Any]]]
SLICED_BY = ("lighting", "camera")


@dataclass(frozen=True)
class Answered:
    """What each side answered at the score floor, and how far it is from the first side."""

    truth: Answers
    found: dict[SideName, Answers]
    gaps: dict[SideName, Gap]
    frames: int


def torch_way(network: Any) -> Way:
    """The network as torch runs it, eagerly."""
    import torch

    def run(pictures: NDArray[Any]) -> Sequence[NDArray[Any]]:
        with torch.inference_mode():
            made = network(torch.from_numpy(pictures))
        return [each.numpy() for each in (made if isinstance(made, tuple) else (made,))]

    return run


def onnx_way(model: bytes, task: str, threads: int = 0) -> Way:
    """A model as onnxruntime runs it; 0 threads lets the runtime choose."""
    session, outputs = open_session(model, threads), list(OUTPUTS[task])

    def run(pictures: NDArray[Any]) -> Sequence[NDArray[Any]]:
        found: list[NDArray[Any]] = session.run(outputs, {"pictures": pictures})
        return found

    return run


def measured_sides(
    about: About,
    frames: LabelledFrames,
    read: Callable[[str], bytes],
    ways: Mapping[SideName, Way],
    parts: Mapping[str, NDArray[Any]] | None = None,
) -> Parity:
    """The same frames through every way, held against the first and against the labels.

    Args:
        about: of a package, with its thresholds.
        frames: labelled frames of one subset.
        read: the JPEG of a frame.
        parts: slices by their name, such as "lighting night"; rows of `frames`, (N,) bool.
    """
    return parity_of(about, answered_by(about, frames, read, ways), parts)


def answered_by(
    about: About,
    frames: LabelledFrames,
    read: Callable[[str], bytes],
    ways: Mapping[SideName, Way],
) -> Answered:
    """Answer every frame in every way, one picture at a time as an endpoint does."""
    given: dict[SideName, list[Answer]] = {name: [] for name in ways}
    gaps = {name: Gap() for name in list(ways)[1:]}
    for frame_id in frames.frame_ids:
        fitted = decode_and_fit(read(frame_id), about.input_width, about.input_height)
        raws = {name: [each[0] for each in way(fitted.canvas[None])] for name, way in ways.items()}
        first = next(iter(raws.values()))
        for name, raw in raws.items():
            given[name].append(answer_of(about, raw, fitted, _floor(about)))
            if name in gaps:
                gaps[name] = gaps[name].or_more(raw_gap(about, first, raw, fitted))
    found = {name: answers_of(about, each) for name, each in given.items()}
    return Answered(truth_of(about, frames), found, gaps, len(frames))


def _floor(about: About) -> float:
    return 0.0 if about.task == "classification" else about.score_floor


def parity_of(
    about: About, answered: Answered, parts: Mapping[str, NDArray[Any]] | None = None
) -> Parity:
    """Each side's main figure, as a whole and by part, and its difference from the first."""
    reference = next(iter(answered.found.values()))
    sides = []
    for name, found in answered.found.items():
        gap = answered.gaps.get(name)
        sides.append(
            Side(
                name=name,
                score=main_figure(about, answered.truth, found),
                slices={
                    part: main_figure(about, answered.truth, found, rows)
                    for part, rows in (parts or {}).items()
                },
                box_px=gap.box_px if gap else None,
                answer=gap.answer if gap else None,
                unmatched=unmatched(about, reference, found) if gap else 0,
            )
        )
    return Parity(answered.frames, sides)


def parts_of(
    frame_ids: Sequence[str], frames: pa.Table, footage: pa.Table
) -> dict[str, NDArray[Any]]:
    """Rows of each lighting and camera that the footage states, by names like "camera north".

    Args:
        frames: table FRAMES that holds these frames, and may hold others.
        footage: table FOOTAGE.
    """
    at = pc.index_in(pa.array(frame_ids, pa.string()), frames["frame_id"].combine_chunks())
    films = frames["footage_id"].take(at)
    row = pc.index_in(films, footage["footage_id"].combine_chunks())
    parts = {}
    for by in SLICED_BY:
        names = footage[by].take(row).to_pylist()
        for name in sorted({each for each in names if each}):
            parts[f"{by} {name}"] = np.array([each == name for each in names])
    return parts


def draft_about(
    card: Algorithm, data: DataParams, answers: BoxAnswers | ScoreAnswers, several_labels: bool
) -> About:
    """A package's description as far as it is known before there is one; no digests.

    Args:
        several_labels: of classification; the other tasks know nothing of it.
    """
    return About.model_construct(
        algorithm=card.name,
        task=card.task,
        classes=list(card.classes),
        input_width=data.input_width,
        input_height=data.input_height,
        score_threshold=answers.score_floor,
        score_floor=answers.score_floor,
        overlap=getattr(answers, "overlap", None),
        max_boxes=getattr(answers, "max_boxes", None),
        several_labels=several_labels if card.task == "classification" else None,
        class_thresholds=None,
    )


def refuse_other_score(about: About, parity: Parity, most: float) -> None:
    """Refuse an ONNX file that is better or worse than what was trained.

    Args:
        most: the largest difference of the main figure allowed, `export.most_score_difference`.

    Raises:
        DataError: a difference over the limit, with the slice where it is largest.
    """
    torch, onnx = parity.side("torch"), parity.side("onnx")
    if torch is None or onnx is None or torch.score is None or onnx.score is None:
        return
    if abs(torch.score - onnx.score) <= most:
        return
    apart = {
        part: abs(score - (onnx.slices.get(part) or 0.0))
        for part, score in torch.slices.items()
        if score is not None
    }
    worst = max(apart, key=lambda part: apart[part], default="")
    raise DataError(
        f"{main_figure_name(about)} of ONNX within {most:g} of torch's {torch.score:.6f}",
        found=f"{onnx.score:.6f}",
        where=f"{parity.frames} frames" + (f", most in {worst}" if worst else ""),
        do="raise export.most_score_difference only if you know why they differ",
    )


def refuse_far(
    about: About, parity: Parity, most_apart: Mapping[str, float], most_score: float
) -> None:
    """Refuse a side that must answer as the first does: ONNX and the endpoint, not INT8.

    Args:
        most_apart: `export.max_difference`, here in pixels of the frame.
        most_score: `export.most_score_difference`.

    Raises:
        DataError: the first limit that is passed, and by which side.
    """
    first = parity.sides[0]
    answers = next(limit for name, limit in most_apart.items() if name != "boxes")
    for side in parity.sides[1:]:
        if side.name == "int8":
            continue
        apart = abs((side.score or 0.0) - (first.score or 0.0))
        for what, value, most in (
            ("a box edge, pixels", side.box_px or 0.0, most_apart.get("boxes", 0.0)),
            ("an answer", side.answer or 0.0, answers),
            (main_figure_name(about), apart, most_score),
            ("unmatched answers", side.unmatched, 0),
        ):
            if not value <= most:
                raise DataError(
                    f"{side.name} within {most:g} of {first.name} in {what}",
                    found=f"{value:g}",
                    where=f"{parity.frames} frames",
                )
