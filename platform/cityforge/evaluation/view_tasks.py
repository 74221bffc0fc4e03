"""What the page of each task shows of its own."""

from __future__ import annotations

from collections.abc import Callable
from gettext import gettext as _
from typing import Any

from cityforge.errors import DataError
from cityforge.evaluation import words
from cityforge.evaluation.charts import Axis, Dots, fitted_axis, scatter_chart, style
from cityforge.evaluation.evidence import Evidence
from cityforge.evaluation.figures import ClassificationFigures, DensityFigures
from cityforge.evaluation.headline import shown_figure
from cityforge.evaluation.view import f1_chart, matrix_rows, precision_chart, slice_groups
from cityforge.evaluation.view_proof import unseen_values, unseen_view
from cityforge.evaluation.whiskers import Scale, count_scale, fitted_scale, whisker

View = dict[str, Any]
KINDS = ("camera", "hour", "lighting", "weather", "size", "crowding")


def view_of(evidence: Evidence) -> View:
    """Charts, legend, slices and confusion of the task's page."""
    views: dict[str, Callable[[Evidence], View]] = {
        "detection": _detection,
        "classification": _classification,
        "density": _density,
    }
    return views[evidence.task](evidence)


def _detection(evidence: Evidence) -> View:
    curves = evidence.curves
    ends = [value for s in evidence.slices for value in (s.map50, s.low, s.high)]
    ends += unseen_values(evidence)
    scale = fitted_scale(ends, evidence.metrics.get("map50"))
    rows = {
        i: {
            "detail": f"{words.objects(s.boxes)} · {words.pictures(s.frames)}",
            "strength": s.map50 or 0.0, **_row(s, s.map50, shown_figure(s.map50), s.boxes, scale),
        }
        for i, s in enumerate(evidence.slices)
    }  # fmt: skip
    names = [*evidence.confusion.labels, _("nothing there")]
    return {
        "charts": [
            precision_chart(curves.recall, curves.precision, " " + _("Overlap (IoU) 0.50.")),
            f1_chart(curves.threshold, curves.f1, curves.f1_mean, evidence.score_threshold),
        ],
        "legend": [(c.name, *style(i)) for i, c in enumerate(evidence.per_class) if c.boxes],
        "slices": slice_groups(evidence.slices, rows, KINDS, scale.ends),
        "unseen": unseen_view(evidence, scale),
        "confusion": matrix_rows(evidence.confusion, names),
    }


def _classification(evidence: Evidence) -> View:
    found: ClassificationFigures = _own(evidence.classification)
    curves = found.curves
    charts = [precision_chart(curves.recall, curves.precision, "")]
    if found.several_labels:
        charts.append(f1_chart(curves.threshold, curves.f1, curves.f1_mean, None))
    ends = [value for s in found.slices for value in (s.value, s.low, s.high)]
    ends += unseen_values(evidence)
    scale = fitted_scale(ends, evidence.metrics.get(found.main))
    rows = {
        i: {
            "detail": words.pictures(s.frames), "strength": s.value or 0.0,
            **_row(s, s.value, shown_figure(s.value), s.frames, scale),
        }
        for i, s in enumerate(found.slices)
    }  # fmt: skip
    cells = found.confusion
    return {
        "charts": charts,
        "legend": [(c.name, *style(i)) for i, c in enumerate(found.per_class) if c.frames],
        "slices": slice_groups(found.slices, rows, KINDS, scale.ends),
        "unseen": unseen_view(evidence, scale),
        "confusion": matrix_rows(cells, cells.labels) if cells else [],
    }


def _density(evidence: Evidence) -> View:
    found: DensityFigures = _own(evidence.density)
    ends = [value for s in found.slices for value in (s.mae, s.high)]
    ends += unseen_values(evidence)
    scale = count_scale(ends, evidence.metrics.get("mae"))
    rows = {
        i: {
            "detail": _("{pictures} of {mean} objects each").format(
                pictures=words.pictures(s.frames), mean=words.count(s.mean_count)
            ),
            "strength": -(s.mae or 0.0),
            **_row(s, s.mae, "±" + words.count(s.mae), s.frames, scale),
        }
        for i, s in enumerate(found.slices)
    }  # fmt: skip
    legend = [(c.name, *style(i)) for i, c in enumerate(found.per_class)]
    return {
        "charts": [_counts_chart(found), _errors_chart(found)],
        "legend": legend if len(legend) > 1 else [],
        "slices": slice_groups(found.slices, rows, KINDS, scale.ends),
        "unseen": unseen_view(evidence, scale),
    }


def _row(part: Any, value: float | None, shown: str, count: int, scale: Scale) -> View:
    """One slice: its figure as text and as a picture, grey where it rests on too little."""
    few = part.few or (part.low is None and count < words.FEW)
    picture = whisker(value, part.low, part.high, scale, "few" if few else "")
    return {"shown": shown, "few": few, "picture": picture}


def _counts_chart(found: DensityFigures) -> Any:
    title = _("Estimated and marked")
    dots = [Dots(p.name, p.truth, p.found, style(i)[0]) for i, p in enumerate(found.pairs)]
    values = [value for p in found.pairs for value in (*p.truth, *p.found)]
    x, y = (fitted_axis(label, values, low=0) for label in (_("marked"), _("estimated")))
    text = _("On the line the count is right; above it too many were counted.")
    line = ((x.low, x.low), (x.high, x.high))
    return title, text, scatter_chart(dots, x, y, line, title=title)


def _errors_chart(found: DensityFigures) -> Any:
    title = _("Error and number of objects")
    apart = [[f - t for t, f in _known(p.truth, p.found)] for p in found.pairs]
    truth = [[t for t, _found in _known(p.truth, p.found)] for p in found.pairs]
    dots = [
        Dots(p.name, xs, ys, style(i)[0])
        for i, (p, xs, ys) in enumerate(zip(found.pairs, truth, apart, strict=True))
    ]
    most = max((abs(value) for values in apart for value in values), default=1.0)
    x = fitted_axis(_("marked"), [value for values in truth for value in values], low=0)
    half = fitted_axis("", [most], low=0)
    ticks = tuple(sorted({0.0 - tick for tick in half.ticks} | set(half.ticks)))
    y = Axis(_("estimated less marked"), -half.high, half.high, ticks)
    text = _("Where the dots leave the line to one side, it counts too many or too few there.")
    return title, text, scatter_chart(dots, x, y, ((x.low, 0.0), (x.high, 0.0)), title=title)


def _known(truth: Any, found: Any) -> list[tuple[float, float]]:
    pairs = zip(truth, found, strict=True)
    return [(t, f) for t, f in pairs if t is not None and f is not None]


def _own(figures: Any) -> Any:
    """The task's own record, which its evidence always has."""
    if figures is None:
        raise DataError("evidence with the figures of its task", found="none of them")
    return figures
