"""Counts tracks over a line, by direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from cityforge.cards.events import LineCount
from cityforge.inference.events.moment import GONE_S, Happened, Moment, Still
from cityforge.inference.scene import meets, right_of

# A track is on a side of the line when it is this much of its box's longer side away from it;
# nearer it may be the box that trembles.
CLEAR = 0.1


@dataclass
class _Path:
    """A track since it was last clear of the line."""

    right: bool | None = None  # the side it was clear on; None: it never was
    foot: NDArray[Any] | None = None
    at_s: float = 0.0
    met: int = 0  # how often it passed through the line since
    met_s: tuple[float, float] = (0.0, 0.0)  # the moments before and behind the last time
    score: float | None = None  # of its last box


class LineWatch:
    """Counts a track when it is clear of the line on the other side, and its path went through.

    The path's steps are held against the line between its ends, so that who goes around an end
    is not counted. A track that trembles on the line is counted once, or never where it turns
    back.
    """

    def __init__(self, rule: LineCount, line: NDArray[Any], shots: int = 0) -> None:
        self.rule = rule
        self.counts: dict[str, list[int]] = {name: [0, 0] for name in rule.classes or ()}
        self._line, self._shots = line, shots
        self._paths: dict[int, _Path] = {}
        self._before: Still | None = None

    def look(self, moment: Moment) -> list[Happened]:
        """Crossings that are sure with this moment."""
        found = []
        for row in moment.followed(None, None):
            track = int(moment.track[row])
            path = self._paths.setdefault(track, _Path())
            for at_s, foot in moment.earlier.get(track, ()):
                if self._step(path, at_s, foot, float(moment.longer[row])):
                    found += self._crossed(path, moment, int(row))
            if self._step(path, moment.at_s, moment.feet[row], float(moment.longer[row])):
                found += self._crossed(path, moment, int(row))
            path.score = float(moment.score[row])
        gone = [k for k, each in self._paths.items() if moment.at_s - each.at_s > GONE_S]
        for track in gone:
            del self._paths[track]
        if self._shots >= 2:
            self._before = moment.still()
        return found

    def end(self) -> list[Happened]:
        """Nothing: a crossing is over when it is counted."""
        return []

    def _step(self, path: _Path, at_s: float, foot: NDArray[Any], longer: float) -> bool:
        """Go on to the next point; True where the track is across with it."""
        if path.foot is not None and meets(self._line, path.foot, foot):
            path.met += 1
            path.met_s = (path.at_s, at_s)
        path.foot, path.at_s = foot, at_s
        away = right_of(self._line, foot)
        if abs(away) <= CLEAR * longer:
            return False
        right, before, met = away > 0, path.right, path.met
        path.right, path.met = right, 0
        return before is not None and right != before and met % 2 == 1

    def _crossed(self, path: _Path, moment: Moment, row: int) -> list[Happened]:
        name, right = moment.name[row], bool(path.right)
        if self.rule.classes is not None and name not in self.rule.classes:
            return []
        self.counts.setdefault(name, [0, 0])[0 if right else 1] += 1
        score = float(moment.score[row])
        confidence = score if path.score is None else (path.score + score) / 2
        direction: Literal["forward", "backward"] = "forward" if right else "backward"
        return [
            Happened(
                kind=self.rule.kind, rule=self.rule.name, start_s=path.met_s[0],
                end_s=path.met_s[1], tracks=(int(moment.track[row]),), class_name=name,
                zone=self.rule.line, going_on=False, confidence=confidence,
                direction=direction, stills=self._stills(moment),
            )
        ]  # fmt: skip

    def _stills(self, moment: Moment) -> tuple[Still, ...]:
        now = moment.still() if self._shots else None
        before = self._before if self._shots >= 2 else None
        return tuple(each for each in (before, now) if each is not None)
