"""One HTML file by which a person approves or refuses: no network, no script, prints well."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from gettext import gettext as _
from pathlib import Path
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from cityforge.evaluation import verdict, words
from cityforge.evaluation.crops import Kind, ShownCrop, worst_crops
from cityforge.evaluation.evidence import Evidence, FrameResult
from cityforge.evaluation.figures import ClassifiedFrame, CountedFrame
from cityforge.evaluation.headline import shown_figure
from cityforge.evaluation.pictures import data_uri, small_jpeg
from cityforge.evaluation.shots import shot
from cityforge.evaluation.view import training_charts
from cityforge.evaluation.view_basis import data_view, parity_view, seeds_said, speed_view
from cityforge.evaluation.view_proof import (
    against_view,
    calibration_view,
    interval_text,
)
from cityforge.evaluation.view_tasks import view_of
from cityforge.inference.runtime import Answer

TEMPLATE = "report_{task}.html.j2"
BEST_SHOWN = 3
AUGMENTED_SHOWN = 8
AUGMENTED_SIDE = 320  # pixels

ShownFrame = FrameResult | ClassifiedFrame | CountedFrame


def write_report(
    path: Path,
    evidence: Evidence,
    *,
    labels: pa.Table,
    predictions: pa.Table,
    read_frame: Callable[[str], bytes],
    answer: Callable[[bytes], Answer] | None = None,
    augmented: Sequence[bytes] | None = None,
    frames: pa.Table | None = None,
    footage: pa.Table | None = None,
) -> Path:
    """Write the report of an evaluation as one self-contained HTML file.

    Args:
        path: where the file goes; it is replaced as a whole.
        evidence: what the evaluation found.
        labels: table LABELS, at least the rows of the frames shown.
        predictions: table PREDICTIONS, alike.
        read_frame: gives the stored JPEG of a frame_id.
        answer: asks the model again, for the map of a density; without it none is drawn.
        augmented: JPEGs as the network saw them in training.
        frames: rows of FRAMES of the evaluated subset; without it, those of `predictions` count.
        footage: table FOOTAGE, which names the camera of each mistake.
    """

    def shots(shown: Sequence[ShownFrame]) -> list[tuple[ShownFrame, Markup]]:
        return [
            (each, shot(evidence, each.frame_id, read_frame(each.frame_id), labels, predictions,
                        answer))
            for each in shown
        ]  # fmt: skip

    own: Any = evidence.classification or evidence.density or evidence
    page = render(
        evidence,
        worst=shots(own.worst_frames),
        best=shots(own.best_frames[:BEST_SHOWN]),
        cut=worst_crops(evidence, labels, predictions, read_frame, frames, footage),
        augmented=[
            data_uri(small_jpeg(jpeg, AUGMENTED_SIDE))
            for jpeg in (augmented or ())[:AUGMENTED_SHOWN]
        ],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(page, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def render(
    evidence: Evidence,
    *,
    worst: Sequence[tuple[ShownFrame, Markup]] = (),
    best: Sequence[tuple[ShownFrame, Markup]] = (),
    cut: Mapping[Kind, Sequence[ShownCrop]] | None = None,
    augmented: Sequence[str] = (),
) -> str:
    """Fill the page; pictures come as ready markup, augmented ones as data URIs."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cityforge.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(_=_, words=words, verdict=verdict)
    environment.filters.update(figure=shown_figure, percent=_percent, count=words.count)
    return environment.get_template(TEMPLATE.format(task=evidence.task)).render(
        e=evidence,
        digest=evidence.digest(),
        worst=worst,
        best=best,
        augmented=augmented,
        cut={"missed": [], "false_alarm": [], **(cut or {})},
        training=training_charts(evidence),
        state=verdict.state(evidence),
        interval=partial(interval_text, evidence),
        against=against_view(evidence),
        calibration=calibration_view(evidence),
        parity=parity_view(evidence),
        speeds=speed_view(evidence),
        data=data_view(evidence),
        seeds=seeds_said(evidence),
        **view_of(evidence),
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"
