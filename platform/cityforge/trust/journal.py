"""The journal: every act that makes, approves, withdraws or uncovers something, append-only.

It decides: the champion is what its last approval or rollback says, and MLflow's aliases follow.
One append is one transaction of SQLite (this machine) or PostgreSQL (a city), so an act that is
killed, or whose disk fails, has happened or has not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cityforge.errors import TrustError
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.trust import store as table
from cityforge.trust.audit import check_after, check_rows, digest_of, missing, rows_digest, unearned
from cityforge.trust.chain import KEY_ACTS, Chain, Fault, gaps_of, refuse_faults
from cityforge.trust.entries import START, Entry, read_entry
from cityforge.trust.keys import Signer, has_key, key_folder, new_key, open_key
from cityforge.trust.memory import Memory, Seen
from cityforge.trust.store import Row

CLOCK_SLACK_S = 120.0  # machines of one site differ by less


@dataclass
class Turn:
    """The journal while nobody else may write: read, decide, append."""

    connection: Any
    where: str
    memory: Memory
    seen: list[Seen] = field(default_factory=list)  # remembered when the turn has ended well

    def entries(self, about: str = "", acts: Sequence[str] = ()) -> list[Entry]:
        """Entries in order: all, or those about one thing, or of some acts."""
        return _read(self.connection, about, acts)

    def chain(self) -> Chain:
        """All entries, checked; those that this machine has checked before, by one digest.

        Raises:
            TrustError: the journal is not as it was written, or was cut off.
        """
        chain, seen = _checked(table.rows(self.connection), self.memory, self.where)
        self.seen += seen
        return chain

    def append(self, signer: Signer, act: str, about: str, body: dict[str, Any]) -> Entry:
        """Sign an act and put it on record; the first act of a journal trusts its signer.

        Checked are the keys, the last entry with its link, and the one that was seen last; all
        the others are `chain`'s.

        Raises:
            TrustError: the key may not do this, the clock was set back, or the journal's end is
                not as it was written.
        """
        chain = self._end()
        if chain.last is None and act != "key.trust":
            self._insert(chain, signer, "key.trust", signer.key_id, root_of(signer))
        why = chain.bar(signer.key_id, act, body) if chain.last else ""
        if why:
            raise TrustError(
                f"a key that may {act}", found=why, where=str(signer.path),
                do="cityforge key list shows who may; an admin trusts a key with key trust",
            )  # fmt: skip
        return self._insert(chain, signer, act, about, body)

    def _end(self) -> Chain:
        last = table.newest(self.connection, 2)
        _refuse_lost(self.memory, table.row_at(self.connection, 1), self.where)
        chain = Chain(gaps=gaps_of(self.entries(acts=("prune",))))
        if not last:
            return chain
        for entry in self.entries(acts=KEY_ACTS):
            if entry.number < last[0].number:
                why = chain.refusal(entry)
                chain.faults += [Fault(entry.number, why)] if why else []
                chain.take(entry)
        for row in reversed(last[1:]):
            chain.last = read_entry(row.entry, self.where)
        chain.read(read_entry(last[0].entry, self.where))
        self._hold_against_seen(chain)
        refuse_faults(chain, self.where)
        return chain

    def _hold_against_seen(self, chain: Chain) -> None:
        first = table.row_at(self.connection, 1)
        seen = self.memory.of(digest_of(first)) if first else None
        if seen:
            row = table.row_at(self.connection, seen.number)
            chain.faults += missing([row] if row else [], chain, seen)

    def _insert(
        self, chain: Chain, signer: Signer, act: str, about: str, body: dict[str, Any]
    ) -> Entry:
        last, key = chain.last, chain.keys.get(signer.key_id)
        entry = Entry(
            number=last.number + 1 if last else 1,
            before=last.digest() if last else START,
            at=_now(last.at if last else ""),
            act=act,
            about=about,
            body=json.loads(json.dumps(body, ensure_ascii=False)),
            by=key.name if key else signer.name,
            key=signer.key_id,
        )
        entry = replace(entry, signature=signer.sign(entry.signed_bytes()))
        table.insert(self.connection, Row(entry.number, act, about, entry.text))
        chain.read(entry)
        if chain.faults:
            raise TrustError("an act that may stand on record", found=chain.faults[0].what)
        first = table.row_at(self.connection, 1)
        if first:
            self.seen.append(Seen(digest_of(first), entry.number, entry.digest(), ""))
        return entry


class Journal:
    """The journal of one site; made with its first entry."""

    def __init__(self, url: str, keys: Path | None = None) -> None:
        """At an address; what was seen of it is remembered below `keys`, if one is named."""
        self.url = url
        self.store = table.Store(url)
        self.memory = Memory(self.store, keys)

    @property
    def where(self) -> str:
        """Its address, without a password."""
        return self.store.where

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Be the only one to write; what was appended stands when the block ends without error.

        Raises:
            ServiceError: the store does not answer or cannot write.
        """
        with self.store.writing() as connection:
            turn = Turn(connection, self.where, self.memory)
            yield turn
        self._remember(turn.seen)

    def entries(self, about: str = "", acts: Sequence[str] = ()) -> list[Entry]:
        """Entries in order, as they stand; see `Turn.entries`."""
        with self.store.reading() as connection:
            return _read(connection, about, acts) if connection is not None else []

    def chain(self) -> Chain:
        """All entries, checked; see `Turn.chain`.

        Raises:
            TrustError: the journal is not as it was written.
        """
        chain, seen = _checked(self.rows(), self.memory, self.where)
        self._remember(seen)
        return chain

    def rows(self) -> list[Row]:
        """Every row as it is stored."""
        with self.store.reading() as connection:
            return table.rows(connection) if connection is not None else []

    def head_number(self) -> int:
        """Number of the newest entry; 0 while there is none. Cheap: nothing is verified."""
        with self.store.reading() as connection:
            last = table.newest(connection, 1) if connection is not None else []
        return last[0].number if last else 0

    def _remember(self, seen: Sequence[Seen]) -> None:
        # The act stands by now; an older memory still proves all that came before it.
        with suppress(OSError):
            for each in seen:
                self.memory.keep(each)


