"""The project: found from any folder in it; its parameter files changed by hand's rules."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cityforge.errors import CardError, CityforgeError, InputError, NameUnknown
from cityforge.project import (
    Project,
    activate,
    activate_dataset,
    find_project,
    flat_keys,
    set_parameter,
)

ROOT = Path(__file__).parents[1]
NAME = "demo_crossing"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    text = "# first line\nalgorithms: {}   # none yet\ndatasets: []\n"
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    for kind in ("algorithms", "datasets"):
        (tmp_path / kind / NAME).mkdir(parents=True)
        for card in (ROOT / kind / NAME).glob("*.yaml"):
            shutil.copy(card, tmp_path / kind / NAME)
    return Project(tmp_path)


def test_project_is_found_from_below(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    below = project.algorithm_folder(NAME)
    assert find_project(below) == project
    monkeypatch.chdir(below)
    assert find_project() == project


def test_outside_a_project_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    with pytest.raises(InputError, match=f"found none, in {tmp_path} or above.*--project"):
        find_project(tmp_path)


@pytest.mark.parametrize(
    ("kind", "near"), [("dataset", "a dataset"), ("algorithm", "an algorithm")]
)
def test_misspelt_name_gets_a_suggestion(project: Project, kind: str, near: str) -> None:
    with pytest.raises(NameUnknown, match=rf"expected {near}, .* did you mean '{NAME}'\?"):
        getattr(project, kind)("demo_crosing")


def test_set_parameter_changes_one_value_and_keeps_the_rest(project: Project) -> None:
    path = project.params_path(NAME)
    before = path.read_text(encoding="utf-8").splitlines()
    assert set_parameter(project, NAME, "train.epochs=3") == (2, 3)
    after = path.read_text(encoding="utf-8").splitlines()
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert changed == [("  epochs: 2", "  epochs: 3")]
    assert sum("#" in line for line in after) >= 3
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []


def test_set_parameter_takes_a_list(project: Project) -> None:
    set_parameter(project, NAME, "train.augment.scale=[0.5, 2]")
    assert project.algorithm_params(NAME).train.augment.scale == (0.5, 2.0)
    set_parameter(project, NAME, "tune.search.learning_rate={low: 1e-4, high: 1e-2, log: true}")
    found = project.algorithm_params(NAME).tune.search["learning_rate"]
    assert found.model_dump() == {"low": 1e-4, "high": 1e-2, "log": True}


def test_set_parameter_to_the_same_value_leaves_the_file(project: Project) -> None:
    path = project.params_path(NAME)
    before = path.stat().st_mtime_ns, path.read_bytes()
    assert set_parameter(project, NAME, "train.epochs=2") == (2, 2)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


@pytest.mark.parametrize(
    ("assignment", "kind", "said"),
    [
        ("train.epoch=3", NameUnknown, "did you mean 'train.epochs'?"),
        ("epochs=3", NameUnknown, "did you mean"),
        ("train.epochs=three", CardError, "expected a valid integer, found 'three'"),
        ("train.epochs='3'", CardError, "expected a valid integer, found '3'"),
        ("train.epochs=0", CardError, "greater than or equal to 1, found 0"),
        ("train.epochs=", CardError, "expected a valid integer, found None"),
        ("train=3", CardError, "key 'train'"),
        ("tune.search.learning_rate.low=9", CardError, "the lower number first"),
        ("train.epochs=[", InputError, "expected a value in YAML, found '['"),
        ("train.epochs", InputError, "expected key=value"),
    ],
)
def test_refused_assignment_leaves_the_file(
    project: Project, assignment: str, kind: type[CityforgeError], said: str
) -> None:
    path = project.params_path(NAME)
    before = path.read_bytes()
    with pytest.raises(kind) as caught:
        set_parameter(project, NAME, assignment)
    assert said in str(caught.value)
    assert assignment in str(caught.value) or "=" not in assignment
    assert path.read_bytes() == before


def test_set_parameter_says_where_a_broken_file_breaks(project: Project) -> None:
    path = project.params_path(NAME)
    path.write_text("train: [1,\n", encoding="utf-8")
    with pytest.raises(CardError, match="line 2"):
        set_parameter(project, NAME, "train.epochs=3")


def test_activate_adds_once_and_keeps_comments(project: Project) -> None:
    path = project.root / "params.yaml"
    assert activate(project, NAME) is True
    first, written_at = path.read_bytes(), path.stat().st_mtime_ns
    assert activate(project, NAME) is False
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (first, written_at)
    assert project.params().algorithms == {NAME: NAME}
    assert project.params().datasets == [NAME]
    assert b"# first line" in first
    assert b"# none yet" in first


def test_activate_changes_no_line_but_its_own(project: Project) -> None:
    kept = ["# note", "algorithms:", "  another_one: far_away", "datasets:", "  - far_away"]
    path = project.root / "params.yaml"
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    activate(project, NAME)
    after = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in after if line not in kept] == [f"  {NAME}: {NAME}", f"  - {NAME}"]
    assert [line for line in after if line in kept] == kept


def test_set_parameter_leaves_a_long_line_whole(project: Project) -> None:
    path = project.params_path(NAME)
    long = "'^" + "(?:a|b) " * 20 + "(x)$'"
    text = path.read_text(encoding="utf-8").replace("pattern: ''", f"pattern: {long}")
    path.write_text(text, encoding="utf-8")
    set_parameter(project, NAME, "train.epochs=3")
    assert f"pattern: {long}\n" in path.read_text(encoding="utf-8")


def test_activate_dataset_adds_the_dataset_alone(project: Project) -> None:
    assert activate_dataset(project, NAME) is True
    assert activate_dataset(project, NAME) is False
    assert project.params().datasets == [NAME]
    assert project.params().algorithms == {}


def test_activate_follows_the_card_to_another_dataset(project: Project) -> None:
    activate(project, NAME)
    shutil.copytree(project.dataset_folder(NAME), project.dataset_folder("other_place"))
    for path in (
        project.dataset_folder("other_place") / "dataset.yaml",
        project.algorithm_folder(NAME) / "algorithm.yaml",
    ):
        text = path.read_text(encoding="utf-8")
        key = "name" if path.name == "dataset.yaml" else "dataset"
        path.write_text(text.replace(f"{key}: {NAME}", f"{key}: other_place"), encoding="utf-8")
    assert activate(project, NAME) is True
    assert project.params().algorithms == {NAME: "other_place"}


def test_flat_keys_names_sections_and_values() -> None:
    assert flat_keys({"a": {"b": {"c": 1}}, "d": [1]}) == ["a", "a.b", "a.b.c", "d"]
