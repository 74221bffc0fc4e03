"""What the still surfaces look like before light falls on them: albedo by place."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from cityforge.synthetic.street import (
    CYCLE_LANE_M,
    FACADE_M,
    KERB_RADIUS_M,
    LANE_M,
    ROAD_HALF_M,
    STOP_LINE_M,
    ZEBRA_M,
    Block,
)

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

STOREY_M = 3.3
GROUND_FLOOR_M = 3.9
MENDED = (  # patches of newer or older asphalt: west, south, east, north, tone
    (-5.0, 19.0, -2.2, 26.0, -0.05),
    (7.0, -3.0, 15.0, -0.6, -0.045),
    (-3.0, -8.0, 1.4, -4.4, 0.035),
    (0.2, -32.0, 3.0, -22.0, 0.04),
    (-31.0, 0.3, -22.0, 3.2, -0.05),
    (16.0, 1.0, 28.0, 3.0, 0.03),
)


@lru_cache(maxsize=4)
def _grain(smoothness: float, seed: int) -> Floats:
    """A 512 x 512 tile of noise that wraps, mean 0 and deviation 1."""
    noise = np.random.default_rng(seed).standard_normal((512, 512)).astype(np.float32)
    wide = np.pad(noise, 32, mode="wrap")
    soft = cv2.GaussianBlur(wide, (0, 0), smoothness)[32:-32, 32:-32]
    tile: Floats = ((soft - soft.mean()) / soft.std()).astype(np.float32)
    return tile


def noise(x: Floats, y: Floats, *, size_m: float, seed: int = 0) -> Floats:
    """Smooth noise over the plane, mean 0, deviation 1; `size_m` is the width of its blots."""
    scale = 3.0 / size_m
    at_x = np.mod(x * scale + 97.0 * seed, 511.0).astype(np.float32)[None, :]
    at_y = np.mod(y * scale + 41.0 * seed, 511.0).astype(np.float32)[None, :]
    count = at_x.shape[1]
    pieces = [
        cv2.remap(_grain(1.5, 5), at_x[:, i : i + 30000], at_y[:, i : i + 30000], cv2.INTER_LINEAR)
        for i in range(0, count, 30000)
    ]
    values: Floats = np.concatenate(pieces, axis=1)[0] if pieces else np.zeros(0, np.float32)
    return values


def hashed(a: npt.ArrayLike, b: npt.ArrayLike, seed: int) -> Floats:
    """A number in 0..1 for each pair of whole numbers, always the same."""
    mixed = (
        np.asarray(a, np.int64) * 73856093 ^ np.asarray(b, np.int64) * 19349663 ^ seed * 83492791
    )
    mixed = (mixed ^ (mixed >> 13)) * 1274126177 & 0x7FFFFFFF
    values: Floats = ((mixed ^ (mixed >> 16)) % 10007 / 10007.0).astype(np.float32)
    return values


def on_road(x: Floats, y: Floats) -> Mask:
    """The carriageway, with rounded corners at the crossing."""
    ax, ay = np.abs(x), np.abs(y)
    straight = (ax < ROAD_HALF_M) | (ay < ROAD_HALF_M)
    edge = ROAD_HALF_M + KERB_RADIUS_M
    corner = (ax < edge) & (ay < edge) & (np.hypot(edge - ax, edge - ay) > KERB_RADIUS_M)
    on: Mask = straight | corner
    return on


def _kerb_distance(x: Floats, y: Floats) -> Floats:
    """Metres from the kerb line, negative on the road."""
    ax, ay = np.abs(x), np.abs(y)
    edge = ROAD_HALF_M + KERB_RADIUS_M
    round_corner = KERB_RADIUS_M - np.hypot(edge - ax, edge - ay)
    near_corner = (ax < edge) & (ay < edge)
    away: Floats = np.where(near_corner, round_corner, np.minimum(ax, ay) - ROAD_HALF_M)
    return away


def _along(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Distance along the arm, offset from its axis, and offset seen by arriving traffic."""
    vertical = np.abs(y) > np.abs(x)
    along = np.where(vertical, np.abs(y), np.abs(x))
    across = np.where(vertical, x, y)
    arriving = np.where(vertical, -x * np.sign(y), y * np.sign(x))
    return along, np.abs(across), arriving


