"""What may be searched, and how a picked value takes its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streets import NAME, Streets, make_streets

from cityforge.errors import CardError, CityforgeError
from cityforge.training.picked import (
    check_search,
    with_picked,
    with_picked_input,
    with_trained_input,
)
from cityforge.training.study import inputs_of, name_of
from cityforge.training.trial import suggested


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Streets:
    return make_streets(tmp_path_factory.mktemp("search") / "city", frames=6)


def asked(streets: Streets, **tune: Any) -> Streets:
    from cityforge.cards.params import TuneParams

    content = streets.params.tune.model_dump(mode="json") | tune
    params = streets.params.model_copy(update={"tune": TuneParams.model_validate(content)})
    return replace(streets, params=params)


def a_range(low: float, high: float) -> dict[str, Any]:
    return {"low": low, "high": high, "log": False}


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({"learing_rate": a_range(0.1, 1)}, "did you mean 'learning_rate'?"),
        ({"loss.box_wight": a_range(1, 2)}, "did you mean 'loss.box_weight'?"),
        ({"loss": {"choices": [1]}}, "found 'loss'"),
        ({"learning_rate": a_range(0.1, 20)}, "found 20, in tune.search, key 'learning_rate'"),
        ({"augment.mosaic": a_range(-0.1, 1)}, "key 'augment.mosaic'"),
        ({"batch": a_range(0, 8)}, "key 'batch'"),
        ({"batch": a_range(4, 8.5)}, "expected whole numbers, found 4 to 8.5"),
        ({"batch": {"choices": [8, "many"]}}, "found 'many', in tune.search, key 'batch'"),
        ({"network": {"choices": ["detection/nono"]}}, "did you mean 'detection/nano'?"),
        ({"network": a_range(0, 1)}, "expected choices: [...], found a range"),
        ({"deterministic": a_range(0, 1)}, "expected choices: [...], found a range"),
        ({"precision": {"choices": ["float16"]}}, "key 'precision'"),
        ({"data.input_width": {"choices": [96, 100]}}, "key 'data.input_width'"),
        ({}, "expected a key to search"),
    ],
)
def test_what_a_key_does_not_take_is_one_line(
    drawn: Streets, search: dict[str, Any], expected: str
) -> None:
    wrong = asked(drawn, search=search)
    with pytest.raises(CityforgeError) as error:
        check_search(wrong.card, wrong.params)
    line = str(error.value)
    assert line.startswith("expected ") and "\n" not in line
    assert expected in line and "tune.search" in line


def test_everything_that_may_be_searched(drawn: Streets) -> None:
    search = {
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "batch": a_range(4, 16),
        "loss.box_weight": a_range(1, 3),
        "augment.mosaic": {"choices": [0.0, 0.5]},
        "network": {"choices": ["detection/nano", "detection/small"]},
        "data.input_width": {"choices": [64, 96]},
    }
    right = asked(drawn, search=search)
    check_search(right.card, right.params)
    import optuna

    trial = optuna.create_study().ask()
    picked = {key: suggested(trial, right.params, key) for key in search}
    assert isinstance(picked["batch"], int) and isinstance(picked["learning_rate"], float)
    card, train = with_picked(right.card, right.params.train, picked)
    assert card.network == picked["network"]
    assert (train.batch, train.loss.box_weight) == (picked["batch"], picked["loss.box_weight"])
    assert train.augment.mosaic == picked["augment.mosaic"]
    assert train.epochs == right.params.train.epochs


@pytest.mark.parametrize(
    ("choice", "objectives", "is_refused"),
    [
        ({"prefer": "best", "most_ms": 5}, ["score"], True),
        ({"prefer": "fastest", "least_score": 0.5}, ["score"], True),
        ({"prefer": "fastest", "least_score": 0.5}, ["score", "latency"], False),
        ({"prefer": "best", "least_score": 0.5}, ["score"], False),
    ],
)
def test_a_choice_by_latency_asks_for_latency(
    drawn: Streets, choice: dict[str, Any], objectives: list[str], is_refused: bool
) -> None:
    given = asked(drawn.with_choice(**choice), objectives=objectives)
    if not is_refused:
        check_search(given.card, given.params)
        return
    with pytest.raises(CardError, match="expected latency among"):
        check_search(given.card, given.params)


@pytest.mark.parametrize(
    ("size", "width", "expected"),
    [((320, 192), 160, (160, 96)), ((320, 192), 256, (256, 160)), ((96, 96), 64, (64, 64))],
)
def test_input_keeps_its_proportion(
    drawn: Streets, size: tuple[int, int], width: int, expected: tuple[int, int]
) -> None:
    whole = drawn.params.data.model_copy(update={"input_width": size[0], "input_height": size[1]})
    found = with_picked_input(whole, {"data.input_width": width})
    assert (found.input_width, found.input_height) == expected
    assert with_picked_input(whole, {"batch": 4}) == whole


def test_later_stages_take_the_input_that_was_trained(drawn: Streets, tmp_path: Path) -> None:
    text = '{"data": {"input_width": 64, "input_height": 96, "workers": 9}}'
    (tmp_path / "train.json").write_text(text)
    data = with_trained_input(drawn.params, tmp_path).data
    assert (data.input_width, data.input_height, data.workers) == (64, 96, 0)


@pytest.mark.parametrize(
    ("change", "is_other"),
    [
        ({"trials": 9, "minutes": 1, "workers": 4}, False),
        ({"epochs": 3}, True),
        ({"search": {"batch": a_range(4, 8)}}, True),
        ({"objectives": ["score", "latency"]}, True),
        ({"seed": 6}, True),
    ],
)
def test_only_the_budget_leaves_the_study_as_it_is(
    drawn: Streets, change: dict[str, Any], is_other: bool
) -> None:
    names = []
    for each in (drawn, asked(drawn, **change)):
        names.append(
            name_of(NAME, inputs_of(each.project, each.settings, each.card, each.params, "d"))
        )
    assert (names[0] != names[1]) == is_other
    other = name_of(NAME, inputs_of(drawn.project, drawn.settings, drawn.card, drawn.params, "e"))
    assert other != names[0], "other data make another study"
