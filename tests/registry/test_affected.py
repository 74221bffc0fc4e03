"""What rests on withdrawn data is found, put on record once, and marked; what came later too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from kept import (
    approved,
    digest,
    film_id,
    frame_id,
    frames_table,
    keep,
    label_id,
    labels_table,
    part,
    registered,
)  # fmt: skip

from cityforge.dataset.history import record_snapshot, record_split
from cityforge.dataset.snapshot import write_json
from cityforge.errors import TrustError
from cityforge.labeling.withdrawing import asked_for
from cityforge.project import Project
from cityforge.registry.affected import (
    Affected,
    by_footage,
    by_labels,
    put_on_record,
    withdrawn_from,
)
from cityforge.registry.lineage import basis_path
from cityforge.registry.records import Records
from cityforge.registry.site import Site
from cityforge.registry.standing import ACTS, standing
from cityforge.settings import Settings
from cityforge.trust.entries import Entry
from cityforge.trust.journal import act, open_journal, signer_of
from cityforge.trust.keys import new_key

WHO = "withdrawer"


class Town:
    """Snapshots of films 0 to 2 and of 0 to 5, people in turn by frame; versions of tiny."""

    def __init__(self, root: Path) -> None:
        self.site = Site(Project(root), Settings(tracking_uri="", keys=str(root / "keys")))
        self.frames = frames_table(range(6), 3)
        self.labels = labels_table(self.frames, 2, ("li@city", "wang@city", "li@city+he@city"))
        self.small = self.snapshot("small", 3)
        self.large = self.snapshot("large", 6)

    def snapshot(self, name: str, films: int) -> str:
        frames = self.frames.slice(0, films * 3)
        ids = set(frames["frame_id"].to_pylist())
        inside = [each in ids for each in self.labels["frame_id"].to_pylist()]
        of = keep(
            self.site.project, name, range(films), frames, self.labels.filter(pa.array(inside))
        )
        return part(self.site.project, f"split {name}", of, frames)

    def register(self, version: int, split: str, name: str = "tiny", **more: object) -> Entry:
        return self.act("register", name, registered(version, split, name, **more))

    def act(self, name: str, about: str, body: dict[str, Any]) -> Entry:
        signer = signer_of(self.site.journal, self.site.settings, WHO)
        return act(self.site.journal, self.site.settings, signer, name, about, body)

    @property
    def records(self) -> Records:
        return Records(self.site.project, self.site.journal.entries(acts=ACTS))

    def withdraw(self, films: list[int], reason: str = "asked for") -> tuple[Entry, Affected]:
        ids = [film_id(each) for each in films]
        rests = partial(by_footage, dataset="streets", ids=ids)
        return put_on_record(self.site, "streets", "footage", ids, reason, WHO, rests)

    def withdrawals(self) -> list[Entry]:
        return self.site.journal.entries("dataset:streets", ("withdraw",))


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


def named(affected: Affected) -> set[tuple[str, int, bool]]:
    return {(each.algorithm, each.version, each.certain) for each in affected.versions}


def test_versions_of_each_film(town: Town) -> None:
    town.register(1, town.small)
    town.register(2, town.large)
    town.register(1, digest("nobody knows"), "unknown")
    town.register(1, digest("heir split"), "heir", run_id="run of heir")
    basis = {"dataset": "streets", "snapshot": digest("other"), "split": digest("heir split"),
             "initial": {"source": "models:/tiny/1"}}  # fmt: skip
    write_json(basis_path(town.site.project, "run of heir"), basis)
    perhaps = ("unknown", 1, False)
    first = by_footage(town.records, "streets", [film_id(1)])
    assert named(first) == {("tiny", 1, True), ("tiny", 2, True), ("heir", 1, True), perhaps}
    assert {e.began_from for e in first.versions if e.algorithm == "heir"} == {"tiny@1"}
    later = by_footage(town.records, "streets", [film_id(5)])
    not_here = ("heir", 1, False)  # its own snapshot is not on this machine
    assert named(later) == {("tiny", 2, True), not_here, perhaps}
    assert later.snapshots == (digest("large"),)
    assert named(by_footage(town.records, "streets", [film_id(70)])) == {not_here, perhaps}
    assert named(by_footage(town.records, "lanes", [film_id(1)])) == {perhaps}
    added = datetime.fromisoformat("2026-03-02T09:31:00+00:00")  # a minute after it was made
    assert named(by_footage(town.records, "streets", [film_id(70)], added)) == set()


def test_a_file_that_weights_came_from_is_told_by_what_it_was_trained_on(town: Town) -> None:
    town.register(1, town.small)
    body = {"dataset": "lanes", "snapshot": digest("lanes"), "split": digest("lanes split"),
            "initial": {"source": "weights.safetensors", "snapshot": town.small}}  # fmt: skip
    town.register(1, digest("lanes split"), "heir", lineage=body)
    found = by_footage(town.records, "streets", [film_id(0)])
    assert {(e.algorithm, e.began_from) for e in found.versions} == {
        ("tiny", ""),
        ("heir", "tiny@1"),
    }


def test_a_basis_of_another_build_than_the_package_is_not_believed(town: Town) -> None:
    town.register(1, digest("other split"), run_id="run of other")
    basis = {"dataset": "streets", "snapshot": digest("small"), "split": town.small}
    write_json(basis_path(town.site.project, "run of other"), basis)
    assert named(by_footage(town.records, "streets", [film_id(1)])) == {("tiny", 1, False)}


def test_a_snapshot_whose_labels_are_not_here_is_known_by_its_films(town: Town) -> None:
    folder = town.site.project.dataset_folder("streets")
    record_snapshot(folder, digest("far"), [film_id(1)])
    record_split(folder, digest("far split"), "tiny", digest("far"))
    town.register(1, digest("far split"))
    assert named(by_footage(town.records, "streets", [film_id(1)])) == {("tiny", 1, True)}
    assert named(by_footage(town.records, "streets", [film_id(5)])) == set()


@pytest.mark.parametrize(
    ("asked", "small"),
    [
        (((label_id(frame_id(1, 0), 1),), (), ()), True),
        (((label_id(frame_id(4, 0), 1),), (), ()), False),
        (((), ("he@city",), ()), True),
        (((), ("nobody@city",), ()), None),
        (((), (), ("1013",)), False),  # the 14th frame: of film 4
        (((), (), ("1002",)), True),
    ],
)
def test_versions_of_labels(town: Town, asked: Any, small: bool | None) -> None:
    town.register(1, town.small)
    town.register(2, town.large)
    found = by_labels(town.records, "streets", asked_for(*asked))
    both = {("tiny", 1, True), ("tiny", 2, True)}
    expected = {None: set(), True: both, False: {("tiny", 2, True)}}[small]
    assert named(found) == expected


def test_a_withdrawal_is_on_record_once_and_takes_the_champion(town: Town) -> None:
    entry = town.register(1, town.small)
    town.act("approve", "tiny", approved(entry))
    assert standing(town.records.entries, "tiny").champion == 1
    done, affected = town.withdraw([1])
    assert done.body == {
        "kind": "footage", "ids": [film_id(1)], "reason": "asked for",
        "snapshots": sorted([digest("small"), digest("large")]),
        "versions": [{"algorithm": "tiny", "version": 1}],
    }  # fmt: skip
    assert [each.champion for each in affected.versions] == [True]
    now = standing(town.records.entries, "tiny")
    assert now.champion is None
    assert now.versions[1].words() == f"approved by {WHO}, its data was withdrawn"
    again, _ = town.withdraw([1], "another reason")
    assert (again, len(town.withdrawals())) == (done, 1)
    # A colleague registers a version of a snapshot from before.
    town.register(2, town.large)
    assert withdrawn_from(town.records, ("tiny", 2)) == [done]
    assert standing(town.records.entries, "tiny").versions[2].withdrawn == ()
    town.withdraw([1])
    (_, second) = town.withdrawals()
    assert second.body["versions"] == [{"algorithm": "tiny", "version": 2}]
    assert standing(town.records.entries, "tiny").versions[2].withdrawn == (second,)
    assert town.site.journal.chain().faults == []


def test_a_version_that_was_approved_in_spite_of_it_is_not_marked_again(town: Town) -> None:
    entry = town.register(1, town.small)
    town.withdraw([1])
    town.act("approve", "tiny", {**approved(entry), "withdrawn_reason": "nobody is to be seen"})
    town.withdraw([1])
    assert standing(town.records.entries, "tiny").champion == 1


def test_labels_are_put_on_record_by_what_was_named(town: Town) -> None:
    town.register(1, town.small)
    asked = asked_for((), ("he@city",), ("1004",))
    rests = partial(by_labels, dataset="streets", withdrawn=asked)
    entry, _ = put_on_record(town.site, "streets", "label", sorted(asked.ids), "bad", WHO, rests)
    assert entry.body["ids"] == ["annotation:1004", "annotator:he@city"]
    assert withdrawn_from(town.records, ("tiny", 1)) == [entry]
    assert withdrawn_from(town.records, ("tiny", 7)) == []


def test_whose_key_nobody_trusts_withdraws_nothing(town: Town) -> None:
    town.register(1, town.small)
    new_key(town.site.settings, "stranger")
    rests: Callable[[Records], Affected] = partial(by_footage, dataset="streets", ids=[film_id(1)])
    with pytest.raises(TrustError, match="nobody trusts"):
        put_on_record(town.site, "streets", "footage", [film_id(1)], "x", "stranger", rests)
    assert town.withdrawals() == []


def test_two_machines_share_what_was_withdrawn(town: Town, tmp_path: Path) -> None:
    """The second has another checkout, without any lineage: the journal alone tells it."""
    url = f"sqlite:///{town.site.project.work / 'journal.db'}"
    town.register(1, town.small)
    town.withdraw([2])
    other = Project(tmp_path / "other")
    settings = Settings(journal=url, tracking_uri="")
    entries = open_journal(other, settings).entries(acts=ACTS)
    assert standing(entries, "tiny").versions[1].open_withdrawals == tuple(town.withdrawals())
