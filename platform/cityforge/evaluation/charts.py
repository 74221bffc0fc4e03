"""Line charts as SVG text: sharp at every size, coloured by the page's own style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 520, 320
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 44

# Okabe and Ito, "Color Universal Design", 2008, without the two that vanish on white or black.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
DASHES = ("", "7 4", "2 3", "9 3 2 3")

Values = Sequence[float | None]


@dataclass(frozen=True)
class Line:
    """One line of a chart; a null breaks it."""

    name: str
    xs: Values
    ys: Values
    colour: str = "currentColor"
    dash: str = ""
    width: float = 2.0


@dataclass(frozen=True)
class Dots:
    """Points of one kind; one with a null is left out."""

    name: str
    xs: Values
    ys: Values
    colour: str = "currentColor"


@dataclass(frozen=True)
class Axis:
    """What an axis says and from where to where it runs."""

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]


def style(i: int) -> tuple[str, str]:
    """Return the colour and the dashes of line `i`, different for the first 24 lines.

    >>> style(0), style(7)
    (('#0072b2', ''), ('#e69f00', '7 4'))
    """
    return PALETTE[i % len(PALETTE)], DASHES[i // len(PALETTE) % len(DASHES)]


def share_axis(label: str) -> Axis:
    """An axis from 0 to 1."""
    return Axis(label, 0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))


def fitted_axis(label: str, values: Values, low: float | None = None) -> Axis:
    """An axis that holds `values`, with about five round ticks.

    >>> fitted_axis("loss", [0.4, 3.1], low=0).ticks
    (0.0, 1.0, 2.0, 3.0, 4.0)
    """
    known = [v for v in values if v is not None] or [0.0, 1.0]
    bottom = min(known) if low is None else low
    span = max(known) - bottom or 1.0
    unit = 10.0 ** math.floor(math.log10(span / 4))
    step = next(f * unit for f in (1, 2, 5, 10) if f * unit >= span / 5)
    first, last = math.floor(bottom / step), math.ceil(max(known) / step - 1e-9)
    last = max(last, first + 1)
    ticks = tuple(round(i * step, 10) for i in range(first, last + 1))
    return Axis(label, ticks[0], ticks[-1], ticks)


@dataclass(frozen=True)
class Plane:
    """Two axes and the size of the drawing; turns values into positions."""

    x: Axis
    y: Axis
    width: int
    height: int

    def px(self, value: float) -> float:
        """Return the position from the left."""
        room = self.width - LEFT - RIGHT
        return LEFT + (value - self.x.low) / (self.x.high - self.x.low) * room

    def py(self, value: float) -> float:
        """Return the position from the top."""
        room = self.height - TOP - BOTTOM
        return self.height - BOTTOM - (value - self.y.low) / (self.y.high - self.y.low) * room


def line_chart(
    lines: Sequence[Line],
    x: Axis,
    y: Axis,
    *,
    title: str,
    mark_x: float | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Markup:
    """Draw lines over one pair of axes; `mark_x` is a dashed line across, with its value."""
    plane = Plane(x, y, *size)
    parts = [_grid(plane)]
    if mark_x is not None:
        parts.append(_mark(mark_x, plane))
    parts += [_path(line, plane) for line in lines]
    return _chart(plane, title, parts)


def scatter_chart(
    dots: Sequence[Dots],
    x: Axis,
    y: Axis,
    rule: tuple[tuple[float, float], tuple[float, float]],
    *,
    title: str,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    radius: float = 3.6,
) -> Markup:
    """Draw dots over one pair of axes; `rule` are the ends of a dashed line under them."""
    plane = Plane(x, y, *size)
    (x1, y1), (x2, y2) = rule
    line = Markup('<line class="mark" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
    parts = [_grid(plane), line.format(plane.px(x1), plane.py(y1), plane.px(x2), plane.py(y2))]
    parts += [_dots(each, plane, radius) for each in dots]
    return _chart(plane, title, parts)


def _chart(plane: Plane, title: str, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-label="{title}">{body}</svg>'
    ).format(w=plane.width, h=plane.height, title=title, body=Markup("").join(parts))


def _dots(dots: Dots, plane: Plane, radius: float) -> Markup:
    drawn = [
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{:g}"/>').format(
            plane.px(a), plane.py(b), radius
        )
        for a, b in zip(dots.xs, dots.ys, strict=True)
        if a is not None and b is not None
    ]
    return Markup('<g fill="{}" fill-opacity="0.55"><title>{}</title>{}</g>').format(
        dots.colour, dots.name, Markup("").join(drawn)
    )


def _grid(plane: Plane) -> Markup:
    right, low = plane.width - RIGHT, plane.height - BOTTOM
    parts = []
    for tick in plane.y.ticks:
        at = plane.py(tick)
        parts.append(_rule(LEFT, at, right, at))
        parts.append(_text(LEFT - 8, at + 4, f"{tick:g}", "end"))
    for tick in plane.x.ticks:
        parts.append(_text(plane.px(tick), low + 18, f"{tick:g}", "middle"))
    parts.append(_text((LEFT + right) / 2, plane.height - 6, plane.x.label, "middle", "name"))
    turned = Markup(
        '<text class="name" text-anchor="middle" transform="translate(12 {y}) rotate(-90)">'
        "{text}</text>"
    )
    parts.append(turned.format(y=(TOP + low) / 2, text=plane.y.label))
    return Markup("").join(parts)


def _mark(value: float, plane: Plane) -> Markup:
    at, low = plane.px(value), plane.height - BOTTOM
    anchor, shift = ("end", -6) if value > 0.8 * plane.x.high else ("start", 6)
    line = Markup('<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{t}" y2="{b}"/>')
    text = _text(at + shift, low - 8, f"{value:.2f}", anchor, "marked")
    return line.format(x=at, t=TOP, b=low) + text


def _path(line: Line, plane: Plane) -> Markup:
    steps, pen = [], "M"
    for a, b in zip(line.xs, line.ys, strict=True):
        if a is None or b is None:
            pen = "M"
            continue
        # The stroke of no length after a beginning shows a point that stands alone.
        steps.append(f"{pen}{plane.px(a):.1f} {plane.py(b):.1f}{'h0' if pen == 'M' else ''}")
        pen = "L"
    return Markup(
        '<path d="{d}" fill="none" stroke="{c}" stroke-width="{w}" stroke-dasharray="{dash}" '
        'stroke-linejoin="round" stroke-linecap="round"><title>{name}</title></path>'
    ).format(d="".join(steps), c=line.colour, w=line.width, dash=line.dash, name=line.name)


def _rule(x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="grid" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        x1, y1, x2, y2
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, text
    )
