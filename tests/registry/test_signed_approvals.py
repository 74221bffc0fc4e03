"""Approvals that are refused, and why; what MLflow shows decides nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store import APPROVER, OTHER, TRAINER, Store, bless, found_site, revoke, withdraw

from cityforge.errors import CityforgeError, DataError, NotApproved, RegistryError, TrustError
from cityforge.evaluation.evidence import Evidence, read_evidence
from cityforge.evaluation.proof import Against
from cityforge.inference.package import EVIDENCE_FILE, About, write_about
from cityforge.project import Project
from cityforge.registry.approval import approve, approved_version, reject, rollback
from cityforge.registry.site import Site
from cityforge.registry.versions import champion, fetch_package, find_version, list_versions
from cityforge.settings import Settings
from cityforge.trust.keys import open_key


def test_the_trainer_does_not_approve(store: Store) -> None:
    store.version()
    with pytest.raises(RegistryError, match="an approver who is not the trainer, found 小红"):
        approve(store.site, store.name, 1, TRAINER)
    assert champion(store.site, store.name) is None


def test_a_site_of_one_person_may_and_the_record_says_so(store: Store) -> None:
    store.version()
    alone = Site(store.site.project, store.site.settings.model_copy(update={"one_person": True}))
    _, record = approve(alone, store.name, 1, TRAINER, "nobody else here")
    assert record.one_person
    assert store.approved(0.95).approval["one_person"] is False  # type: ignore[index]


def test_a_person_without_a_key_is_told_how_to_get_one(store: Store) -> None:
    store.version()
    with pytest.raises(TrustError, match="cityforge key new"):
        approve(store.site, store.name, 1, "nobody")


def test_a_key_that_may_not_approve_is_refused(store: Store) -> None:
    bless(store.site, "trains", ["train"])
    store.version()
    with pytest.raises(TrustError, match="is trusted to train, not to approve"):
        approve(store.site, store.name, 1, "trains")


def test_a_revoked_key_approves_nothing_more(store: Store) -> None:
    bless(store.site, "left", ["approve"])
    store.version()
    approve(store.site, store.name, 1, "left")
    revoke(store.site, "left", compromised=False)
    assert approved_version(store.site, store.name, None).version == 1  # what it signed stays
    store.version(0.95)
    with pytest.raises(TrustError, match="revoked"):
        approve(store.site, store.name, 2, "left")
    store.approve(2)
    with pytest.raises(TrustError, match="revoked"):
        rollback(store.site, store.name, 1, "left", "")


def test_what_a_stolen_key_approved_is_not_given_out(store: Store) -> None:
    bless(store.site, "stolen", ["approve"])
    store.version()
    approve(store.site, store.name, 1, "stolen")
    store.approved(0.95)
    revoke(store.site, "stolen", compromised=True)
    assert approved_version(store.site, store.name, None).version == 2
    with pytest.raises(TrustError, match="compromised"):
        rollback(store.site, store.name, 1, APPROVER, "")


def test_a_rejected_version_is_not_approved(store: Store) -> None:
    store.approved(0.9)
    reject(store.site, store.name, 1, OTHER, "false alarms at night")
    assert champion(store.site, store.name) is None
    assert store.aliases() == {}
    with pytest.raises(NotApproved, match="no champion: version 1 was rejected"):
        approved_version(store.site, store.name, None)
    with pytest.raises(RegistryError, match="rejected by 韩梅梅: false alarms at night"):
        store.approve(1)
    with pytest.raises(RegistryError, match="not rejected yet"):
        reject(store.site, store.name, 1, OTHER, "again")


def test_a_rejection_needs_a_reason(store: Store) -> None:
    store.version()
    with pytest.raises(RegistryError, match="a reason, which stays on record"):
        reject(store.site, store.name, 1, OTHER, " ")


def test_withdrawn_data_is_approved_for_a_reason_only(store: Store) -> None:
    store.approved(0.9)
    withdraw(store.site, store.name, 1, "a person asked")
    with pytest.raises(NotApproved, match="rests on data that was withdrawn"):
        approved_version(store.site, store.name, None)
    with pytest.raises(RegistryError, match="1 of footage withdrawn by 小红: a person asked"):
        store.approve(1)
    store.approve(1, despite_withdrawal="until the rebuild is there")
    approval = approved_version(store.site, store.name, 1).approval
    assert approval is not None
    assert approval["withdrawn_reason"] == "until the rebuild is there"


def test_a_version_registered_after_the_withdrawal_of_its_data_is_refused(
    tmp_path: Path, make_package: Callable[..., Path]
) -> None:
    """The withdrawal cannot name it; the snapshot that it names held the film."""
    from cityforge.dataset.history import record_snapshot

    site = Site(Project(tmp_path), Settings(tracking_uri=""))
    found_site(site)
    bless(site, APPROVER, ["approve"])
    own = Store(site, make_package, "bins")
    (tmp_path / "datasets" / "streets").mkdir(parents=True)
    record_snapshot(tmp_path / "datasets" / "streets", "5" * 64, ["0123456789abcdef"])
    withdraw(site, "bins", 99, "a person asked")
    for snapshot in ("5" * 64, "6" * 64):
        own.register(own.package(snapshot_digest=snapshot))
    with pytest.raises(RegistryError, match="withdrawn by 小红: a person asked"):
        own.approve(1)
    assert own.approve(2).version == 2


def test_a_rollback_to_withdrawn_data_is_refused(store: Store) -> None:
    store.approved(0.9)
    store.approved(0.95)
    withdraw(store.site, store.name, 1)
    for number in (1, None):
        with pytest.raises(RegistryError):
            rollback(store.site, store.name, number, OTHER, "")
    assert store.aliases() == {"champion": 2}


def test_an_alias_moved_by_hand_is_told_and_goes_back(store: Store) -> None:
    store.approved(0.9)
    store.approved(0.95)
    store.site.client.set_registered_model_alias(store.name, "champion", "1")
    said: list[str] = []
    told = replace(store.site, say=said.append)
    reject(told, store.name, store.version(0.1).version, OTHER, "a test")
    del said[:]
    store.site.client.set_registered_model_alias(store.name, "champion", "1")
    rollback(told, store.name, 1, OTHER, "a test")
    assert said == [
        f"MLflow's alias champion of '{store.name}' named version 1, the journal says "
        "version 2: put right"
    ]
    assert store.aliases()["champion"] == 1


def test_an_older_version_promoted_again_without_an_approval_is_not_given_out(
    store: Store,
) -> None:
    """Its alias is moved and the tag of its old approval is put back, as it was signed."""
    store.approved(0.9)
    client, name = store.site.client, store.name
    old = client.get_model_version(name, "1").tags["cityforge.approval"]
    store.approved(0.95)
    client.set_registered_model_alias(name, "champion", "1")
    client.set_model_version_tag(name, "1", "cityforge.approval", old)
    client.set_model_version_tag(name, "2", "cityforge.approval", old)
    assert approved_version(store.site, name, None).version == 2
    with pytest.raises(NotApproved, match=r"version 1, approved once and superseded by version 2"):
        approved_version(store.site, name, 1)
    rollback(store.site, name, 1, OTHER, "for good reasons")
    assert approved_version(store.site, name, 1).version == 1


def test_a_journal_with_an_edited_entry_gives_nothing_out(
    tmp_path: Path, make_package: Callable[..., Path]
) -> None:
    import sqlite3

    site = Site(Project(tmp_path), Settings(tracking_uri=""))
    found_site(site)
    bless(site, APPROVER, ["approve"])
    own = Store(site, make_package, "bins")
    own.approved(0.9)
    with sqlite3.connect(tmp_path / ".cityforge" / "journal.db") as raw:
        for (trigger,) in raw.execute("SELECT name FROM sqlite_master WHERE type='trigger'"):
            raw.execute(f"DROP TRIGGER {trigger}")
        raw.execute("UPDATE entries SET entry = replace(entry, 'good', 'fine')")
    for act in (
        lambda: approved_version(Site(site.project, site.settings), "bins", None),
        lambda: approve(Site(site.project, site.settings), "bins", 1, APPROVER),
    ):
        with pytest.raises(CityforgeError):
            act()


def evidence_with(folder: Path, **changes: Any) -> None:
    """Change the evidence of a package, and let the package name it."""
    evidence = read_evidence(folder / EVIDENCE_FILE).model_copy(update=changes)
    (folder / EVIDENCE_FILE).write_text(evidence.to_json(), encoding="utf-8")
    about = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    write_about(folder, About(**about | {"evidence_digest": evidence.digest()}))


def test_evidence_of_another_snapshot_or_model_is_not_registered(store: Store) -> None:
    for key, said in (("snapshot_digest", "snapshot"), ("model_digest", "model")):
        package = store.package()
        made = read_evidence(package / EVIDENCE_FILE).created_from
        evidence_with(package, created_from=made.model_copy(update={key: "0" * 64}))
        with pytest.raises(DataError, match=f"evidence of {said}"):
            store.register(package)
    assert list_versions(store.site, store.name) == []


def measured_against(number: int, digest: str) -> dict[str, Any]:
    return {"against": Against(version=number, package_digest=digest, frames=4, changes={})}


def test_evidence_against_what_is_champion_no_more_is_refused(store: Store) -> None:
    first = store.approved(0.9)
    package = store.package(0.95)
    evidence_with(package, **measured_against(1, first.tags["cityforge.package_digest"]))
    assert store.register(package).version == 2
    store.approved(0.93)
    with pytest.raises(RegistryError, match="the champion, version 3, found one with version 1"):
        store.approve(2)
    rollback(store.site, store.name, 1, OTHER, "")
    assert store.approve(2).version == 2


def test_a_drop_gate_held_against_nobody_is_refused_once_there_is_a_champion(
    store: Store,
) -> None:
    package = store.package(0.95)
    gate = read_evidence(package / EVIDENCE_FILE).gates[0]
    drop = gate.model_copy(update={"of": "drop from the champion", "why": "no champion yet"})
    evidence_with(package, gates=[drop])
    store.register(package)
    store.approved(0.9)
    with pytest.raises(RegistryError, match="the champion, version 2, found one with no champion"):
        store.approve(1)
    assert store.approve(1, override=True, reason="a first comparison").version == 1
    approval = find_version(store.site, store.name, 1).approval
    assert approval is not None
    assert approval["override"] is True  # every gate passed; the comparison was waived
    assert store.site.journal.entries(store.name)[-1].body["waived"] == ["champion"]


def test_a_signature_by_another_key_is_refused(store: Store) -> None:
    made = store.version()
    folder, _ = fetch_package(store.site, made)
    from cityforge.trust.signature import sign_package

    sign_package(folder, open_key(store.site.settings, OTHER), store.site.settings)
    with pytest.raises(CityforgeError, match=f"remove {folder}"):
        fetch_package(store.site, made)
    with pytest.raises(CityforgeError):
        store.approve(1)


def test_versions_of_an_older_cityforge_are_adopted_and_signed(store: Store) -> None:
    """As they lie in MLflow: tags, no signature, no journal."""
    from cityforge.registry.adoption import sign_adopted

    package = store.package()
    evidence: Evidence = read_evidence(package / EVIDENCE_FILE)
    about = json.loads((package / "package.json").read_text(encoding="utf-8"))
    from cityforge.inference.package import package_digest

    client, run = store.site.client, evidence.created_from.mlflow_run_id
    digest = package_digest(package)
    client.log_artifacts(run, str(package), f"package/{digest}")
    client.create_registered_model(store.name)
    tags = {"cityforge.package_digest": digest, "cityforge.metrics": '{"map50": 0.9}',
            "cityforge.evidence_digest": about["evidence_digest"],
            "cityforge.gates_passed": "true"}  # fmt: skip
    source = f"{client.get_run(run).info.artifact_uri}/package/{digest}"
    client.create_model_version(store.name, source=source, run_id=run, tags=tags)

    assert store.version(0.95).version == 2
    older = find_version(store.site, store.name, 1)
    assert (older.metrics, older.state.words()) == ({"map50": 0.9}, "not signed")  # type: ignore[union-attr]
    with pytest.raises(RegistryError, match=f"cityforge model adopt {store.name} 1"):
        store.approve(1)
    assert sign_adopted(store.site, store.name, 1, TRAINER).state.is_signed  # type: ignore[union-attr]
    assert store.approve(1).version == 1
    with pytest.raises(RegistryError, match="found version 1, signed"):
        sign_adopted(store.site, store.name, 1, TRAINER)


def test_mlflow_of_another_site_is_refused(
    store: Store, tmp_path: Path, make_package: Callable[..., Path]
) -> None:
    """The journal has three versions, MLflow's store none: no number is given twice."""
    for score in (0.7, 0.8, 0.9):
        store.version(score)
    settings = store.site.settings.model_copy(update={"journal": store.site.journal.url})
    elsewhere = Store(Site(Project(tmp_path), settings), make_package, store.name)
    with pytest.raises(RegistryError, match=r"expected version 3 of .*found none as the newest"):
        elsewhere.version(0.95)
    assert len(list_versions(store.site, store.name)) == 3


