"""Vehicles and two-wheelers: they follow each other, stop at red and give way when turning.

Car following is the Intelligent Driver Model (Treiber, Hennecke and Helbing 2000).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from cityforge.synthetic.actors import Actor
from cityforge.synthetic.routes import LEAD_IN_M, Route, route
from cityforge.synthetic.signals import Signals
from cityforge.synthetic.street import ARMS, CYCLE_LANE_M, LANE_M

LENGTH_M = {"car": 4.4, "bus": 11.2, "truck": 7.8, "two_wheeler": 1.8}
SPEED_MS = {"car": 8.6, "bus": 7.2, "truck": 7.2, "two_wheeler": 4.9}
ACCELERATION = 1.7  # m/s2
COMFORTABLE_BRAKING = 2.4  # m/s2
HARD_BRAKING = 4.5  # m/s2; beyond this a closing gate is passed
HEADWAY_S = 1.1
OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}


@dataclass
class Vehicle:
    """A moving vehicle; `front` is metres along its route."""

    number: int
    kind: str
    look: int
    route: Route
    front: float
    speed: float
    wish: float
    wobble: float
    acceleration: float = 0.0

    @property
    def length(self) -> float:
        return LENGTH_M[self.kind]

    @property
    def in_crossing(self) -> bool:
        return self.route.stop + 1.0 < self.front and self.front - self.length < self.route.leave


def _idm(vehicle: Vehicle, gap: float, lead_speed: float) -> float:
    """Acceleration in m/s2 behind something `gap` metres ahead that moves at `lead_speed`."""
    standstill = 0.9 if vehicle.kind == "two_wheeler" else 1.9
    closing = vehicle.speed * (vehicle.speed - lead_speed)
    wanted = standstill + max(
        0.0,
        vehicle.speed * HEADWAY_S + closing / (2 * math.sqrt(ACCELERATION * COMFORTABLE_BRAKING)),
    )
    free = (vehicle.speed / vehicle.wish) ** 4
    return ACCELERATION * (1.0 - free - (wanted / max(gap, 0.1)) ** 2)


def _ahead_on_entry(vehicle: Vehicle, other: Vehicle) -> float | None:
    """Gap to `other` if it is ahead on the same incoming lane."""
    if other.route.arm != vehicle.route.arm or other.front <= vehicle.front:
        return None
    if other.route is not vehicle.route and other.front - other.length > other.route.enter + 3.0:
        return None
    return other.front - other.length - vehicle.front


def _ahead_on_exit(vehicle: Vehicle, other: Vehicle) -> float | None:
    """Gap to `other` if it is ahead towards the same outgoing lane."""
    if other.route.exit_arm != vehicle.route.exit_arm or other.front < other.route.enter:
        return None
    to_go = vehicle.route.end - vehicle.front
    other_to_go = other.route.end - other.front
    return to_go - other_to_go - other.length if other_to_go < to_go else None


def _leader(vehicle: Vehicle, lane: Iterable[Vehicle]) -> tuple[float, float]:
    """Gap in metres and speed of the nearest vehicle ahead; infinity when the road is free."""
    best, speed = math.inf, 0.0
    for other in lane:
        if other is vehicle:
            continue
        for gap in (_ahead_on_entry(vehicle, other), _ahead_on_exit(vehicle, other)):
            if gap is not None and gap < best:
                best, speed = gap, other.speed
    return best, speed


class Traffic:
    """All vehicles of one world; `step` moves them on."""

    def __init__(self, rng: np.random.Generator, signals: Signals) -> None:
        self._rng = rng
        self._signals = signals
        self._count = 0
        self._due = {
            (arm, lane): float(rng.exponential(3.0)) for arm in ARMS for lane in ("road", "cycle")
        }
        self.vehicles: list[Vehicle] = []

    def _lane(self, vehicle: Vehicle) -> list[Vehicle]:
        cycling = vehicle.kind == "two_wheeler"
        return [v for v in self.vehicles if (v.kind == "two_wheeler") == cycling]

    def _arrive(self, seconds: float) -> None:
        for (arm, lane), due in self._due.items():
            if seconds < due:
                continue
            vehicle = self._new(arm, cycling=lane == "cycle")
            gap, _ = _leader(vehicle, self._lane(vehicle))
            if gap < 5.0:
                self._due[arm, lane] = seconds + 1.0
                continue
            self.vehicles.append(vehicle)
            self._count += 1
            mean = 22.0 if lane == "cycle" else 11.0
            self._due[arm, lane] = seconds + 1.5 + float(self._rng.exponential(mean))

    def _new(self, arm: str, *, cycling: bool) -> Vehicle:
        rng = self._rng
        kind = (
            "two_wheeler"
            if cycling
            else str(rng.choice(["car", "bus", "truck"], p=[0.6, 0.19, 0.21]))
        )
        turns = ["straight", "right"] if cycling or kind == "bus" else ["straight", "right", "left"]
        chances = [0.8, 0.2] if len(turns) == 2 else [0.62, 0.2, 0.18]
        turn = str(rng.choice(turns, p=chances))
        path = route(arm, turn, CYCLE_LANE_M if cycling else LANE_M / 2)
        wish = SPEED_MS[kind] * float(rng.uniform(0.88, 1.12))
        wobble = float(rng.uniform(-0.25, 0.25))
        look = int(rng.integers(1 << 16))
        return Vehicle(self._count, kind, look, path, LEAD_IN_M, wish * 0.9, wish, wobble)

    def _gates(self, vehicle: Vehicle, seconds: float, people: set[str]) -> list[float]:
        """Positions along the vehicle's route where it may not pass now."""
        path, shut = vehicle.route, []
        if vehicle.front < path.stop:
            light = self._signals.light(path.arm, seconds)
            if light != "green" or self._cross_traffic(path.arm):
                shut.append(path.stop)
        rules: list[tuple[float, Callable[[], bool]]] = []
        if path.turn == "left":
            rules.append((path.enter + 4.5, lambda: self._oncoming(path.arm, seconds)))
        if path.turn == "right" and vehicle.kind != "two_wheeler":
            rules.append((path.enter + 0.5, lambda: self._cycles_beside(vehicle)))
        if path.turn != "straight":
            rules.append((path.leave - 0.6, lambda: path.exit_arm in people))
        for position, is_shut in rules:
            if path.stop - 12.0 < vehicle.front < position and is_shut():
                shut.append(position)
        return shut

    def _cross_traffic(self, arm: str) -> bool:
        own = {arm, OPPOSITE[arm]}
        return any(v.in_crossing and v.route.arm not in own for v in self.vehicles)

    def _oncoming(self, arm: str, seconds: float) -> bool:
        if self._signals.light(arm, seconds) == "red":
            return any(
                v.in_crossing
                and v.route.arm == OPPOSITE[arm]
                and v.route.turn == "straight"
                and v.speed > 1.0
                for v in self.vehicles
            )
        return any(
            v.route.arm == OPPOSITE[arm]
            and v.route.turn != "left"
            and v.route.stop - 24.0 < v.front < v.route.enter + 14.0
            for v in self.vehicles
        )

    def _cycles_beside(self, vehicle: Vehicle) -> bool:
        path = vehicle.route
        return any(
            v.kind == "two_wheeler"
            and v.route.arm == path.arm
            and v.route.turn == "straight"
            and path.stop - 5.0 < v.front < path.enter + 9.0
            for v in self.vehicles
        )

    def _wanted(self, vehicle: Vehicle, seconds: float, people: set[str]) -> float:
        gap, lead_speed = _leader(vehicle, self._lane(vehicle))
        wanted = _idm(vehicle, gap, lead_speed)
        turning = (
            vehicle.route.turn != "straight"
            and vehicle.route.stop - 4 < vehicle.front < vehicle.route.leave
        )
        if turning:
            wanted = min(wanted, ACCELERATION * (1.0 - (vehicle.speed / 4.6) ** 2))
        for position in self._gates(vehicle, seconds, people):
            room = position - vehicle.front
            if vehicle.speed**2 / (2 * max(room, 0.05)) < HARD_BRAKING:
                wanted = min(wanted, _idm(vehicle, room + 1.2, 0.0))
        return max(wanted, -6.0)

    def step(self, seconds: float, dt: float, people: set[str]) -> None:
        """Advance by `dt` seconds; `people` names the arms whose zebra is in use."""
        self._arrive(seconds)
        for vehicle in self.vehicles:
            vehicle.acceleration = self._wanted(vehicle, seconds, people)
        for vehicle in self.vehicles:
            before = vehicle.speed
            vehicle.speed = max(0.0, before + vehicle.acceleration * dt)
            vehicle.front += 0.5 * (before + vehicle.speed) * dt
        self.vehicles = [v for v in self.vehicles if v.front < v.route.end]

    def actors(self, prefix: str) -> list[Actor]:
        """The vehicles as they stand now."""
        return [_actor(vehicle, prefix) for vehicle in self.vehicles]


def _actor(vehicle: Vehicle, prefix: str) -> Actor:
    fx, fy = vehicle.route.at(vehicle.front - 0.15 * vehicle.length)
    rx, ry = vehicle.route.at(vehicle.front - 0.85 * vehicle.length)
    heading = math.atan2(fy - ry, fx - rx)
    x = (fx + rx) / 2 - math.sin(heading) * vehicle.wobble
    y = (fy + ry) / 2 + math.cos(heading) * vehicle.wobble
    turn_near = vehicle.route.stop - 30 < vehicle.front < vehicle.route.leave
    return Actor(
        track_id=f"{prefix}-{vehicle.kind}-{vehicle.number:04d}",
        kind=vehicle.kind,
        look=vehicle.look,
        east_m=x,
        north_m=y,
        heading=heading,
        speed=vehicle.speed,
        stride=vehicle.front * 2.1,
        braking=vehicle.acceleration < -0.6 or vehicle.speed < 0.2,
        turn=vehicle.route.turn if turn_near else "straight",
    )
