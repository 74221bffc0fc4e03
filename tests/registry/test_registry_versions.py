"""Versions and approvals in a real MLflow store: SQLite and local files."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cityforge.errors import NameUnknown, NotApproved, PackageError, RegistryError
from cityforge.evaluation.evidence import read_evidence
from cityforge.inference.package import ABOUT_FILE, EVIDENCE_FILE, MODEL_FILE, package_digest
from cityforge.project import Project
from cityforge.registry.approval import approve, approved_version, rollback
from cityforge.registry.versions import (
    Version,
    champion,
    fetch_package,
    find_version,
    list_versions,
    register,
)
from cityforge.settings import Settings
from cityforge.training.tracking import experiment_id, tracking_client

NAMES = (f"tiny_{number}" for number in itertools.count())


@dataclass(frozen=True)
class Store:
    """One store, and a name in it that no other test uses."""

    client: Any
    project: Project
    make: Callable[..., Path]
    name: str

    def package(self, score: float = 0.9, passed: bool = True) -> Path:
        experiment = experiment_id(self.client, self.project, Settings(tracking_uri=""), self.name)
        run = self.client.create_run(experiment).info.run_id
        folder = self.project.root / f"{self.name}-{run}" / "package"
        return self.make(folder, self.name, run, score, passed)

    def version(self, score: float = 0.9, passed: bool = True) -> Version:
        return self.register(self.package(score, passed))

    def register(self, package: Path) -> Version:
        return register(self.client, self.project, self.name, package, package.parent)

    def approved(self, score: float) -> Version:
        made = self.version(score)
        return approve(self.client, self.project, self.name, made.version, "李雷", "good")[0]

    def aliases(self) -> dict[str, int]:
        found = list_versions(self.client, self.name)
        return {alias: each.version for each in found for alias in each.aliases}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Project]:
    project = Project(tmp_path_factory.mktemp("city"))
    return tracking_client(project, Settings(tracking_uri="")), project


@pytest.fixture
def store(opened: tuple[Any, Project], make_package: Callable[..., Path]) -> Store:
    return Store(*opened, make_package, next(NAMES))


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
    assert len(list_versions(store.client, store.name)) == 1


def test_versions_are_listed_the_newest_first(store: Store) -> None:
    for score in (0.6, 0.7, 0.8):
        store.version(score)
    found = list_versions(store.client, store.name)
    assert [(each.version, each.metrics["map50"]) for each in found] == [
        (3, 0.8),
        (2, 0.7),
        (1, 0.6),
    ]
    assert store.aliases() == {"challenger": 3}
    assert find_version(store.client, store.name, None).version == 3
    assert find_version(store.client, store.name, 2).metrics["map50"] == 0.7


def test_unknown_version_names_those_there_are(store: Store) -> None:
    store.version()
    with pytest.raises(NameUnknown, match=rf"a version of '{store.name}', found '11'.*'1'"):
        find_version(store.client, store.name, 11)


def test_algorithm_without_a_version_says_how_to_make_one(store: Store) -> None:
    assert list_versions(store.client, store.name) == []
    with pytest.raises(RegistryError, match=f"found none: cityforge run {store.name}"):
        find_version(store.client, store.name, None)


def test_approval_records_who_when_and_on_what(store: Store) -> None:
    made = store.version()
    before = datetime.now(UTC).replace(microsecond=0)
    found, record = approve(store.client, store.project, store.name, None, "李雷", "试过了")
    assert found.version == made.version
    assert (record.approver, record.reason, record.override) == ("李雷", "试过了", False)
    assert before <= datetime.fromisoformat(record.at) <= datetime.now(UTC)
    assert record.evidence_digest == made.tags["cityforge.evidence_digest"]
    assert record.package_digest == made.tags["cityforge.package_digest"]
    assert find_version(store.client, store.name, 1).approval == vars(record)
    assert store.aliases() == {"champion": 1}


def test_approving_twice_is_refused_and_names_the_first(store: Store) -> None:
    store.approved(0.9)
    with pytest.raises(RegistryError, match=r"found version 1, approved by 李雷 at 20"):
        approve(store.client, store.project, store.name, 1, "韩梅梅", "")
    approval = find_version(store.client, store.name, 1).approval
    assert approval is not None
    assert approval["approver"] == "李雷"


def test_approval_cut_short_before_the_crown_is_finished_by_the_next(store: Store) -> None:
    store.approved(0.9)
    client, name = store.client, store.name
    client.delete_registered_model_alias(name, "champion")
    client.delete_registered_model_tag(name, "cityforge.champions")
    _, record = approve(client, store.project, name, 1, "韩梅梅", "")
    assert record.approver == "李雷"  # the record is the first one's
    assert store.aliases() == {"champion": 1}
    with pytest.raises(RegistryError, match="approved by 李雷"):
        approve(client, store.project, name, 1, "韩梅梅", "")


def test_approval_without_a_name_is_refused(store: Store) -> None:
    store.version()
    with pytest.raises(RegistryError, match="expected an approver"):
        approve(store.client, store.project, store.name, 1, "  ", "")
    assert champion(store.client, store.name) is None


@pytest.mark.parametrize(("override", "reason"), [(False, ""), (False, "why"), (True, " ")])
def test_approval_under_a_gate_is_refused(store: Store, override: bool, reason: str) -> None:
    store.version(0.2, passed=False)
    with pytest.raises(RegistryError, match=r"version 1 under a gate \(map50 0\.200"):
        approve(store.client, store.project, store.name, 1, "李雷", reason, override)
    assert store.aliases() == {"challenger": 1}


def test_override_with_a_reason_stays_on_record(store: Store) -> None:
    store.version(0.2, passed=False)
    approve(store.client, store.project, store.name, 1, "李雷", "only at night", True)
    approval = approved_version(store.client, store.name, None).approval
    assert approval is not None
    assert (approval["override"], approval["reason"]) == (True, "only at night")


def test_only_an_approved_version_is_given_out(store: Store) -> None:
    store.version(0.6)
    with pytest.raises(NotApproved, match=r"found 1 versions, none approved: .* approve"):
        approved_version(store.client, store.name, None)
    store.approved(0.7)
    assert approved_version(store.client, store.name, None).version == 2
    assert approved_version(store.client, store.name, 2).version == 2
    with pytest.raises(NotApproved, match="found version 1, not approved"):
        approved_version(store.client, store.name, 1)


def test_approval_of_another_package_does_not_count(store: Store) -> None:
    store.approved(0.9)
    store.client.set_model_version_tag(store.name, "1", "cityforge.package_digest", "0" * 64)
    with pytest.raises(NotApproved, match="an approval of another one"):
        approved_version(store.client, store.name, 1)


def test_champion_moves_with_each_approval(store: Store) -> None:
    store.approved(0.6)
    assert store.aliases() == {"champion": 1}
    store.version(0.7)
    assert store.aliases() == {"champion": 1, "challenger": 2}
    approve(store.client, store.project, store.name, 2, "李雷", "")
    assert store.aliases() == {"champion": 2}


def test_rollback_goes_to_the_champion_before(store: Store) -> None:
    store.approved(0.6)
    store.version(0.65)
    store.approved(0.7)
    before, now = rollback(store.client, store.name, None, "韩梅梅", "too many false alarms")
    assert (before.version, now.version) == (3, 1)
    assert store.aliases()["champion"] == 1


def test_second_rollback_goes_further_back(store: Store) -> None:
    for score in (0.6, 0.7, 0.8):
        store.approved(score)
    went = [rollback(store.client, store.name, None, "韩梅梅", "")[1].version for _ in range(2)]
    assert went == [2, 1]
    with pytest.raises(RegistryError, match="before version 1, found none"):
        rollback(store.client, store.name, None, "韩梅梅", "")


def test_rollback_to_a_named_version(store: Store) -> None:
    for score in (0.6, 0.7, 0.8):
        store.approved(score)
    _, now = rollback(store.client, store.name, 1, "韩梅梅", "")
    assert now.version == 1
    assert approved_version(store.client, store.name, None).version == 1


def test_rollback_without_a_champion_is_refused(store: Store) -> None:
    store.version()
    with pytest.raises(RegistryError, match="expected a champion of"):
        rollback(store.client, store.name, None, "韩梅梅", "")


def test_rollback_without_one_before_is_refused(store: Store) -> None:
    store.approved(0.6)
    with pytest.raises(RegistryError, match="before version 1, found none"):
        rollback(store.client, store.name, None, "韩梅梅", "")
    with pytest.raises(RegistryError, match="another version than the champion"):
        rollback(store.client, store.name, 1, "韩梅梅", "")


def test_rollback_to_a_version_never_approved_is_refused(store: Store) -> None:
    store.version(0.6)
    store.approved(0.7)
    with pytest.raises(NotApproved, match="found version 1, never approved"):
        rollback(store.client, store.name, 1, "韩梅梅", "")
    assert store.aliases()["champion"] == 2


def change_one_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("file", [MODEL_FILE, ABOUT_FILE, EVIDENCE_FILE])
def test_package_changed_in_the_store_is_refused(store: Store, file: str) -> None:
    made = store.version()
    digest = made.tags["cityforge.package_digest"]
    (stored,) = (store.project.work / "artifacts").glob(f"*/*/package/{digest}/{file}")
    change_one_byte(stored)
    with pytest.raises(PackageError, match="do not use this version"):
        fetch_package(store.client, store.project, made)
    with pytest.raises(PackageError):
        approve(store.client, store.project, store.name, 1, "李雷", "")
    assert champion(store.client, store.name) is None
    kept = [p.name for p in (store.project.work / "packages").iterdir() if digest in p.name]
    assert kept == []


@pytest.mark.parametrize("file", [MODEL_FILE, ABOUT_FILE, EVIDENCE_FILE])
def test_package_changed_on_this_machine_is_refused(store: Store, file: str) -> None:
    made = store.version()
    folder, package = fetch_package(store.client, store.project, made)
    assert package.digest == made.tags["cityforge.package_digest"] == package_digest(folder)
    change_one_byte(folder / file)
    with pytest.raises(PackageError, match=f"remove {folder}"):
        fetch_package(store.client, store.project, made)


def test_package_whose_files_are_gone_is_refused(store: Store) -> None:
    made = store.version()
    digest = made.tags["cityforge.package_digest"]
    (stored,) = (store.project.work / "artifacts").glob(f"*/*/package/{digest}")
    for path in stored.iterdir():
        path.unlink()
    with pytest.raises((PackageError, RegistryError)):
        fetch_package(store.client, store.project, made)


def test_fetched_package_answers(store: Store, make_picture: Callable[..., Path]) -> None:
    from cityforge.inference.runtime import Model

    made = store.version()
    _, package = fetch_package(store.client, store.project, made)
    picture = make_picture(store.project.root / f"{store.name}.jpg")
    (answer,) = Model(package).answer([picture.read_bytes()])
    assert answer.xyxy.tolist() == [[8, 6, 40, 30]]
    assert answer.score.tolist() == pytest.approx([0.9])
