"""First cards: a folder that is valid as it is."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from cityforge.cards.yaml_files import read_yaml
from cityforge.errors import CardError, CityforgeError, InputError, NameUnknown
from cityforge.project import Project, flat_keys
from cityforge.starters import new_algorithm, new_dataset
from cityforge.tasks.kinds import OUTPUTS, network_names


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "params.yaml").write_text("algorithms: {}\ndatasets: []\n", encoding="utf-8")
    return Project(tmp_path)


def make_dataset(project: Project, name: str = "yard", classes: list[str] | None = None) -> Path:
    return new_dataset(project, name, "院子 · Yard", classes or ["行人", "小汽车"], ["东门"])


def make_algorithm(project: Project, name: str = "yard_people", **changed: object) -> Path:
    words: dict[str, object] = {
        **{"title": "院内行人", "dataset": "yard", "space": "living_and_crowds"},
        **{"classes": ["行人"], "owner": "园区组"},
    }
    return new_algorithm(project, name, **{**words, **changed})  # type: ignore[arg-type]


def test_new_dataset_is_valid_and_keeps_chinese_names(project: Project) -> None:
    folder = make_dataset(project)
    card = project.dataset("yard")
    assert (card.title, card.class_names) == ("院子 · Yard", ["行人", "小汽车"])
    assert [camera.name for camera in card.cameras] == ["东门"]
    assert "行人" in (folder / "dataset.yaml").read_text(encoding="utf-8")
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("# 院子 · Yard\n")


def test_new_algorithm_is_valid_and_active(project: Project) -> None:
    make_dataset(project)
    folder = make_algorithm(project)
    card = project.algorithm("yard_people")
    assert (card.title, card.classes, card.owner) == ("院内行人", ["行人"], "园区组")
    assert project.algorithm_params("yard_people").train.epochs >= 1
    assert project.params().algorithms == {"yard_people": "yard"}
    assert project.params().datasets == ["yard"]
    assert (folder / "README.md").is_file()
    said = (folder / "failures" / "README.md").read_text(encoding="utf-8")
    assert "cityforge model failure add yard_people" in said


def test_new_algorithm_takes_every_class_when_none_is_named(project: Project) -> None:
    make_dataset(project)
    make_algorithm(project, classes=[])
    assert project.algorithm("yard_people").classes == ["行人", "小汽车"]


@pytest.mark.parametrize(
    ("task", "several", "network", "gate"),
    [
        ("detection", False, "detection/nano", ("map50", 0.3, None)),
        ("classification", False, "classification/small", ("accuracy", 0.8, None)),
        ("classification", True, "classification/small", ("map", 0.5, None)),
        ("density", False, "density/small", ("relative_mae", None, 0.2)),
    ],
)
def test_each_task_has_a_starter_that_fits_it(
    project: Project, task: str, several: bool, network: str, gate: tuple[object, ...]
) -> None:
    make_dataset(project)
    folder = make_algorithm(project, classes=[], task=task, several_labels=several)
    card, params = project.algorithm("yard_people"), project.algorithm_params("yard_people")
    assert (card.task, card.network) == (task, network)
    assert [(each.metric, each.floor, each.ceiling) for each in card.gates] == [gate]
    assert card.network in network_names(task)
    assert set(params.export.max_difference) == set(OUTPUTS[task])
    assert params.train.augment.mosaic == 0 or task != "classification"
    loss = params.train.loss.model_dump()
    assert loss.get("several_labels", False) is several
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    assert text.startswith("# How this algorithm is made.")
    searched = [key.removeprefix("loss.") for key in params.tune.search if key.startswith("loss.")]
    assert len(searched) == 1
    assert set(searched) <= set(loss)


def test_a_starter_changes_only_values_that_are_there() -> None:
    starters = files("cityforge.cards") / "starter_files"
    known = set(flat_keys(read_yaml(Path(str(starters / "params.yaml")))))
    changed = [each for each in starters.iterdir() if each.name.endswith(".yaml")]
    changed = [each for each in changed if each.name != "params.yaml"]
    assert len(changed) == 2
    for each in changed:
        assert set(read_yaml(Path(str(each)))) <= known


@pytest.mark.parametrize("name", ["", "ab", "Yard", "9yard", "yard-1", "../yard", "院子", "a" * 65])
def test_bad_names_are_refused_and_make_nothing(project: Project, name: str) -> None:
    make_dataset(project)
    with pytest.raises(InputError, match=r"3 to 64 small letters"):
        make_dataset(project, name)
    with pytest.raises(InputError, match=r"3 to 64 small letters"):
        make_algorithm(project, name)
    assert sorted(p.name for p in project.root.iterdir()) == ["datasets", "params.yaml"]
    assert [p.name for p in (project.root / "datasets").iterdir()] == ["yard"]


def test_taken_names_are_refused_and_left_alone(project: Project) -> None:
    make_dataset(project)
    make_algorithm(project)
    with pytest.raises(InputError, match="a name that is free, found 'yard'"):
        make_dataset(project, classes=["x"])
    with pytest.raises(InputError, match="a name that is free, found 'yard_people'"):
        make_algorithm(project, title="other")
    assert project.dataset("yard").class_names == ["行人", "小汽车"]
    assert project.algorithm("yard_people").title == "院内行人"


@pytest.mark.parametrize(
    ("changed", "kind", "text"),
    [
        ({"dataset": "yrad"}, NameUnknown, "did you mean 'yard'?"),
        ({"classes": ["行"]}, NameUnknown, "did you mean '行人'?"),
        ({"space": "outer_space"}, CardError, "key 'space'"),
        ({"title": ""}, CardError, "key 'title'"),
        ({"classes": ["行人", "行人"]}, CardError, "'行人' stands twice"),
        ({"task": "clasification"}, NameUnknown, "did you mean 'classification'?"),
        ({"task": "classification"}, InputError, "found '行人' alone"),
        ({"several_labels": True}, InputError, "found --task detection"),
        ({"several_labels": True, "task": "density"}, InputError, "found --task density"),
    ],
)
def test_refused_algorithm_leaves_nothing_behind(
    project: Project, changed: dict[str, object], kind: type[CityforgeError], text: str
) -> None:
    make_dataset(project)
    before = read_yaml(project.root / "params.yaml")
    with pytest.raises(kind) as caught:
        make_algorithm(project, **changed)
    assert text in str(caught.value)
    assert not (project.root / "algorithms").exists()
    assert read_yaml(project.root / "params.yaml") == before


@pytest.mark.parametrize(("classes", "where"), [(["a", "a"], "classes"), (["a", ""], "classes.1")])
def test_refused_dataset_leaves_nothing_behind(
    project: Project, classes: list[str], where: str
) -> None:
    with pytest.raises(CardError, match=f"key '{where}"):
        make_dataset(project, classes=classes)
    assert not (project.root / "datasets").exists()
