"""Tracks that stay: in a zone, or on their spot."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.events import Dwell, IllegalParking, Stopped
from cityforge.inference.events.moment import LEFT_S, Happened, Moment
from cityforge.inference.events.spell import Spell
from cityforge.inference.scene import inside

# How long a track may be seen outside its zone and still have stayed: a box trembles at the edge.
OUTSIDE_S = 1.0
STILL = 0.1  # of its box's longer side; who moves less stands still
FIRST, RECENT = 5, 3  # points whose median says where a track stood first, and stands now


def forgiven(seconds: float) -> float:
    """Seconds that may be missing in a spell of `seconds`: a second, at most a quarter."""
    return min(OUTSIDE_S, seconds / 4)


class DwellWatch:
    """Tracks whose bottom centre is in the zone."""

    def __init__(self, rule: Dwell, zone: NDArray[Any], shots: int = 0) -> None:
        self.rule = rule
        self._zone, self._shots = zone, shots
        self._spells: dict[int, Spell] = {}

    def look(self, moment: Moment) -> list[Happened]:
        """Stays that ended with this moment."""
        for row in moment.followed(self.rule.classes, self._zone):
            track = int(moment.track[row])
            if track not in self._spells:
                self._spells[track] = Spell(moment, self._shots, self.rule.seconds)
                for at_s, _ in earlier_in(self._zone, moment, track)[:1]:
                    self._spells[track].start_s = at_s
            self._spells[track].hold(moment, np.array([row]))
        found: list[Happened] = []
        for track, spell in list(self._spells.items()):
            if has_left(spell.last_s, track, moment, forgiven(self.rule.seconds)):
                found += spell.happened(self.rule, self.rule.zone, going_on=False)
                del self._spells[track]
        return found

    def end(self) -> list[Happened]:
        """Who is there still."""
        spells = self._spells.values()
        return [e for each in spells for e in each.happened(self.rule, self.rule.zone, True)]


def has_left(last_s: float, track: int, moment: Moment, outside_s: float) -> bool:
    """A track for which a rule held last at `last_s` is elsewhere now, or unseen for long."""
    away = moment.at_s - last_s
    return away > (outside_s if (moment.track == track).any() else LEFT_S)


def earlier_in(
    zone: NDArray[Any] | None, moment: Moment, track: int
) -> list[tuple[float, NDArray[Any]]]:
    """When and where a track that is new in this moment was seen before, in the zone."""
    seen = moment.earlier.get(track, [])
    return [each for each in seen if zone is None or inside(zone, each[1][None])[0]]


@dataclass
class _Spot:
    """Where a track stands."""

    spell: Spell
    first: list[NDArray[Any]]
    recent: deque[NDArray[Any]]

    def moves(self, foot: NDArray[Any], longer: float) -> bool:
        """It is elsewhere than where it stood first, by the medians of a few points."""
        self.recent.append(foot)
        if len(self.first) < FIRST:
            self.first.append(foot)
        off = np.median(np.stack(self.recent), 0) - np.median(np.stack(self.first), 0)
        return float(np.hypot(*off)) >= STILL * longer


class StillWatch:
    """Tracks that stand still, in a zone or anywhere: a stopped vehicle, illegal parking."""

    def __init__(
        self, rule: Stopped | IllegalParking, zone: NDArray[Any] | None, shots: int = 0
    ) -> None:
        self.rule = rule
        self._zone, self._shots = zone, shots
        self._spots: dict[int, _Spot] = {}

    def look(self, moment: Moment) -> list[Happened]:
        """Who moved on, or left, with this moment."""
        found: list[Happened] = []
        for row in moment.followed(self.rule.classes, self._zone):
            track, foot = int(moment.track[row]), moment.feet[row]
            spot = self._spots.get(track)
            if spot is not None and spot.moves(foot, float(moment.longer[row])):
                found += spot.spell.happened(self.rule, self.rule.zone, going_on=False)
                spot = None
            if spot is None:
                spot = self._spots[track] = self._begin(moment, track, foot)
            spot.spell.hold(moment, np.array([row]))
        return found + self._left(moment)

    def _begin(self, moment: Moment, track: int, foot: NDArray[Any]) -> _Spot:
        spell = Spell(moment, self._shots, self.rule.seconds)
        spot = _Spot(spell, [foot], deque([foot], RECENT))
        for at_s, before in earlier_in(self._zone, moment, track)[:1]:
            spell.start_s = at_s
            spot.first.insert(0, before)
        return spot

    def _left(self, moment: Moment) -> list[Happened]:
        found: list[Happened] = []
        for track, spot in list(self._spots.items()):
            if has_left(spot.spell.last_s, track, moment, forgiven(self.rule.seconds)):
                found += spot.spell.happened(self.rule, self.rule.zone, going_on=False)
                del self._spots[track]
        return found

    def end(self) -> list[Happened]:
        """Who stands there still."""
        spells = [each.spell for each in self._spots.values()]
        return [e for each in spells for e in each.happened(self.rule, self.rule.zone, True)]
