"""Accuracy against latency: the front of a search, the rule that picks from it, its picture."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cityforge.cards.algorithm import Choice
from cityforge.errors import DataError

# Fonts with Chinese signs, in order of preference; matplotlib's own has none.
CHINESE_FONTS = (
    "NotoSansCJK-Regular",
    "NotoSansSC-Regular",
    "wqy-microhei",
    "wqy-zenhei",
    "simhei",
)
GREY, BLUE, RED = "#8a8a8a", "#0072b2", "#d55e00"
INCHES, DOTS_PER_INCH = (8.0, 5.2), 130


@dataclass(frozen=True)
class Point:
    """A trial as its study has it; score 0 to 1 and higher is better, latency in ms."""

    number: int
    state: str  # complete, pruned, running, waiting, fail
    score: float | None = None
    latency_ms: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    fault: str | None = None
    seconds: float | None = None
    again: int | None = None  # number of the trial that this one repeats
    graph: str | None = None  # network and input whose latency this is

    @property
    def is_judged(self) -> bool:
        """It came to its figures."""
        return self.state == "complete" and self.fault is None and self.score is not None


def front_of(points: Sequence[Point]) -> list[Point]:
    """Judged points that no other beats in one figure without losing in the other.

    Sorted from quick to slow; without latencies it is the best point. Of equal points the
    earliest stands.
    """
    judged = [each for each in points if each.is_judged]
    judged.sort(key=lambda p: (p.latency_ms or 0.0, -(p.score or 0.0), p.number))
    front: list[Point] = []
    for each in judged:
        if not front or _score(each) > _score(front[-1]):
            front.append(each)
    if any(each.latency_ms is None for each in judged):
        return front[-1:]
    return front


def pick(points: Sequence[Point], choice: Choice) -> tuple[Point, str]:
    """The point that the card's choice asks for, and why it is that one.

    Raises:
        DataError: no point keeps the card's limits; the nearest one is named.
    """
    front = front_of(points)
    judged = sum(each.is_judged for each in points)
    kept = [each for each in front if _keeps(each, choice)]
    near = f"{shown(_nearest(front, choice))} as the nearest of {judged}" if front else "none"
    if not kept:
        raise DataError(
            f"a trial {limits_of(choice)}".rstrip(),
            found=near,
            where="algorithm.yaml, key 'choice'",
            do="lower what choice asks for, raise tune.trials, or widen tune.search",
        )  # fmt: skip
    if choice.prefer == "fastest":
        taken = min(kept, key=lambda p: (p.latency_ms or 0.0, -_score(p)))
        meaning = "the fastest"
    else:
        taken = max(kept, key=lambda p: (_score(p), -(p.latency_ms or 0.0)))
        meaning = "the highest score"
    limits = limits_of(choice)
    return taken, f"{meaning} of {judged} trials{' ' + limits if limits else ''}: {shown(taken)}"


def limits_of(choice: Choice) -> str:
    """The card's limits in words; empty when there are none."""
    parts = []
    if choice.least_score is not None:
        parts.append(f"with a score of at least {choice.least_score:g}")
    if choice.most_ms is not None:
        parts.append(f"in at most {choice.most_ms:g} ms")
    return " ".join(parts)


def shown(point: Point) -> str:
    """One point in words."""
    ms = "" if point.latency_ms is None else f" in {point.latency_ms:.2f} ms"
    return f"trial {point.number} with {_score(point):.3f}{ms}"


def _score(point: Point) -> float:
    return point.score or 0.0


def _keeps(point: Point, choice: Choice) -> bool:
    enough = choice.least_score is None or _score(point) >= choice.least_score
    quick = choice.most_ms is None or (point.latency_ms or 0.0) <= choice.most_ms
    return enough and quick


def _nearest(front: Sequence[Point], choice: Choice) -> Point:
    """The best of those that are quick enough, else the quickest."""
    quick = [p for p in front if choice.most_ms is None or (p.latency_ms or 0.0) <= choice.most_ms]
    return max(quick, key=_score) if quick else front[0]


