"""Cards: what is wrong is said, all of it at once, with file and key."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.dataset import Dataset
from cityforge.cards.params import AlgorithmParams
from cityforge.cards.yaml_files import check, read_card, read_yaml
from cityforge.errors import CardError
from cityforge.project import Project

ROOT = Path(__file__).parents[2]
PROJECT = Project(ROOT)


def demo_card() -> dict[str, Any]:
    found: dict[str, Any] = read_yaml(ROOT / "datasets/demo_crossing/dataset.yaml")
    return copy.deepcopy(found)


def demo_params() -> dict[str, Any]:
    found: dict[str, Any] = read_yaml(ROOT / "algorithms/demo_crossing/params.yaml")
    return copy.deepcopy(found)


def refused(model: Any, content: dict[str, Any], path: Path) -> tuple[str, ...]:
    with path.open("w", encoding="utf-8") as stream:
        YAML().dump(content, stream)
    with pytest.raises(CardError) as caught:
        read_card(model, path)
    return caught.value.faults


def test_every_card_of_the_repository_is_valid() -> None:
    names = PROJECT.dataset_names()
    assert {PROJECT.dataset(name).name for name in names} == set(names)
    assert len(names) >= 4


def test_every_algorithm_of_the_repository_is_valid() -> None:
    names = PROJECT.algorithm_names()
    for name in names:
        assert PROJECT.algorithm(name).name == name
        assert PROJECT.algorithm_params(name).train.epochs >= 1
    assert len(names) >= 3


def test_three_faults_are_reported_at_once(tmp_path: Path) -> None:
    card = demo_card()
    card["privacy"]["grade"] = "secret"
    card["checks"]["min_frames"] = 0
    del card["licence"]
    path = tmp_path / "dataset.yaml"
    faults = refused(Dataset, card, path)
    assert len(faults) == 3
    assert all(str(path) in fault for fault in faults)
    for key, found in (
        ("privacy.grade", "found 'secret'"),
        ("checks.min_frames", "found 0"),
        ("licence", "found none"),
    ):
        assert [found in fault for fault in faults if f"key '{key}'" in fault] == [True], faults


def test_lines_of_an_error_are_its_faults(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("data: {}\n", encoding="utf-8")
    with pytest.raises(CardError) as caught:
        read_card(AlgorithmParams, path)
    assert str(caught.value).splitlines() == list(caught.value.faults)
    assert len(caught.value.faults) == 3 + 5


@pytest.mark.parametrize(
    ("section", "key", "misspelt"),
    [
        (("train",), "epochs", "epoch"),
        (("split", "test"), "pick", "pcik"),
        ((), "evaluate", "evalute"),
    ],
)
def test_misspelt_key_gets_a_suggestion(
    tmp_path: Path, section: tuple[str, ...], key: str, misspelt: str
) -> None:
    content = demo_params()
    node = content
    for part in section:
        node = node[part]
    node[misspelt] = node.pop(key)
    faults = refused(AlgorithmParams, content, tmp_path / "params.yaml")
    assert len(faults) == 2
    full = ".".join((*section, misspelt))
    (line,) = [fault for fault in faults if f"key '{full}'" in fault]
    assert line.endswith(f"did you mean '{key}'?")


def test_misspelt_key_inside_a_list_names_its_place(tmp_path: Path) -> None:
    card = demo_card()
    card["cameras"][1]["hight_m"] = card["cameras"][1].pop("height_m")
    (fault,) = refused(Dataset, card, tmp_path / "dataset.yaml")
    assert "key 'cameras.1.hight_m'" in fault
    assert fault.endswith("did you mean 'height_m'?")


@pytest.mark.parametrize("value", ["16", True, None, 16.5, [16]])
def test_what_only_looks_like_a_number_is_refused(tmp_path: Path, value: object) -> None:
    content = demo_params()
    content["train"]["batch"] = value
    (fault,) = refused(AlgorithmParams, content, tmp_path / "params.yaml")
    assert "expected a valid integer" in fault
    assert f"found {value!r}" in fault


def test_number_as_a_name_is_refused(tmp_path: Path) -> None:
    card = demo_card()
    card["classes"][0]["name"] = 7
    (fault,) = refused(Dataset, card, tmp_path / "dataset.yaml")
    assert "expected a valid string, found 7" in fault
    assert "classes.0.name" in fault


def test_yaml_is_version_1_2(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("rate: 1e-3\ncountry: no\non: yes\nold: 010\n", encoding="utf-8")
    assert read_yaml(path) == {"rate": 0.001, "country": "no", "on": "yes", "old": 10}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: a\ntitle: [1, 2\nclasses: x\n", 3),
        ("name: a\nname: b\n", 2),
        ("name: a\n\tb: 1\n", 2),
    ],
)
def test_broken_yaml_names_its_line(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CardError) as caught:
        read_card(Dataset, path)
    assert f"{path} line {line}" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_bytes(b"name: \xff")
    with pytest.raises(CardError, match=r"expected UTF-8 text, found byte 6 .*dataset\.yaml"):
        read_card(Dataset, path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="expected a YAML file, found no file"):
        read_card(Dataset, tmp_path / "dataset.yaml")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n"])
def test_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CardError, match="expected a mapping of keys"):
        read_card(Dataset, path)


@pytest.mark.parametrize("part", ["classes", "cameras"])
def test_doubled_names_are_refused_beside_other_faults(tmp_path: Path, part: str) -> None:
    card = demo_card()
    card[part][1]["name"] = card[part][0]["name"]
    card["licence"] = ""
    faults = refused(Dataset, card, tmp_path / "dataset.yaml")
    assert len(faults) == 2
    assert f"names that differ; '{card[part][0]['name']}' stands twice" in faults[0]


def test_doubled_class_of_an_algorithm_is_refused() -> None:
    content = copy.deepcopy(read_yaml(ROOT / "algorithms/demo_crossing/algorithm.yaml"))
    content["classes"] = ["car", "bus", "car"]
    with pytest.raises(CardError, match="'car' stands twice"):
        check(Algorithm, content, Path("algorithm.yaml"))


@pytest.mark.parametrize("value", [[5, 1], [1], [1, 2, 3], ["1", "2"]])
def test_range_that_is_none_is_refused(tmp_path: Path, value: object) -> None:
    content = copy.deepcopy(read_yaml(ROOT / "algorithms/demo_crossing/algorithm.yaml"))
    content["envelope"]["pitch_deg"] = value
    assert all("pitch_deg" in f for f in refused(Algorithm, content, tmp_path / "algorithm.yaml"))


def copied(tmp_path: Path) -> Project:
    for kind, name in (("datasets", "dataset.yaml"), ("algorithms", "algorithm.yaml")):
        folder = tmp_path / kind / "demo_crossing"
        folder.mkdir(parents=True)
        text = (ROOT / kind / "demo_crossing" / name).read_text(encoding="utf-8")
        (folder / name).write_text(text, encoding="utf-8")
    return Project(tmp_path)


def test_class_that_the_dataset_lacks_is_refused_with_the_nearest(tmp_path: Path) -> None:
    project = copied(tmp_path)
    path = tmp_path / "algorithms/demo_crossing/algorithm.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("pedestrian]", "pedestrain, 骆驼]"), encoding="utf-8")
    with pytest.raises(CardError) as caught:
        project.algorithm("demo_crossing")
    first, second = caught.value.faults
    assert "found 'pedestrain'" in first
    assert first.endswith("did you mean 'pedestrian'?")
    assert "found '骆驼'" in second
    assert str(path) in second


def test_name_that_differs_from_the_folder_is_refused(tmp_path: Path) -> None:
    project = copied(tmp_path)
    (tmp_path / "datasets/demo_crossing").rename(tmp_path / "datasets/other_place")
    with pytest.raises(CardError, match="expected the folder's name 'other_place', found 'demo_"):
        project.dataset("other_place")


def test_a_fault_between_two_keys_says_what_was_found_and_not_the_whole_card() -> None:
    path = ROOT / "algorithms/demo_crossing/algorithm.yaml"
    card = read_yaml(path) | {"classes": ["car", "bus"]}
    with pytest.raises(CardError) as caught:
        check(Algorithm, card, path)
    (fault,) = caught.value.faults
    assert fault.endswith(f", found truck, in {path}"), fault
