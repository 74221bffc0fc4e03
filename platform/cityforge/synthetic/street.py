"""The crossing as built: roads, zebras, buildings, trees, lamps and signal posts.

Two streets meet at the origin; traffic keeps to the right. All lengths in metres,
colours are albedo as (blue, green, red) in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

LANE_M = 3.5
CYCLE_LANE_M = 4.45  # middle of the cycle lane, from the street's axis
ROAD_HALF_M = 5.4
KERB_RADIUS_M = 4.0
FACADE_M = 10.2  # where buildings begin, from the street's axis
ZEBRA_M = (9.9, 13.1)  # the zebra's near and far edge, from the crossing's middle
STOP_LINE_M = 14.3
ARM_LENGTH_M = 75.0

Vector = tuple[float, float]
Colour = tuple[float, float, float]

ARMS: dict[str, Vector] = {
    "north": (0.0, 1.0),
    "east": (1.0, 0.0),
    "south": (0.0, -1.0),
    "west": (-1.0, 0.0),
}


@dataclass(frozen=True)
class Block:
    """An upright box: a building or a part of street furniture."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    colour: Colour


@dataclass(frozen=True)
class Crown:
    """One ball of a tree's foliage."""

    middle: tuple[float, float, float]
    radius: float


def right_of(heading: Vector) -> Vector:
    """The direction to the right hand of someone who faces `heading`."""
    return heading[1], -heading[0]


def _building(x0: float, y0: float, x1: float, y1: float, height: float, colour: Colour) -> Block:
    return Block((x0, y0, 0.0), (x1, y1, height), colour)


_F = FACADE_M
BUILDINGS: tuple[Block, ...] = (
    # north-east corner
    _building(_F, _F, 25.0, 24.0, 16.0, (0.42, 0.55, 0.70)),
    _building(_F, 24.0, 24.0, 43.0, 12.5, (0.58, 0.68, 0.74)),
    _building(_F, 43.0, 24.0, 90.0, 19.0, (0.40, 0.44, 0.50)),
    _building(25.0, _F + 0.6, 44.0, 24.0, 12.5, (0.62, 0.64, 0.62)),
    _building(44.0, _F, 95.0, 24.0, 20.0, (0.36, 0.43, 0.58)),
    # north-west corner
    _building(-24.0, _F, -_F, 16.0, 13.0, (0.66, 0.72, 0.76)),
    _building(-43.0, _F + 0.4, -24.0, 24.0, 16.0, (0.40, 0.50, 0.66)),
    _building(-95.0, _F, -43.0, 24.0, 19.0, (0.55, 0.55, 0.52)),
    # south-east corner
    _building(_F, -26.0, 26.0, -_F, 13.0, (0.50, 0.62, 0.72)),
    _building(_F + 0.5, -44.0, 24.0, -26.0, 17.0, (0.38, 0.42, 0.56)),
    _building(_F, -95.0, 24.0, -44.0, 13.0, (0.60, 0.64, 0.66)),
    _building(26.0, -24.0, 50.0, -_F - 0.4, 16.5, (0.46, 0.50, 0.54)),
    _building(50.0, -24.0, 95.0, -_F, 13.0, (0.58, 0.66, 0.74)),
    # south-west: a small square, then buildings again
    _building(-46.0, -24.0, -29.0, -_F - 2.0, 13.0, (0.44, 0.54, 0.68)),
    _building(-95.0, -24.0, -46.0, -_F, 16.5, (0.60, 0.60, 0.58)),
    _building(-24.0, -46.0, -_F - 2.0, -31.0, 16.0, (0.62, 0.70, 0.72)),
    _building(-24.0, -95.0, -_F, -46.0, 13.0, (0.40, 0.48, 0.62)),
    # closing the views at the ends of the streets
    _building(-24.0, 110.0, 24.0, 125.0, 17.0, (0.52, 0.56, 0.60)),
    _building(-24.0, -125.0, 24.0, -112.0, 20.0, (0.46, 0.52, 0.60)),
    _building(110.0, -24.0, 125.0, 24.0, 18.0, (0.56, 0.60, 0.62)),
    _building(-125.0, -24.0, -112.0, 24.0, 22.0, (0.48, 0.52, 0.58)),
)

