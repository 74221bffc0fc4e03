"""A square to gather on: one random view of its ground, the houses behind it and the sky.

World axes as in `cameras`: metres, x east, y north, z up; the camera stands over the origin
and looks about north, where the houses close the square.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cityforge.synthetic.cameras import Camera, rays
from cityforge.synthetic.conditions import DAY, Condition
from cityforge.synthetic.street import Block, Colour
from cityforge.synthetic.surfaces import facade, hashed, noise

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

DUSK = Condition(
    name="dusk", lighting="dusk", weather="clear", hour=18,
    sun=(0.0, 0.0, 1.0), sunlight=(0.0, 0.0, 0.0), ambient=(0.50, 0.42, 0.40),
    sky_low=(0.36, 0.46, 0.66), sky_high=(0.46, 0.30, 0.24), clouds=0.5,
    haze=0.003, wetness=0.0, exposure=1.25, noise=2.6, window_light=0.7,
)  # fmt: skip
LIGHTS: dict[str, Condition] = {"day": DAY, "dusk": DUSK}
GROUNDS: dict[str, Colour] = {  # albedo BGR
    "slabs": (0.45, 0.47, 0.48),
    "asphalt": (0.27, 0.27, 0.26),
    "sand": (0.38, 0.46, 0.52),
    "lawn": (0.13, 0.28, 0.22),
}
HOUSE_COLOURS: tuple[Colour, ...] = (
    (0.42, 0.55, 0.70), (0.58, 0.68, 0.74), (0.40, 0.44, 0.50), (0.62, 0.64, 0.62),
    (0.36, 0.43, 0.58), (0.66, 0.72, 0.76),
)  # fmt: skip


@dataclass(frozen=True)
class Plaza:
    """One square: who looks at it, its light, its ground and the houses along its far side."""

    camera: Camera
    condition: Condition
    ground: str
    houses: tuple[Block, ...]

    @property
    def far_m(self) -> float:
        """How far north the houses begin."""
        return self.houses[0].low[1]


def random_plaza(light: str, rng: np.random.Generator, width: int, height: int) -> Plaza:
    """A square with another height, angle, ground and row of houses each time."""
    condition = LIGHTS[light]
    if max(condition.sunlight) > 0:
        turn, strength = rng.uniform(0, 2 * math.pi), rng.choice([0.0, 0.6, 1.0])
        flat = rng.uniform(0.35, 0.75)
        sun = (flat * math.cos(turn), flat * math.sin(turn), math.sqrt(1 - flat**2))
        blue, green, red = (float(strength * each) for each in condition.sunlight)
        exposure = condition.exposure * (1.0 if strength else 1.35)  # a grey sky
        condition = replace(condition, sun=sun, sunlight=(blue, green, red), exposure=exposure)
    camera = Camera(
        "plaza", 0.0, 0.0, float(rng.uniform(5.5, 9.0)), float(rng.uniform(-18, 18)),
        float(rng.uniform(20, 31)), width * float(rng.uniform(1.0, 1.3)), width, height,
    )  # fmt: skip
    ground = str(rng.choice(list(GROUNDS)))
    return Plaza(camera, condition, ground, tuple(_houses(rng)))


def _houses(rng: np.random.Generator) -> list[Block]:
    far, west = float(rng.uniform(27, 36)), -60.0
    houses = []
    while west < 60.0:
        wide, tall = float(rng.uniform(9, 20)), float(rng.uniform(8, 18))
        colour = HOUSE_COLOURS[int(rng.integers(len(HOUSE_COLOURS)))]
        houses.append(Block((west, far, 0.0), (west + wide, far + 12.0, tall), colour))
        west += wide
    return houses


def draw_plaza(plaza: Plaza) -> Image:
    """The empty square, (H, W, 3) BGR."""
    camera, condition = plaza.camera, plaza.condition
    towards = rays(camera, 1).reshape(-1, 3)
    colour = _sky(towards, condition)
    start = camera.position.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        at_wall = (plaza.far_m - start[1]) / towards[:, 1]
        at_ground = np.where(towards[:, 2] < 0, -start[2] / towards[:, 2], np.inf)
    for number, house in enumerate(plaza.houses):
        points = start + towards * np.where(at_wall > 0, at_wall, 0)[:, None]
        hit = (at_wall > 0) & (points[:, 0] >= house.low[0]) & (points[:, 0] < house.high[0])
        hit &= (points[:, 2] >= 0) & (points[:, 2] <= house.high[2])
        colour[hit] = _front(points[hit], house, number, condition, at_wall[hit])
    below = at_ground < np.where(at_wall > 0, at_wall, np.inf)
    points = start + towards[below] * at_ground[below, None]
    lit = np.array(condition.ambient) + np.array(condition.sunlight) * condition.sun[2]
    colour[below] = shown(_ground(points, plaza.ground) * lit, at_ground[below], condition)
    return np.clip(colour, 0, 255).astype(np.uint8).reshape(camera.height, camera.width, 3)


def shown(
    light: npt.NDArray[np.floating], away_m: npt.ArrayLike, condition: Condition
) -> npt.NDArray[np.floating]:
    """Display values 0 to 255 of light (N, 3) that comes from (N,) metres away through haze."""
    fog = 1.0 - np.exp(-np.asarray(away_m, float)[..., None] * condition.haze)
    veil = np.array(condition.sky_low) * fog
    seen: npt.NDArray[np.floating] = (light * (1 - fog) + veil) * condition.exposure
    values: npt.NDArray[np.floating] = np.minimum(seen, 1.0) * 255.0
    return values


def _sky(towards: Floats, condition: Condition) -> npt.NDArray[np.floating]:
    rise = np.clip(towards[:, 2:3] * 3.0, 0, 1)
    sky: npt.NDArray[np.floating] = np.array(condition.sky_low) * (1 - rise) * 255.0
    return sky + np.array(condition.sky_high) * rise * 255.0


def _front(
    points: Floats, house: Block, number: int, condition: Condition, away_m: Floats
) -> npt.NDArray[np.floating]:
    albedo, normals, glass, glow = facade(points, house, number)
    facing = np.maximum(normals @ np.array(condition.sun, np.float32), 0)[:, None]
    light = albedo * (np.array(condition.ambient) + facing * np.array(condition.sunlight))
    light = light + glass[:, None] * np.array(condition.sky_high) * 0.15
    return shown(light + glow * condition.window_light, away_m, condition)


def _ground(points: Floats, kind: str) -> Floats:
    """Albedo BGR (N, 3) of the ground at (N, 3) places."""
    x, y = points[:, 0], points[:, 1]
    value = 1.0 + 0.05 * noise(x, y, size_m=0.3, seed=51) + 0.06 * noise(x, y, size_m=3.0, seed=52)
    if kind == "slabs":
        value += 0.16 * (hashed(np.floor(x / 0.9), np.floor(y / 0.9), 5) - 0.5)
        value -= 0.2 * ((np.mod(x, 0.9) < 0.05) | (np.mod(y, 0.9) < 0.05))
    elif kind == "asphalt":
        value += 1.6 * ((np.mod(x, 5.0) < 0.13) & (np.mod(y, 12.0) < 8.0))
    elif kind == "lawn":
        value += 0.16 * noise(x, y, size_m=0.9, seed=53)
        value += 0.6 * (np.abs(x + 0.4 * y - 4.0) < 1.2)
    else:
        value += 0.10 * noise(x, y, size_m=0.7, seed=54)
    albedo: Floats = (value[:, None] * np.array(GROUNDS[kind])).astype(np.float32)
    return np.clip(albedo, 0.02, 0.9)
