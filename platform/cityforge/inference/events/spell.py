"""A stretch of time in which what a rule asks for holds; long enough, it is an event."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.events import EventRule
from cityforge.inference.events.moment import TOLERANCE_S, Happened, Moment, Still

AGAIN_S = 1.0  # between two frames that are kept of a spell that goes on


class Spell:
    """From the first moment it holds to the last; evidence is kept as it goes."""

    def __init__(self, moment: Moment, shots: int, needed_s: float = 0.0) -> None:
        self.start_s = self.last_s = moment.at_s
        self.value: float | None = None
        self.is_event = False
        self._needed_s, self._shots = needed_s, shots
        self._first: Still | None = moment.still() if shots >= 3 else None
        self._held: Still | None = None  # when it became an event
        self._latest: Still | None = None
        self._tracks: dict[int, None] = {}
        self._classes: Counter[str] = Counter()
        self._scores = [0.0, 0.0]  # sum, count

    @property
    def tracks(self) -> tuple[int, ...]:
        """Tracks that took part, in the order in which they came."""
        return tuple(self._tracks)

    def hold(self, moment: Moment, rows: NDArray[Any], value: float | None = None) -> None:
        """It holds in this moment, by these objects; `value` is the largest ever told."""
        self.last_s = moment.at_s
        for row in rows:
            self._classes[moment.name[row]] += 1
            if moment.track[row]:
                self._tracks[int(moment.track[row])] = None
        self.weigh(moment.score[rows])
        if value is not None:
            self.value = value if self.value is None else max(self.value, value)
        self._keep(moment)

    def weigh(self, scores: NDArray[Any]) -> None:
        """Take scores into the mean that is the event's confidence."""
        self._scores[0] += float(np.sum(scores))
        self._scores[1] += len(scores)

    def name(self, class_name: str) -> None:
        """Count a class that has no box."""
        self._classes[class_name] += 1

    def _keep(self, moment: Moment) -> None:
        if not self.is_event:
            self.is_event = self.last_s - self.start_s >= self._needed_s - TOLERANCE_S
            if self.is_event and self._shots:
                self._held = self._latest = moment.still()
        elif self._shots >= 2 and self._latest and moment.at_s >= self._latest.at_s + AGAIN_S:
            self._latest = moment.still()

    def happened(self, rule: EventRule, zone: str | None, going_on: bool) -> list[Happened]:
        """The event, where it lasted long enough to be one."""
        if not self.is_event:
            return []
        total, count = self._scores
        return [
            Happened(
                kind=rule.kind, rule=rule.name, start_s=self.start_s, end_s=self.last_s,
                tracks=self.tracks, zone=zone, going_on=going_on, value=self.value,
                class_name=self._classes.most_common(1)[0][0] if self._classes else None,
                confidence=min(1.0, total / count) if count else 0.0,
                stills=self._stills(),
            )
        ]  # fmt: skip

    def _stills(self) -> tuple[Still, ...]:
        kept = [self._first, self._held, self._latest]
        by_time = {each.at_s: each for each in kept if each is not None}
        return tuple(by_time[at] for at in sorted(by_time))
