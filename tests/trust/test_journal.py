"""The journal in SQLite and in PostgreSQL: who may act, in which order, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from postgresql_server import Server
from signing_people import ADMIN, ALGORITHM, APPROVER, TRAINER, Place, make_place, tamper
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from cityforge.errors import InputError, ServiceError, TrustError
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.trust import journal as module
from cityforge.trust import store as table
from cityforge.trust.entries import Entry, read_entry
from cityforge.trust.journal import Journal, open_journal, signer_of
from cityforge.trust.keys import new_key
from cityforge.trust.store import Row

SERVERS = 4
EACH = 6
WRITER = """
import sys
from pathlib import Path
from cityforge.settings import Settings
from cityforge.trust.journal import Journal, act
from cityforge.trust.keys import open_key
url, keys, name, count = sys.argv[1:]
settings = Settings(keys=keys)
journal, signer = Journal(url, Path(keys)), open_key(settings, name)
sys.stdin.readline()
for number in range(int(count)):
    act(journal, settings, signer, "retrieve", f"dataset:{name}", {"what": str(number)})
"""


def test_acts_stand_in_order_and_are_found_by_what_they_are_about(both: Place) -> None:
    register, approve = both.version(1)
    both.look()
    entries = both.journal.entries()
    assert [each.number for each in entries] == [1, 2, 3, 4, 5, 6]
    assert [each.before for each in entries[1:]] == [each.digest() for each in entries[:-1]]
    assert both.journal.entries(about=ALGORITHM) == [register, approve]
    assert [each.about for each in both.journal.entries(acts=("retrieve",))] == ["dataset:街"]
    assert both.journal.entries(about=ALGORITHM, acts=("approve",)) == [approve]
    assert both.journal.head_number() == both.journal.chain().last.number == 6  # type: ignore[union-attr]
    assert both.faults() == []
    assert all(read_entry(each.text) == each for each in entries)


def test_reading_makes_nothing(tmp_path: Path) -> None:
    journal = Journal(f"sqlite:///{tmp_path / 'none' / 'journal.db'}", tmp_path / "keys")
    assert (journal.entries(), journal.head_number(), journal.chain().last) == ([], 0, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.services
def test_reading_an_empty_server_makes_nothing(journal_server: Server, tmp_path: Path) -> None:
    journal = Journal(journal_server.new_database("nobody_wrote"), tmp_path)
    assert journal.entries() == []
    assert inspect(create_engine(journal.store.url)).get_table_names() == []
    assert "s3cret" not in journal.where


@pytest.mark.services
def test_a_server_keeps_its_rows(journal_server: Server, tmp_path: Path) -> None:
    place = make_place(journal_server.new_database("kept"), tmp_path)
    engine = create_engine(place.journal.store.url)
    for statement in ("UPDATE entries SET act = 'x'", "DELETE FROM entries", "TRUNCATE entries"):
        with pytest.raises(SQLAlchemyError, match="append-only"), engine.begin() as connection:
            connection.execute(text(statement))
    assert place.faults() == []


def test_several_processes_append_at_once(both: Place) -> None:
    url, keys = both.journal.url, both.settings.keys
    names = [f"p{number}" for number in range(SERVERS)]
    for name in names:
        both.admit(name, "train")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, url, keys, name, str(EACH)],
            stdin=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for name in names
    ]  # fmt: skip
    for each in writers:
        assert each.stdin
        each.stdin.write("go\n")
        each.stdin.flush()
    assert [each.wait(timeout=120) for each in writers] == [0] * SERVERS
    for name in names:
        found = both.journal.entries(about=f"dataset:{name}")
        assert [each.body["what"] for each in found] == [str(n) for n in range(EACH)]
    assert both.journal.head_number() == 3 + SERVERS + SERVERS * EACH
    assert both.faults() == []


def test_the_first_to_act_is_trusted_with_everything(tmp_path: Path) -> None:
    settings = Settings(keys=str(tmp_path / "keys"))
    journal = open_journal(Project(tmp_path), settings)
    signer = signer_of(journal, settings, "ann")
    module.act(journal, settings, signer, "register", ALGORITHM, {"version": 1})
    assert [each.act for each in journal.entries()] == ["key.trust", "register"]
    assert journal.chain().keys[signer.key_id].roles == ("train", "approve", "admin")
    with pytest.raises(TrustError, match="the private key of 'tom', found none"):
        signer_of(journal, settings, "tom")


@pytest.mark.parametrize(
    ("who", "name", "said"),
    [
        (TRAINER, "approve", "trusted to train, not to approve"),
        (APPROVER, "register", "trusted to approve, not to train"),
        (TRAINER, "release", "trusted to train, not to admin"),
        (TRAINER, "dance", "trusted to train, not to admin"),
        (ADMIN, "dance", "no such act"),
    ],
)
def test_a_key_does_only_what_it_is_trusted_with(
    place: Place, who: str, name: str, said: str
) -> None:
    with pytest.raises(TrustError, match=said):
        place.put(who, name)
    assert place.journal.head_number() == 3


def test_a_key_that_nobody_trusts_cannot_act(place: Place) -> None:
    new_key(place.settings, "eve")
    with pytest.raises(TrustError, match="which nobody trusts"):
        place.put("eve", "retrieve")
    with pytest.raises(TrustError, match="which nobody trusts"):
        place.admit("mallory", "admin", by="eve")


def test_a_revoked_key_cannot_act_and_is_not_trusted_again(place: Place) -> None:
    place.look()
    entry = place.revoke(TRAINER)
    with pytest.raises(TrustError, match=f"revoked by entry {entry.number}"):
        place.look()
    with pytest.raises(TrustError, match="was revoked; its owner makes a new one"):
        place.admit(TRAINER, "train")
    assert place.faults() == []  # what it signed before stays


def test_only_an_admin_revokes_the_key_of_another(place: Place) -> None:
    with pytest.raises(TrustError, match="not to admin"):
        place.revoke(APPROVER, by=TRAINER)
    place.revoke(TRAINER, by=TRAINER)  # one's own, anybody
    assert place.faults() == []


def test_the_last_admin_stays(place: Place) -> None:
    with pytest.raises(TrustError, match="the last admin's key"):
        place.revoke(ADMIN)
    place.admit("second", "admin")
    place.revoke(ADMIN)
    place.admit("third", "train", by="second")
    assert place.faults() == []


def test_who_acted_is_who_the_key_was_trusted_as(place: Place, tmp_path: Path) -> None:
    # Her own machine calls her otherwise.
    key = new_key(place.settings, "laptop")
    body = {"key_id": key.key_id, "name": "ann", "public": key.public, "roles": ["train"]}
    place.put(ADMIN, "key.trust", key.key_id, **body)
    assert place.put("laptop", "retrieve").by == "ann"
    assert place.faults() == []


def test_a_clock_set_back_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    last = place.look()

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.fromisoformat(last.at) - behind

    monkeypatch.setattr(module, "datetime", Earlier)
    behind = timedelta(minutes=1)  # machines of one site differ by so much
    assert place.look().at == last.at
    behind = timedelta(minutes=3)
    with pytest.raises(TrustError, match="a clock set back: set this machine's clock"):
        place.look()


def test_an_entry_dated_before_the_one_before_it_is_a_fault(place: Place) -> None:
    entry = place.look()
    signer = place.signer(TRAINER)
    earlier = (datetime.now(UTC) - timedelta(days=1)).isoformat(timespec="microseconds")
    bare = replace(entry, number=entry.number + 1, before=entry.digest(), at=earlier, signature="")
    late = replace(bare, signature=signer.sign(bare.signed_bytes()))
    with place.journal.turn() as turn:
        table.insert(turn.connection, Row(late.number, late.act, late.about, late.text))
    assert [each for each in place.faults() if "a clock set back" in each] != []
    assert len(place.faults()) == 1


def test_a_body_that_json_cannot_hold_changes_nothing(place: Place) -> None:
    for value in (float("nan"), 2**60):
        with pytest.raises(TrustError, match="values that JSON has one way to write"):
            place.put(TRAINER, "retrieve", count=value)
    assert place.journal.head_number() == 3


def test_nothing_stands_of_a_turn_that_failed(both: Place) -> None:
    def fail() -> None:
        with both.journal.turn() as turn:
            turn.append(both.signer(TRAINER), "retrieve", "dataset:x", {})
            raise KeyError("in between")

    with pytest.raises(KeyError):
        fail()
    assert both.journal.head_number() == 3
    assert both.look().number == 4
    assert both.faults() == []


def test_a_new_checkout_at_the_same_place_begins_anew(tmp_path: Path) -> None:
    settings = Settings(keys=str(tmp_path / "keys"))
    project = Project(tmp_path / "city")
    description = project.root / ".git" / "description"
    for made in (1, 2):
        description.parent.mkdir(parents=True, exist_ok=True)
        description.write_text("unnamed")
        os.utime(description, ns=(made, made))
        journal = open_journal(project, settings)
        module.act(journal, settings, signer_of(journal, settings, "ann"), "retrieve", "x", {})
        assert journal.head_number() == 2
        assert module.faults_of(journal, settings) == []
        (project.work / "journal.db").unlink()
        assert "removed whole" in module.faults_of(journal, settings)[0].what


def test_two_journals_at_one_address_are_told_apart(place: Place, tmp_path: Path) -> None:
    """Somebody puts a journal of their own, which holds in itself, where the site's was."""
    assert place.journal.store.path
    place.journal.store.path.unlink()
    other = Settings(keys=str(tmp_path / "theirs"))
    forged = Journal(place.journal.url, tmp_path / "theirs")
    module.act(forged, other, new_key(other, ADMIN), "retrieve", "x", {})
    assert module.faults_of(forged, other) == []
    assert "removed whole" in place.faults()[0]
    with pytest.raises(TrustError, match="the journal that stood here"):
        place.look()


