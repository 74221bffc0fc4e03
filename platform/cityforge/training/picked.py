"""What tuning may search, and what it picked, put in the place of what card and parameters say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import AlgorithmParams, ChoiceOf, DataParams, RangeOf, TrainParams
from cityforge.cards.yaml_files import check
from cityforge.errors import CardError, NameUnknown
from cityforge.project import flat_keys
from cityforge.tasks.kinds import OWN, network_names

NETWORK = "network"
INPUT_WIDTH = "data.input_width"  # the height follows in proportion
GRID = 32  # an input's sides are multiples of it
WHERE = "tune.search"


def with_picked(
    card: Algorithm, train: TrainParams, picked: Mapping[str, Any]
) -> tuple[Algorithm, TrainParams]:
    """Card and parameters with the picked values; keys are those of `tune.search`.

    Raises:
        NameUnknown: a key that `train` does not have.
        CardError: a value that its key does not take.
    """
    content = train.model_dump(mode="json")
    known = _known(content)
    for key, value in picked.items():
        if key not in known:
            raise NameUnknown(f"{NETWORK}, {INPUT_WIDTH} or a parameter of train", key, known,
                              where=WHERE)  # fmt: skip
        if key == NETWORK:
            card = card.model_copy(update={NETWORK: value})
        elif key != INPUT_WIDTH:
            *parents, last = key.split(".")
            node = content
            for parent in parents:
                node = node[parent]
            node[last] = value
    return card, check(TrainParams, content, Path(WHERE))


def with_picked_input(data: DataParams, picked: Mapping[str, Any]) -> DataParams:
    """The picture a network sees, in the picked width and about the same proportion.

    Raises:
        CardError: a width that no input has.
    """
    if INPUT_WIDTH not in picked:
        return data
    width = picked[INPUT_WIDTH]
    height = GRID * max(2, round(width * data.input_height / data.input_width / GRID))
    content = data.model_dump() | {"input_width": width, "input_height": height}
    return check(DataParams, content, Path(WHERE), "data.")


def with_trained_input(params: AlgorithmParams, folder: Path) -> AlgorithmParams:
    """Parameters with the input that the network in `folder` (of the train stage) was made for."""
    about = json.loads((folder / "train.json").read_text(encoding="utf-8"))
    sides = {key: about["data"][key] for key in ("input_width", "input_height")}
    return params.model_copy(update={"data": params.data.model_copy(update=sides)})


def check_search(card: Algorithm, params: AlgorithmParams) -> None:
    """Hold the search space against what its keys take, before the first trial.

    Raises:
        NameUnknown: a key or a network that there is not; the nearest is suggested.
        CardError: an end of a range, or a choice, that its key does not take; a limit on
            latency where latency is no objective.
    """
    tune, choice = params.tune, card.choice
    if not tune.search:
        raise CardError(
            "a key to search", found="none", where=WHERE, do="add one, or set tune.trials to 0"
        )
    limited = choice.prefer == "fastest" or choice.most_ms is not None
    if limited and "latency" not in tune.objectives:
        raise CardError(
            "latency among tune.objectives",
            found=f"[{', '.join(tune.objectives)}] and a choice by latency", where="params.yaml",
            do="set tune.objectives to [score, latency], or take prefer: fastest and most_ms "
            "from choice in algorithm.yaml",
        )  # fmt: skip
    for key, searched in tune.search.items():
        if isinstance(searched, RangeOf):
            _check_range(params, key, searched)
        for value in searched.choices if isinstance(searched, ChoiceOf) else ends_of(searched):
            _check_value(card, params, key, value)


def is_whole(params: AlgorithmParams, key: str) -> bool:
    """The parameter of this key takes whole numbers only."""
    value = _value_of(params, key)
    return isinstance(value, int) and not isinstance(value, bool)


def ends_of(searched: RangeOf) -> list[float | int]:
    """Both ends of a range, whole numbers as such."""
    return [int(end) if float(end).is_integer() else end for end in (searched.low, searched.high)]


def _check_range(params: AlgorithmParams, key: str, searched: RangeOf) -> None:
    value = None if key == NETWORK else _value_of(params, key)
    where = f"{WHERE}, key '{key}'"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CardError(
            "choices: [...]", found="a range", where=where, do=f"{key} takes no range of numbers"
        )
    if is_whole(params, key) and not all(isinstance(end, int) for end in ends_of(searched)):
        raise CardError(
            "whole numbers", found=f"{searched.low:g} to {searched.high:g}", where=where
        )


def _check_value(card: Algorithm, params: AlgorithmParams, key: str, value: Any) -> None:
    if key == NETWORK:
        known = network_names(card.task)
        if value not in known and value != OWN:
            raise NameUnknown(f"a network of task {card.task}", str(value), known, where=WHERE)
    with_picked(card, params.train, {key: value})
    with_picked_input(params.data, {key: value})


def _value_of(params: AlgorithmParams, key: str) -> Any:
    if key == INPUT_WIDTH:
        return params.data.input_width
    node: Any = params.train.model_dump(mode="json")
    known = _known(node)
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            raise NameUnknown(f"{NETWORK}, {INPUT_WIDTH} or a parameter of train", key, known,
                              where=WHERE)  # fmt: skip
        node = node[part]
    return node


def _known(content: Mapping[str, Any]) -> list[str]:
    parts = {key for key, value in content.items() if isinstance(value, dict)}
    return [NETWORK, INPUT_WIDTH, *(key for key in flat_keys(content) if key not in parts)]
