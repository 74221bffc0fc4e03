"""A version against the champion, on the same frames; or why they do not compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_project
from small_project import BUS, CAR, NAME

from cityforge.cards.algorithm import Gate
from cityforge.evaluation.against import Champion, Compared, not_comparable
from cityforge.evaluation.gates import Measured, hold_gates
from cityforge.evaluation.judging import Case, answer_subsets, case_of, compare
from cityforge.inference.package import Package
from cityforge.training.data import open_training_data

Make = Callable[..., Package]


@pytest.fixture
def make(tmp_path: Path, make_package: Callable[..., Path]) -> Make:
    """A package that finds the car in every picture with `score`."""

    def package(name: str, score: float = 0.9, **changes: Any) -> Package:
        folder = tmp_path / name / "package"
        return small_project.package_of(make_package, folder, score, **changes)

    return package


def compared(
    root: Path, this: Package, that: Package, gates: list[Gate], task: str = "detection"
) -> Compared:
    project = small_project.make_project(root, task)
    card, params = small_project.opened(project)
    data = open_training_data(project, card)
    card = card.model_copy(update={"gates": gates})
    case = case_of(project, card, params, data, Champion(3, that), lambda _: None)
    return compare(case, this, answer_subsets(case, this, ("test",))["test"])


def test_a_champion_that_finds_nothing_is_beaten_by_all(tmp_path: Path, make: Make) -> None:
    found = compared(tmp_path / "city", make("this"), make("blind", 0.001), [])
    assert found.against
    assert (found.against.version, found.against.frames, found.why) == (3, 4, "")
    recall = found.against.changes["recall"]
    assert (recall.this, recall.champion, recall.low, recall.high) == (1.0, 0.0, 1.0, 1.0)


def test_the_same_model_does_not_differ_from_itself(tmp_path: Path, make: Make) -> None:
    found = compared(tmp_path / "city", make("this"), make("same"), [])
    assert found.against and len(found.against.changes) >= 7
    for name, change in found.against.changes.items():
        assert (change.difference, change.low, change.high) == (0.0, 0.0, 0.0), name


def test_a_gate_on_the_drop_of_a_slice_has_the_slice_compared(tmp_path: Path, make: Make) -> None:
    """In daylight there are two frames, a car in each; at night one of two holds nothing."""
    day = Gate.model_validate(
        {"metric": "map50", "most_drop": 0.0, "slice": {"by": "lighting", "name": "day"}}
    )
    crowd = Gate.model_validate(
        {"metric": "map50", "most_drop": 0.0, "slice": {"by": "crowding", "name": "1-5"}}
    )
    found = compared(tmp_path / "city", make("this"), make("blind", 0.001), [day, crowd])
    assert found.against
    change = found.against.changes["map50, lighting day"]
    assert (change.this, change.champion) == (1.0, 0.0)
    measured = Measured(task="detection", metrics={"map50": 0.9}, proof={"against": found.against})
    results = hold_gates([day, crowd], measured)
    assert [(g.passed, g.value) for g in results] == [(True, 1.0), (False, None)]
    assert results[1].why == "map50, crowding 1-5 was not held against the champion"


def test_classes_that_only_one_of_them_knows_are_left_out(tmp_path: Path, make: Make) -> None:
    """The champion calls its first class a bus: its box where a car is does not count at all."""
    other = make("other", classes=[BUS, "tram"])
    found = compared(tmp_path / "city", make("this"), other, [])
    assert found.against
    # Of the bus, which both know, there is no box; the champion reports four.
    assert found.against.changes["recall"].this is None
    assert found.against.changes["precision"].champion == 0.0
    swapped = make("swapped", classes=["tram", CAR])
    there = compared(tmp_path / "city2", make("this2"), swapped, []).against
    assert there and (there.changes["recall"].this, there.changes["recall"].champion) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"task": "density"}, "the champion, version 3, is of task density, not detection"),
        (
            {"classes": ["tram", "lorry"]},
            "the champion, version 3, knows none of the classes 汽车, bus",
        ),
    ],
)
def test_why_two_do_not_compare(
    tmp_path: Path, make: Make, changes: dict[str, Any], why: str
) -> None:
    found = compared(tmp_path / "city", make("this"), make("that", **changes), [])
    assert found == Compared(None, why)


def test_one_label_does_not_compare_with_several(make: Make) -> None:
    one = make("one", task="classification")
    several = make("several", task="classification", several_labels=True)
    assert not_comparable(one.about, several.about) == "gives a frame several labels"
    assert not_comparable(several.about, one.about) == "gives a frame one label"
    assert not_comparable(one.about, one.about) == ""


def test_without_a_champion_there_is_nothing_to_compare(tmp_path: Path, make: Make) -> None:
    project = small_project.make_project(tmp_path / "city")
    card, params = small_project.opened(project)
    case = case_of(project, card, params, open_training_data(project, card), None, lambda _: None)
    assert isinstance(case, Case) and card.name == NAME
    package = make("this")
    assert compare(case, package, answer_subsets(case, package, ("test",))["test"]) == (None, "")
