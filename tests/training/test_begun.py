"""Weights that were replaced behind the name that `train.weights` has for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from warm_starts import OFFLINE

from cityforge.cards.params import AlgorithmParams
from cityforge.cards.yaml_files import check
from cityforge.cli.run import run_algorithm
from cityforge.errors import InputError
from cityforge.footage.catalogue import catalogue_path
from cityforge.labeling.intake import labels_path
from cityforge.project import Project
from cityforge.registry.registering import register
from cityforge.registry.site import Site
from cityforge.tables import FOOTAGE, LABELS, from_rows, write_table
from cityforge.training.begun import began_from_others
from cityforge.training.study import weights_of
from cityforge.training.tracking import experiment_id, tracking_client
from cityforge.training.weights import weights_digest

sys.path.insert(0, str(Path(__file__).parent / "tuning"))

from streets import NAME, make_streets

# A train stage of three lines: from which weights it began, and weights of its own.
STAGE = """
import json, pathlib
from cityforge.dataset.digests import digest_of_file
build = pathlib.Path("algorithms/bins/build/train")
build.mkdir(parents=True, exist_ok=True)
(build / "model.safetensors").write_bytes(b"trained")
about = {"initial": {"digest": digest_of_file(pathlib.Path("first.safetensors"))}}
(build / "train.json").write_text(json.dumps(about))
log = pathlib.Path("log.txt")
log.write_text((log.read_text() if log.is_file() else "") + "trained ")
"""
PIPELINE = {
    "stages": {
        "train": {
            "foreach": ["bins"],
            "do": {
                "cmd": "python stage.py",
                "deps": ["stage.py"],
                "outs": ["algorithms/bins/build/train"],
            },
        }
    }
}


def begun(project: Project, digest: str | None) -> None:
    """As after a training from these weights."""
    folder = project.build(NAME) / "train"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(b"trained")
    about = {} if digest is None else {"initial": {"digest": digest}}
    (folder / "train.json").write_text(json.dumps(about))


def params_from(weights: str, search: dict[str, Any] | None = None) -> AlgorithmParams:
    from streets import _params

    content = _params().model_dump(mode="json")
    content["train"]["weights"] = weights
    content["tune"]["search"] |= search or {}
    return check(AlgorithmParams, content, Path("params.yaml"))


def others(project: Project, params: AlgorithmParams, stage: str) -> bool:
    return began_from_others(project, OFFLINE, params, NAME, stage)


def test_a_file_that_was_replaced(tmp_path: Path) -> None:
    project, file = Project(tmp_path), tmp_path / "first.safetensors"
    file.write_bytes(b"one")
    params = params_from(file.name)
    assert not others(project, params, "train"), "nothing was trained yet"
    begun(project, weights_digest(file.name, project, OFFLINE))
    best = {"study": "s", "weights": weights_of(project, OFFLINE, params)}
    (project.build(NAME) / "tune").mkdir()
    (project.build(NAME) / "tune" / "best.json").write_text(json.dumps(best))
    assert not others(project, params, "train") and not others(project, params, "tune")
    file.write_bytes(b"two")
    assert others(project, params, "train") and others(project, params, "tune")
    file.write_bytes(b"trained")
    assert not others(project, params, "train"), "what it made itself"
    for name in ("scratch", "timm"):
        assert not others(project, params_from(name), "train")
    file.unlink()
    with pytest.raises(InputError, match="a file of weights, found none"):
        others(project, params, "train")


def test_weights_that_are_searched(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    names = ["a.safetensors", "b.safetensors", "scratch"]
    params = params_from("scratch", {"weights": {"choices": names}})
    now = weights_of(project, OFFLINE, params)
    assert list(now) == names and now["scratch"] is None and now[names[0]] != now[names[1]]
    begun(project, now["b.safetensors"])
    best = {"study": "s", "weights": now, "picked": {"weights": "b.safetensors"}}
    (project.build(NAME) / "tune").mkdir()
    (project.build(NAME) / "tune" / "best.json").write_text(json.dumps(best))
    (tmp_path / "a.safetensors").write_bytes(b"new")
    assert others(project, params, "tune") and not others(project, params, "train")
    (tmp_path / "b.safetensors").write_bytes(b"new")
    assert others(project, params, "train")


def test_an_alias_that_was_moved(tmp_path: Path, make_package: Callable[..., Path]) -> None:
    project = Project(tmp_path)
    client = tracking_client(project, OFFLINE)
    for version in ("1", "2"):
        run = client.create_run(experiment_id(client, project, OFFLINE, NAME)).info.run_id
        package = make_package(tmp_path / version / "package", NAME, run, 0.5 + int(version) / 10)
        trained = tmp_path / version / "train"
        trained.mkdir()
        (trained / "model.safetensors").write_bytes(version.encode())
        (trained / "train.json").write_text(json.dumps({"mlflow_run_id": run, "algorithm": NAME}))
        register(Site(project, OFFLINE), NAME, package, package.parent, trained)
    params = params_from(f"models:/{NAME}/champion")
    client.set_registered_model_alias(NAME, "champion", "1")
    first = weights_of(project, OFFLINE, params)
    begun(project, first)
    assert not others(project, params, "train")
    client.set_registered_model_alias(NAME, "champion", "2")
    assert others(project, params, "train")
    assert weights_of(project, OFFLINE, params) != first, "trials go into another study"


@pytest.mark.slow
def test_a_run_trains_again_from_a_file_that_was_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    streets = make_streets(tmp_path / "city", frames=6)
    root = streets.project.root
    for name in list(os.environ):
        if name.startswith("CITYFORGE_"):
            monkeypatch.delenv(name)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=root, check=True)
    (root / "stage.py").write_text(STAGE)
    (root / "dvc.yaml").write_text(json.dumps(PIPELINE))
    file = root / "first.safetensors"
    file.write_bytes(b"one")
    dataset = root / "datasets" / "streets"
    write_table(from_rows([], FOOTAGE), FOOTAGE, catalogue_path(dataset))
    write_table(from_rows([], LABELS), LABELS, labels_path(dataset))
    asked = ["train.weights=first.safetensors", "tune.trials=0"]
    run_algorithm(streets.project, NAME, "train", asked)
    run_algorithm(streets.project, NAME, "train")
    assert (root / "log.txt").read_text() == "trained "
    file.write_bytes(b"two")
    capfd.readouterr()
    run_algorithm(streets.project, NAME, "train")
    assert "train.weights are others than train began from" in capfd.readouterr().out
    assert (root / "log.txt").read_text() == "trained trained "
    run_algorithm(streets.project, NAME, "train")
    assert (root / "log.txt").read_text() == "trained trained "
