"""What rules look at: one moment of a clip after the other, as arrays; and what they find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.events import EventRule
from cityforge.inference.scene import inside

# A track that is unseen for longer has left; it is what the tracker waits for one that is hidden.
LEFT_S = 1.5
# What was measured of a track is forgotten when it is unseen for longer.
GONE_S = 3.0
TOLERANCE_S = 1e-3  # time stamps are rounded


@dataclass(frozen=True)
class Still:
    """A frame that may become evidence, and where its objects were."""

    at_s: float
    jpeg: bytes
    scale: float  # pixels of the JPEG for each of the clip
    track: NDArray[Any]  # (N,)
    xyxy: NDArray[Any]  # (N, 4) pixels of the clip
    name: tuple[str, ...]
    paths: dict[int, NDArray[Any]]  # (M, 2) bottom centres of each track up to here


@dataclass(frozen=True)
class Weak:
    """Boxes of a moment that are too weak to be objects, and follow none."""

    name: Sequence[str] = ()  # (M,)
    score: NDArray[Any] = field(default_factory=lambda: np.zeros(0))  # (M,)
    xyxy: NDArray[Any] = field(default_factory=lambda: np.zeros((0, 4)))  # (M, 4)


@dataclass(frozen=True)
class Moment:
    """One frame that was looked at; a row for each object, sure or only followed."""

    at_s: float
    track: NDArray[Any]  # (N,) 0: none
    name: Sequence[str]  # (N,) class of its track, else its own
    score: NDArray[Any]  # (N,)
    xyxy: NDArray[Any]  # (N, 4)
    kmh: NDArray[Any]  # (N,) NaN: not known
    weak: Weak  # boxes that are no objects
    # Of a track that is new here: when it was seen before, and its bottom centre then (2,).
    earlier: dict[int, list[tuple[float, NDArray[Any]]]] = field(default_factory=dict)
    # Of tasks that know no boxes: score or count of each class that was answered.
    amounts: dict[str, float] = field(default_factory=dict)
    still: Callable[[], Still | None] = lambda: None

    @cached_property
    def feet(self) -> NDArray[Any]:
        """(N, 2) bottom centre of each box: where it stands on the ground."""
        return feet_of(self.xyxy)

    @cached_property
    def longer(self) -> NDArray[Any]:
        """(N,) longer side of each box, pixels."""
        return np.asarray((self.xyxy[:, 2:] - self.xyxy[:, :2]).max(1, initial=0))

    def rows(self, classes: Sequence[str] | None, zone: NDArray[Any] | None) -> NDArray[Any]:
        """Which objects a rule looks at: of its classes (None: all), standing in its zone."""
        kept = of_classes(self.name, classes)
        if zone is not None and kept.any():
            kept &= inside(zone, self.feet)
        return np.flatnonzero(kept)

    def followed(self, classes: Sequence[str] | None, zone: NDArray[Any] | None) -> NDArray[Any]:
        """Of those the ones that have a track."""
        rows = self.rows(classes, zone)
        return np.asarray(rows[self.track[rows] > 0])


def of_classes(names: Sequence[str], classes: Sequence[str] | None) -> NDArray[np.bool_]:
    """(N,) which names a rule looks at; without classes all."""
    return np.array([classes is None or each in classes for each in names], bool)


def feet_of(xyxy: NDArray[Any]) -> NDArray[Any]:
    """(N, 2) bottom centres of (N, 4) boxes."""
    return np.column_stack([(xyxy[:, 0] + xyxy[:, 2]) / 2, xyxy[:, 3]])


@dataclass(frozen=True)
class Happened:
    """Something a rule asks for; as `Event` of the endpoint's answers, its evidence not drawn."""

    kind: str
    rule: str
    start_s: float
    end_s: float
    tracks: tuple[int, ...]
    class_name: str | None
    zone: str | None
    going_on: bool
    confidence: float
    direction: Literal["forward", "backward"] | None = None
    value: float | None = None
    stills: tuple[Still, ...] = ()


class Watch(Protocol):
    """A rule at work; it is fed every moment in its order, and keeps no more than it needs."""

    @property
    def rule(self) -> EventRule:
        """What it watches."""

    def look(self, moment: Moment) -> list[Happened]:
        """What ended with this moment."""

    def end(self) -> list[Happened]:
        """What was going on when the clip ended."""
