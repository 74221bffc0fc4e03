"""Moving things painted over the still view: bodies, shadows and reflections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from cityforge.synthetic.backdrop import Backdrop, lamp_light
from cityforge.synthetic.cameras import Camera, Floats, project
from cityforge.synthetic.conditions import Condition
from cityforge.synthetic.lamps import (
    HALF,
    glowing,
    lamp_spots,
    paint_beams,
    paint_glow,
    shining_lamps,
    signal_spots,
)
from cityforge.synthetic.mesh import (
    CABIN_LIGHT,
    GLASS,
    MATT,
)
from cityforge.synthetic.raycast import sunlit
from cityforge.synthetic.signals import Light
from cityforge.synthetic.silhouettes import NEAR_M, SHIFT, Outline, Silhouette, fixed

Image = npt.NDArray[np.uint8]
Triple = tuple[float, float, float]

SUN_MAP_M = 90  # half the side of the map of sunny places


def fill(
    image: Image, outline: Outline, width: int, colour: Triple | tuple[float], line: int
) -> None:
    """Paint one outline, filled where `width` is 0; `line` is cv2.LINE_AA or cv2.LINE_8."""
    if width:
        cv2.polylines(image, [outline], True, colour, width, line, SHIFT)
    else:
        cv2.fillConvexPoly(image, outline, colour, line, SHIFT)


def _window(
    shown: Silhouette, image: npt.NDArray[np.generic], margin: int = 2
) -> tuple[slice, slice]:
    """The rows and columns of the image that a silhouette can touch."""
    tall, wide = image.shape[:2]
    x0, y0, x1, y1 = shown.box
    rows = slice(max(0, int(y0) - margin), max(0, min(tall, int(y1) + margin + 1)))
    return rows, slice(max(0, int(x0) - margin), max(0, min(wide, int(x1) + margin + 1)))


def standing_before(
    shown: Silhouette, backdrop: Backdrop
) -> tuple[tuple[slice, slice], Image | None]:
    """The silhouette's window and, inside it, 255 where something still stands before it."""
    window = _window(shown, backdrop.occluder)
    part = backdrop.occluder[window]
    if part.size == 0 or float(part.min()) >= shown.depth:
        return window, None
    return window, (part < shown.depth).astype(np.uint8) * np.uint8(255)


@lru_cache(maxsize=4)
def _sun_map(sun: Triple) -> npt.NDArray[np.bool_]:
    """Whether the sun reaches chest height, per metre of the ground around the crossing."""
    span = np.arange(-SUN_MAP_M, SUN_MAP_M + 1, dtype=np.float32)
    east, north = np.meshgrid(span, span, indexing="ij")
    places = np.stack([east, north, np.full_like(east, 1.2)], -1).reshape(-1, 3)
    return sunlit(places, sun).reshape(east.shape)


def _sun_reaches(sun: Triple, east_m: float, north_m: float) -> bool:
    east, north = round(east_m) + SUN_MAP_M, round(north_m) + SUN_MAP_M
    size = 2 * SUN_MAP_M
    return bool(_sun_map(sun)[min(max(east, 0), size), min(max(north, 0), size)])


@lru_cache(maxsize=65536)
def _lamps_near(condition: Condition, east: int, north: int) -> npt.NDArray[np.float32]:
    """Street lamps' light (3,) BGR at chest height, per half metre of the ground."""
    place = np.array([[east / 2, north / 2, 1.3]], np.float32)
    upwards = np.array([[0.0, 0.0, 1.0]], np.float32)
    light: npt.NDArray[np.float32] = lamp_light(place, upwards, condition)[0]
    return light


def _light_at(shown: Silhouette, condition: Condition) -> tuple[Floats, Floats]:
    """Diffuse light from all around and direct light at a road user, each BGR."""
    x, y = shown.actor.east_m, shown.actor.north_m
    around = np.array(condition.ambient, float)
    direct = np.array(condition.sunlight, float)
    if direct.any() and not _sun_reaches(condition.sun, x, y):
        direct = direct * 0.0
    if condition.lamps_on:
        around = around * 1.9 + 1.2 * _lamps_near(condition, round(x * 2), round(y * 2))
    return around, direct


