"""Paths on the ground that traffic and people follow, as curves measured by length."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cityforge.synthetic.street import ARM_LENGTH_M, ARMS, STOP_LINE_M, Vector, right_of

Floats = npt.NDArray[np.float64]

LEAD_IN_M = 15.0  # path before the place where a vehicle's front first appears
TURN_FROM_M = 9.0  # distance from the middle at which a turn begins and ends


@dataclass(frozen=True)
class Route:
    """A way through the crossing; positions are metres along `points` (N, 2).

    `stop` is the stop line, `enter` and `leave` bound the crossing itself.
    """

    arm: str
    exit_arm: str
    turn: str
    points: Floats
    lengths: Floats
    stop: float
    enter: float
    leave: float

    @property
    def end(self) -> float:
        """Total length in metres."""
        return float(self.lengths[-1])

    def at(self, position: float) -> Vector:
        """The ground point `position` metres along the route, clamped to its ends."""
        return (
            float(np.interp(position, self.lengths, self.points[:, 0])),
            float(np.interp(position, self.lengths, self.points[:, 1])),
        )


def exit_of(arm: str, turn: str) -> str:
    """The arm by which a vehicle from `arm` leaves after `turn` (straight, right or left)."""
    heading = (-ARMS[arm][0], -ARMS[arm][1])
    right = right_of(heading)
    leaving = {"straight": heading, "right": right, "left": (-right[0], -right[1])}[turn]
    return next(name for name, out in ARMS.items() if out == leaving)


def measured(points: Floats) -> Floats:
    """Length from the first point to each point of a polyline (N, 2), shape (N,)."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    lengths: Floats = np.concatenate([[0.0], np.cumsum(steps)])
    return lengths


@lru_cache(maxsize=64)
def route(arm: str, turn: str, offset_m: float) -> Route:
    """The route of a lane whose middle is `offset_m` right of the street's axis."""
    exit_arm = exit_of(arm, turn)
    inward = -np.array(ARMS[arm])
    outward = np.array(ARMS[exit_arm])
    side_in = np.array(right_of((inward[0], inward[1]))) * offset_m
    side_out = np.array(right_of((outward[0], outward[1]))) * offset_m
    first = -inward * (ARM_LENGTH_M + LEAD_IN_M) + side_in
    begin = -inward * TURN_FROM_M + side_in
    finish = outward * TURN_FROM_M + side_out
    last = outward * (ARM_LENGTH_M + LEAD_IN_M) + side_out
    pull = 0.56 * float(np.abs(finish - begin).min() if turn != "straight" else TURN_FROM_M)
    t = np.linspace(0.0, 1.0, 25)[:, None]
    controls = (begin, begin + inward * pull, finish - outward * pull, finish)
    curve = (
        (1 - t) ** 3 * controls[0]
        + 3 * (1 - t) ** 2 * t * controls[1]
        + 3 * (1 - t) * t**2 * controls[2]
        + t**3 * controls[3]
    )
    points = np.vstack([first, curve, last])
    lengths = measured(points)
    stop = ARM_LENGTH_M + LEAD_IN_M - STOP_LINE_M - 0.5
    return Route(arm, exit_arm, turn, points, lengths, stop, float(lengths[1]), float(lengths[25]))