def draw_front(
    path: Path, title: str, points: Sequence[Point], picked: Point | None, choice: Choice,
    device: str,
) -> None:  # fmt: skip
    """Write a PNG: every trial, the front, the picked one, and the card's limits.

    Without latencies the trials stand in their order, and the line is the best so far.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # It warns of each sign whose font has no weight of that name.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

    judged = [each for each in points if each.is_judged]
    timed = bool(judged) and all(each.latency_ms is not None for each in judged)
    with rc_context({"font.family": [*_chinese_font(), "DejaVu Sans"], "font.size": 10}):
        figure = Figure(figsize=INCHES, layout="constrained")
        axes = figure.add_subplot()
        axes.margins(0.08, 0.12)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        (_draw_timed if timed else _draw_in_order)(axes, judged, points)
        if picked is not None:
            x = _latency(picked) if timed else picked.number
            axes.plot(x, _score(picked), "*", color=RED, markersize=17, zorder=5,
                      label=f"picked: {shown(picked)}")  # fmt: skip
        if choice.least_score is not None:
            axes.axhline(choice.least_score, color=RED, linewidth=1, linestyle=":",
                         label=f"least score {choice.least_score:g}")  # fmt: skip
        if choice.most_ms is not None and timed:
            axes.axvline(choice.most_ms, color=RED, linewidth=1, linestyle="--",
                         label=f"most latency {choice.most_ms:g} ms")  # fmt: skip
        axes.set_ylabel("score on val (0 to 1)")
        axes.set_title(f"{title}\n{device}", loc="left", fontsize=10)
        axes.legend(loc="best", fontsize=8, framealpha=0.85)
        path.parent.mkdir(parents=True, exist_ok=True)
        # No version of matplotlib in the file: the same points give the same bytes.
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})


def _draw_timed(axes: Any, judged: Sequence[Point], points: Sequence[Point]) -> None:
    front = front_of(points)
    rest = [each for each in judged if each not in front]
    axes.plot([p.latency_ms for p in rest], [p.score for p in rest], "o", color=GREY,
              markersize=5, alpha=0.7, label=f"other trials ({len(rest)})")  # fmt: skip
    axes.plot([p.latency_ms for p in front], [p.score for p in front], "o-", color=BLUE,
              markersize=7, drawstyle="steps-post", label=f"front ({len(front)})")  # fmt: skip
    for i, each in enumerate(front):
        if each.graph and (i == 0 or front[i - 1].graph != each.graph):
            axes.annotate(each.graph, (each.latency_ms, each.score), xytext=(7, -11),
                          textcoords="offset points", fontsize=7.5, color=BLUE)  # fmt: skip
    if len(front) > 1 and _latency(front[-1]) > 4 * _latency(front[0]):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel("latency of one picture on one core (ms)")


def _latency(point: Point) -> float:
    return point.latency_ms or 0.0


def _draw_in_order(axes: Any, judged: Sequence[Point], points: Sequence[Point]) -> None:
    pruned = [p for p in points if p.state == "pruned" and p.score is not None]
    axes.plot([p.number for p in judged], [p.score for p in judged], "o", color=GREY,
              markersize=5, label=f"trials ({len(judged)})")  # fmt: skip
    if pruned:
        axes.plot([p.number for p in pruned], [p.score for p in pruned], "x", color=GREY,
                  markersize=6, label=f"ended early ({len(pruned)})")  # fmt: skip
    ordered = sorted(judged, key=lambda p: p.number)
    best = [max(_score(p) for p in ordered[: i + 1]) for i in range(len(ordered))]
    axes.plot([p.number for p in ordered], best, "-", color=BLUE, drawstyle="steps-post",
              label="best so far")  # fmt: skip
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("trial (number)")


def _chinese_font() -> list[str]:
    """The family of the first font found that has Chinese signs."""
    from matplotlib import font_manager

    found = {Path(path).stem.lower(): path for path in font_manager.findSystemFonts()}
    for name in CHINESE_FONTS:
        path = found.get(name.lower())
        if path is not None:
            font_manager.fontManager.addfont(path)
            return [str(font_manager.FontProperties(fname=path).get_name())]
    return []