def _shades(shown: Silhouette, condition: Condition, seconds: float) -> list[Triple]:
    """Display colours 0..255 BGR of all patches of a silhouette."""
    around, direct = _light_at(shown, condition)
    patches = shown.patches
    fog = 1.0 - math.exp(-shown.depth * condition.haze)
    veil = np.array(condition.sky_low) * (0.92 * fog)
    up, east = patches.normals[:, 2:3], patches.normals[:, 0:1]
    light = patches.colours * (around * (0.66 + 0.34 * up + 0.06 * east))
    if direct.any():
        facing = np.maximum(patches.normals @ np.array(condition.sun), 0.0)[:, None]
        light += patches.colours * (direct * facing)
    glass = ((patches.glows == GLASS) | (patches.glows == CABIN_LIGHT))[:, None]
    light += glass * np.array(condition.sky_high) * (0.10 + 0.30 * np.maximum(up, 0.0))
    scene = np.minimum((light * (1 - fog) + veil) * condition.exposure, 1.0) * 255.0
    colours: list[Triple] = []
    for glow, (blue, green, red) in zip(patches.glows.tolist(), scene.tolist(), strict=True):
        own = None if glow in (MATT, GLASS) else glowing(glow, shown, condition, seconds)
        colours.append(own or (blue, green, red))
    return colours


def _on_ground(points: Floats, sun: Triple) -> Floats:
    """Where points (K, 3) throw their shadow on the ground, (K, 3)."""
    reach = points[:, 2:3] / sun[2]
    flat = points[:, :2] - reach * np.array(sun[:2])
    return np.column_stack([flat, np.zeros(len(points))])


def _hull_on_ground(camera: Camera, ground: Floats) -> npt.NDArray[np.int32] | None:
    pixels, depth = project(camera, ground)
    if depth.min() < NEAR_M:
        return None
    hull: npt.NDArray[np.int32] = cv2.convexHull(fixed(pixels))
    return hull


def _paint_shadows(
    image: Image,
    shown: Sequence[Silhouette],
    camera: Camera,
    backdrop: Backdrop,
    condition: Condition,
) -> None:
    """Let the shadowed view through where bodies keep the sun or sky away."""
    mask = np.zeros(image.shape[:2], np.uint8)
    sun: Triple = condition.sun if max(condition.sunlight) > 0 else (0.0, 0.0, 1.0)
    for one in shown:
        hull = _hull_on_ground(camera, _on_ground(one.solid, sun))
        if hull is not None:
            cv2.fillConvexPoly(mask, hull, (255.0,), cv2.LINE_AA, SHIFT)
    cv2.bitwise_and(mask, backdrop.ground, dst=mask)
    x, y, wide, tall = cv2.boundingRect(mask)
    if wide == 0:
        return
    window = (slice(y, y + tall), slice(x, x + wide))
    image[window] = _blend(backdrop.other[window], image[window], cv2.blur(mask[window], (3, 3)))


def _blend(over: Image, under: Image, share: Image) -> Image:
    """`over` where `share` is 255, `under` where it is 0."""
    wide = cv2.merge([share, share, share])
    kept = cv2.multiply(under, cv2.bitwise_not(wide), scale=1 / 255)
    mixed: Image = cv2.add(kept, cv2.multiply(over, wide, scale=1 / 255))
    return mixed


