"""Zones, lines and the ground of a scene, on the picture that they are asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.camera import GroundPoint, Scene
from cityforge.errors import InputError

SAME_SHAPE = 0.01  # how far apart two ratios of width to height may be, of the larger
# Least singular value but one of the homography's equations, of the largest: under it the points
# leave more than one plane possible.
UNDETERMINED = 1e-6
# Farthest that the homography may put a ground point from where it is, of the points' extent.
MOST_OFF = 0.1


@dataclass(frozen=True)
class View:
    """A scene in pixels of one clip or picture; without a scene nothing is known."""

    zones: dict[str, NDArray[Any]] = field(default_factory=dict)  # (P, 2) corners
    lines: dict[str, NDArray[Any]] = field(default_factory=dict)  # (2, 2) first, second
    ground: NDArray[Any] | None = None  # (3, 3) pixels to metres
    no_ground: str = "none in the request or the camera"  # why there is no `ground`


def view_of(scene: Scene | None, width: int, height: int) -> View:
    """Scale a scene to a picture of `width` by `height` pixels.

    Raises:
        InputError: the scene was drawn on a picture of another shape.
    """
    if scene is None:
        return View()
    _refuse_other_shape(scene, width, height)
    scale = np.array([width / scene.width, height / scene.height])
    ground, fault = None, View.no_ground
    if scene.ground:
        try:
            ground = homography(scene.ground, scale)
        except InputError as error:
            fault = error.found
    return View(
        {name: np.asarray(points) * scale for name, points in scene.zones.items()},
        {name: np.asarray(points) * scale for name, points in scene.lines.items()},
        ground,
        fault,
    )


def _refuse_other_shape(scene: Scene, width: int, height: int) -> None:
    asked, found = scene.width / scene.height, width / height
    if abs(asked - found) > SAME_SHAPE * max(asked, found):
        raise InputError(
            f"a picture of the shape {scene.width}×{scene.height}, on which the zones were drawn",
            found=f"{width}×{height}",
            do="draw the zones on a picture of this camera",
        )


def inside(zone: NDArray[Any], points: NDArray[Any]) -> NDArray[np.bool_]:
    """Which points lie in a polygon, by the even-odd rule.

    Args:
        zone: (P, 2) corners in their order.
        points: (N, 2).

    >>> square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]])
    >>> inside(square, np.array([[1, 1], [5, 1]])).tolist()
    [True, False]
    """
    x, y = points[:, :1], points[:, 1:]  # (N, 1) against (P,) edges
    x1, y1 = zone[:, 0], zone[:, 1]
    x2, y2 = np.roll(x1, -1), np.roll(y1, -1)
    spans = (y1 > y) != (y2 > y)
    rise = np.where(y2 == y1, 1.0, y2 - y1)  # a level edge spans nothing
    crossed = spans & (x < x1 + (y - y1) * (x2 - x1) / rise)
    return np.asarray(crossed.sum(1) % 2 == 1)


def right_of(line: NDArray[Any], point: NDArray[Any]) -> float:
    """Pixels that a point lies to the right of a line, looking from its first to its second.

    >>> right_of(np.array([[0, 0], [10, 0]]), np.array([5, 3]))  # y grows downwards
    3.0
    """
    (ax, ay), (bx, by) = line
    along, down = bx - ax, by - ay
    return float((along * (point[1] - ay) - down * (point[0] - ax)) / np.hypot(along, down))


def meets(line: NDArray[Any], before: NDArray[Any], after: NDArray[Any]) -> bool:
    """A step from one point to another passes through the line between its two ends.

    A point on the line counts to its right, so steps that end on it are not counted twice.
    """
    first, second = right_of(line, before), right_of(line, after)
    if (first >= 0) == (second >= 0):
        return False
    at = before + (after - before) * (first / (first - second))
    way = line[1] - line[0]
    share = float((at - line[0]) @ way / (way @ way))
    return 0 <= share <= 1


def metres_of(ground: NDArray[Any], pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Where on the ground points of the picture lie; NaN at and above the horizon.

    Args:
        ground: (3, 3) from `homography`.
        pixels: (N, 2).

    Returns:
        (N, 2) metres.
    """
    lifted = np.column_stack([pixels, np.ones(len(pixels))]) @ ground.T  # (N, 3)
    ahead = np.where(lifted[:, 2:] > 0, lifted[:, 2:], np.nan)
    return np.asarray(lifted[:, :2] / ahead)


def homography(points: list[GroundPoint], scale: NDArray[Any]) -> NDArray[np.float64]:
    """The plane's map from pixels to metres, (3, 3), positive for what the camera sees of it.

    Args:
        scale: (2,) what a pixel of the scene is on the picture.

    Raises:
        InputError: the points fix no plane, or contradict each other.
    """
    import cv2

    pixels = np.array([each.pixel for each in points]) * scale
    metres = np.array([each.metres for each in points])
    if _undetermined(pixels, metres):
        raise InputError("ground points", found="ground points that lie on a line")
    found, _ = cv2.findHomography(pixels, metres, 0)
    lifted = (
        np.column_stack([pixels, np.ones(len(pixels))]) @ found.T if found is not None else None
    )
    if lifted is None or not np.isfinite(lifted).all() or np.ptp(np.sign(lifted[:, 2])) != 0:
        raise InputError("ground points", found="ground points that no flat ground has")
    off = np.linalg.norm(lifted[:, :2] / lifted[:, 2:] - metres, axis=1).max()
    if off > MOST_OFF * np.linalg.norm(np.ptp(metres, axis=0)):
        raise InputError(
            "ground points", found=f"ground points that contradict each other by {off:.1f} m"
        )
    return np.asarray(found * np.sign(lifted[0, 2]), np.float64)


def _undetermined(pixels: NDArray[Any], metres: NDArray[Any]) -> bool:
    """The equations of the homography (Hartley and Zisserman 2004, 4.1) have two solutions."""
    spread = min(
        np.linalg.svd(each - each.mean(0), compute_uv=False)[-1] for each in (pixels, metres)
    )
    if spread < UNDETERMINED:
        return True
    (x, y), (u, v) = _centred(pixels), _centred(metres)
    one, none = np.ones(len(x)), np.zeros(len(x))
    rows = np.concatenate([
        np.column_stack([x, y, one, none, none, none, -u * x, -u * y, -u]),
        np.column_stack([none, none, none, x, y, one, -v * x, -v * y, -v]),
    ])  # fmt: skip
    values = np.linalg.svd(rows, compute_uv=False)
    return bool(values[7] < UNDETERMINED * values[0])


def _centred(points: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    moved = points - points.mean(0)
    moved = moved / max(float(np.abs(moved).max()), 1e-12)
    return moved[:, 0], moved[:, 1]
