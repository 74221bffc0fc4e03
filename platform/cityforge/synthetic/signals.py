"""The traffic lights' fixed cycle: one street has green while the other waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Light = Literal["green", "amber", "red"]

GREEN_S = 12.0
AMBER_S = 2.0
CLEARING_S = 2.0
WALK_S = 5.5
CYCLE_S = 2 * (GREEN_S + AMBER_S + CLEARING_S)


@dataclass(frozen=True)
class Signals:
    """The cycle, shifted by `offset_s` seconds against the clip's clock."""

    offset_s: float

    def _into_phase(self, arm: str, seconds: float) -> float:
        """Seconds since the street of `arm` last turned green."""
        shift = 0.0 if arm in ("north", "south") else CYCLE_S / 2
        return (seconds + self.offset_s - shift) % CYCLE_S

    def light(self, arm: str, seconds: float) -> Light:
        """What traffic that arrives on `arm` sees."""
        into = self._into_phase(arm, seconds)
        if into < GREEN_S:
            return "green"
        return "amber" if into < GREEN_S + AMBER_S else "red"

    def walk(self, arm: str, seconds: float) -> bool:
        """Whether people may begin to cross the zebra over `arm`."""
        other = "east" if arm in ("north", "south") else "north"
        return 0.5 < self._into_phase(other, seconds) < WALK_S