def _paint_mirror(
    image: Image,
    shown: Sequence[Silhouette],
    camera: Camera,
    backdrop: Backdrop,
    condition: Condition,
    seconds: float,
) -> None:
    """Blurred mirror images of road users and their lamps on wet ground."""
    layer = cv2.resize(image, None, fx=1 / HALF, fy=1 / HALF, interpolation=cv2.INTER_AREA)
    share = np.zeros(layer.shape[:2], np.uint8)
    for one in shown:
        y1 = one.box[3]
        around, _ = _light_at(one, condition)
        tint = one.patches.colours[:12].mean(axis=0)
        colour = np.minimum(tint * around * condition.exposure * 190.0, 255.0).tolist()
        hull = _hull_on_ground(camera, one.solid * np.array([1.0, 1.0, -0.8]))
        if hull is None:
            continue
        small = (hull / HALF).astype(np.int32)
        cv2.fillConvexPoly(layer, small, colour, cv2.LINE_8, SHIFT)
        cv2.fillConvexPoly(share, small, (int(105 * condition.wetness),), cv2.LINE_8, SHIFT)
        for spot in lamp_spots(one, condition, seconds):
            x, foot = spot.x, y1 + (y1 - spot.y) * 0.8
            wide = max(1.0, spot.radius * 0.7)
            streak = np.array(
                [
                    (x - wide, y1 - 2),
                    (x + wide, y1 - 2),
                    (x + wide, foot + 10),
                    (x - wide, foot + 10),
                ]
            )
            cv2.fillConvexPoly(layer, fixed(streak, 1 / HALF), spot.colour, cv2.LINE_8, SHIFT)
            cv2.fillConvexPoly(share, fixed(streak, 1 / HALF), (120.0,), cv2.LINE_8, SHIFT)
    size = (image.shape[1], image.shape[0])
    layer = cv2.resize(cv2.blur(layer, (3, 9)), size)
    share = cv2.bitwise_and(cv2.resize(cv2.blur(share, (5, 9)), size), backdrop.ground)
    x, y, across, down = cv2.boundingRect(share)
    if across:
        window = (slice(y, y + down), slice(x, x + across))
        image[window] = _blend(layer[window], image[window], share[window])


def _paint_bodies(
    image: Image,
    shown: Sequence[Silhouette],
    backdrop: Backdrop,
    condition: Condition,
    seconds: float,
) -> None:
    for one in shown:
        window, before = standing_before(one, backdrop)
        kept = image[window].copy() if before is not None else None
        patches = one.patches
        colours = _shades(one, condition, seconds)
        for outline, width, colour in zip(patches.outlines, patches.widths, colours, strict=True):
            fill(image, outline, width, colour, cv2.LINE_AA)
        if before is not None and kept is not None:
            cv2.copyTo(kept, before, image[window])


def in_view(shown: Sequence[Silhouette], backdrop: Backdrop) -> list[Silhouette]:
    """Those whom the buildings do not hide wholly."""
    kept = []
    for one in shown:
        part = backdrop.occluder[_window(one, backdrop.occluder)]
        if part.size and float(part.max()) >= one.depth:
            kept.append(one)
    return kept


def paint(
    camera: Camera,
    backdrop: Backdrop,
    condition: Condition,
    shown: Sequence[Silhouette],
    lights: dict[str, Light],
    seconds: float,
) -> Image:
    """One frame (H, W, 3) BGR before the sensor: the still view with all that moves."""
    image: Image = backdrop.image.copy()
    if condition.lamps_on:
        paint_beams(image, shown, camera, backdrop)
    else:
        _paint_shadows(image, shown, camera, backdrop, condition)
    if condition.wetness > 0:
        _paint_mirror(image, shown, camera, backdrop, condition, seconds)
    _paint_bodies(image, shown, backdrop, condition, seconds)
    signals = signal_spots(camera, lights, backdrop)
    for spot in signals:
        x, y = fixed(np.array([spot.x, spot.y])).tolist()
        cv2.circle(
            image, (x, y), int(spot.radius * (1 << SHIFT)), spot.colour, -1, cv2.LINE_AA, SHIFT
        )
    if condition.lamps_on or condition.rain_streaks > 0:
        lamps = shining_lamps(shown, backdrop, condition, seconds)
        paint_glow(image, lamps + signals, 0.55 if condition.lamps_on else 0.25)
    return image