@pytest.mark.parametrize("url", ["mysql://me:s3cret@host/db", "sqlite://", "journal.db"])
def test_other_kinds_of_store_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="CITYFORGE_JOURNAL") as caught:
        Journal(url)
    assert "s3cret" not in str(caught.value)


def test_a_store_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"no database" * 100)
    for act in (Journal(f"sqlite:///{path}").entries, Journal(f"sqlite:///{path}").head_number):
        with pytest.raises(ServiceError, match="nothing was changed") as caught:
            act()
        assert len(str(caught.value).splitlines()) == 1


def test_appending_does_not_read_all_that_was_written(place: Place) -> None:
    count = 1500
    with place.journal.turn() as turn:
        signer = place.signer(TRAINER)
        last = turn.append(signer, "retrieve", "x", {})
        for number in range(last.number + 1, last.number + 1 + count):
            bare = Entry(number, last.digest(), last.at, "retrieve", "x", {}, TRAINER, last.key)
            last = replace(bare, signature=signer.sign(bare.signed_bytes()))
            table.insert(turn.connection, Row(number, last.act, last.about, last.text))
    place.look()
    spent = {name: seconds(call) for name, call in {
        "all": place.faults, "first": place.journal.chain, "again": place.journal.chain,
        "append": place.look,
    }.items()}  # fmt: skip
    assert place.journal.head_number() == count + 6
    assert spent["append"] < spent["all"] / 4
    assert spent["again"] < spent["first"] / 4


def seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def test_what_was_checked_before_is_checked_again_when_it_has_changed(place: Place) -> None:
    place.version(1)
    place.journal.chain()
    seen = place.journal.memory.all()[-1]
    assert (seen.checked, seen.number) == (5, 5)
    assert place.journal.store.path
    statement = "UPDATE entries SET entry = replace(entry, 'good', 'bad!') WHERE number = 5"
    tamper(place.journal.store.path, (statement, ()))
    with pytest.raises(TrustError, match="entry 5"):
        place.journal.chain()


@pytest.mark.parametrize("left", [b"these are words, no database" * 40, None])
def test_a_damaged_file_says_to_put_back_a_copy(tmp_path: Path, left: bytes | None) -> None:
    path = tmp_path / "journal.db"
    place = make_place(f"sqlite:///{path}", tmp_path)
    path.write_bytes(path.read_bytes()[:3000] if left is None else left)
    with pytest.raises(ServiceError, match="put back a copy of the file"):
        place.journal.entries()
