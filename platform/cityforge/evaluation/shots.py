"""The pictures of a report: a frame with boxes, with classes, or with a density map."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from cityforge.dataset.labelled import labelled_frames
from cityforge.evaluation.boxes import found_boxes, truth_boxes
from cityforge.evaluation.captions import caption, heat_over
from cityforge.evaluation.evidence import Evidence
from cityforge.evaluation.pictures import LONGEST, data_uri, small_jpeg, svg_picture
from cityforge.inference.runtime import Answer
from cityforge.tasks.picture import picture_size

SHOWN_CLASSES = 3


def shot(
    evidence: Evidence,
    frame_id: str,
    jpeg: bytes,
    labels: pa.Table,
    predictions: pa.Table,
    answer: Callable[[bytes], Answer] | None,
) -> Markup:
    """One frame with what people said of it and what was answered, as an SVG element.

    Args:
        labels: table LABELS, at least the rows of the frame.
        predictions: table PREDICTIONS, alike.
        answer: asks the model again, for the map of a density; without it none is drawn.
    """
    truth, found = (
        table.filter(pc.equal(table["frame_id"], frame_id)) for table in (labels, predictions)
    )
    if evidence.task == "classification":
        return _of_classes(jpeg, found)
    if evidence.task == "density":
        return _of_counts(jpeg, frame_id, truth, evidence, answer)
    return svg_picture(
        jpeg,
        truth_boxes(truth, [frame_id], evidence.classes),
        found_boxes(found, [frame_id], evidence.classes).above(evidence.score_threshold),
        evidence.classes,
    )


def _of_classes(jpeg: bytes, found: pa.Table) -> Markup:
    """The likeliest classes and their scores, written in."""
    rows = sorted(found.to_pylist(), key=lambda row: -row["score"])[:SHOWN_CLASSES]
    lines = [f"{row['class']} {row['score']:.2f}" for row in rows]
    return _svg(caption(small_jpeg(jpeg), lines), Markup(""))


def _of_counts(
    jpeg: bytes,
    frame_id: str,
    labels: pa.Table,
    evidence: Evidence,
    answer: Callable[[bytes], Answer] | None,
) -> Markup:
    """The density map of all classes laid over the frame, and a ring about each marked object."""
    width, height = picture_size(jpeg)
    scale = min(1.0, LONGEST / max(width, height))
    small = small_jpeg(jpeg)
    found = answer(jpeg) if answer else None
    if found is not None and found.density is not None and found.cell_px is not None:
        small = heat_over(small, found.density.sum(0), found.cell_px * scale)
    split = pa.table({"frame_id": [frame_id], "subset": ["shown"]})
    truth = labelled_frames(split, labels, "shown", evidence.classes, "density")
    places = np.concatenate([xyxy[:, :2] for xyxy, _ in truth.boxes] or [np.zeros((0, 2))])
    rings = Markup("").join(
        Markup('<circle class="point" cx="{:.1f}" cy="{:.1f}" r="5"/>').format(x, y)
        for x, y in (places * scale).tolist()
    )
    return _svg(small, rings)


def _svg(jpeg: bytes, inside: Markup) -> Markup:
    width, height = picture_size(jpeg)
    return Markup(
        '<svg class="shot" viewBox="0 0 {w} {h}" role="img">'
        '<image href="{source}" width="{w}" height="{h}"/>{inside}</svg>'
    ).format(w=width, h=height, source=data_uri(jpeg), inside=inside)