def markings(x: Floats, y: Floats) -> Floats:
    """How much paint lies on the road, 0..1, worn where wheels pass."""
    along, off, arriving = _along(x, y)
    paint = np.zeros(len(x), np.bool_)
    zebra = (along > ZEBRA_M[0]) & (along < ZEBRA_M[1]) & (off < ROAD_HALF_M - 0.25)
    paint |= zebra & (np.mod(off + 0.25, 1.0) < 0.5)
    paint |= (np.abs(along - STOP_LINE_M) < 0.25) & (arriving > 0.1) & (off < ROAD_HALF_M - 0.2)
    beyond = along > STOP_LINE_M + 0.3
    near = along < 34.0
    paint |= beyond & near & (np.abs(off - 0.13) < 0.07)
    paint |= beyond & ~near & (off < 0.075) & (np.mod(along, 6.0) < 3.0)
    lane_edge = LANE_M + 0.05
    paint |= beyond & (np.abs(off - lane_edge) < 0.07) & (np.mod(along, 2.4) < 1.5)
    for start in (19.0, 36.0):  # straight-on arrows in the arriving lane
        d, side = along - start, np.abs(arriving - LANE_M / 2)
        shaft = (d > 1.1) & (d < 4.0) & (side < 0.08)
        head = (d > 0.0) & (d < 1.2) & (side < d * 0.32)
        paint |= (arriving > 0) & (shaft | head)
    worn = 0.82 + 0.11 * noise(x, y, size_m=0.7, seed=3) + 0.10 * noise(x, y, size_m=5.0, seed=4)
    track = np.exp(-(((np.abs(off - LANE_M / 2) - 0.75) / 0.3) ** 2))
    strength: Floats = paint * np.clip(worn - 0.22 * track, 0.15, 1.0)
    return strength


def _asphalt(x: Floats, y: Floats) -> Floats:
    along, off, arriving = _along(x, y)
    value = (
        0.265 + 0.012 * noise(x, y, size_m=0.12, seed=1) + 0.014 * noise(x, y, size_m=0.5, seed=6)
    )
    value += 0.014 * noise(x, y, size_m=4.0, seed=2)
    value -= 0.022 * np.exp(-(((np.abs(off - LANE_M / 2) - 0.75) / 0.35) ** 2))
    value -= (
        0.04
        * (arriving > 0)
        * np.exp(-((off - LANE_M / 2) ** 2) / 0.2)
        * np.exp(-np.abs(along - 19.0) / 7.0)
    )
    crack = (np.abs(noise(x, y, size_m=3.2, seed=7)) < 0.012) & (
        noise(x, y, size_m=9.0, seed=8) > 0.9
    )
    value -= 0.07 * crack
    for x0, y0, x1, y1, tone in MENDED:
        patch = (x > x0) & (x < x1) & (y > y0) & (y < y1)
        rim = patch & ~((x > x0 + 0.1) & (x < x1 - 0.1) & (y > y0 + 0.1) & (y < y1 - 0.1))
        value += tone * patch - 0.06 * rim
    for cx, cy in (
        (-1.9, 6.0),
        (3.2, -2.4),
        (1.6, 17.0),
        (-18.0, -1.7),
        (20.5, 1.9),
        (-1.6, -21.0),
    ):
        away = np.hypot(x - cx, y - cy)
        value -= 0.10 * (away < 0.36) - 0.05 * (away < 0.26)
    cycle = (np.abs(off - CYCLE_LANE_M) < 0.85) & (along > STOP_LINE_M)
    grey = np.clip(value, 0.05, 1.0)
    colour = np.stack([grey * 1.02, grey, grey * 0.99], -1)
    red = np.stack([grey * 0.78, grey * 0.84, grey * 1.22], -1)
    shown: Floats = np.where(cycle[:, None], red, colour).astype(np.float32)
    return shown


