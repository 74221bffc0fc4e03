"""Whatever is done to a journal's rows is found: at every entry, and at 200 bits."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from signing_people import APPROVER, TRAINER, Place, tamper

from cityforge.errors import TrustError
from cityforge.trust.entries import canonical

ENTRIES = 12


@pytest.fixture
def twelve(place: Place) -> Place:
    """A journal of twelve entries of several kinds, which this machine has checked."""
    place.version(1)
    place.version(2)
    place.put(APPROVER, "rollback", version=1, reason="worse at night")
    place.put(TRAINER, "hold", "dataset:街", reason="a trial", footage=[])
    for _ in range(3):
        place.look()
    place.journal.chain()
    assert len(place.journal.rows()) == ENTRIES
    assert place.faults() == []
    return place


def path_of(place: Place) -> Path:
    assert place.journal.store.path
    return place.journal.store.path


@pytest.fixture
def broken(twelve: Place) -> Callable[..., Iterator[Place]]:
    """The journal after each set of statements, beginning anew each time."""
    whole = path_of(twelve).read_bytes()

    def each(*cases: list[tuple[str, tuple[object, ...]]]) -> Iterator[Place]:
        for statements in cases:
            path_of(twelve).write_bytes(whole)
            tamper(path_of(twelve), *statements)
            yield twelve

    return each


def edited(place: Place, number: int) -> tuple[str, tuple[object, ...]]:
    """Another reason, written as the journal writes."""
    row = place.journal.rows()[number - 1]
    content = json.loads(row.entry)
    content["body"]["reason"] = "another"
    return "UPDATE entries SET entry = ? WHERE number = ?", (canonical(content).decode(), number)


def refused(place: Place) -> str:
    """What the quick check says, which approvals rely on."""
    with pytest.raises(TrustError) as caught:
        place.journal.chain()
    return str(caught.value)


def test_an_edited_entry_is_found_at_every_place(
    twelve: Place, broken: Callable[..., Iterator[Place]]
) -> None:
    cases = [[edited(twelve, number)] for number in range(1, ENTRIES + 1)]
    found = [place.faults() for place in broken(*cases) if refused(place)]
    assert len(found) == ENTRIES
    assert [each[0].partition(":")[0] for each in found] == [str(n) for n in range(1, ENTRIES + 1)]
    assert all("edited" in " ".join(each) for each in found)


def test_a_removed_entry_is_found_at_every_place(broken: Callable[..., Iterator[Place]]) -> None:
    cases = [[("DELETE FROM entries WHERE number = ?", (n,))] for n in range(1, ENTRIES + 1)]
    found = [place.faults() for place in broken(*cases) if refused(place)]
    assert len(found) == ENTRIES
    assert all(each for each in found)
    # Nothing follows the last one: only its owner's memory knows of it.
    assert found[-1] == ["12: cut off: it was seen, and is not there"]


def test_a_cut_is_found_at_every_place(broken: Callable[..., Iterator[Place]]) -> None:
    cases = [[("DELETE FROM entries WHERE number > ?", (n,))] for n in range(ENTRIES)]
    found = [" ".join(place.faults()) for place in broken(*cases) if refused(place)]
    assert len(found) == ENTRIES
    assert all("cut off" in each for each in found[1:])
    assert "removed whole" in found[0]


def test_reordered_entries_are_found_at_every_place(
    broken: Callable[..., Iterator[Place]],
) -> None:
    swap = "UPDATE entries SET number = ? WHERE number = ?"
    cases = [[(swap, (99, n)), (swap, (n, n + 1)), (swap, (n + 1, 99))] for n in range(1, ENTRIES)]
    found = [place.faults() for place in broken(*cases) if refused(place)]
    assert len(found) == ENTRIES - 1
    assert all(each for each in found)


@pytest.mark.parametrize(("column", "value"), [("act", "retrieve"), ("about", "another")])
def test_an_entry_cannot_be_hidden_from_who_looks_for_it(
    twelve: Place, broken: Callable[..., Iterator[Place]], column: str, value: str
) -> None:
    (place,) = broken([(f"UPDATE entries SET {column} = ? WHERE number = 5", (value,))])
    assert len(place.journal.entries(about="tiny", acts=("approve", "rollback"))) == 2
    assert "its row says another number, act or subject" in place.faults()[0]
    assert refused(place)


def test_a_bit_flipped_anywhere_is_found(twelve: Place) -> None:
    whole = path_of(twelve).read_bytes()
    rows = twelve.journal.rows()
    places = [(row.number, column, at, bit)
              for row in rows for column in ("act", "about", "entry")
              for at, bit in bits_of(getattr(row, column))]  # fmt: skip
    taken = [places[number * len(places) // 200] for number in range(200)]
    missed = []
    for number, column, at, bit in taken:
        path_of(twelve).write_bytes(whole)
        data = bytearray(str(getattr(rows[number - 1], column)).encode())
        data[at] ^= 1 << bit
        statement = f"UPDATE entries SET {column} = CAST(? AS TEXT) WHERE number = ?"
        tamper(path_of(twelve), (statement, (bytes(data), number)))
        if not twelve.faults():
            missed.append((number, column, at, bit))
    assert len(set(taken)) == 200
    assert missed == []


def bits_of(text: str) -> Iterator[tuple[int, int]]:
    for at in range(len(text.encode())):
        for bit in range(8):
            yield at, bit


def test_what_was_written_cannot_be_changed_by_mistake(twelve: Place) -> None:
    connection = sqlite3.connect(path_of(twelve))
    for statement in ("UPDATE entries SET act = 'x'", "DELETE FROM entries WHERE number = 12"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()
    assert twelve.faults() == []


def test_an_older_backup_is_noticed(twelve: Place, tmp_path: Path) -> None:
    shutil.copy(path_of(twelve), tmp_path / "backup")
    twelve.look()
    twelve.look()
    shutil.copy(tmp_path / "backup", path_of(twelve))
    assert twelve.faults() == ["14: cut off: it was seen, and is not there"]
    with pytest.raises(TrustError, match="entry 14: cut off"):
        twelve.look()


def test_a_journal_removed_whole_is_noticed(twelve: Place) -> None:
    path_of(twelve).unlink()
    assert "removed whole" in twelve.faults()[0]
    with pytest.raises(TrustError, match="restore it from a backup"):
        twelve.look()
    assert twelve.journal.memory.path
    twelve.journal.memory.path.unlink()  # given up on purpose
    assert twelve.look().number == 2  # after the one that trusts its signer
    assert twelve.faults() == []
