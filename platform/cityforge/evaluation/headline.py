"""The figures by which people speak of a version, and their names."""

from __future__ import annotations

from collections.abc import Mapping
from gettext import gettext as _

HEADLINE: dict[str, tuple[str, ...]] = {
    "detection": ("map50", "map50_95"),
    "classification": ("accuracy", "f1", "map"),
    "density": ("mae", "relative_mae"),
}

# Of all others more is better.
SMALLER_IS_BETTER = frozenset({"mae", "rmse", "relative_mae"})


def headline(task: str, metrics: Mapping[str, float | None]) -> str:
    """The task's first figures in one line; one that could not be measured is a dash.

    >>> headline("density", {"mae": 2.1, "relative_mae": None})
    'MAE 2.100, Relative MAE –'
    """
    return ", ".join(
        f"{metric_name(name)} {shown_figure(metrics.get(name))}" for name in HEADLINE[task]
    )


def shown_figure(value: float | None) -> str:
    """A figure as it is printed."""
    return "–" if value is None else f"{value:.3f}"


def metric_name(name: str) -> str:
    """Say a metric's name as the field writes it."""
    known = {
        "map50": "mAP50", "map50_95": "mAP50-95", "map75": "mAP75", "ar100": "AR100",
        "map": "mAP", "f1": "F1", "mae": "MAE", "rmse": "RMSE", "r2": "R²", "ar1": "AR1",
        "ar10": "AR10", "map_voc": "mAP (VOC)",
    }  # fmt: skip
    words = {
        "precision": _("Precision"), "recall": _("Recall"), "accuracy": _("Accuracy"),
        "relative_mae": _("Relative MAE"), "f1_micro": _("F1 over all labels"),
        "hamming_loss": _("Hamming loss"), "bias": _("Bias"), "mean_count": _("Mean count"),
    }  # fmt: skip
    figure, _by, size = name.rpartition("_")
    if size in ("small", "medium", "large"):
        return _("{figure}, {size} objects").format(figure=metric_name(figure), size=size)
    return known.get(name) or words.get(name) or name
