"""Two machines of one site: what the other one trained is found by a withdrawal here."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
from kept import approved, digest, film_id, frames_table, keep, labels_table, part, registered
from test_lineage import build, new_run

from cityforge.dataset.history import record_snapshot
from cityforge.dataset.lineage import lineage_root
from cityforge.dataset.snapshot import write_json
from cityforge.labeling.withdrawing import asked_for
from cityforge.project import Project
from cityforge.registry.affected import (
    Affected,
    by_footage,
    by_labels,
    perhaps_withdrawn_from,
    put_on_record,
    withdrawn_from,
)
from cityforge.registry.lacking import fetch_lacking, lacking
from cityforge.registry.lineage import basis_path, keep_lineage
from cityforge.registry.records import Records
from cityforge.registry.site import Site
from cityforge.registry.standing import ACTS, standing
from cityforge.settings import Settings
from cityforge.trust.journal import act, open_journal, signer_of

WHO = "withdrawer"
LI = asked_for((), ("li@city",), ())
WANG = asked_for((), ("wang@city",), ())


class Machines:
    """Version 1 of tiny, champion, that machine `a` trained; `b` has the journal alone."""

    def __init__(self, root: Path, *, keeps: bool) -> None:
        settings = Settings(
            tracking_uri="", keys=str(root / "keys"), journal=f"sqlite:///{root / 'journal.db'}"
        )
        self.a = Site(Project(root / "a"), settings)
        self.said: list[str] = []
        self.b = Site(Project(root / "b"), settings, self.said.append)
        for each in (self.a, self.b):
            each.project.root.mkdir()
        frames = frames_table(range(6), 2)
        split = build(self.a.project, frames, labels_table(frames, 1, ("li@city",)))
        run_id = "no run"
        if keeps:
            run_id = new_run(self.a)
            keep_lineage(self.a.client, run_id, self.a.project, "tiny")
            stored = f"sqlite:///{self.a.project.work / 'mlflow.db'}"
            there = settings.model_copy(update={"tracking_uri": stored})
            self.b = Site(self.b.project, there, self.said.append)
        basis = {"dataset": "streets", "snapshot": digest("built"), "split": split}
        body = registered(1, split, run_id=run_id)
        if not keeps:
            write_json(basis_path(self.b.project, run_id), basis)
        register = self.act("register", body)
        self.act("approve", approved(register))

    def act(self, name: str, body: dict[str, object]) -> object:
        signer = signer_of(self.a.journal, self.a.settings, WHO)
        return act(self.a.journal, self.a.settings, signer, name, "tiny", body)

    @property
    def records(self) -> Records:
        """As machine b has them."""
        entries = open_journal(self.b.project, self.b.settings).entries(acts=ACTS)
        return Records(self.b.project, entries)

    def champion(self) -> int | None:
        return standing(self.records.entries, "tiny").champion


def named(affected: Affected) -> set[tuple[str, int, bool]]:
    return {(each.algorithm, each.version, each.certain) for each in affected.versions}


def test_labels_that_another_machine_trained_on_are_fetched_and_found(tmp_path: Path) -> None:
    site = Machines(tmp_path, keeps=True)
    for asked, is_found in ((WANG, False), (LI, True)):
        rests = partial(by_labels, dataset="streets", withdrawn=asked)
        ids = sorted(asked.ids)
        entry, affected = put_on_record(site.b, "streets", "label", ids, "bad", WHO, rests)
        assert named(affected) == ({("tiny", 1, True)} if is_found else set())
        assert site.champion() == (None if is_found else 1)
    assert withdrawn_from(site.records, ("tiny", 1)) == [entry]


def test_films_too(tmp_path: Path) -> None:
    site = Machines(tmp_path, keeps=True)
    rests = partial(by_footage, dataset="streets", ids=[film_id(1)])
    put_on_record(site.b, "streets", "footage", [film_id(1)], "asked for", WHO, rests)
    assert site.champion() is None


def test_what_cannot_be_fetched_is_perhaps_affected_and_says_why(tmp_path: Path) -> None:
    site = Machines(tmp_path, keeps=False)
    for rests, kind, ids in (
        (partial(by_footage, dataset="streets", ids=[film_id(1)]), "footage", [film_id(1)]),
        (partial(by_labels, dataset="streets", withdrawn=LI), "label", sorted(LI.ids)),
    ):
        _, affected = put_on_record(site.b, "streets", kind, ids, "asked for", WHO, rests)
        assert named(affected) == {("tiny", 1, False)}
        (each,) = affected.versions
        assert each.why == (
            f"what snapshot {digest('built')[:16]} held is not on this machine: "
            "cityforge trace --fetch"
        )
    assert named(by_footage(site.records, "lanes", [film_id(1)])) == set()
    assert withdrawn_from(site.records, ("tiny", 1)) == []
    kinds = [e.body["kind"] for e in perhaps_withdrawn_from(site.records, ("tiny", 1))]
    assert kinds == ["footage", "label"]


def test_a_history_tells_of_films_and_not_of_labels(tmp_path: Path) -> None:
    site = Machines(tmp_path, keeps=False)
    folder = site.b.project.dataset_folder("streets")
    record_snapshot(folder, digest("built"), [film_id(1)])
    assert named(by_footage(site.records, "streets", [film_id(1)])) == {("tiny", 1, True)}
    assert named(by_footage(site.records, "streets", [film_id(5)])) == set()
    assert named(by_labels(site.records, "streets", LI)) == {("tiny", 1, False)}


def test_what_began_from_an_unknown_version_is_perhaps_affected(tmp_path: Path) -> None:
    site = Machines(tmp_path, keeps=False)
    project, frames = site.b.project, frames_table([7], 1)
    of = keep(project, "lane", [7], frames, labels_table(frames, 1, ("li@city",)), "lanes")
    lane = part(project, "lane split", of, frames, "heir", "lanes")
    basis = {"dataset": "lanes", "snapshot": of, "split": lane,
             "initial": {"source": "models:/tiny/1"}}  # fmt: skip
    signer = signer_of(site.a.journal, site.a.settings, WHO)
    body = registered(1, lane, "heir", lineage=basis)
    act(site.a.journal, site.a.settings, signer, "register", "heir", body)
    found = by_footage(site.records, "streets", [film_id(1)])
    assert named(found) == {("tiny", 1, False), ("heir", 1, False)}
    assert {each.began_from for each in found.versions} == {"", "tiny@1"}


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_registry_that_does_not_answer_stops_no_withdrawal(tmp_path: Path, is_gone: bool) -> None:
    site = Machines(tmp_path, keeps=True)
    if is_gone:
        for each in (site.a.project.work / "artifacts").iterdir():
            shutil.rmtree(each)
        wanted = lacking(site.records, "streets")
        assert fetch_lacking(site.b, site.records, wanted) == 0
    else:
        dead = site.b.settings.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
        site.b = Site(site.b.project, dead, site.said.append)
        assert fetch_lacking(site.b, site.records, [("tiny", 1)]) == 0
        assert any("what tiny version 1 rests on is not fetched: " in each for each in site.said)
    assert not lineage_root(site.b.project).joinpath("snapshots").exists()
    assert named(by_labels(site.records, "streets", LI)) == {("tiny", 1, False)}
