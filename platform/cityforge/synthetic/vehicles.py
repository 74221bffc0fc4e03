"""Bodies of cars, buses and trucks, with windows, wheels, lamps and number plates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from cityforge.synthetic.mesh import (
    CABIN_LIGHT,
    GLASS,
    HEADLIGHT,
    LEFT_BLINK,
    RIGHT_BLINK,
    TAILLIGHT,
    Draft,
    Mesh,
    Point,
    disc,
    inset,
    sides,
)
from cityforge.synthetic.street import Colour

CAR_PAINTS: tuple[Colour, ...] = (
    (0.80, 0.81, 0.82), (0.10, 0.10, 0.11), (0.48, 0.47, 0.46), (0.62, 0.63, 0.64),
    (0.14, 0.13, 0.52), (0.46, 0.24, 0.10), (0.26, 0.25, 0.25), (0.55, 0.42, 0.24),
    (0.22, 0.34, 0.20), (0.34, 0.56, 0.70), (0.08, 0.10, 0.30), (0.20, 0.62, 0.80),
)  # fmt: skip
BUS_PAINTS: tuple[Colour, ...] = (
    (0.12, 0.72, 0.88), (0.14, 0.14, 0.68), (0.60, 0.36, 0.10), (0.30, 0.55, 0.16),
)  # fmt: skip
CARGO_PAINTS: tuple[Colour, ...] = (
    (0.82, 0.84, 0.85), (0.74, 0.76, 0.78), (0.56, 0.40, 0.16), (0.20, 0.44, 0.24),
    (0.16, 0.30, 0.66),
)  # fmt: skip

PANE: Colour = (0.17, 0.14, 0.12)
TYRE: Colour = (0.055, 0.055, 0.055)
RIM: Colour = (0.46, 0.46, 0.46)
TRIM: Colour = (0.09, 0.09, 0.09)
PLATE: Colour = (0.80, 0.82, 0.82)
LAMP_GLASS: Colour = (0.84, 0.86, 0.86)
RED_GLASS: Colour = (0.10, 0.08, 0.62)
AMBER_GLASS: Colour = (0.12, 0.46, 0.86)


@dataclass(frozen=True)
class CarBuild:
    """A car's side view: x of bumper, bonnet, roof and tail, and the heights, in metres."""

    nose: float
    scuttle: float
    roof_front: float
    roof_rear: float
    tail: float
    belt: float
    roof: float
    half: float


CAR_BUILDS: tuple[CarBuild, ...] = (
    CarBuild(2.10, 1.05, 0.35, -1.30, -1.95, 0.92, 1.48, 0.89),  # hatchback
    CarBuild(2.30, 1.00, 0.30, -1.05, -1.75, 0.90, 1.43, 0.90),  # saloon
    CarBuild(2.25, 1.15, 0.55, -1.65, -2.10, 1.02, 1.68, 0.94),  # off-roader
    CarBuild(2.25, 1.05, 0.35, -1.75, -2.15, 0.91, 1.47, 0.90),  # estate
)