def _pavement(x: Floats, y: Floats, kerb: Floats) -> Floats:
    joint = (np.mod(x, 0.8) < 0.05) | (np.mod(y, 0.8) < 0.05)
    slab = hashed(np.floor(x / 0.8), np.floor(y / 0.8), 3)
    value = 0.47 + 0.05 * (slab - 0.5) + 0.02 * noise(x, y, size_m=0.4, seed=11) - 0.09 * joint
    value += 0.025 * noise(x, y, size_m=4.0, seed=12) - 0.05 * (
        noise(x, y, size_m=1.3, seed=13) > 2.0
    )
    value = np.where(kerb < 0.30, 0.58 + 0.03 * noise(x, y, size_m=0.5, seed=14), value)
    value = np.where((kerb < 0.30) & (np.mod(x + y, 1.0) < 0.04), 0.40, value)
    value = np.where(kerb < 0.07, 0.24, value)
    colour: Floats = np.stack([value * 0.96, value * 0.99, value], -1).astype(np.float32)
    return colour


def _square(x: Floats, y: Floats) -> tuple[Mask, Floats]:
    """The lawn of the square in the south-west, and its colour."""
    lawn = (x < -FACADE_M - 1.6) & (y < -FACADE_M - 1.6) & (x > -29.0) & (y > -31.0)
    path = np.abs(x - y) < 1.3
    value = (
        0.26 + 0.035 * noise(x, y, size_m=0.3, seed=21) + 0.03 * noise(x, y, size_m=3.0, seed=22)
    )
    colour = np.stack([value * 0.52, value * 1.05, value * 0.82], -1).astype(np.float32)
    gravel = 0.50 + 0.04 * noise(x, y, size_m=0.2, seed=23)
    sand = np.stack([gravel * 0.80, gravel * 0.92, gravel], -1).astype(np.float32)
    return lawn, np.where(path[:, None], sand, colour)


def ground_albedo(x: Floats, y: Floats) -> Floats:
    """Colour of the ground at (N,) places, shape (N, 3), BGR in 0..1."""
    kerb = _kerb_distance(x, y)
    lawn, grass = _square(x, y)
    colour = np.where(lawn[:, None], grass, _pavement(x, y, kerb))
    road = kerb < 0.0
    colour[road] = _asphalt(x[road], y[road])
    paint = np.zeros(len(x), np.float32)
    paint[road] = markings(x[road], y[road])
    white = np.array([0.80, 0.82, 0.82], np.float32)
    gutter = (road & (kerb > -0.30)) * np.float32(0.06)
    mixed: Floats = colour * (1 - paint[:, None]) + white * paint[:, None] - gutter[:, None]
    return np.clip(mixed, 0.02, 1.0)


