"""The still picture behind the traffic, per camera and condition.

Every pixel's rays are followed into the street; the result is rendered once and
kept, and moving things are painted on copies of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from cityforge.synthetic.cameras import Camera, axes, rays
from cityforge.synthetic.conditions import Condition
from cityforge.synthetic.raycast import (
    FIRST_BUILDING,
    FIRST_CROWN,
    FIRST_FURNITURE,
    GROUND,
    SKY,
    Hits,
    cast,
    sunlit,
)
from cityforge.synthetic.street import BUILDINGS, CROWNS, FURNITURE, LAMPS, lamp_head
from cityforge.synthetic.surfaces import facade, ground_albedo, noise

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

OVERSAMPLING = 2


@dataclass(frozen=True)
class Backdrop:
    """A still view, (H, W).

    `image` BGR uint8; `other` is the same view where no sun reaches the ground (by
    day), or what headlights at full strength add to it (at night); `occluder` is
    the depth in metres of whatever stands on the ground, inf elsewhere; `ground`
    is 255 where the ground itself is seen.
    """

    image: Image
    other: Image
    occluder: Floats
    ground: Image


@dataclass(frozen=True)
class _Surface:
    """Albedo (N, 3), normals (N, 3), glass share (N,) and own light (N, 3)."""

    albedo: Floats
    normals: Floats
    glass: Floats
    light: Floats


def _describe(hits: Hits) -> _Surface:
    count = len(hits.distance)
    found = _Surface(
        np.zeros((count, 3), np.float32), np.zeros((count, 3), np.float32),
        np.zeros(count, np.float32), np.zeros((count, 3), np.float32),
    )  # fmt: skip
    for number in np.unique(hits.surface):
        if number == SKY:
            continue
        here = np.flatnonzero(hits.surface == number)
        points = hits.points[here]
        if number == GROUND:
            found.albedo[here] = ground_albedo(points[:, 0], points[:, 1])
            found.normals[here] = (0.0, 0.0, 1.0)
        elif number < FIRST_FURNITURE:
            index = int(number) - FIRST_BUILDING
            albedo, normals, glass, light = facade(points, BUILDINGS[index], index)
            found.albedo[here], found.normals[here] = albedo, normals
            found.glass[here], found.light[here] = glass, light
        elif number < FIRST_CROWN:
            block = FURNITURE[int(number) - FIRST_FURNITURE]
            low, high = np.array(block.low), np.array(block.high)
            gaps = np.concatenate([np.abs(points - low), np.abs(points - high)], axis=1)
            side = gaps.argmin(axis=1)
            normals = np.zeros_like(points)
            normals[np.arange(len(points)), side % 3] = np.where(side < 3, -1.0, 1.0)
            found.albedo[here], found.normals[here] = block.colour, normals
        else:
            crown = CROWNS[int(number) - FIRST_CROWN]
            normal = (points - np.array(crown.middle, np.float32)) / crown.radius
            rough = np.stack(
                [
                    noise(points[:, i], points[:, 2] + points[:, i - 1], size_m=0.35, seed=50 + i)
                    for i in range(3)
                ],
                -1,
            )
            normal = normal + 0.45 * rough
            found.normals[here] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
            leaf = 0.62 + 0.22 * rough[:, :1]
            found.albedo[here] = np.clip(leaf, 0.1, 1.2) * np.array([0.20, 0.46, 0.34], np.float32)
    return found


def lamp_light(points: Floats, normals: Floats, condition: Condition) -> Floats:
    """Light of the street lamps at points (N, 3), shape (N, 3) BGR."""
    total = np.zeros((len(points), 1), np.float32)
    for lamp in LAMPS:
        towards = np.array(lamp_head(lamp), np.float32) - points
        squared = (towards**2).sum(axis=1, keepdims=True) + 4.0
        cosine = (towards * normals).sum(axis=1, keepdims=True) / np.sqrt(squared)
        down = np.clip(towards[:, 2:3] / np.sqrt(squared), 0.0, 1.0)
        total += np.clip(cosine * 0.85 + 0.15, 0.0, 1.0) * (0.25 + 0.75 * down) / squared
    light: Floats = total * np.array(condition.lamp_light, np.float32)
    return light


def sky_colour(directions: Floats, condition: Condition) -> Floats:
    """Colour of the sky in unit directions (N, 3), shape (N, 3) BGR in 0..1."""
    height = np.clip(directions[:, 2:3], 0.0, 1.0) ** 0.5
    low, high = np.array(condition.sky_low, np.float32), np.array(condition.sky_high, np.float32)
    flat = np.maximum(directions[:, 2], 0.05)
    cloud = noise(directions[:, 0] / flat, directions[:, 1] / flat, size_m=1.6, seed=61)
    veil = np.clip(0.5 + 0.35 * cloud, 0.0, 1.0)[:, None] * condition.clouds
    colour = (low * (1 - height) + high * height) * (1 - veil) + low * 1.06 * veil
    sky: Floats = colour.astype(np.float32)
    return sky


def _lit(
    hits: Hits, directions: Floats, surface: _Surface, condition: Condition, free: Floats
) -> Floats:
    """Colour that reaches the eye from each hit, without mirror reflections."""
    sun = np.array(condition.sun, np.float32)
    facing = np.clip((surface.normals * sun).sum(axis=1), 0.0, 1.0) * free
    upward = 0.62 + 0.38 * surface.normals[:, 2:3]
    light = np.array(condition.ambient, np.float32) * upward
    light = light + facing[:, None] * np.array(condition.sunlight, np.float32)
    if condition.lamps_on:
        light = light + lamp_light(hits.points, surface.normals, condition)
    colour = surface.albedo * light
    if condition.lamps_on:
        colour = colour + surface.light * condition.window_light
    bounced = (
        directions - 2 * (directions * surface.normals).sum(axis=1, keepdims=True) * surface.normals
    )
    colour = colour + surface.glass[:, None] * 0.28 * sky_colour(bounced, condition)
    fog = 1.0 - np.exp(-np.where(np.isfinite(hits.distance), hits.distance, 0.0) * condition.haze)
    colour = (
        colour * (1 - fog[:, None]) + np.array(condition.sky_low, np.float32) * 0.92 * fog[:, None]
    )
    seen: Floats = np.where(
        (hits.surface == SKY)[:, None], sky_colour(directions, condition), colour
    )
    return seen


def _wet(points: Floats, condition: Condition) -> Floats:
    """How wet the ground is at points (N, 3), 0..1; puddles are 1."""
    puddle = noise(points[:, 0], points[:, 1], size_m=3.6, seed=71)
    film = np.clip(0.34 + 0.55 * np.clip(puddle - 0.35, 0.0, 1.0), 0.0, 1.0)
    wet: Floats = (film * condition.wetness).astype(np.float32)
    return wet


def _mirrored(
    hits: Hits, directions: Floats, chosen: npt.NDArray[np.intp], condition: Condition
) -> Floats:
    """What the wet ground mirrors, for the chosen hits; each ray starts at its own place."""
    # Seen from the camera's mirror image below the road, the reflection is a straight view;
    # all rays, rough or not, are taken to start there.
    points, rough = hits.points[chosen], directions[chosen].copy()
    rough[:, 2] = np.abs(rough[:, 2])
    rough[:, 2] *= 1.0 + 0.16 * noise(points[:, 0], points[:, 1], size_m=0.25, seed=72)
    rough /= np.linalg.norm(rough, axis=1, keepdims=True)
    straight = directions[chosen] * np.array([1.0, 1.0, -1.0], np.float32)
    origin = (points - straight * hits.distance[chosen, None]).mean(axis=0)
    view = cast(origin, rough, details=False)
    return _lit(view, rough, _describe(view), condition, np.zeros(len(chosen), np.float32))


def _reduce(values: Floats, camera: Camera) -> Floats:
    tall, wide = camera.height * OVERSAMPLING, camera.width * OVERSAMPLING
    picture = values.reshape(tall, wide, -1)
    small: Floats = cv2.resize(picture, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    return small


def _to_image(colour: Floats, condition: Condition) -> Image:
    """Scene light to display values: exposure, a soft shoulder, 8 bits."""
    exposed = np.maximum(colour, 0.0) * condition.exposure
    toned = np.where(exposed < 0.75, exposed, 0.75 + 0.25 * np.tanh((exposed - 0.75) / 0.25))
    image: Image = np.clip(toned * 255.0 + 0.5, 0, 255).astype(np.uint8)
    return image


def render_backdrop(camera: Camera, condition: Condition) -> Backdrop:
    """Follow every subpixel's ray; takes a few seconds."""
    directions = rays(camera, OVERSAMPLING).reshape(-1, 3)
    hits = cast(camera.position, directions)
    surface = _describe(hits)
    on_ground = hits.surface == GROUND
    free = np.zeros(len(directions), np.float32)
    if max(condition.sunlight) > 0:
        towards_sun = surface.normals @ np.array(condition.sun, np.float32)
        solid = np.flatnonzero((hits.surface != SKY) & (towards_sun > 0.0))
        lifted = hits.points[solid] + surface.normals[solid] * np.float32(0.03)
        free[solid] = sunlit(lifted, condition.sun)
    damp = surface
    ground = np.flatnonzero(on_ground)
    if condition.wetness > 0:
        wet = _wet(hits.points[ground], condition)
        albedo = surface.albedo.copy()
        albedo[ground] *= (1.0 - 0.42 * wet)[:, None]
        damp = replace(surface, albedo=albedo)
    colour = _lit(hits, directions, damp, condition, free)
    if condition.wetness > 0:
        steep = np.clip(-directions[ground, 2], 0.0, 1.0)
        fresnel = (0.05 + 0.95 * (1.0 - steep) ** 3.2) * wet
        mirrored = _mirrored(hits, directions, ground, condition)
        colour[ground] = colour[ground] * (1 - fresnel[:, None]) + mirrored * fresnel[:, None]
    if condition.lamps_on:
        other = damp.albedo * np.array([0.70, 0.85, 0.92], np.float32) * condition.headlight
        other = np.where((hits.surface == SKY)[:, None], np.float32(0.0), other)
    else:
        dark = np.where(on_ground, np.float32(0.0), free)
        ambient_only = _lit(hits, directions, damp, condition, dark)
        occluded = 1.0 if max(condition.sunlight) > 0 else 0.62
        other = np.where(on_ground[:, None], np.minimum(colour, ambient_only * occluded), colour)
    depth = hits.distance * (directions @ axes(camera)[2].astype(np.float32))
    standing = np.where(hits.surface >= FIRST_BUILDING, depth, np.float32(np.inf))
    tall, wide = camera.height, camera.width
    nearest = standing.reshape(tall, OVERSAMPLING, wide, OVERSAMPLING).min(axis=(1, 3))
    covered = _reduce(on_ground.astype(np.float32), camera)
    return Backdrop(
        image=_to_image(_reduce(colour, camera), condition),
        other=_to_image(_reduce(other.astype(np.float32), camera), condition),
        occluder=nearest.astype(np.float32),
        ground=(covered.reshape(tall, wide) * 255).astype(np.uint8),
    )
