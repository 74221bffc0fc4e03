"""Versions and approvals in a real MLflow store: SQLite and local files."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from store import APPROVER, OTHER, Store

from cityforge.errors import NameUnknown, NotApproved, PackageError, RegistryError
from cityforge.evaluation.evidence import read_evidence
from cityforge.inference.package import ABOUT_FILE, EVIDENCE_FILE, MODEL_FILE, package_digest
from cityforge.registry.approval import approve, approved_version, rollback
from cityforge.registry.versions import champion, fetch_package, find_version, list_versions


def test_version_says_what_it_came_from(store: Store) -> None:
    package = store.package()
    made = store.register(package)
    assert (made.algorithm, made.version, made.aliases) == (store.name, 1, ("challenger",))
    assert made.approval is None
    assert made.metrics == {"map50": 0.9, "map50_95": 0.45}
    assert made.tags["cityforge.package_digest"] == package_digest(package)
    digest = read_evidence(package / EVIDENCE_FILE).digest()
    assert made.tags["cityforge.evidence_digest"] == digest
    assert abs(made.created_at - datetime.now(UTC)) < timedelta(minutes=5)


def test_same_package_keeps_its_version(store: Store) -> None:
    package = store.package()
    assert store.register(package).version == 1
    assert store.register(package).version == 1
    assert len(list_versions(store.site, store.name)) == 1


def test_versions_are_listed_the_newest_first(store: Store) -> None:
    for score in (0.6, 0.7, 0.8):
        store.version(score)
    found = list_versions(store.site, store.name)
    assert [(each.version, each.metrics["map50"]) for each in found] == [
        (3, 0.8),
        (2, 0.7),
        (1, 0.6),
    ]
    assert store.aliases() == {"challenger": 3}
    assert find_version(store.site, store.name, None).version == 3
    assert find_version(store.site, store.name, 2).metrics["map50"] == 0.7


def test_unknown_version_names_those_there_are(store: Store) -> None:
    store.version()
    with pytest.raises(NameUnknown, match=rf"a version of '{store.name}', found '11'.*'1'"):
        find_version(store.site, store.name, 11)


def test_algorithm_without_a_version_says_how_to_make_one(store: Store) -> None:
    assert list_versions(store.site, store.name) == []
    with pytest.raises(RegistryError, match=f"found none: cityforge run {store.name}"):
        find_version(store.site, store.name, None)


def test_approval_records_who_when_and_on_what(store: Store) -> None:
    made = store.version()
    before = datetime.now(UTC).replace(microsecond=0)
    found, record = approve(store.site, store.name, None, APPROVER, "试过了")
    assert found.version == made.version
    assert (record.approver, record.reason, record.override) == (APPROVER, "试过了", False)
    assert before <= datetime.fromisoformat(record.at) <= datetime.now(UTC)
    assert record.evidence_digest == made.tags["cityforge.evidence_digest"]
    assert record.package_digest == made.tags["cityforge.package_digest"]
    assert find_version(store.site, store.name, 1).approval == vars(record)
    assert store.aliases() == {"champion": 1}


def test_approving_twice_is_refused_and_names_the_first(store: Store) -> None:
    store.approved(0.9)
    with pytest.raises(RegistryError, match=r"found version 1, approved by 李雷 at 20"):
        approve(store.site, store.name, 1, OTHER, "")
    approval = find_version(store.site, store.name, 1).approval
    assert approval is not None
    assert approval["approver"] == APPROVER


def test_aliases_that_lag_behind_an_approval_follow_with_the_next_command(store: Store) -> None:
    store.approved(0.9)
    client, name = store.site.client, store.name
    client.delete_registered_model_alias(name, "champion")
    client.delete_model_version_tag(name, "1", "cityforge.approval")
    assert champion(store.site, name).version == 1  # type: ignore[union-attr]
    store.version(0.91)
    assert store.aliases() == {"champion": 1, "challenger": 2}
    tag = client.get_model_version(name, "1").tags["cityforge.approval"]
    assert json.loads(tag)["by"] == APPROVER


def test_approval_without_a_name_is_refused(store: Store) -> None:
    store.version()
    with pytest.raises(RegistryError, match="expected an approver"):
        approve(store.site, store.name, 1, "  ", "")
    assert champion(store.site, store.name) is None


@pytest.mark.parametrize(("override", "reason"), [(False, ""), (False, "why"), (True, " ")])
def test_approval_under_a_gate_is_refused(store: Store, override: bool, reason: str) -> None:
    store.version(0.2, passed=False)
    with pytest.raises(RegistryError, match=r"version 1 under a gate \(map50 0\.200"):
        approve(store.site, store.name, 1, APPROVER, reason, override)
    assert store.aliases() == {"challenger": 1}


def test_override_with_a_reason_stays_on_record(store: Store) -> None:
    store.version(0.2, passed=False)
    approve(store.site, store.name, 1, APPROVER, "only at night", True)
    approval = approved_version(store.site, store.name, None).approval
    assert approval is not None
    assert (approval["override"], approval["reason"]) == (True, "only at night")


def test_only_an_approved_version_is_given_out(store: Store) -> None:
    store.version(0.6)
    with pytest.raises(NotApproved, match=r"found 1 versions, none approved: .* approve"):
        approved_version(store.site, store.name, None)
    store.approved(0.7)
    assert approved_version(store.site, store.name, None).version == 2
    assert approved_version(store.site, store.name, 2).version == 2
    with pytest.raises(NotApproved, match="found version 1, not approved"):
        approved_version(store.site, store.name, 1)


def test_digest_changed_in_mlflow_changes_nothing(store: Store) -> None:
    made = store.approved(0.9)
    store.site.client.set_model_version_tag(store.name, "1", "cityforge.package_digest", "0" * 64)
    assert approved_version(store.site, store.name, 1).tags == made.tags


def test_champion_moves_with_each_approval(store: Store) -> None:
    store.approved(0.6)
    assert store.aliases() == {"champion": 1}
    store.version(0.7)
    assert store.aliases() == {"champion": 1, "challenger": 2}
    approve(store.site, store.name, 2, APPROVER, "")
    assert store.aliases() == {"champion": 2}


def test_rollback_goes_to_the_champion_before(store: Store) -> None:
    store.approved(0.6)
    store.version(0.65)
    store.approved(0.7)
    before, now = rollback(store.site, store.name, None, OTHER, "too many false alarms")
    assert before is not None
    assert (before.version, now.version) == (3, 1)
    assert store.aliases()["champion"] == 1


def test_second_rollback_goes_further_back(store: Store) -> None:
    for score in (0.6, 0.7, 0.8):
        store.approved(score)
    went = [rollback(store.site, store.name, None, OTHER, "")[1].version for _ in range(2)]
    assert went == [2, 1]
    with pytest.raises(RegistryError, match="before version 1, found none"):
        rollback(store.site, store.name, None, OTHER, "")


def test_rollback_to_a_named_version(store: Store) -> None:
    for score in (0.6, 0.7, 0.8):
        store.approved(score)
    _, now = rollback(store.site, store.name, 1, OTHER, "")
    assert now.version == 1
    assert approved_version(store.site, store.name, None).version == 1


def test_rollback_without_a_champion_is_refused(store: Store) -> None:
    store.version()
    with pytest.raises(RegistryError, match="expected a champion of"):
        rollback(store.site, store.name, None, OTHER, "")


def test_rollback_without_one_before_is_refused(store: Store) -> None:
    store.approved(0.6)
    with pytest.raises(RegistryError, match="before version 1, found none"):
        rollback(store.site, store.name, None, OTHER, "")
    with pytest.raises(RegistryError, match="another version than the champion"):
        rollback(store.site, store.name, 1, OTHER, "")


def test_rollback_to_a_version_never_approved_is_refused(store: Store) -> None:
    store.version(0.6)
    store.approved(0.7)
    with pytest.raises(NotApproved, match="found version 1, never approved"):
        rollback(store.site, store.name, 1, OTHER, "")
    assert store.aliases()["champion"] == 2


def change_one_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("file", [MODEL_FILE, ABOUT_FILE, EVIDENCE_FILE])
def test_package_changed_in_the_store_is_refused(store: Store, file: str) -> None:
    made = store.version()
    digest = made.tags["cityforge.package_digest"]
    (stored,) = (store.site.project.work / "artifacts").glob(f"*/*/package/{digest}/*/{file}")
    change_one_byte(stored)
    with pytest.raises(PackageError, match="do not use this version"):
        fetch_package(store.site, made)
    with pytest.raises(PackageError):
        approve(store.site, store.name, 1, APPROVER, "")
    assert champion(store.site, store.name) is None
    kept = [p.name for p in (store.site.project.work / "packages").iterdir() if digest in p.name]
    assert kept == []


@pytest.mark.parametrize("file", [MODEL_FILE, ABOUT_FILE, EVIDENCE_FILE])
def test_package_changed_on_this_machine_is_refused(store: Store, file: str) -> None:
    made = store.version()
    folder, package = fetch_package(store.site, made)
    assert package.digest == made.tags["cityforge.package_digest"] == package_digest(folder)
    change_one_byte(folder / file)
    with pytest.raises(PackageError, match=f"remove {folder}"):
        fetch_package(store.site, made)


def test_package_whose_files_are_gone_is_refused(store: Store) -> None:
    made = store.version()
    digest = made.tags["cityforge.package_digest"]
    (stored,) = (store.site.project.work / "artifacts").glob(f"*/*/package/{digest}/*")
    for path in stored.iterdir():
        path.unlink()
    with pytest.raises((PackageError, RegistryError)):
        fetch_package(store.site, made)


def test_fetched_package_answers(store: Store, make_picture: Callable[..., Path]) -> None:
    from cityforge.inference.runtime import Model

    made = store.version()
    _, package = fetch_package(store.site, made)
    picture = make_picture(store.site.project.root / f"{store.name}.jpg")
    (answer,) = Model(package).answer([picture.read_bytes()])
    assert answer.xyxy.tolist() == [[8, 6, 40, 30]]
    assert answer.score.tolist() == pytest.approx([0.9])


def test_what_is_no_file_of_a_package_is_never_fetched(store: Store) -> None:
    made = store.version()
    digest = made.tags["cityforge.package_digest"]
    (stored,) = (store.site.project.work / "artifacts").glob(f"*/*/package/{digest}/*")
    (stored / "python_model.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(PackageError, match=r"python_model\.pkl', which can run code"):
        fetch_package(store.site, made)
    assert not [p for p in (store.site.project.work / "packages").iterdir() if digest in p.name]
