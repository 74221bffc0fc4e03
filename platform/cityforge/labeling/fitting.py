"""Holds a box or a point against the frame it lies on: used, cut at the edge, or unusable."""

from __future__ import annotations

XYXY = tuple[float, float, float, float]

# A box may stand out of its image by rounding; by more it is cut at the edge and counted.
ROUNDING_PX = 1.0


def misfit_of_box(xyxy: XYXY, width: int, height: int) -> str:
    """Why a box (pixels of the frame) cannot be used; empty when it can.

    >>> misfit_of_box((70, 10, 90, 20), 64, 48)
    'a box outside its image of 64×48'
    """
    x1, y1, x2, y2 = xyxy
    if not (x1 < x2 and y1 < y2):
        return "a box of no size"
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        return f"a box outside its image of {width}×{height}"
    return ""


def misfit_of_point(xyxy: XYXY, width: int, height: int) -> str:
    """Why a point (x1 = x2, y1 = y2) cannot be used; empty when it can."""
    x, y = xyxy[:2]
    inside_x = -ROUNDING_PX <= x <= width + ROUNDING_PX
    inside_y = -ROUNDING_PX <= y <= height + ROUNDING_PX
    return "" if inside_x and inside_y else f"a point outside its image of {width}×{height}"


def cut_to(xyxy: XYXY, width: int, height: int) -> tuple[XYXY, bool]:
    """A box cut at the frame's edge, and whether it stood out by more than rounding.

    >>> cut_to((-20.0, -5.0, 30.0, 20.0), 64, 48)
    ((0.0, 0.0, 30.0, 20.0), True)
    """
    x1, y1, x2, y2 = xyxy
    right, bottom = float(width), float(height)
    cut = (
        min(max(x1, 0.0), right),
        min(max(y1, 0.0), bottom),
        max(min(x2, right), 0.0),
        max(min(y2, bottom), 0.0),
    )
    return cut, max(abs(a - b) for a, b in zip(xyxy, cut, strict=True)) > ROUNDING_PX


def shown_box(xyxy: XYXY) -> str:
    """A box to 0.001 px, as messages and ids state it."""
    return ",".join(f"{edge:.3f}" for edge in xyxy)
