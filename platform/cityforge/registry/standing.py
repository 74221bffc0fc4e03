"""How each version of an algorithm stands, from the entries of the journal and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cityforge.trust.entries import Entry

# What has to be asked for: a withdrawal is about the dataset, and names versions in its body.
ACTS = ("register", "approve", "reject", "rollback", "withdraw")


@dataclass(frozen=True)
class State:
    """One version: the entries that made it what it is."""

    version: int
    register: Entry
    approval: Entry | None = None  # the last one
    rejected: Entry | None = None
    withdrawn: tuple[Entry, ...] = ()  # data that it was made from
    superseded: bool = False  # it was champion, and its approval holds

    @property
    def is_signed(self) -> bool:
        """Whether its package was signed; versions of an older cityforge were not."""
        return bool(self.register.body.get("signature_digest"))

    @property
    def holds(self) -> bool:
        """Whether it is approved, not rejected, and nothing was withdrawn since."""
        return self.approval is not None and self.rejected is None and not self.open_withdrawals

    @property
    def open_withdrawals(self) -> tuple[Entry, ...]:
        """Withdrawals that no later approval has answered."""
        since = self.approval.number if self.approval else 0
        return tuple(each for each in self.withdrawn if each.number > since)

    def words(self) -> str:
        """Such as `approved by 李雷, superseded`."""
        said = [f"approved by {self.approval.by}"] if self.approval else []
        if self.approval and self.approval.body.get("override"):
            said.append("under a gate")
        if self.rejected:
            said.append(f"rejected by {self.rejected.by}")
        if self.open_withdrawals:
            said.append("its data was withdrawn")
        elif self.withdrawn:
            said.append("in spite of withdrawn data")
        if self.superseded:
            said.append("superseded")
        if not self.is_signed:
            said.append("not signed")
        return ", ".join(said) or "registered"


@dataclass(frozen=True)
class Standing:
    """All versions of an algorithm; at most one is champion."""

    versions: dict[int, State]
    champion: int | None
    crowned: tuple[int, ...] = ()  # each time a version became champion, in order

    @property
    def challenger(self) -> int | None:
        """The newest version, while nobody has decided on it."""
        newest = max(self.versions, default=None)
        if newest is None:
            return None
        state = self.versions[newest]
        decided = state.approval or state.rejected or state.open_withdrawals
        return None if decided else newest


def standing(entries: Iterable[Entry], algorithm: str) -> Standing:
    """Walk through the entries in order.

    A version is what its first signed `register` entry says: a later one changes nothing.
    """
    versions: dict[int, State] = {}
    champion: int | None = None
    crowned: list[int] = []
    for entry in entries:
        if entry.act == "withdraw":
            for number in _withdrawn(entry, algorithm):
                if number in versions:
                    old = versions[number]
                    versions[number] = replace(old, withdrawn=(*old.withdrawn, entry))
                    champion = None if champion == number else champion
            continue
        if entry.about != algorithm or entry.act not in ACTS:
            continue
        number = int(entry.body["version"])
        known = versions.get(number)
        if entry.act == "register":
            if known is None or not known.is_signed:
                versions[number] = State(number, entry)
        elif known is None:
            continue
        elif entry.act == "reject":
            versions[number] = replace(known, rejected=entry)
            champion = None if champion == number else champion
        else:
            if entry.act == "approve":
                versions[number] = replace(known, approval=entry)
            champion = number
            crowned.append(number)
    for number, state in versions.items():
        if state.holds and number != champion:
            versions[number] = replace(state, superseded=True)
    return Standing(versions, champion, tuple(crowned))


def _withdrawn(entry: Entry, algorithm: str) -> list[int]:
    named = entry.body.get("versions", [])
    return [int(each["version"]) for each in named if each["algorithm"] == algorithm]
