"""What is there all together: too many, nobody, or something for too long."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.events import Absence, Crowding, Presence
from cityforge.inference.events.moment import (
    TOLERANCE_S,
    Happened,
    Moment,
    feet_of,
    of_classes,
)
from cityforge.inference.events.spell import Spell
from cityforge.inference.events.stays import forgiven
from cityforge.inference.scene import inside

NOBODY = np.empty(0, np.int64)


class CrowdingWatch:
    """More than `most` at once; by boxes, or by the counts of a density map."""

    def __init__(
        self, rule: Crowding, zone: NDArray[Any] | None, by_counts: bool = False, shots: int = 0
    ) -> None:
        self.rule = rule
        self._zone, self._by_counts, self._shots = zone, by_counts, shots
        self._spell: Spell | None = None

    def look(self, moment: Moment) -> list[Happened]:
        """The crowding that ended with this moment."""
        rows, count = self._count(moment)
        if count > self.rule.most:
            self._spell = self._spell or Spell(moment, self._shots, self.rule.seconds)
            self._spell.hold(moment, rows, round(count, 2))
            if self._by_counts:
                self._spell.weigh(np.ones(1))  # a count has no score
        elif self._spell and moment.at_s - self._spell.last_s > forgiven(self.rule.seconds):
            return self._ended(going_on=False)
        return []

    def end(self) -> list[Happened]:
        """The crowding that goes on."""
        return self._ended(going_on=True)

    def _count(self, moment: Moment) -> tuple[NDArray[Any], float]:
        if self._by_counts:
            classes = self.rule.classes
            wanted = (v for k, v in moment.amounts.items() if classes is None or k in classes)
            return NOBODY, float(sum(wanted))
        rows = moment.rows(self.rule.classes, self._zone)
        return rows, float(len(rows))

    def _ended(self, going_on: bool) -> list[Happened]:
        spell, self._spell = self._spell, None
        return spell.happened(self.rule, self.rule.zone, going_on) if spell else []


class AbsenceWatch:
    """Nobody of the classes in the zone; who is seen only weakly makes it less sure.

    Its confidence is 1 less the mean over its moments of the strongest weak box in the zone.
    """

    def __init__(self, rule: Absence, zone: NDArray[Any], shots: int = 0) -> None:
        self.rule = rule
        self._zone, self._shots = zone, shots
        self._spell: Spell | None = None

    def look(self, moment: Moment) -> list[Happened]:
        """The absence that ended with this moment."""
        if len(moment.rows(self.rule.classes, self._zone)):
            return self._ended(going_on=False)
        self._spell = self._spell or Spell(moment, self._shots, self.rule.seconds)
        self._spell.weigh(np.array([1 - self._strongest_weak(moment)]))
        self._spell.hold(moment, NOBODY)
        return []

    def end(self) -> list[Happened]:
        """The absence that goes on."""
        return self._ended(going_on=True)

    def _strongest_weak(self, moment: Moment) -> float:
        weak = moment.weak
        there = of_classes(weak.name, self.rule.classes)
        there &= inside(self._zone, feet_of(weak.xyxy))
        return float(weak.score[there].max(initial=0.0))

    def _ended(self, going_on: bool) -> list[Happened]:
        spell, self._spell = self._spell, None
        return spell.happened(self.rule, self.rule.zone, going_on) if spell else []


class PresenceWatch:
    """Something of the classes, with gaps of up to `gap_s`; by boxes, or by the picture's class."""

    def __init__(
        self, rule: Presence, zone: NDArray[Any] | None, by_classes: bool = False, shots: int = 0
    ) -> None:
        self.rule = rule
        self._zone, self._by_classes, self._shots = zone, by_classes, shots
        self._spell: Spell | None = None

    def look(self, moment: Moment) -> list[Happened]:
        """The presence that ended with this moment."""
        rows = moment.rows(self.rule.classes, self._zone)
        named = self._named(moment) if self._by_classes else {}
        if len(rows) or named:
            self._spell = self._spell or Spell(moment, self._shots, self.rule.seconds)
            self._spell.hold(moment, rows)
            for name, score in named.items():
                self._spell.name(name)
                self._spell.weigh(np.array([score]))
        elif self._spell and moment.at_s - self._spell.last_s > self.rule.gap_s + TOLERANCE_S:
            return self._ended(going_on=False)
        return []

    def end(self) -> list[Happened]:
        """The presence that goes on."""
        return self._ended(going_on=True)

    def _named(self, moment: Moment) -> dict[str, float]:
        classes = self.rule.classes
        return {k: v for k, v in moment.amounts.items() if classes is None or k in classes}

    def _ended(self, going_on: bool) -> list[Happened]:
        spell, self._spell = self._spell, None
        return spell.happened(self.rule, self.rule.zone, going_on) if spell else []
