"""What the pages of all tasks show alike: figures as text, training's charts, matrices, slices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from gettext import gettext as _
from typing import Any

from markupsafe import Markup

from cityforge.evaluation import words
from cityforge.evaluation.charts import Line, fitted_axis, line_chart, share_axis, style
from cityforge.evaluation.evidence import Evidence
from cityforge.evaluation.figures import Confusion
from cityforge.evaluation.headline import metric_name

WEAKEST_FIRST = frozenset({"camera", "lighting", "weather"})
ROWS_SHOWN = 12  # of one kind of slice

# Charts of training: keys of its history.
TRAINING = {
    "detection": ("train_loss", "val_map50", "val_map50_95", "learning_rate", "lr"),
    "classification": ("train_loss", "val_accuracy", "val_map", "learning_rate"),
    "density": ("train_loss", "val_mae", "val_score", "learning_rate"),
}


def training_charts(evidence: Evidence) -> list[tuple[str, Markup]]:
    """One chart for each of the task's figures that training recorded over its epochs."""
    rows, titles = evidence.training, _titles()
    charts: list[tuple[str, Markup]] = []
    for key in TRAINING[evidence.task]:
        known = [
            (row.get("epoch", float(i)), row[key])
            for i, row in enumerate(rows)
            if row.get(key) is not None  # not every epoch is validated
        ]
        if not known:
            continue
        title, is_share = titles[key]
        epochs, values = ([pair[side] for pair in known] for side in (0, 1))
        y = share_axis("") if is_share else fitted_axis("", values, low=0)
        line = Line(title, epochs, values, style(len(charts))[0], width=2.4)
        x = fitted_axis(_("epoch"), [row.get("epoch", float(i)) for i, row in enumerate(rows)])
        charts.append((title, line_chart([line], x, y, title=title, size=(350, 240))))
    return charts


def _titles() -> dict[str, tuple[str, bool]]:
    """Title of each chart of training, and whether its figure runs from 0 to 1."""
    on_val = _("{figure} on validation pictures")
    shares = {name: metric_name(name) for name in ("map50", "map50_95", "accuracy", "map")}
    titles = {f"val_{k}": (on_val.format(figure=v), True) for k, v in shares.items()}
    return titles | {
        "val_score": (on_val.format(figure=_("Score")), True),
        "val_mae": (on_val.format(figure=metric_name("mae")), False),
        "train_loss": (_("Loss in training"), False),
        "learning_rate": (_("Learning rate"), False),
        "lr": (_("Learning rate"), False),
    }


def precision_chart(recall: Sequence[Any], precision: Mapping[str, Any], note: str) -> Any:
    """Precision over recall of each class: title, explanation, chart."""
    title = _("Precision and recall")
    lines = [
        Line(name, recall, _to_first_zero(values), *style(i))
        for i, (name, values) in enumerate(precision.items())
        if values
    ]
    text = _("The further a line stays up to the right, the better.") + note
    return title, text, line_chart(lines, *_axes(_("recall"), _("precision")), title=title)


def f1_chart(
    threshold: Sequence[Any], f1: Mapping[str, Any], mean: Sequence[Any], mark: float | None
) -> Any:
    """F1 over the score threshold of each class: title, explanation, chart."""
    title = _("F1 and score threshold")
    lines = [
        Line(name, threshold, values, *style(i), 1.6)
        for i, (name, values) in enumerate(f1.items())
        if values
    ]
    if mean:
        lines.append(Line(_("mean"), threshold, mean, width=3))
    text = _("Thick: mean of the classes.")
    if mark is not None:
        text += " " + _("Dashed: the threshold in use.")
    axes = _axes(_("score threshold"), "F1")
    return title, text, line_chart(lines, *axes, title=title, mark_x=mark)


def matrix_rows(confusion: Confusion, names: Iterable[str]) -> list[tuple[str, list[Any]]]:
    """Rows of a matrix: name, and for each cell its count, right or wrong, and depth 0 to 1.

    The depth is the share of the row; for false alarms, which have no row, of the column.
    """
    matrix, labels = confusion.matrix, confusion.labels
    reported = [sum(column) for column in zip(*matrix, strict=True)]
    rows = []
    for i, (name, row) in enumerate(zip(names, matrix, strict=True)):
        whole = [sum(row)] * len(row) if i < len(labels) else reported
        rows.append((name, [_cell(n, whole[j], i == j) for j, n in enumerate(row)]))
    return rows


def slice_groups(
    slices: Sequence[Any],
    rows: Mapping[int, dict[str, Any]],
    kinds: Sequence[str],
    ends: tuple[str, str],
) -> list[dict[str, Any]]:
    """Slices by kind: title, rows, and how many stronger ones are left out.

    Cameras, lights and weathers stand weakest first and those of too few last; what has an order
    of its own keeps it.

    Args:
        rows: by position among `slices`: detail, shown, few, picture, and `strength` to sort by.
        ends: the numbers at both ends of the pictures.
    """
    groups = []
    for by in kinds:
        found = [(part, rows[i]) for i, part in enumerate(slices) if part.by == by]
        if by in WEAKEST_FIRST:
            found.sort(key=lambda pair: (pair[1]["few"], pair[1]["strength"]))
        if found:
            shown = [
                {"name": words.slice_name(by, part.name), **row} for part, row in found[:ROWS_SHOWN]
            ]
            left = len(found) - len(shown)
            groups.append(
                {"title": words.slice_title(by), "rows": shown, "left": left, "ends": ends}
            )
    return groups


def _axes(x: str, y: str) -> tuple[Any, Any]:
    return share_axis(x), share_axis(y)


def _to_first_zero(values: Sequence[float | None]) -> list[float | None]:
    """End a precision curve where recall ends, not with a line along the axis."""
    end = next((i for i, value in enumerate(values) if not value), len(values))
    return [*values[: end + 1], *[None] * (len(values) - end - 1)]


def _cell(count: int, whole: int, is_right: bool) -> dict[str, Any]:
    depth = 0.12 + 0.88 * count / whole if count else 0.0
    return {"count": count, "depth": depth, "kind": "right" if is_right else "wrong"}
