"""People, bicycles and mopeds as limbs: tapered rods between two round ends.

Body axes as in `mesh`: metres, x ahead, y to the left, z up, origin on the ground.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cityforge.synthetic.actors import Actor
from cityforge.synthetic.mesh import Floats, Point
from cityforge.synthetic.street import Colour

CLOTHES: tuple[Colour, ...] = (
    (0.16, 0.15, 0.15), (0.42, 0.22, 0.12), (0.16, 0.14, 0.60), (0.72, 0.73, 0.74),
    (0.22, 0.40, 0.20), (0.14, 0.56, 0.78), (0.40, 0.38, 0.36), (0.50, 0.30, 0.52),
    (0.62, 0.52, 0.20), (0.20, 0.30, 0.46),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = (
    (0.30, 0.18, 0.10),
    (0.12, 0.12, 0.12),
    (0.26, 0.30, 0.34),
    (0.42, 0.46, 0.50),
)
SKINS: tuple[Colour, ...] = ((0.52, 0.62, 0.82), (0.36, 0.46, 0.66), (0.18, 0.26, 0.40))
HAIR: tuple[Colour, ...] = (
    (0.08, 0.10, 0.14),
    (0.16, 0.30, 0.48),
    (0.40, 0.44, 0.46),
    (0.05, 0.05, 0.06),
)
SHOES: Colour = (0.08, 0.08, 0.09)
FRAME_PAINTS: tuple[Colour, ...] = (
    (0.14, 0.14, 0.60),
    (0.55, 0.30, 0.10),
    (0.10, 0.10, 0.10),
    (0.30, 0.52, 0.26),
    (0.70, 0.72, 0.72),
)
TYRE: Colour = (0.07, 0.07, 0.07)


@dataclass(frozen=True)
class Figure:
    """Limbs of one figure.

    `ends` (L, 2, 3) metres, `radii` (L, 2) metres, `colours` (L, 3) albedo BGR in 0..1.
    `wheels` (W, 4): x, y, z of each hub and its radius; wheels stand along x.
    """

    ends: Floats
    radii: Floats
    colours: Floats
    wheels: Floats


class _Limbs:
    def __init__(self) -> None:
        self.rows: list[tuple[Point, float, Point, float, Colour]] = []

    def add(self, a: Point, ra: float, b: Point, rb: float, colour: Colour) -> None:
        self.rows.append((a, ra, b, rb, colour))

    def figure(self, wheels: npt.ArrayLike) -> Figure:
        return Figure(
            ends=np.array([(a, b) for a, _, b, _, _ in self.rows]),
            radii=np.array([(ra, rb) for _, ra, _, rb, _ in self.rows]),
            colours=np.array([colour for *_, colour in self.rows]),
            wheels=np.asarray(wheels, dtype=float).reshape(-1, 4),
        )


def _pick(colours: tuple[Colour, ...], number: int) -> Colour:
    return colours[number % len(colours)]


def _head(limbs: _Limbs, x: float, z: float, look: int, helmet: bool) -> None:
    skin, hair = _pick(SKINS, look // 3), _pick(HAIR, look // 11)
    limbs.add((x + 0.02, 0.0, z), 0.10, (x + 0.02, 0.0, z + 0.06), 0.105, skin)
    top = _pick(FRAME_PAINTS, look // 13) if helmet else hair
    limbs.add((x - 0.035, 0.0, z + 0.05), 0.105, (x - 0.01, 0.0, z + 0.10), 0.10, top)


def _leg(limbs: _Limbs, hip: Point, swing: float, thigh: float, colour: Colour) -> None:
    """A leg that swings about the hip; `swing` in radians, ahead is positive."""
    x, y, z = hip
    bend = swing - max(0.0, -swing) * 0.5 - 0.12
    knee = (x + thigh * math.sin(swing), y, z - thigh * math.cos(swing))
    shin = z - 0.09 - thigh
    foot = (knee[0] + shin * math.sin(bend), y, max(0.06, knee[2] - shin * math.cos(bend)))
    limbs.add(hip, 0.095, knee, 0.07, colour)
    limbs.add(knee, 0.07, foot, 0.05, colour)
    limbs.add(foot, 0.05, (foot[0] + 0.13, y, foot[2] - 0.02), 0.04, SHOES)


def pedestrian(actor: Actor) -> Figure:
    """Someone walking, legs and arms in step with the way covered."""
    look = actor.look
    tall = 0.92 + 0.16 * ((look // 17) % 10) / 10.0
    coat, legs = _pick(CLOTHES, look), _pick(TROUSERS, look // 5)
    skin = _pick(SKINS, look // 3)
    walking = min(1.0, actor.speed / 0.8)
    swing = 0.48 * math.sin(actor.stride) * walking
    limbs = _Limbs()
    hip, shoulder = 0.86, 1.40
    for side, way in ((0.09, 1.0), (-0.09, -1.0)):
        _leg(limbs, (0.0, side, hip), swing * way, 0.42, legs)
        arm = -swing * way * 0.8
        elbow = (0.28 * math.sin(arm), side * 2.5, shoulder - 0.30 * math.cos(arm))
        limbs.add((0.0, side * 2.2, shoulder - 0.02), 0.06, elbow, 0.05, coat)
        hand = (elbow[0] + 0.25 * math.sin(arm + 0.25), side * 2.5, elbow[2] - 0.24)
        limbs.add(elbow, 0.05, hand, 0.045, coat)
        limbs.add(hand, 0.045, (hand[0], hand[1], hand[2] - 0.04), 0.045, skin)
    long_coat = 0.62 if look % 4 == 0 else 0.84
    for side in (0.075, -0.075):
        limbs.add((0.0, side, shoulder - 0.04), 0.125, (0.0, side, long_coat), 0.115, coat)
    if look % 3 == 0:
        limbs.add((-0.17, 0.0, 1.34), 0.13, (-0.17, 0.0, 1.02), 0.14, _pick(CLOTHES, look // 7))
    _head(limbs, 0.02, 1.56, look, helmet=False)
    figure = limbs.figure([])
    return Figure(figure.ends * tall, figure.radii * tall, figure.colours, figure.wheels)


def _rider(limbs: _Limbs, look: int, stride: float, *, pedals: bool) -> None:
    coat, legs = _pick(CLOTHES, look), _pick(TROUSERS, look // 5)
    hip_x, hip_z = -0.22, 0.98
    for side, turn in ((0.10, 0.0), (-0.10, math.pi)):
        angle = stride + turn
        foot = (
            (0.04 + 0.17 * math.cos(angle), side, 0.30 + 0.17 * math.sin(angle))
            if pedals
            else (0.16, side * 1.6, 0.34)
        )
        mid_x, mid_z = (hip_x + foot[0]) / 2, (hip_z + foot[2]) / 2
        knee = (mid_x + 0.24, side * 1.2, mid_z + 0.10)
        limbs.add((hip_x, side, hip_z), 0.10, knee, 0.075, legs)
        limbs.add(knee, 0.075, foot, 0.05, legs)
        limbs.add(foot, 0.05, (foot[0] + 0.12, side, foot[2]), 0.04, SHOES)
    for side in (0.08, -0.08):
        limbs.add((hip_x - 0.02, side, hip_z + 0.04), 0.125, (0.06, side, 1.44), 0.125, coat)
    for side in (0.2, -0.2):
        limbs.add((0.06, side, 1.42), 0.06, (0.28, side * 1.3, 1.18), 0.05, coat)
        limbs.add((0.28, side * 1.3, 1.18), 0.05, (0.50, side * 1.2, 1.06), 0.045, coat)
    _head(limbs, 0.14, 1.60, look, helmet=not pedals or look % 2 == 0)


def two_wheeler(actor: Actor) -> Figure:
    """A bicycle or a moped with its rider."""
    look = actor.look
    paint = _pick(FRAME_PAINTS, look // 19)
    limbs = _Limbs()
    if look % 3 == 0:  # moped
        limbs.add((-0.72, 0.0, 0.62), 0.16, (-0.05, 0.0, 0.72), 0.14, paint)
        limbs.add((-0.60, 0.0, 0.42), 0.17, (-0.10, 0.0, 0.32), 0.13, paint)
        limbs.add((-0.05, 0.0, 0.28), 0.10, (0.40, 0.0, 0.28), 0.10, paint)
        limbs.add((0.44, 0.0, 0.34), 0.15, (0.48, 0.0, 0.92), 0.13, paint)
        limbs.add((-0.60, 0.0, 0.82), 0.11, (-0.10, 0.0, 0.84), 0.10, (0.08, 0.08, 0.08))
        if look % 2:
            limbs.add((-0.78, 0.0, 1.02), 0.24, (-0.74, 0.0, 1.16), 0.24, (0.12, 0.50, 0.80))
        limbs.add((0.48, 0.0, 0.92), 0.04, (0.62, 0.0, 0.26), 0.04, (0.3, 0.3, 0.3))
        _rider(limbs, look, actor.stride, pedals=False)
        return limbs.figure([(0.64, 0.0, 0.25, 0.25), (-0.58, 0.0, 0.25, 0.25)])
    crank, seat, neck = (0.0, 0.0, 0.30), (-0.20, 0.0, 0.86), (0.40, 0.0, 0.86)
    for a, b in (
        (crank, seat), (crank, neck), (seat, neck), (crank, (-0.54, 0.0, 0.35)),
        (seat, (-0.54, 0.0, 0.35)), (neck, (0.56, 0.0, 0.35)), (neck, (0.44, 0.0, 1.04)),
    ):  # fmt: skip
        limbs.add(a, 0.028, b, 0.028, paint)
    limbs.add((0.46, 0.26, 1.05), 0.025, (0.46, -0.26, 1.05), 0.025, TYRE)
    limbs.add((-0.32, 0.0, 0.92), 0.06, (-0.10, 0.0, 0.92), 0.05, TYRE)
    if look % 5 == 1:
        limbs.add((-0.62, 0.0, 0.82), 0.16, (-0.44, 0.0, 0.82), 0.16, (0.16, 0.30, 0.42))
    _rider(limbs, look, actor.stride, pedals=True)
    return limbs.figure([(0.56, 0.0, 0.35, 0.345), (-0.54, 0.0, 0.35, 0.345)])
