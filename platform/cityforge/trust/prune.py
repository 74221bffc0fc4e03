"""Removes entries that were kept as long as they had to be; a signed entry says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime

from cityforge.errors import TrustError
from cityforge.trust import store as table
from cityforge.trust.audit import digest_of
from cityforge.trust.chain import KEY_ACTS, Gap
from cityforge.trust.entries import Entry
from cityforge.trust.holds import Hold, holds_in_force
from cityforge.trust.journal import Journal
from cityforge.trust.keys import Signer

# Without these, what stands later cannot be checked, or would be used again.
ALWAYS_KEPT = (*KEY_ACTS, "prune", "withdraw")
OF_VERSIONS = ("register", "approve", "reject", "rollback")
CROWNS = ("approve", "rollback")


def prunable(entries: Iterable[Entry], until: str, holds: Iterable[Hold]) -> list[Entry]:
    """Entries from before `until` (ISO 8601) that nothing needs any more.

    Kept are: keys, withdrawals, what a hold lies on, and all of a version that is champion or of
    which anything younger says something.
    """
    listed, in_force = list(entries), list(holds)
    needed = {each.about: _version(each) for each in listed if each.act in CROWNS}
    kept = set(needed.values())
    kept |= {_version(each) for each in listed if each.act in OF_VERSIONS and each.at >= until}
    return [
        each
        for each in listed
        if each.at < until
        and each.act not in ALWAYS_KEPT
        and not (each.act in OF_VERSIONS and _version(each) in kept)
        and not any(hold.covers(each) for hold in in_force)
    ]


def prune(journal: Journal, signer: Signer, now: datetime, years: int) -> tuple[int, Entry | None]:
    """Remove what is older than `years` and may be; in one transaction.

    Returns:
        How many entries were removed, and the entry that says so; none when there was nothing.

    Raises:
        TrustError: the journal is not as it was written, or the key is no admin's.
    """
    if years < 1:
        raise TrustError("at least one year", found=str(years), where="CITYFORGE_AUDIT_YEARS")
    until = _years_before(now, years).isoformat(timespec="microseconds")
    with journal.turn() as turn:
        chain = turn.chain()
        listed = turn.entries()
        gone = prunable(listed, until, holds_in_force(listed))
        if not gone:
            return 0, None
        digests = {row.number: digest_of(row) for row in table.rows(turn.connection)}
        numbers = {each.number for each in gone}
        last = gone[-1]
        body = {
            "until": until,
            "years": years,
            "last": {"number": last.number, "digest": last.digest()},
            "entries": len(gone),
            "gaps": [asdict(each) for each in _gaps(digests, numbers, chain.gaps)],
        }
        entry = turn.append(signer, "prune", "journal", body)
        table.remove(turn.connection, sorted(numbers))
    return len(gone), entry


def _gaps(digests: Mapping[int, str], gone: set[int], before: Mapping[int, Gap]) -> list[Gap]:
    """All gaps there are afterwards; those of earlier prunes grow together with the new ones.

    Args:
        digests: of the rows that are there, by number.
    """
    ends = dict(digests) | {gap.last: gap.digest for gap in before.values()}
    missing = sorted(gone | {n for gap in before.values() for n in range(gap.first, gap.last + 1)})
    found: list[Gap] = []
    for number in missing:
        first = found.pop().first if found and found[-1].last == number - 1 else number
        found.append(Gap(first, number, ends.get(number, "")))
    return found


def _version(entry: Entry) -> tuple[str, int]:
    return entry.about, int(entry.body.get("version", 0))


def _years_before(now: datetime, years: int) -> datetime:
    try:
        return now.replace(year=now.year - years)
    except ValueError:  # 29 February
        return now.replace(year=now.year - years, day=28)
