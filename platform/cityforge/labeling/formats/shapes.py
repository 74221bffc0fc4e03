"""Upright boxes out of what other tools draw: corners in any order, polygons, circles."""

from __future__ import annotations

import math
from typing import Literal

from cityforge.labeling.formats.values import UnusableError, number

Polygons = Literal["refuse", "box"]
Edges = tuple[float, float, float, float]  # xyxy
Point = tuple[float, float]


def corners(points: list[Point]) -> Edges:
    """The rectangle of two opposite corners, or of four that stand upright.

    >>> corners([(9, 2), (1, 5)])
    (1, 2, 9, 5)
    """
    if len(points) not in (2, 4):
        raise UnusableError("a rectangle has 2 or 4 corners", points)
    edges = _around(points)
    x1, y1, x2, y2 = edges
    if len(points) == 4 and set(points) != {(x1, y1), (x2, y1), (x2, y2), (x1, y2)}:
        raise UnusableError("rotated; only upright boxes are used", points)
    return edges


def polygon_box(points: list[Point], polygons: Polygons, shape: str = "polygon") -> Edges:
    """The upright box around a polygon, where polygons may become boxes."""
    if polygons == "refuse":
        reason = f"a {shape}, not a box; polygons: box takes the upright box around it"
        raise UnusableError(reason, points)
    if len(points) < 3:
        raise UnusableError(f"a {shape} of fewer than 3 points", points)
    return _around(points)


def circle_box(points: list[Point], polygons: Polygons) -> Edges:
    """The box around a circle of a centre and a point on its rim.

    >>> circle_box([(10, 10), (13, 14)], "box")
    (5.0, 5.0, 15.0, 15.0)
    """
    if len(points) != 2:
        raise UnusableError("a circle has a centre and a point on its rim", points)
    (x, y), rim = points
    radius = number(math.dist((x, y), rim), "radius")
    box = [(x - radius, y - radius), (x + radius, y - radius), (x + radius, y + radius)]
    return polygon_box(box, polygons, "circle")


def _around(points: list[Point]) -> Edges:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)