def away(site: Site, said: list[str]) -> Site:
    """The same site while MLflow's server does not answer."""
    settings = site.settings.model_copy(
        update={"tracking_uri": "http://127.0.0.1:1", "journal": site.journal.url}
    )
    return Site(site.project, settings, said.append)


def test_mlflow_away_between_registering_and_approving(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    store.version()
    said: list[str] = []
    found, _ = approve(away(store.site, said), store.name, 1, APPROVER)
    assert found.aliases == ("champion",)
    assert any("follow with the next command" in line for line in said)
    assert store.aliases() == {"challenger": 1}
    store.version(0.95)
    assert store.aliases() == {"champion": 1, "challenger": 2}


def test_mlflow_away_while_registering_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    package = store.package()
    other = replace(store, site=away(store.site, []))
    with pytest.raises(CityforgeError, match="a tracking server that answers"):
        other.register(package)
    assert list_versions(store.site, store.name) == []
    assert store.register(package).version == 1


def test_of_two_approvals_at_once_one_counts(store: Store) -> None:
    from concurrent.futures import ThreadPoolExecutor

    store.version()

    def attempt(who: str) -> str:
        try:
            approve(Site(store.site.project, store.site.settings), store.name, 1, who)
        except RegistryError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(attempt, (APPROVER, OTHER)))
    assert said[0] == ""
    assert "not approved yet, found version 1, approved by" in said[1]
    assert len(store.site.journal.entries(store.name, ("approve",))) == 1
