"""Tracks that move as they must not: against the direction, or too fast."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.events import Speed, WrongDirection
from cityforge.inference.events.moment import Happened, Moment
from cityforge.inference.events.spell import Spell
from cityforge.inference.events.stays import OUTSIDE_S, earlier_in, has_left

LONGEST_PATH = 300  # points of a track that are looked back at


@dataclass
class _Way:
    """A track's path in the zone."""

    last_s: float
    points: deque[tuple[float, NDArray[Any]]] = field(
        default_factory=lambda: deque(maxlen=LONGEST_PATH)
    )
    spell: Spell | None = None


class DirectionWatch:
    """Tracks that move more than the tolerance off the direction allowed in a zone.

    The direction is that from the nearest earlier point in the zone which is at least
    `least_lengths` of the box's longer side away.
    """

    def __init__(self, rule: WrongDirection, zone: NDArray[Any], shots: int = 0) -> None:
        self.rule = rule
        self._zone, self._shots = zone, shots
        self._ways: dict[int, _Way] = {}

    def look(self, moment: Moment) -> list[Happened]:
        """Who turned, or left, with this moment."""
        found: list[Happened] = []
        for row in moment.followed(self.rule.classes, self._zone):
            track = int(moment.track[row])
            way = self._ways.setdefault(track, _Way(moment.at_s))
            way.points.extend(earlier_in(self._zone, moment, track))
            found += self._step(way, moment, int(row))
        for track, way in list(self._ways.items()):
            if has_left(way.last_s, track, moment, OUTSIDE_S):
                found += self._ended(way, going_on=False)
                del self._ways[track]
        return found

    def end(self) -> list[Happened]:
        """Who goes wrong still."""
        return [e for way in self._ways.values() for e in self._ended(way, going_on=True)]

    def _step(self, way: _Way, moment: Moment, row: int) -> list[Happened]:
        foot = moment.feet[row]
        found = self._judge(way, moment, row, self._moved(way, foot, float(moment.longer[row])))
        way.points.append((moment.at_s, foot))
        way.last_s = moment.at_s
        return found

    def _moved(
        self, way: _Way, foot: NDArray[Any], longer: float
    ) -> tuple[float, NDArray[Any]] | None:
        """Since when it went far enough to say where it goes, and the way it went."""
        for at_s, earlier in reversed(way.points):
            step = foot - earlier
            if float(np.hypot(*step)) >= self.rule.least_lengths * longer:
                return at_s, step
        return None

    def _judge(
        self, way: _Way, moment: Moment, row: int, moved: tuple[float, NDArray[Any]] | None
    ) -> list[Happened]:
        if moved is None:
            return []
        since, step = moved
        off = degrees_off(self.rule.allowed_deg, step)
        if off <= self.rule.tolerance_deg:
            return self._ended(way, going_on=False)
        if way.spell is None:
            way.spell = Spell(moment, self._shots)
            way.spell.start_s = since
        way.spell.hold(moment, np.array([row]), round(off, 1))
        return []

    def _ended(self, way: _Way, going_on: bool) -> list[Happened]:
        spell, way.spell = way.spell, None
        return spell.happened(self.rule, self.rule.zone, going_on) if spell else []


def degrees_off(allowed_deg: float, step: NDArray[Any]) -> float:
    """How far a step (x, y) is off a direction, 0 to 180 degrees; clockwise from the right.

    >>> degrees_off(350, np.array([0, 5]))  # downwards is 90
    100.0
    """
    heading = math.degrees(math.atan2(float(step[1]), float(step[0])))
    return abs((heading - allowed_deg + 180) % 360 - 180)


class SpeedWatch:
    """Tracks whose speed over the ground is higher than allowed; the value is the highest."""

    def __init__(self, rule: Speed, zone: NDArray[Any] | None, shots: int = 0) -> None:
        self.rule = rule
        self._zone, self._shots = zone, shots
        self._spells: dict[int, Spell] = {}

    def look(self, moment: Moment) -> list[Happened]:
        """Who slowed down, or left, with this moment."""
        there = moment.followed(self.rule.classes, self._zone)
        for row in there[moment.kmh[there] > self.rule.over_kmh]:
            track = int(moment.track[row])
            spell = self._spells.setdefault(track, Spell(moment, self._shots))
            spell.hold(moment, np.array([row]), round(float(moment.kmh[row]), 1))
        found: list[Happened] = []
        for track, spell in list(self._spells.items()):
            if has_left(spell.last_s, track, moment, OUTSIDE_S):
                found += spell.happened(self.rule, self.rule.zone, going_on=False)
                del self._spells[track]
        return found

    def end(self) -> list[Happened]:
        """Who is too fast still."""
        spells = self._spells.values()
        return [e for each in spells for e in each.happened(self.rule, self.rule.zone, True)]
