"""Confirmed failures on record are answered by evidence, or an approver says why not."""

from __future__ import annotations

from typing import Any

import pytest
from store import APPROVER, TRAINER, Store, bless

from cityforge.errors import RegistryError, TrustError
from cityforge.evaluation.evidence import read_evidence
from cityforge.evaluation.proof import FailureResult
from cityforge.inference.package import EVIDENCE_FILE
from cityforge.registry.field_failures import failures_in_force, unanswered
from cityforge.trust.entries import Entry
from cityforge.trust.journal import act
from cityforge.trust.keys import open_key

FILM = "0123456789abcdef"


def put(store: Store, name: str, who: str = TRAINER, about: str = "", **body: Any) -> Entry:
    site = store.site
    signer = open_key(site.settings, who)
    return act(site.journal, site.settings, signer, name, about or store.name, body)


def test_what_was_evaluated_before_a_failure_waits_for_its_answer(store: Store) -> None:
    store.version()
    put(store, "failure", failure_id="f1", reason="missed at dusk", footage_id=FILM)
    put(store, "failure", failure_id="f2", reason="a shadow")  # as older entries say it
    with pytest.raises(RegistryError) as caught:
        store.approve(1)
    said = str(caught.value)
    assert "none to f1 (missed at dusk), f2 (a shadow)" in said
    assert f"cityforge run {store.name}" in said
    store.approve(1, override=True, reason="the camera is gone")
    approval = store.site.journal.entries(store.name, ("approve",))[-1]
    assert (approval.body["override"], approval.body["waived"]) == (True, ["failures"])


def test_a_removal_is_an_approvers_act(store: Store) -> None:
    store.version()
    put(store, "failure", failure_id="f1", reason="missed")
    bless(store.site, "trains only", ["train"])
    with pytest.raises(TrustError, match="trusted to train, not to approve"):
        put(store, "failure.remove", "trains only", failure_id="f1", reason="inconvenient")
    with pytest.raises(RegistryError, match="an answer to each confirmed failure"):
        store.approve(1)
    put(store, "failure.remove", APPROVER, failure_id="f1", reason="it was a cat")
    store.approve(1)
    put(store, "failure", failure_id="f1", reason="it was none")
    entries = store.site.journal.entries()
    assert [*failures_in_force(entries, store.name)] == ["f1"]
    assert failures_in_force(entries, "another") == {}


def test_an_answer_counts_whatever_it_is(store: Store) -> None:
    """Whether it is right is a gate's matter."""
    put(store, "failure", failure_id="f1", reason="missed")
    evidence = read_evidence(store.package() / EVIDENCE_FILE)
    result = FailureResult(failure_id="f1", said="missed", passed=False, found="no bus")
    entries = store.site.journal.entries()
    assert len(unanswered(store.site, store.name, entries, evidence)) == 1
    answered = evidence.model_copy(update={"failures": [result]})
    assert unanswered(store.site, store.name, entries, answered) == []


def test_a_failure_of_withdrawn_footage_is_asked_of_nobody(store: Store) -> None:
    store.version()
    put(store, "failure", failure_id="f1", reason="missed", footage_id=FILM)
    body: dict[str, Any] = {
        "kind": "footage", "ids": [FILM], "reason": "asked for", "versions": [],
    }  # fmt: skip
    with pytest.raises(RegistryError, match="none to f1"):
        store.approve(1)
    put(store, "withdraw", about="dataset:streets", **body)
    store.approve(1)
