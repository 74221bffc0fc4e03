"""The commands after a withdrawal: parents before heirs, and weights that do not rest on it."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from cityforge.project import Project
from cityforge.registry.affected import Affected, Touched
from cityforge.registry.rebuild import plan
from cityforge.starters import new_algorithm, new_dataset


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Algorithms heir, middle and tiny of one dataset."""
    root = tmp_path_factory.mktemp("city")
    (root / "params.yaml").write_text("algorithms: {}\ndatasets: []\n", encoding="utf-8")
    project = Project(root)
    new_dataset(project, "yard", "院子", ["car"], ["北门"])
    for name in ("heir", "middle", "tiny"):
        new_algorithm(project, name, name, "yard", "road_traffic", ["car"], "我")
    return project


def begins(project: Project, name: str, weights: str) -> None:
    yaml, path = YAML(), project.algorithm_folder(name) / "params.yaml"
    content = yaml.load(path)
    content["train"]["weights"] = weights
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)


def touched(name: str, version: int = 1, began_from: str = "") -> Touched:
    return Touched(name, version, "s", "registered", False, (), True, began_from)


def runs(project: Project, *versions: Touched) -> list[str]:
    commands = plan(project, Affected("yard", (), versions)).commands
    return [each for each in commands if "cityforge run" in each or each.startswith("#")]


def test_an_heir_follows_its_parent_and_begins_from_what_it_became(project: Project) -> None:
    begins(project, "heir", "models:/middle/4")
    begins(project, "middle", "models:/tiny/1")
    begins(project, "tiny", "scratch")
    every = (touched("heir", 2, "middle@4"), touched("middle", 4, "tiny@1"), touched("tiny"))
    assert runs(project, *every) == [
        "cityforge run tiny",
        "cityforge run middle --set train.weights=models:/tiny/champion",
        "cityforge run heir --set train.weights=models:/middle/champion",
    ]
    commands = plan(project, Affected("yard", (), every)).commands
    approved, run = "cityforge model approve tiny", "cityforge run middle"
    assert commands.index(approved) < [each.startswith(run) for each in commands].index(True)


@pytest.mark.parametrize(
    ("weights", "commands"),
    [
        ("models:/tiny/2", ["cityforge run heir"]),  # a version that does not rest on it
        ("models:/tiny/champion", ["cityforge run heir"]),
        ("timm", ["cityforge run heir"]),
        ("scratch", ["cityforge run heir"]),
        ("models:/heir/2", ["# 'heir' begins from models:/heir/2, which rests on it: choose other "
                            "weights", "cityforge run heir --set train.weights=scratch"]),
        ("old/a.safetensors", ["# 'heir' begins from old/a.safetensors, which rests on it: choose "
                               "other weights", "cityforge run heir --set train.weights=scratch"]),
    ],
)  # fmt: skip
def test_what_an_heir_begins_from_then(project: Project, weights: str, commands: list[str]) -> None:
    begins(project, "tiny", "scratch")
    begins(project, "heir", weights)
    found = runs(project, touched("heir", 2, "tiny@1"), touched("tiny"))
    own = [each.partition("  (")[0] for each in found if "heir" in each]
    assert own == commands
    assert (found[0] == "cityforge run tiny") == weights.startswith("models:/tiny/")


def test_two_that_name_each_other_are_both_made(project: Project) -> None:
    begins(project, "heir", "models:/tiny/9")
    begins(project, "tiny", "models:/heir/9")
    found = runs(project, touched("heir"), touched("tiny"))
    assert sorted(found) == ["cityforge run heir", "cityforge run tiny"]