def _darker(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def _wheels(draft: Draft, y: float, places: tuple[float, ...], radius: float) -> None:
    for x in places:
        draft.face(disc(x, y, radius * 1.04, radius * 1.17), TRIM)
        draft.face(disc(x, y, radius, radius), TYRE, casts=True)
        draft.face(disc(x, y, radius, radius * 0.6, 10), RIM)
        draft.face(disc(x, y, radius, radius * 0.22, 6), TRIM)


def _flank(points: list[Point], left: bool) -> list[Point]:
    """Side outline given nose to tail along the bottom; reversed for the right side."""
    return points if left else points[::-1]


def _car_body(draft: Draft, build: CarBuild, paint: Colour) -> None:
    b, sill = build, 0.24
    tail = -b.nose
    draft.part(0)
    w = b.half
    nose = [
        (b.nose, -w * 0.94, sill),
        (b.nose, w * 0.94, sill),
        (b.nose - 0.08, w * 0.94, 0.70),
        (b.nose - 0.08, -w * 0.94, 0.70),
    ]
    back = [
        (tail, w * 0.95, sill + 0.04),
        (tail, -w * 0.95, sill + 0.04),
        (tail + 0.06, -w * 0.95, b.belt - 0.04),
        (tail + 0.06, w * 0.95, b.belt - 0.04),
    ]
    bonnet = [
        (b.nose - 0.08, -w * 0.94, 0.70),
        (b.nose - 0.08, w * 0.94, 0.70),
        (b.scuttle, w * 0.97, b.belt),
        (b.scuttle, -w * 0.97, b.belt),
    ]
    deck = [
        (tail + 0.06, w * 0.95, b.belt - 0.04),
        (tail + 0.06, -w * 0.95, b.belt - 0.04),
        (b.scuttle, -w * 0.97, b.belt),
        (b.scuttle, w * 0.97, b.belt),
    ]
    for y in (w, -w):
        outline: list[Point] = [
            (b.nose - 0.02, y, sill), (tail + 0.03, y, sill), (tail + 0.03, y, b.belt - 0.04),
            (b.scuttle, y, b.belt), (b.nose - 0.08, y, 0.70),
        ]  # fmt: skip
        draft.face(_flank(outline, y > 0), paint, casts=True)
        strip: list[Point] = [
            (b.nose - 0.03, y, sill),
            (tail + 0.03, y, sill),
            (tail + 0.03, y, sill + 0.12),
            (b.nose - 0.03, y, sill + 0.12),
        ]
        draft.face(_flank(strip, y > 0), _darker(paint, 0.45))
        for x in (0.22, -0.85):
            seam: list[Point] = [
                (x, y, 0.36),
                (x - 0.035, y, 0.36),
                (x - 0.035, y, b.belt),
                (x, y, b.belt),
            ]
            draft.face(_flank(seam, y > 0), _darker(paint, 0.5))
        _wheels(draft, y, (b.nose - 0.82, tail + 0.80), 0.33)
    draft.face(bonnet, paint, casts=True)
    draft.face(deck, paint)
    draft.face(nose, paint, casts=True)
    draft.face(inset(nose, 0.22, 0.18, 0.78, 0.62), TRIM)
    draft.face(inset(nose, 0.36, 0.22, 0.64, 0.45), PLATE)
    draft.face(inset(nose, 0.03, 0.62, 0.26, 0.95), LAMP_GLASS, HEADLIGHT)
    draft.face(inset(nose, 0.74, 0.62, 0.97, 0.95), LAMP_GLASS, HEADLIGHT)
    draft.face(inset(nose, 0.01, 0.50, 0.10, 0.62), AMBER_GLASS, RIGHT_BLINK)
    draft.face(inset(nose, 0.90, 0.50, 0.99, 0.62), AMBER_GLASS, LEFT_BLINK)
    draft.face(back, paint, casts=True)
    draft.face(inset(back, 0.0, 0.0, 1.0, 0.28), TRIM)
    draft.face(inset(back, 0.34, 0.34, 0.66, 0.52), PLATE)
    draft.face(inset(back, 0.02, 0.60, 0.20, 0.96), RED_GLASS, TAILLIGHT)
    draft.face(inset(back, 0.80, 0.60, 0.98, 0.96), RED_GLASS, TAILLIGHT)
    draft.face(inset(back, 0.20, 0.62, 0.26, 0.84), AMBER_GLASS, LEFT_BLINK)
    draft.face(inset(back, 0.74, 0.62, 0.80, 0.84), AMBER_GLASS, RIGHT_BLINK)


def _car_cabin(draft: Draft, build: CarBuild, paint: Colour) -> None:
    b = build
    low, high = b.half * 0.96, b.half * 0.74
    draft.part(1)
    front: list[Point] = [
        (b.scuttle, -low, b.belt),
        (b.scuttle, low, b.belt),
        (b.roof_front, high, b.roof),
        (b.roof_front, -high, b.roof),
    ]
    back: list[Point] = [
        (b.tail, low, b.belt),
        (b.tail, -low, b.belt),
        (b.roof_rear, -high, b.roof),
        (b.roof_rear, high, b.roof),
    ]
    left: list[Point] = [
        (b.scuttle, low, b.belt),
        (b.tail, low, b.belt),
        (b.roof_rear, high, b.roof),
        (b.roof_front, high, b.roof),
    ]
    right: list[Point] = [
        (b.tail, -low, b.belt),
        (b.scuttle, -low, b.belt),
        (b.roof_front, -high, b.roof),
        (b.roof_rear, -high, b.roof),
    ]
    roof: list[Point] = [
        (b.roof_rear, -high, b.roof),
        (b.roof_front, -high, b.roof),
        (b.roof_front, high, b.roof),
        (b.roof_rear, high, b.roof),
    ]
    for wall in (left, right):
        draft.face(wall, paint, casts=True)
        splits = (0.06, 0.45, 0.49, 0.90) if wall is left else (0.10, 0.51, 0.55, 0.94)
        draft.face(inset(wall, splits[0], 0.10, splits[1], 0.88), PANE, GLASS)
        draft.face(inset(wall, splits[2], 0.10, splits[3], 0.88), PANE, GLASS)
    draft.face(front, paint)
    draft.face(inset(front, 0.05, 0.05, 0.95, 0.93), PANE, GLASS)
    draft.face(back, paint)
    draft.face(inset(back, 0.08, 0.14, 0.92, 0.90), PANE, GLASS)
    draft.face(roof, _darker(paint, 0.97), casts=True)


def _bus(look: int) -> Mesh:
    paint = BUS_PAINTS[look % len(BUS_PAINTS)]
    draft = Draft()
    draft.part(0)
    walls = sides(-5.6, 5.6, 1.26, 0.30, 3.05)
    pale: Colour = (0.80, 0.82, 0.82)
    for name in ("left", "right"):
        wall = walls[name]
        draft.face(wall, paint, casts=True)
        draft.face(inset(wall, 0.0, 0.0, 1.0, 0.13), _darker(paint, 0.5))
        draft.face(inset(wall, 0.0, 0.30, 1.0, 0.36), pale)
        draft.face(inset(wall, 0.015, 0.42, 0.985, 0.86), TRIM)
        for i in range(7):
            u = 0.03 + i * 0.136
            draft.face(inset(wall, u, 0.44, u + 0.122, 0.84), PANE, CABIN_LIGHT)
        if name == "right":
            for u in (0.44, 0.86):
                draft.face(inset(wall, u, 0.03, u + 0.10, 0.84), TRIM)
                draft.face(inset(wall, u + 0.006, 0.08, u + 0.047, 0.80), PANE, CABIN_LIGHT)
                draft.face(inset(wall, u + 0.053, 0.08, u + 0.094, 0.80), PANE, CABIN_LIGHT)
        _wheels(draft, 1.26 if name == "left" else -1.26, (2.9, -2.9), 0.48)
    front, back = walls["front"], walls["rear"]
    draft.face(front, paint, casts=True)
    draft.face(inset(front, 0.04, 0.34, 0.96, 0.80), PANE, CABIN_LIGHT)
    draft.face(inset(front, 0.10, 0.83, 0.90, 0.97), TRIM)
    draft.face(inset(front, 0.20, 0.86, 0.80, 0.94), (0.20, 0.66, 0.92), HEADLIGHT)
    draft.face(inset(front, 0.04, 0.10, 0.20, 0.20), LAMP_GLASS, HEADLIGHT)
    draft.face(inset(front, 0.80, 0.10, 0.96, 0.20), LAMP_GLASS, HEADLIGHT)
    draft.face(inset(front, 0.38, 0.05, 0.62, 0.12), PLATE)
    draft.face(back, paint, casts=True)
    draft.face(inset(back, 0.12, 0.52, 0.88, 0.84), PANE, CABIN_LIGHT)
    draft.face(inset(back, 0.20, 0.10, 0.80, 0.34), _darker(paint, 0.45))
    for u in (0.03, 0.87):
        draft.face(inset(back, u, 0.20, u + 0.10, 0.44), RED_GLASS, TAILLIGHT)
    draft.face(walls["top"], (0.62, 0.64, 0.64), casts=True)
    draft.part(1)
    for name, face in sides(-2.2, 0.6, 0.7, 3.05, 3.30).items():
        draft.face(face, (0.55, 0.57, 0.57) if name == "top" else (0.48, 0.50, 0.50))
    return draft.finish()


def _truck(look: int) -> Mesh:
    cargo = CARGO_PAINTS[look % len(CARGO_PAINTS)]
    cab = CAR_PAINTS[(look // 7) % len(CAR_PAINTS)]
    draft = Draft()
    draft.part(0)
    chassis = sides(-3.8, 2.2, 1.05, 0.42, 0.86)
    for name in ("left", "right", "rear"):
        draft.face(chassis[name], TRIM, casts=True)
    for u in (0.03, 0.85):
        draft.face(inset(chassis["rear"], u, 0.25, u + 0.12, 0.80), RED_GLASS, TAILLIGHT)
    draft.face(inset(chassis["rear"], 0.36, 0.2, 0.64, 0.7), PLATE)
    for y in (1.06, -1.06):
        _wheels(draft, y, (-2.3,), 0.46)
    draft.part(1)
    box = sides(-3.9, 1.85, 1.24, 0.86, 3.35)
    for name, wall in box.items():
        draft.face(wall, cargo if name != "top" else _darker(cargo, 0.95), casts=True)
        if name in ("left", "right"):
            draft.face(inset(wall, 0.0, 0.0, 1.0, 0.05), TRIM)
            draft.face(inset(wall, 0.22, 0.40, 0.78, 0.68), CAR_PAINTS[(look // 3) % 12])
            for i in range(1, 6):
                draft.face(
                    inset(wall, i / 6 - 0.004, 0.05, i / 6 + 0.004, 1.0), _darker(cargo, 0.8)
                )
        if name == "rear":
            draft.face(inset(wall, 0.49, 0.0, 0.51, 1.0), TRIM)
            for u in (0.30, 0.66):
                draft.face(inset(wall, u, 0.05, u + 0.03, 0.95), _darker(cargo, 0.6))
    draft.part(1)
    cabin = sides(2.0, 3.9, 1.14, 0.42, 2.55)
    for name, wall in cabin.items():
        draft.face(wall, cab, casts=True)
        if name in ("left", "right"):
            span = (0.10, 0.60) if name == "left" else (0.40, 0.90)
            draft.face(inset(wall, span[0], 0.52, span[1], 0.88), PANE, GLASS)
            _wheels(draft, 1.14 if name == "left" else -1.14, (3.0,), 0.46)
    front = cabin["front"]
    draft.face(inset(front, 0.04, 0.50, 0.96, 0.90), PANE, GLASS)
    draft.face(inset(front, 0.22, 0.18, 0.78, 0.42), TRIM)
    draft.face(inset(front, 0.0, 0.0, 1.0, 0.10), TRIM)
    for u in (0.04, 0.80):
        draft.face(inset(front, u, 0.13, u + 0.16, 0.26), LAMP_GLASS, HEADLIGHT)
    return draft.finish()


@lru_cache(maxsize=512)
def vehicle_mesh(kind: str, look: int) -> Mesh:
    """The body of a car, bus or truck; `look` picks its build and paint."""
    if kind == "bus":
        return _bus(look % 4)
    if kind == "truck":
        return _truck(look % 420)
    draft = Draft()
    build = CAR_BUILDS[look % len(CAR_BUILDS)]
    paint = CAR_PAINTS[(look // 5) % len(CAR_PAINTS)]
    _car_body(draft, build, paint)
    _car_cabin(draft, build, paint)
    return draft.finish()
