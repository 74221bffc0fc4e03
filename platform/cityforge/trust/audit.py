"""Holds a journal against itself: each row, each signature, each link; nothing else is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from cityforge.errors import TrustError
from cityforge.trust.chain import KEY_ACTS, Chain, Fault, Gap, gaps_of
from cityforge.trust.entries import Entry, read_entry
from cityforge.trust.memory import Seen
from cityforge.trust.release import not_earned
from cityforge.trust.store import Row


def check_rows(stored: Sequence[Row]) -> Chain:
    """Read every row as an entry; whatever is wrong stands in the chain's `faults`."""
    found = [_entry_of(row) for row in stored]
    return _read_on(Chain(gaps=_gaps(found)), found)


def check_after(stored: Sequence[Row], seen: Seen | None) -> Chain:
    """The same, where the rows up to `seen.checked` are only held against their digest.

    They were checked before on this machine: one sha256 over them says that nothing has changed.
    """
    known = [row for row in stored if seen and row.number <= seen.checked]
    if seen is None or not known or rows_digest(known) != seen.rows:
        return check_rows(stored)
    later = [_entry_of(row) for row in stored[len(known) :]]
    kept = [read_entry(row.entry) for row in known if row.act in (*KEY_ACTS, "prune")]
    chain = Chain(gaps=_gaps([*kept, *later]))
    for entry in (*kept, read_entry(known[-1].entry)):
        chain.take(entry)
    return _read_on(chain, later)


def rows_digest(stored: Iterable[Row]) -> str:
    """sha256 over rows; the lengths tell where a column ends."""
    digest = hashlib.sha256()
    for number, act, about, entry in stored:
        digest.update(f"{number} {len(act)} {len(about)} {act}{about}{entry}\n".encode())
    return digest.hexdigest()


def missing(stored: Iterable[Row], chain: Chain, seen: Seen) -> list[Fault]:
    """What is wrong with the newest entry that a key's owner has seen.

    Args:
        stored: rows, that one among them if it is there.
    """
    if any(gap.first <= seen.number <= gap.last for gap in chain.gaps.values()):
        return []
    here = next((row for row in stored if row.number == seen.number), None)
    if here is None:
        return [Fault(seen.number, "cut off: it was seen, and is not there")]
    if digest_of(here) != seen.digest:
        return [Fault(seen.number, "not the entry that was seen: written anew")]
    return []


def unearned(stored: Sequence[Row]) -> list[Fault]:
    """Approvals by the trainer, or under a gate, that do not say so."""
    registered = {digest_of(row): row for row in stored if row.act == "register"}
    found = []
    for row in stored:
        approve = _entry_of(row) if row.act == "approve" else None
        if not isinstance(approve, Entry):
            continue
        named = registered.get(str(approve.body.get("register")))
        register = _entry_of(named) if named else None
        why = not_earned(register, approve) if isinstance(register, Entry) else ""
        found += [Fault(row.number, why)] if why else []
    return found


def digest_of(row: Row) -> str:
    """What `Entry.digest` is, without reading the entry."""
    return hashlib.sha256(row.entry.encode()).hexdigest()


def _read_on(chain: Chain, found: Iterable[Entry | Fault]) -> Chain:
    for each in found:
        if isinstance(each, Fault):
            chain.faults.append(each)
        else:
            chain.read(each)
    return chain


def _gaps(found: Iterable[Entry | Fault]) -> dict[int, Gap]:
    return gaps_of(each for each in found if isinstance(each, Entry))


def _entry_of(row: Row) -> Entry | Fault:
    try:
        entry = read_entry(row.entry)
    except TrustError as error:
        return Fault(row.number, f"edited: {error.found}")
    if (entry.number, entry.act, entry.about) != (row.number, row.act, row.about):
        return Fault(row.number, "its row says another number, act or subject: edited")
    return entry
