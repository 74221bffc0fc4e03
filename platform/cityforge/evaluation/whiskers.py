"""Figures with their intervals as a dot and a whisker on one line, as SVG that fits its column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from cityforge.evaluation.charts import fitted_axis

LEAST = 4  # tenths
EDGE = 2.0  # hundredths of the width that stay free at both ends


@dataclass(frozen=True)
class Scale:
    """From where to where a row of whiskers runs, and where its rule stands."""

    low: float
    high: float
    rule: float | None = None

    @property
    def ends(self) -> tuple[str, str]:
        """The numbers at its left and its right."""
        return f"{self.low:g}", f"{self.high:g}"

    def at(self, value: float) -> float:
        """Return the position in hundredths of the width; what lies outside stays at the edge.

        >>> Scale(0, 1).at(0.5), Scale(0, 1).at(7)
        (50.0, 98.0)
        """
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return EDGE + (100 - 2 * EDGE) * min(1.0, max(0.0, share))


def count_scale(values: Iterable[float | None], rule: float | None = None) -> Scale:
    """A scale from 0 to a round number that holds `values`."""
    axis = fitted_axis("", [0.0, *(value for value in values if value is not None)], low=0)
    return Scale(0.0, axis.high, rule)


def fitted_scale(values: Iterable[float | None], rule: float | None = None) -> Scale:
    """A scale of figures from 0 to 1, by tenths, that holds `values` and is LEAST wide.

    >>> fitted_scale([0.45, 0.58], 0.5)
    Scale(low=0.3, high=0.7, rule=0.5)
    """
    known = [value for value in (*values, rule) if value is not None] or [0.0, 1.0]
    low, high = math.floor(10 * min(known) + 1e-9), math.ceil(10 * max(known) - 1e-9)
    while high - low < LEAST:
        low, high = max(0, low - 1), min(10, high + 1)
    return Scale(low / 10, high / 10, rule)


def balanced_scale(values: Iterable[float | None]) -> Scale:
    """A scale about 0 that holds `values` on both sides, with a rule at 0."""
    most = max((abs(value) for value in values if value is not None), default=0.0) or 1.0
    return Scale(-1.1 * most, 1.1 * most, 0.0)


def whisker(
    value: float | None,
    low: float | None,
    high: float | None,
    scale: Scale,
    kind: str = "",
) -> Markup:
    """Draw one figure; without an interval a dot alone, without a figure the line alone.

    Args:
        kind: of the drawing's style: "", "few", "better", "worse", "same".
    """
    parts: list[Markup] = [_line("track", scale.low, scale.high, scale)]
    if scale.rule is not None:
        parts.append(_upright(scale.rule, scale))
    if low is not None and high is not None:
        parts.append(_line("whisker", low, high, scale))
    if value is not None:
        parts.append(Markup('<circle cx="{:.1f}%" cy="50%" r="5"/>').format(scale.at(value)))
    return _drawing(parts, kind)


def _drawing(parts: Sequence[Markup], kind: str) -> Markup:
    return Markup('<svg class="dot {}" height="18" aria-hidden="true">{}</svg>').format(
        kind, Markup("").join(parts)
    )


def _line(kind: str, low: float, high: float, scale: Scale) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}%" x2="{:.1f}%" y1="50%" y2="50%"/>').format(
        kind, scale.at(low), scale.at(high)
    )


def _upright(value: float, scale: Scale) -> Markup:
    at = scale.at(value)
    return Markup('<line class="rule" x1="{:.1f}%" x2="{:.1f}%" y1="0" y2="100%"/>').format(at, at)
