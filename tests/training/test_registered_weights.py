"""Warm starts from registered versions, in a real store of SQLite and local files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from warm_starts import (
    BEFORE,
    OFFLINE,
    card_of,
    copied,
    metadata,
    network_of,
    refusal,
    started,
)

from cityforge.errors import NameUnknown, RegistryError
from cityforge.project import Project
from cityforge.registry.registering import register
from cityforge.registry.site import Site
from cityforge.training.tracking import experiment_id, tracking_client
from cityforge.training.weights import weights_digest
from cityforge.trust.journal import act, open_journal, signer_of


@pytest.fixture(scope="module")
def city(
    tmp_path_factory: pytest.TempPathFactory, make_package: Callable[..., Path]
) -> tuple[Project, Any, dict[str, torch.Tensor]]:
    """A project whose registry holds `bins` 1 with weights and 2 without."""
    project = Project(tmp_path_factory.mktemp("city"))
    client = tracking_client(project, OFFLINE)
    card = card_of("detection", BEFORE)
    state = copied(network_of(card, seed=7))
    for version, keeps in ((1, True), (2, False)):
        experiment = experiment_id(client, project, OFFLINE, "bins")
        run = client.create_run(experiment).info.run_id
        folder = project.root / f"{version}"
        package = make_package(folder / "package", "bins", run, 0.5 + version / 10)
        trained = folder / "train"
        trained.mkdir()
        save_file(state, trained / "model.safetensors", metadata=metadata(card))
        about = {"mlflow_run_id": run, "algorithm": "bins"}
        (trained / "train.json").write_text(json.dumps(about))
        register(Site(project, OFFLINE), "bins", package, folder, trained if keeps else None)
    client.set_registered_model_alias("bins", "champion", "1")
    return project, client, state


@pytest.mark.parametrize(
    "address", ["models:/bins/1", "models:/bins/champion", "models:/bins@champion"]
)
def test_a_registered_version_gives_its_weights(
    city: tuple[Project, Any, dict[str, torch.Tensor]], address: str
) -> None:
    project, _, state = city
    network, _, origin = started(project.root, card_of("detection", BEFORE), address)
    assert all(torch.equal(each, state[name]) for name, each in network.state_dict().items())
    assert origin.source == "models:/bins/1"
    assert origin.kept_classes == tuple(BEFORE)
    assert weights_digest(address, project, OFFLINE) == origin.digest


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        ("models:/bins/3", NameUnknown, "found '3', in train.weights: known: 1, 2, challenger"),
        ("models:/bins/champio", NameUnknown, "did you mean 'champion'?"),
        ("models:/bin/1", NameUnknown, "did you mean 'bins'?"),
        ("models:/bins/2", RegistryError, "weights beside the package, found none"),
    ],
)
def test_what_the_registry_does_not_hold_is_a_line(
    city: tuple[Project, Any, Any], address: str, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as caught:
        started(city[0].root, card_of("detection", BEFORE), address)
    assert said in str(caught.value)


def test_weights_that_were_changed_in_the_store_are_refused(
    city: tuple[Project, Any, Any],
) -> None:
    project = city[0]
    digest = weights_digest("models:/bins/1", project, OFFLINE)
    (stored,) = project.work.glob(f"artifacts/**/{digest}/model.safetensors")
    kept = stored.read_bytes()
    fetched = project.work / "weights" / digest / "model.safetensors"
    fetched.unlink(missing_ok=True)
    try:
        stored.write_bytes(kept[:-4] + b"evil")
        line = refusal(project.root, "models:/bins/1")
        assert "do not use models:/bins/1" in line
        assert not fetched.exists()
    finally:
        stored.write_bytes(kept)


def test_weights_of_another_run_are_not_registered(
    city: tuple[Project, Any, Any], make_package: Callable[..., Path]
) -> None:
    project, client, _ = city
    run = client.create_run(experiment_id(client, project, OFFLINE, "bins")).info.run_id
    package = make_package(project.root / "3" / "package", "bins", run, 0.95)
    with pytest.raises(RegistryError, match="the weights that the package was made from"):
        trained = project.root / "1" / "train"
        register(Site(project, OFFLINE), "bins", package, package.parent, trained)


def test_weights_of_a_version_that_fell_begin_nothing(
    city: tuple[Project, Any, Any], make_package: Callable[..., Path]
) -> None:
    project, address = city[0], "models:/bins/1"
    journal = open_journal(project, OFFLINE)
    (first, *_) = journal.entries(acts=("register",))

    def put(name: str, about: str, body: dict[str, Any]) -> None:
        act(journal, OFFLINE, signer_of(journal, OFFLINE, first.by), name, about, body)

    films = {
        "kind": "footage", "ids": ["0123456789abcdef"], "reason": "asked for", "snapshots": ["s"],
        "versions": [{"algorithm": "bins", "version": 1}],
    }  # fmt: skip
    assert weights_digest(address, project, OFFLINE)
    put("withdraw", "dataset:streets", films)
    with pytest.raises(RegistryError, match=r"found its data was withdrawn by .*: asked for, in"):
        weights_digest(address, project, OFFLINE)
    assert "its data was withdrawn" in refusal(project.root, "models:/bins/champion")
    same = ("version", "package_digest", "evidence_digest", "signature_digest")
    put("approve", "bins", {
        **{name: first.body[name] for name in same}, "register": first.digest(),
        "champion_before": None, "reason": "", "override": False, "one_person": True, "gates": [],
        "withdrawn_reason": "nobody is to be seen",
    })  # fmt: skip
    assert weights_digest(address, project, OFFLINE)
    put("reject", "bins", {"version": 1, "package_digest": first.body["package_digest"],
                           "reason": "bad at night"})  # fmt: skip
    assert "found rejected by" in refusal(project.root, address)
    assert "--set train.weights=" in refusal(project.root, address)
