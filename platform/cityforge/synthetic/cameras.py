"""The three cameras of the synthetic crossing and their pinhole projection.

World axes: metres, x east, y north, z up, the origin at the middle of the
crossing on the road surface. Image axes: pixels, u right, v down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """One mounted camera: where it hangs, where it looks, and through which lens.

    `bearing_deg` is clockwise from north, `pitch_deg` is downwards from the
    horizon, `focal_px` belongs to an image of `width` x `height` pixels. The
    principal point is the middle of the image.
    """

    name: str
    east_m: float
    north_m: float
    height_m: float
    bearing_deg: float
    pitch_deg: float
    focal_px: float
    width: int = 640
    height: int = 360

    @property
    def position(self) -> Floats:
        """The lens in world metres, shape (3,)."""
        return _position(self)


@lru_cache(maxsize=32)
def _position(camera: Camera) -> Floats:
    return np.array([camera.east_m, camera.north_m, camera.height_m])


CROSSING_NORTH = Camera("crossing_north", -6.2, 21.0, 6.0, 150.0, 16.0, 700.0)
CROSSING_EAST = Camera("crossing_east", 25.0, 6.3, 9.0, 245.0, 21.0, 800.0)
CROSSING_ROOF = Camera("crossing_roof", -18.5, -19.5, 18.0, 43.0, 32.0, 900.0)

CAMERAS: tuple[Camera, ...] = (CROSSING_NORTH, CROSSING_EAST, CROSSING_ROOF)


def camera_named(name: str) -> Camera:
    """The camera called `name`.

    Raises:
        KeyError: no camera has this name; the message lists those that exist.
    """
    for camera in CAMERAS:
        if camera.name == name:
            return camera
    known = ", ".join(camera.name for camera in CAMERAS)
    raise KeyError(f"Expected a camera among {known}, but got {name!r}.")


def resized(camera: Camera, width: int, height: int) -> Camera:
    """The same camera read out at another image size; the width keeps its field of view."""
    return replace(
        camera, width=width, height=height, focal_px=camera.focal_px * width / camera.width
    )


@lru_cache(maxsize=32)
def axes(camera: Camera) -> Floats:
    """Rows are the camera's right, down and forward directions in the world, shape (3, 3)."""
    bearing, pitch = math.radians(camera.bearing_deg), math.radians(camera.pitch_deg)
    ahead = np.array([math.sin(bearing), math.cos(bearing), 0.0])
    right = np.array([math.cos(bearing), -math.sin(bearing), 0.0])
    forward = ahead * math.cos(pitch) - np.array([0.0, 0.0, math.sin(pitch)])
    return np.stack([right, np.cross(forward, right), forward])


def to_camera(camera: Camera, points: Floats) -> Floats:
    """World points (N, 3) in metres to camera coordinates (N, 3): right, down, forward."""
    seen: Floats = (points - camera.position) @ axes(camera).T
    return seen


def to_pixels(camera: Camera, seen: Floats) -> Floats:
    """Camera coordinates (N, 3) with a positive forward part to pixels (N, 2)."""
    middle = np.array([camera.width / 2.0, camera.height / 2.0])
    pixels: Floats = seen[:, :2] * (camera.focal_px / seen[:, 2:3]) + middle
    return pixels


def project(camera: Camera, points: Floats) -> tuple[Floats, Floats]:
    """Project world points through the pinhole.

    `points` is (N, 3) in metres. Returns pixels (N, 2), not clipped to the image,
    and depths (N,) in metres along the optical axis. A point at or behind the
    lens has NaN pixels.
    """
    seen = to_camera(camera, points)
    depth = seen[:, 2]
    ahead = np.where(depth > 0.0, depth, np.nan)
    pixels = to_pixels(camera, np.column_stack([seen[:, :2], ahead]))
    return pixels, depth


def rays(camera: Camera, oversampling: int) -> npt.NDArray[np.float32]:
    """Unit directions through the image, shape (height * k, width * k, 3) for k subpixels."""
    k = oversampling
    u = (np.arange(camera.width * k) + 0.5) / k - camera.width / 2.0
    v = (np.arange(camera.height * k) + 0.5) / k - camera.height / 2.0
    grid = np.stack(
        np.broadcast_arrays(u[None, :], v[:, None], np.full((1, 1), camera.focal_px)), -1
    )
    world = grid @ axes(camera)
    unit: npt.NDArray[np.float32] = (world / np.linalg.norm(world, axis=-1, keepdims=True)).astype(
        np.float32
    )
    return unit
