"""Lamps and their light: headlights, tail lights, indicators and traffic lights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from cityforge.synthetic.backdrop import Backdrop
from cityforge.synthetic.cameras import Camera, Floats, project
from cityforge.synthetic.conditions import Condition
from cityforge.synthetic.mesh import (
    CABIN_LIGHT,
    GLASS,
    HEADLIGHT,
    LEFT_BLINK,
    MATT,
    RIGHT_BLINK,
    TAILLIGHT,
)
from cityforge.synthetic.signals import Light
from cityforge.synthetic.silhouettes import NEAR_M, SHIFT, Silhouette, fixed
from cityforge.synthetic.street import ARMS, SIGNAL_HEIGHT_M, signal_foot

Image = npt.NDArray[np.uint8]
Triple = tuple[float, float, float]

HALF = 2  # beams are painted at half the image's size
QUARTER = 4  # and halos at a quarter
SIGNAL_COLOURS: dict[Light, Triple] = {
    "red": (40.0, 40.0, 255.0), "amber": (40.0, 170.0, 255.0), "green": (130.0, 240.0, 60.0),
}  # fmt: skip


@dataclass(frozen=True)
class Spot:
    """A shining lamp in the image; middle and radius in pixels, colour 0..255 BGR."""

    x: float
    y: float
    colour: Triple
    radius: float


def glowing(glow: int, shown: Silhouette, condition: Condition, seconds: float) -> Triple | None:
    """Colour of a patch that shines by itself, 0..255 BGR; None where it does not."""
    blink = math.fmod(seconds, 0.8) < 0.4
    turning = {LEFT_BLINK: "left", RIGHT_BLINK: "right"}.get(glow)
    if turning is not None and blink and shown.actor.turn == turning:
        return (30.0, 160.0, 255.0)
    if glow == TAILLIGHT and shown.actor.braking:
        return (60.0, 50.0, 255.0)
    lamps_used = condition.lamps_on or condition.rain_streaks > 0
    if glow == HEADLIGHT and lamps_used:
        return (235.0, 250.0, 255.0)
    if glow == TAILLIGHT and lamps_used:
        return (40.0, 30.0, 205.0)
    if glow == CABIN_LIGHT and condition.lamps_on:
        return (150.0, 190.0, 205.0)
    return None


def lamp_spots(one: Silhouette, condition: Condition, seconds: float) -> list[Spot]:
    """Every lamp of a vehicle that shines at the camera."""
    spots: list[Spot] = []
    for outline, glow in zip(one.patches.outlines, one.patches.glows.tolist(), strict=True):
        if glow in (MATT, GLASS, CABIN_LIGHT):
            continue
        colour = glowing(glow, one, condition, seconds)
        if colour is not None:
            x0, y0 = outline.min(axis=0).tolist()
            x1, y1 = outline.max(axis=0).tolist()
            unit = 1.0 / (1 << SHIFT)
            radius = max(x1 - x0, y1 - y0) * 0.5 * unit
            spots.append(
                Spot((x0 + x1) * 0.5 * unit + 0.5, (y0 + y1) * 0.5 * unit + 0.5, colour, radius)
            )
    return spots


def shining_lamps(
    shown: Sequence[Silhouette], backdrop: Backdrop, condition: Condition, seconds: float
) -> list[Spot]:
    """Vehicle lamps that nothing nearer to the camera hides; `shown` is farthest first."""
    tall, wide = backdrop.occluder.shape
    spots: list[Spot] = []
    for index, one in enumerate(shown):
        for spot in lamp_spots(one, condition, seconds):
            if not (0 <= spot.x < wide and 0 <= spot.y < tall):
                continue
            if backdrop.occluder[int(spot.y), int(spot.x)] < one.depth:
                continue
            nearer = (other.box for other in shown[index + 1 :])
            if not any(x0 < spot.x < x1 and y0 < spot.y < y1 for x0, y0, x1, y1 in nearer):
                spots.append(spot)
    return spots


def signal_spots(camera: Camera, lights: dict[str, Light], backdrop: Backdrop) -> list[Spot]:
    """Lit traffic lights that face the camera."""
    spots: list[Spot] = []
    for arm, light in lights.items():
        x, y = signal_foot(arm)
        out = ARMS[arm]
        to_camera = (camera.east_m - x, camera.north_m - y)
        if to_camera[0] * out[0] + to_camera[1] * out[1] <= 0:
            continue
        up = {"red": 0.32, "amber": 0.0, "green": -0.32}[light]
        place = np.array([[x + out[0] * 0.18, y + out[1] * 0.18, SIGNAL_HEIGHT_M + up]])
        pixels, depth = project(camera, place)
        if depth[0] < NEAR_M:
            continue
        column, row = int(pixels[0, 0]), int(pixels[0, 1])
        inside = 0 <= column < camera.width and 0 <= row < camera.height
        if inside and backdrop.occluder[row, column] > depth[0] - 0.6:
            radius = max(0.8, 0.11 * camera.focal_px / float(depth[0]))
            spots.append(
                Spot(float(pixels[0, 0]), float(pixels[0, 1]), SIGNAL_COLOURS[light], radius)
            )
    return spots


def _beam(one: Silhouette, reach: float, half: float) -> Floats:
    """Ground points (4, 3) lit by a vehicle's headlights."""
    c, s = math.cos(one.actor.heading), math.sin(one.actor.heading)
    nose = float(
        ((one.solid[:, 0] - one.actor.east_m) * c + (one.solid[:, 1] - one.actor.north_m) * s).max()
    )
    local = np.array([(nose, 0.5), (nose, -0.5), (nose + reach, -half), (nose + reach, half)])
    world = local @ np.array([[c, s], [-s, c]]) + np.array([one.actor.east_m, one.actor.north_m])
    return np.column_stack([world, np.zeros(4)])


