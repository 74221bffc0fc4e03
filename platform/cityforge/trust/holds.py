"""Legal holds: what must not be deleted, whatever its time says, until an admin lifts the hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cityforge.trust.entries import Entry

ACTS = ("hold", "release")
OF_DATASET = "dataset:"  # how the subject of entries about footage and labels begins


@dataclass(frozen=True)
class Hold:
    """A hold in force."""

    number: int  # of its entry; `release` names it
    about: str  # an algorithm, or dataset:<name>
    footage: tuple[str, ...]  # ids; empty: all of it
    reason: str
    by: str
    at: str  # ISO 8601, UTC

    def covers(self, entry: Entry) -> bool:
        """Whether an entry of the journal must be kept for it."""
        return entry.about == self.about or entry.number == self.number


def holds_in_force(entries: Iterable[Entry]) -> list[Hold]:
    """Holds that no `release` has lifted, in order."""
    found: dict[int, Hold] = {}
    for each in entries:
        if each.act == "hold":
            ids = tuple(map(str, each.body.get("footage") or ()))
            reason = str(each.body["reason"])
            found[each.number] = Hold(each.number, each.about, ids, reason, each.by, each.at)
        elif each.act == "release":
            found.pop(int(each.body["hold"]), None)
    return list(found.values())


def held_footage(entries: Iterable[Entry], dataset: str, ids: Iterable[str]) -> dict[str, str]:
    """Which of these footage ids a hold lies on, each with the words a person reads."""
    about = f"{OF_DATASET}{dataset}"
    holds = [each for each in holds_in_force(entries) if each.about == about]
    return {
        footage_id: f"held since {hold.at[:10]} by {hold.by}: {hold.reason}"
        for hold in reversed(holds)
        for footage_id in ids
        if not hold.footage or footage_id in hold.footage
    }