def facade(points: Floats, block: Block, number: int) -> tuple[Floats, Floats, Floats, Floats]:
    """A building's surface at points (N, 3) on it.

    Returns albedo (N, 3), outward normals (N, 3), how much of the place is window
    glass (N,), and light shining out at night (N, 3).
    """
    low, high = np.array(block.low, np.float32), np.array(block.high, np.float32)
    gaps = np.concatenate([np.abs(points - low), np.abs(points - high)], axis=1)
    side = gaps.argmin(axis=1)
    normals = np.zeros_like(points)
    normals[np.arange(len(points)), side % 3] = np.where(side < 3, -1.0, 1.0)
    roof = side == 5
    u: Floats = (np.where(side % 3 == 0, points[:, 1], points[:, 0]) + 100.0).astype(np.float32)
    z = points[:, 2]
    pitch = 2.2 + 0.45 * float(hashed(number, 1, 7))
    upper = z > GROUND_FLOOR_M
    storey = np.floor((z - GROUND_FLOOR_M) / STOREY_M)
    in_storey = np.mod(z - GROUND_FLOOR_M, STOREY_M)
    bay, in_bay = np.floor(u / pitch), np.mod(u, pitch) / pitch
    wide = 0.24 + 0.07 * float(hashed(number, 2, 7))
    top_room = z < high[2] - 0.9
    window = (
        upper & top_room & (np.abs(in_bay - 0.5) < wide) & (in_storey > 0.85) & (in_storey < 2.65)
    )
    frame = window & (
        (np.abs(in_bay - 0.5) < 0.018)
        | (np.abs(in_bay - 0.5) > wide - 0.025)
        | (np.abs(in_storey - 2.1) < 0.05)
    )
    shop_bay, in_shop = np.floor(u / 4.6), np.mod(u, 4.6) / 4.6
    shop = ~upper & (np.abs(in_shop - 0.5) < 0.43) & (z > 0.5) & (z < 2.85)
    awning = ~upper & (np.abs(in_shop - 0.5) < 0.46) & (z > 2.85) & (z < 3.45)
    base = np.array(block.colour, np.float32)
    value: Floats = 1.0 + 0.03 * noise(u, z, size_m=0.5, seed=31)
    value = value + 0.05 * noise(u, z, size_m=4.0, seed=32) - 0.10 * np.exp(-z / 0.8)
    brick = ((np.mod(z, 0.30) < 0.04) * 0.05) if number % 2 == 0 else 0.0
    ledge = upper & ((in_storey < 0.14) | (z > high[2] - 0.35))
    colour = base * (value - brick)[:, None] * np.where(upper, 1.0, 0.72)[:, None]
    colour = np.where(ledge[:, None], base * 1.22, colour)
    sill = (
        upper
        & top_room
        & (np.abs(in_bay - 0.5) < wide + 0.04)
        & (in_storey > 0.72)
        & (in_storey <= 0.85)
    )
    colour = np.where(sill[:, None], base * 1.25, colour)
    room = hashed(bay + side * 50, storey, 11 + number)
    curtain = hashed(bay + side * 50, storey, 5 + number)
    pane = 0.10 + 0.16 * (curtain > 0.6) * (in_storey > 1.5)
    glass_colour = np.stack([pane * 1.2, pane * 1.05, pane * 0.95], -1)
    colour = np.where(window[:, None], glass_colour, colour)
    colour = np.where(frame[:, None], np.float32(0.72), colour)
    inside = hashed(shop_bay, np.floor(u / 0.9), 17 + number)
    shop_colour = np.stack([0.09 + 0.12 * inside, 0.09 + 0.11 * inside, 0.09 + 0.13 * inside], -1)
    colour = np.where(shop[:, None], shop_colour, colour)
    sign = np.stack(
        [
            hashed(shop_bay + side, 1, number),
            hashed(shop_bay + side, 2, number),
            hashed(shop_bay + side, 3, number),
        ],
        -1,
    )
    colour = np.where(awning[:, None], 0.12 + 0.55 * sign, colour)
    tar = 0.30 + 0.03 * noise(points[:, 0], points[:, 1], size_m=1.0, seed=41)
    colour = np.where(roof[:, None], np.stack([tar, tar, tar], -1), colour)
    glass = (((window & ~frame) | shop) & ~roof).astype(np.float32)
    warm = np.array([0.42, 0.72, 0.95], np.float32) * (0.45 + 0.55 * curtain)[:, None]
    lit = (room > 0.68) & window & ~frame & ~roof
    open_shop = shop & ~roof & (hashed(shop_bay + side, 9, number) > 0.35)
    light = np.where(lit[:, None], warm, 0.0) + np.where(
        open_shop[:, None],
        np.array([0.62, 0.80, 0.92], np.float32) * (0.5 + 0.4 * inside)[:, None],
        0.0,
    )
    light = light + np.where((awning & open_shop.any() & ~roof)[:, None], 0.35 * sign, 0.0)
    return colour.astype(np.float32), normals, glass, light.astype(np.float32)
