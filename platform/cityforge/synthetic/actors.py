"""What the world shows at one moment: every road user's place and posture."""

from __future__ import annotations

from dataclasses import dataclass

CLASSES: tuple[str, ...] = ("car", "bus", "truck", "two_wheeler", "pedestrian")


@dataclass(frozen=True)
class Actor:
    """One road user at one moment.

    `east_m`, `north_m` is the middle of its footprint, `heading` in radians
    counter-clockwise from east, `stride` the radians of its walking or pedalling
    cycle, `look` picks its build and colours.
    """

    track_id: str
    kind: str
    look: int
    east_m: float
    north_m: float
    heading: float
    speed: float
    stride: float
    braking: bool
    turn: str = "straight"
