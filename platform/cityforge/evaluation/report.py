"""One HTML file by which a person approves or refuses: no network, no script, prints well."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from gettext import gettext as _
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from cityforge.evaluation import words
from cityforge.evaluation.boxes import found_boxes, truth_boxes
from cityforge.evaluation.charts import Line, fitted_axis, line_chart, share_axis, style
from cityforge.evaluation.evidence import Evidence, FrameResult
from cityforge.evaluation.pictures import data_uri, small_jpeg, svg_picture

TEMPLATE = "report.html.j2"
AUGMENTED_SHOWN = 8
AUGMENTED_SIDE = 320  # pixels


def write_report(
    path: Path,
    evidence: Evidence,
    *,
    labels: pa.Table,
    predictions: pa.Table,
    read_frame: Callable[[str], bytes],
    augmented: Sequence[bytes] | None = None,
) -> Path:
    """Write the report of an evaluation as one self-contained HTML file.

    Args:
        path: where the file goes; it is replaced as a whole.
        evidence: what the evaluation found.
        labels: table LABELS, at least the rows of the frames shown.
        predictions: table PREDICTIONS, alike.
        read_frame: gives the stored JPEG of a frame_id.
        augmented: JPEGs as the network saw them in training.
    """

    def shot(frame: FrameResult) -> Markup:
        truth, found = (
            table.filter(pc.equal(table["frame_id"], frame.frame_id))
            for table in (labels, predictions)
        )
        return svg_picture(
            read_frame(frame.frame_id),
            truth_boxes(truth, [frame.frame_id], evidence.classes),
            found_boxes(found, [frame.frame_id], evidence.classes).above(evidence.score_threshold),
            evidence.classes,
        )

    page = render(
        evidence,
        worst=[(frame, shot(frame)) for frame in evidence.worst_frames],
        best=[(frame, shot(frame)) for frame in evidence.best_frames],
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
    worst: Sequence[tuple[FrameResult, Markup]] = (),
    best: Sequence[tuple[FrameResult, Markup]] = (),
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
    environment.filters.update(figure=_figure, percent=_percent)
    return environment.get_template(TEMPLATE).render(
        _=_,
        e=evidence,
        words=words,
        digest=evidence.digest(),
        worst=worst,
        best=best,
        augmented=augmented,
        charts=_accuracy_charts(evidence),
        training=_training_charts(evidence),
        legend=[(c.name, *style(i)) for i, c in enumerate(evidence.per_class) if c.boxes],
        slices=_slices(evidence),
        confusion=_confusion(evidence),
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _accuracy_charts(evidence: Evidence) -> list[tuple[str, str, Markup]]:
    """Precision over recall, and F1 over the threshold: title, explanation, chart."""
    curves = evidence.curves
    pr, f1 = [], []
    for i, name in enumerate(evidence.classes):
        colour, dash = style(i)
        if curves.precision[name]:
            reached = _to_first_zero(curves.precision[name])
            pr.append(Line(name, curves.recall, reached, colour, dash))
            f1.append(Line(name, curves.threshold, curves.f1[name], colour, dash, 1.6))
    f1.append(Line(_("mean"), curves.threshold, curves.f1_mean, width=3))
    titles = _("Precision and recall"), _("F1 and score threshold")
    return [
        (
            titles[0],
            _("The further a line stays up to the right, the better. Overlap (IoU) 0.50."),
            line_chart(pr, share_axis(_("recall")), share_axis(_("precision")), title=titles[0]),
        ),
        (
            titles[1],
            _("Thick: mean of the classes. Dashed: the threshold in use."),
            line_chart(
                f1,
                share_axis(_("score threshold")),
                share_axis("F1"),
                title=titles[1],
                mark_x=evidence.score_threshold,
            ),
        ),
    ]


def _training_charts(evidence: Evidence) -> list[tuple[str, Markup]]:
    """One chart for each figure that the training recorded over its epochs."""
    rows = evidence.training
    epochs = [row.get("epoch", float(i)) for i, row in enumerate(rows)]
    names = {"train_loss": _("Loss in training"), "val_map50": _("mAP50 on validation pictures")}
    names["lr"] = _("Learning rate")
    charts = []
    for i, (key, title) in enumerate(names.items()):
        values = [row.get(key) for row in rows]
        if not any(value is not None for value in values):
            continue
        y = share_axis("mAP50") if key == "val_map50" else fitted_axis("", values, low=0)
        line = Line(title, epochs, values, style(i)[0], width=2.4)
        x = fitted_axis(_("epoch"), epochs)
        charts.append((title, line_chart([line], x, y, title=title, size=(350, 240))))
    return charts


def _slices(evidence: Evidence) -> list[tuple[str, list[dict[str, Any]]]]:
    """Slices by kind, the largest first; `few` where the boxes are too few to say much."""
    groups = []
    for by in ("camera", "lighting", "weather", "size"):
        rows = [s for s in evidence.slices if s.by == by]
        if by != "size":
            rows.sort(key=lambda s: -s.boxes)
        shown = [
            {"name": words.slice_name(by, s.name), "few": s.boxes < words.FEW, **_counts(s)}
            for s in rows
        ]
        if shown:
            groups.append((words.slice_title(by), shown))
    return groups


def _counts(part: Any) -> dict[str, Any]:
    return {"frames": part.frames, "boxes": part.boxes, "map50": part.map50}


def _to_first_zero(values: Sequence[float | None]) -> list[float | None]:
    """End a precision curve where recall ends, not with a line along the axis."""
    end = next((i for i, value in enumerate(values) if not value), len(values))
    return [*values[: end + 1], *[None] * (len(values) - end - 1)]


def _confusion(evidence: Evidence) -> list[tuple[str, list[dict[str, Any]]]]:
    """Rows of the matrix: name, and for each cell its count, right or wrong, and depth 0 to 1.

    The depth is the share of the row; for false alarms, which have no row, of the column.
    """
    matrix, labels = evidence.confusion.matrix, evidence.confusion.labels
    reported = [sum(column) for column in zip(*matrix, strict=True)]
    rows = []
    for i, (name, row) in enumerate(zip([*labels, _("nothing there")], matrix, strict=True)):
        whole = [sum(row)] * len(row) if i < len(labels) else reported
        rows.append((name, [_cell(n, whole[j], i == j) for j, n in enumerate(row)]))
    return rows


def _cell(count: int, whole: int, is_right: bool) -> dict[str, Any]:
    depth = 0.12 + 0.88 * count / whole if count else 0.0
    return {"count": count, "depth": depth, "kind": "right" if is_right else "wrong"}