TREES: tuple[tuple[float, float, float], ...] = (  # east, north, height
    (-14.5, -14.0, 5.6),
    (-22.0, -12.6, 6.4),
    (-12.8, -23.5, 6.2),
    (-27.0, -18.0, 6.6),
    (8.3, -27.0, 5.8),
    (-8.2, -36.0, 6.0),
    (30.0, -8.6, 5.6),
    (45.0, 8.4, 6.0),
    (-33.0, 8.5, 5.8),
    (-47.0, 8.5, 6.2),
    (8.4, 31.0, 5.6),
    (-8.4, 40.0, 6.0),
)

LAMPS: tuple[tuple[float, float, Vector], ...] = (  # foot east, north, towards the road
    (6.2, 17.5, (-1.0, 0.0)),
    (-6.2, -17.5, (1.0, 0.0)),
    (17.5, -6.2, (0.0, 1.0)),
    (-17.5, 6.2, (0.0, -1.0)),
    (6.2, 44.0, (-1.0, 0.0)),
    (-6.2, -42.0, (1.0, 0.0)),
    (42.0, -6.2, (0.0, 1.0)),
    (-42.0, 6.2, (0.0, -1.0)),
)
LAMP_HEIGHT_M = 7.6
LAMP_REACH_M = 1.8

STEEL: Colour = (0.30, 0.30, 0.28)
BARK: Colour = (0.16, 0.22, 0.28)
SIGNAL_HEIGHT_M = 3.0  # the middle (amber) lamp


def signal_foot(arm: str) -> Vector:
    """Where the signal post for traffic arriving on `arm` stands."""
    out = ARMS[arm]
    side = right_of((-out[0], -out[1]))
    along, across = STOP_LINE_M - 0.4, ROAD_HALF_M + 0.6
    return out[0] * along + side[0] * across, out[1] * along + side[1] * across


def lamp_head(lamp: tuple[float, float, Vector]) -> tuple[float, float, float]:
    """Where a street lamp shines from."""
    x, y, (ax, ay) = lamp
    return x + ax * LAMP_REACH_M, y + ay * LAMP_REACH_M, LAMP_HEIGHT_M


def _upright(x: float, y: float, z0: float, z1: float, half: float, colour: Colour) -> Block:
    return Block((x - half, y - half, z0), (x + half, y + half, z1), colour)


def _furniture() -> tuple[Block, ...]:
    blocks: list[Block] = []
    for lamp in LAMPS:
        x, y, _ = lamp
        hx, hy, hz = lamp_head(lamp)
        blocks.append(_upright(x, y, 0.0, LAMP_HEIGHT_M, 0.08, STEEL))
        low = (min(x, hx) - 0.05, min(y, hy) - 0.05, hz)
        blocks.append(Block(low, (max(x, hx) + 0.05, max(y, hy) + 0.05, hz + 0.12), STEEL))
        blocks.append(_upright(hx, hy, hz - 0.1, hz + 0.12, 0.24, (0.55, 0.58, 0.58)))
    for arm in ARMS:
        x, y = signal_foot(arm)
        blocks.append(_upright(x, y, 0.0, 2.5, 0.07, STEEL))
        middle = SIGNAL_HEIGHT_M
        blocks.append(_upright(x, y, middle - 0.5, middle + 0.5, 0.17, (0.07, 0.07, 0.07)))
    for x, y, height in TREES:
        blocks.append(_upright(x, y, 0.0, height * 0.5, 0.13, BARK))
    for x, y in ((-10.6, -16.5), (-17.0, -10.8)):  # benches on the square
        blocks.append(
            Block((x - 0.9, y - 0.25, 0.0), (x + 0.9, y + 0.25, 0.45), (0.20, 0.32, 0.45))
        )
    blocks.append(_upright(-11.4, -12.0, 0.0, 1.1, 0.35, (0.25, 0.35, 0.22)))  # litter bin
    return tuple(blocks)


FURNITURE: tuple[Block, ...] = _furniture()


def _crowns() -> tuple[Crown, ...]:
    offsets = ((0.0, 0.0, 0.0, 1.0), (0.9, 0.3, -0.5, 0.7), (-0.8, 0.5, -0.4, 0.75),
               (0.1, -0.9, -0.45, 0.7), (-0.2, 0.2, 0.75, 0.7), (0.5, -0.5, 0.5, 0.6))  # fmt: skip
    return tuple(
        Crown((x + ox * 0.95, y + oy * 0.95, height * 0.72 + oz), height * 0.24 * scale)
        for x, y, height in TREES
        for ox, oy, oz, scale in offsets
    )


CROWNS: tuple[Crown, ...] = _crowns()