def open_journal(project: Project, settings: Settings) -> Journal:
    """The journal of this site: CITYFORGE_JOURNAL, or a file of this project."""
    url = settings.journal or f"{table.SQLITE}{project.work / 'journal.db'}"
    return Journal(url, key_folder(settings))


def signer_of(journal: Journal, settings: Settings, who: str) -> Signer:
    """The key by which a person acts; the first person of a site gets one without asking.

    Raises:
        TrustError: this machine does not hold that person's key.
    """
    if not has_key(settings, who) and not journal.head_number():
        return new_key(settings, who)
    return open_key(settings, who)


def act(
    journal: Journal, settings: Settings, signer: Signer, name: str, about: str,
    body: dict[str, Any],
) -> Entry:  # fmt: skip
    """Put one act on record that needs no decision first."""
    with journal.turn() as turn:
        entry = turn.append(signer, name, about, body)
    remember(settings, signer, turn_head=entry, journal=journal)
    return entry


def remember(settings: Settings, signer: Signer, turn_head: Entry, journal: Journal) -> None:
    """Let a key's owner keep the newest entry beside the key; a journal that knows where the keys
    lie has done so already."""
    memory = Memory(journal.store, key_folder(settings))
    if memory.path == journal.memory.path:
        return
    (first, *_) = journal.entries(acts=("key.trust",))
    memory.keep(Seen(first.digest(), turn_head.number, turn_head.digest(), ""))


def faults_of(journal: Journal, settings: Settings) -> list[Fault]:
    """All that is wrong with the journal, by itself and by what keys' owners here have seen.

    Every entry is checked, those too that were checked before.
    """
    stored = journal.rows()
    memory = Memory(journal.store, key_folder(settings))
    chain = check_rows(stored)
    first = digest_of(stored[0]) if stored else ""
    seen, lost = memory.of(first), memory.lost(first, anywhere=not stored)
    found = chain.faults + (missing(stored, chain, seen) if seen else []) + unearned(stored)
    if lost:
        found.append(Fault(lost.number, _taken_away(lost)))
    return found


def root_of(signer: Signer) -> dict[str, Any]:
    """The body that trusts the first key of a site with everything."""
    return {
        "key_id": signer.key_id, "name": signer.name, "public": signer.public,
        "roles": ["train", "approve", "admin"],
    }  # fmt: skip


def _read(connection: Any, about: str, acts: Sequence[str]) -> list[Entry]:
    return [read_entry(row.entry) for row in table.rows(connection, about, acts)]


def _checked(stored: list[Row], memory: Memory, where: str) -> tuple[Chain, list[Seen]]:
    """The chain of all rows, and what to remember of it."""
    _refuse_lost(memory, stored[0] if stored else None, where)
    if not stored:
        return Chain(), []
    first = digest_of(stored[0])
    seen = memory.of(first)
    chain = check_after(stored, seen)
    if seen:
        chain.faults += missing(stored, chain, seen)
    refuse_faults(chain, where)
    last = stored[-1]
    if seen and seen.checked == last.number:
        return chain, []
    return chain, [Seen(first, last.number, digest_of(last), "", last.number, rows_digest(stored))]


def _refuse_lost(memory: Memory, first: Row | None, where: str) -> None:
    lost = memory.lost(digest_of(first) if first else "")
    if lost:
        raise TrustError(
            "the journal that stood here", found=_taken_away(lost), where=where,
            do=f"restore it from a backup; if it was given up on purpose, remove {memory.path}",
        )  # fmt: skip


def _taken_away(lost: Seen) -> str:
    return f"another or none: the one whose entry {lost.number} was seen was removed whole"


def _now(last: str) -> str:
    """The time of the next entry.

    Raises:
        TrustError: this machine's clock is behind the journal's last entry.
    """
    now = datetime.now(UTC)
    if last and (datetime.fromisoformat(last) - now).total_seconds() > CLOCK_SLACK_S:
        raise TrustError(
            f"a clock past {last}, the journal's last entry",
            found=f"{now.isoformat(timespec='seconds')}: a clock set back",
            do="set this machine's clock",
        )
    return max(last, now.isoformat(timespec="microseconds"))
