"""What the page shows beside accuracy: champion, unseen cameras, calibration, field failures."""

from __future__ import annotations

from collections.abc import Callable
from gettext import gettext as _
from typing import Any

from markupsafe import Markup

from cityforge.evaluation import words
from cityforge.evaluation.charts import Dots, scatter_chart, share_axis, style
from cityforge.evaluation.evidence import Evidence
from cityforge.evaluation.headline import HEADLINE, shown_figure
from cityforge.evaluation.proof import Calibration, Change, Interval
from cityforge.evaluation.verdict import change_in_words, change_name, change_verdict
from cityforge.evaluation.whiskers import (
    Scale,
    balanced_scale,
    whisker,
)

View = dict[str, Any]
IN_OBJECTS = frozenset({"mae", "rmse", "bias", "mean_count"})  # objects a frame, not 0 to 1
# Of these nobody can say whether more is better.
NO_SIDE = frozenset({"mean_count", "bias"})
SMALL_COUNT = 10  # objects a frame
FEW_ANSWERS = 20  # a bin of calibration with fewer is drawn pale
CAMERAS_NAMED = 6
NOTHING = Interval(low=None, high=None)


def main_metric(evidence: Evidence) -> str:
    """The figure that the slices state: the task's first, or the mAP of several labels."""
    found = evidence.classification
    return found.main if found else HEADLINE[evidence.task][0]


def in_objects(name: str) -> bool:
    """Whether a figure, or that of a slice, counts objects a frame."""
    return name.partition(", ")[0] in IN_OBJECTS


def figure_text(name: str, value: float | None) -> str:
    """A figure as it is printed: a share to three places, a small count to two.

    >>> figure_text("map50", 0.5), figure_text("mae", 0.456), figure_text("mae", 24.8)
    ('0.500', '0.46', '24.8')
    """
    if value is None or not in_objects(name):
        return shown_figure(value)
    return f"{value:.2f}" if abs(value) < SMALL_COUNT else words.count(value)


def interval_text(evidence: Evidence, name: str) -> str:
    """Say between what a figure lies, or nothing where no interval is stated."""
    found = evidence.intervals.get(name)
    if found is None or found.low is None or found.high is None:
        return ""
    low, high = (figure_text(name, end) for end in (found.low, found.high))
    return _("between {low} and {high}").format(low=low, high=high)


def against_view(evidence: Evidence) -> View | None:
    """Each figure's difference from the champion, the task's own figures first."""
    against = evidence.against
    if against is None:
        return None
    first = HEADLINE[evidence.task]
    names = [name for name in first if name in against.changes]
    names += [name for name in against.changes if name not in (*first, *NO_SIDE)]
    scales = {}
    for is_count in (True, False):
        alike = [against.changes[name] for name in names if in_objects(name) == is_count]
        scales[is_count] = balanced_scale(v for c in alike for v in (c.difference, c.low, c.high))
    return {
        "version": against.version,
        "digest": against.package_digest,
        "frames": words.pictures(against.frames),
        "rows": [
            _change_row(name, against.changes[name], scales[in_objects(name)]) for name in names
        ],
    }


def _change_row(name: str, change: Change, scale: Scale) -> View:
    kind = change_verdict(name, change)
    return {
        "name": change_name(name),
        "champion": figure_text(name, change.champion),
        "this": figure_text(name, change.this),
        "picture": whisker(change.difference, change.low, change.high, scale, kind),
        "difference": signed(name, change.difference),
        "said": change_in_words(name, change),
        "kind": kind,
    }


def signed(name: str, value: float | None) -> str:
    """A difference with its sign."""
    if value is None:
        return "–"
    sign = "−" if value < 0 else "+" if value > 0 else "±"
    return sign + figure_text(name, abs(value))


def unseen_values(evidence: Evidence) -> list[float | None]:
    """The main figure on cameras never trained on, with its interval: what a scale must hold."""
    unseen, name = evidence.unseen, main_metric(evidence)
    if unseen is None:
        return []
    ends = [i.get(name, NOTHING) for i in (evidence.intervals, unseen.intervals)]
    return [unseen.metrics.get(name), *(v for end in ends for v in (end.low, end.high))]


def unseen_view(evidence: Evidence, scale: Scale) -> View | None:
    """The main figure on cameras never trained on, beside the ordinary one."""
    unseen, name = evidence.unseen, main_metric(evidence)
    if unseen is None:
        return None
    rows = []
    for title, frames, of, ends in (
        (_("known cameras"), evidence.frame_count, evidence.metrics, evidence.intervals),
        (_("cameras it never saw"), unseen.frames, unseen.metrics, unseen.intervals),
    ):
        value, end = of.get(name), ends.get(name, NOTHING)
        picture = whisker(value, end.low, end.high, scale)
        rows.append(
            {"name": title, "detail": words.pictures(frames), "few": False, "picture": picture,
             "shown": figure_text(name, value)}
        )  # fmt: skip
    return {
        "title": _("On cameras it never saw"), "rows": rows, "left": 0, "ends": scale.ends,
        "names": named(unseen.cameras, CAMERAS_NAMED),
    }  # fmt: skip


def named(names: list[str], most: int) -> str:
    """Names in one line, the first of many.

    >>> named(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    text = ", ".join(names[:most])
    left = len(names) - most
    return text + (" " + _("and {n} more").format(n=left) if left > 0 else "")


def calibration_view(evidence: Evidence) -> View | None:
    """How often answers of each score are right: chart and what it means."""
    found = evidence.calibration
    if found is None or not any(b.answers for b in found.bins):
        return None
    dots = []
    kinds: list[tuple[str, str, Callable[[int], bool]]] = [
        (_("answers"), style(0)[0], lambda n: n >= FEW_ANSWERS),
        (_("few answers"), "#9aa6b2", lambda n: 0 < n < FEW_ANSWERS),
    ]
    for name, colour, belongs in kinds:
        bins = [b for b in found.bins if belongs(b.answers)]
        dots.append(Dots(name, [b.score for b in bins], [b.right for b in bins], colour))
    axes = share_axis(_("score")), share_axis(_("share that is right"))
    title = _("How far scores can be believed")
    chart: Markup = scatter_chart(
        dots, *axes, ((0.0, 0.0), (1.0, 1.0)), title=title, size=(380, 270), radius=5.0
    )
    return {"title": title, "chart": chart, "said": _calibration_said(found, evidence)}


def _calibration_said(found: Calibration, evidence: Evidence) -> list[str]:
    known = [b for b in found.bins if b.answers and b.score is not None and b.right is not None]
    said = []
    reported = [b for b in known if (b.score or 0.0) >= evidence.score_threshold]
    if reported:
        most = max(reported, key=lambda b: b.answers)
        text = _("Of 100 answers with a score about {score}, {n} are right.")
        said.append(text.format(score=f"{most.score:.2f}", n=round(100 * (most.right or 0.0))))
    if found.ece is not None:
        said.append(
            _("On average a score is off by {n} of 100.").format(n=f"{100 * found.ece:.1f}")
        )
    whole = sum(b.answers for b in known)
    if whole:
        above = sum(b.answers * ((b.score or 0.0) - (b.right or 0.0)) for b in known) / whole
        said.append(
            _("On the whole it is too sure of itself.")
            if above > 0
            else _("On the whole it is right more often than it says.")
        )
    return said
