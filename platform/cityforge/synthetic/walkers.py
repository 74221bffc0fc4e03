"""People on foot: they walk the pavements, wait at the kerb and cross the zebras."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cityforge.synthetic.actors import Actor
from cityforge.synthetic.routes import Floats, measured
from cityforge.synthetic.signals import Signals
from cityforge.synthetic.street import ARMS, ROAD_HALF_M, Vector

WALK_LINE_M = 7.6  # middle of the pavement, from the street's axis
CORNER_M = 11.5  # where the pavement's line meets the zebra's line
FAR_END_M = 46.0
STRIDE_PER_M = 2 * math.pi / 1.45  # radians of the walking cycle per metre


@dataclass
class Walker:
    """A person; `waits` holds (position, arm) for each zebra that is still ahead."""

    number: int
    look: int
    points: Floats
    lengths: Floats
    waits: list[tuple[float, str]]
    position: float
    pace: float
    speed: float

    def at(self, position: float) -> Vector:
        return (
            float(np.interp(position, self.lengths, self.points[:, 0])),
            float(np.interp(position, self.lengths, self.points[:, 1])),
        )


def _corner_of(arm: str, side: int) -> tuple[int, int]:
    """Signs (east, north) of the corner beside `arm`; `side` is +1 east or north, -1 else."""
    out = ARMS[arm]
    return (side, int(out[1])) if out[0] == 0 else (int(out[0]), side)


def _pavement_end(corner: tuple[int, int], arm_is_vertical: bool) -> Vector:
    along, across = FAR_END_M, WALK_LINE_M
    x, y = (across, along) if arm_is_vertical else (along, across)
    return corner[0] * x, corner[1] * y


def _crossed_arm(corner: tuple[int, int], eastwards: bool) -> str:
    """The arm whose zebra leads from `corner` to the east-west (or north-south) neighbour."""
    if eastwards:
        return "north" if corner[1] > 0 else "south"
    return "east" if corner[0] > 0 else "west"


def _itinerary(rng: np.random.Generator) -> tuple[list[Vector], list[tuple[int, str]]]:
    """Way points and, for each zebra, the index of the point where one waits."""
    corner = (int(rng.choice([-1, 1])), int(rng.choice([-1, 1])))
    vertical = bool(rng.integers(2))
    points = [_pavement_end(corner, vertical)]
    waits: list[tuple[int, str]] = []
    crossings = int(rng.choice([0, 1, 2], p=[0.12, 0.6, 0.28]))
    eastwards = bool(rng.integers(2))
    band = CORNER_M + float(rng.uniform(-1.0, 1.0))
    kerb = ROAD_HALF_M + 0.9
    if crossings == 0:
        points.append((corner[0] * WALK_LINE_M, corner[1] * WALK_LINE_M))
    for _ in range(crossings):
        arm = _crossed_arm(corner, eastwards)
        here = (
            (corner[0] * kerb, corner[1] * band)
            if eastwards
            else (corner[0] * band, corner[1] * kerb)
        )
        waits.append((len(points), arm))
        points.append(here)
        corner = (-corner[0], corner[1]) if eastwards else (corner[0], -corner[1])
        points.append((-here[0], here[1]) if eastwards else (here[0], -here[1]))
        eastwards = not eastwards
    points.append(_pavement_end(corner, not vertical if crossings == 0 else bool(rng.integers(2))))
    return points, waits


class Walkers:
    """All people on foot of one world; `step` moves them on."""

    def __init__(self, rng: np.random.Generator, signals: Signals, *, mean_gap_s: float) -> None:
        self._rng = rng
        self._signals = signals
        self._mean_gap_s = mean_gap_s
        self._due = 0.0
        self._count = 0
        self.walkers: list[Walker] = []

    def _new(self) -> Walker:
        rng = self._rng
        points, stops = _itinerary(rng)
        shifted = np.array(points) + rng.uniform(-0.9, 0.9, 2)
        lengths = measured(shifted)
        waits = [(float(lengths[index]), arm) for index, arm in stops]
        pace = float(rng.uniform(1.1, 1.65))
        look = int(rng.integers(1 << 16))
        return Walker(self._count, look, shifted, lengths, waits, 0.0, pace, pace)

    def step(self, seconds: float, dt: float) -> None:
        """Advance by `dt` seconds."""
        if seconds >= self._due:
            self.walkers.append(self._new())
            self._count += 1
            self._due = seconds + float(self._rng.exponential(self._mean_gap_s))
        for walker in self.walkers:
            self._walk(walker, seconds, dt)
        self.walkers = [w for w in self.walkers if w.position < w.lengths[-1]]

    def _walk(self, walker: Walker, seconds: float, dt: float) -> None:
        goal = walker.pace
        if walker.waits:
            stop, arm = walker.waits[0]
            if walker.position >= stop - 0.4:
                if self._signals.walk(arm, seconds):
                    walker.waits.pop(0)
                else:
                    goal = 0.0
        walker.speed += max(-4.0 * dt, min(2.0 * dt, goal - walker.speed))
        walker.position += walker.speed * dt

    def zebras_in_use(self, seconds: float) -> set[str]:
        """Arms whose zebra someone walks on, or may step onto at once."""
        used: set[str] = set()
        for walker in self.walkers:
            x, y = walker.at(walker.position)
            if 9.0 < abs(y) < 14.0 and abs(x) < ROAD_HALF_M:
                used.add("north" if y > 0 else "south")
            if 9.0 < abs(x) < 14.0 and abs(y) < ROAD_HALF_M:
                used.add("east" if x > 0 else "west")
            for stop, arm in walker.waits[:1]:
                if stop - walker.position < 1.5 and self._signals.walk(arm, seconds):
                    used.add(arm)
        return used

    def actors(self, prefix: str) -> list[Actor]:
        """The people as they stand now."""
        return [_actor(walker, prefix) for walker in self.walkers]


def _actor(walker: Walker, prefix: str) -> Actor:
    x, y = walker.at(walker.position)
    bx, by = walker.at(walker.position - 0.35)
    ax, ay = walker.at(walker.position + 0.35)
    return Actor(
        track_id=f"{prefix}-pedestrian-{walker.number:04d}",
        kind="pedestrian",
        look=walker.look,
        east_m=x,
        north_m=y,
        heading=math.atan2(ay - by, ax - bx),
        speed=walker.speed,
        stride=walker.position * STRIDE_PER_M,
        braking=False,
    )