def paint_beams(
    image: Image, shown: Sequence[Silhouette], camera: Camera, backdrop: Backdrop
) -> None:
    """Headlight cones on the road."""
    tall, wide = image.shape[0] // HALF, image.shape[1] // HALF
    layer = np.zeros((tall, wide), np.uint8)
    one_cone = np.zeros_like(layer)
    for one in shown:
        if one.actor.kind == "pedestrian":
            continue
        scale = 0.45 if one.actor.kind == "two_wheeler" else 1.0
        one_cone[:] = 0
        for reach, half, strength in ((15.0, 3.0, 38), (10.5, 2.1, 80), (6.0, 1.35, 150)):
            pixels, depth = project(camera, _beam(one, reach * scale, half * scale))
            if depth.min() > NEAR_M:
                cv2.fillConvexPoly(
                    one_cone,
                    fixed(pixels, 1 / HALF),
                    (strength * (0.4 + 0.6 * scale),),
                    cv2.LINE_8,
                    SHIFT,
                )
        layer = cv2.add(layer, one_cone)
    if not layer.any():
        return
    soft = cv2.resize(cv2.blur(layer, (9, 5)), (image.shape[1], image.shape[0]))
    cv2.bitwise_and(soft, backdrop.ground, dst=soft)
    x, y, across, down = cv2.boundingRect(soft)
    if not across:
        return
    window = (slice(y, y + down), slice(x, x + across))
    share = soft[window]
    lit = cv2.multiply(backdrop.other[window], cv2.merge([share, share, share]), scale=1 / 255)
    image[window] = cv2.add(image[window], lit)


def paint_glow(image: Image, spots: Sequence[Spot], strength: float) -> None:
    """A halo around every lamp."""
    if not spots:
        return
    layer = np.zeros((image.shape[0] // QUARTER, image.shape[1] // QUARTER, 3), np.uint8)
    for spot in spots:
        x, y = fixed(np.array([spot.x, spot.y]), 1 / QUARTER).tolist()
        radius = int((spot.radius / QUARTER + 0.6) * (1 << SHIFT))
        cv2.circle(layer, (x, y), radius, spot.colour, -1, cv2.LINE_8, SHIFT)
    halo = cv2.add(
        cv2.blur(cv2.blur(layer, (3, 3)), (3, 3)), cv2.blur(cv2.blur(layer, (9, 9)), (9, 9))
    )
    large = cv2.resize(halo, (image.shape[1], image.shape[0]))
    cv2.addWeighted(image, 1.0, large, strength, 0.0, dst=image)
