"""The parts of a dataset's card on labelling: what each needs, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from cityforge.cards.dataset import Dataset
from cityforge.cards.labeling import Labeling, OntologyChange
from cityforge.errors import CardError

MakeCard = Callable[..., Dataset]


def change(**keys: Any) -> dict[str, Any]:
    return {"kind": "rename", "on": "2026-03-01", "old": ["a"], "new": ["b"], **keys}


def test_a_card_that_says_nothing_asks_one_person_for_boxes(make_card: MakeCard) -> None:
    card = make_card()
    assert card.labeling == Labeling(kind="boxes", annotators=1, consensus="majority")
    assert card.ontology_changes == []
    assert card.classes[0].colour is None and card.classes[0].hotkey is None


def test_changes_are_read_with_their_rules(make_card: MakeCard) -> None:
    rules = [{"to": "b", "cameras": ["北门"], "min_aspect": 1.5}]
    card = make_card(ontology_changes=[change(kind="split", new=["b", "c"], rules=rules)])
    (found,) = card.ontology_changes
    assert isinstance(found, OntologyChange)
    assert found.on == date(2026, 3, 1)
    assert (found.rules[0].to, found.rules[0].cameras, found.rules[0].min_aspect) == (
        "b", ["北门"], 1.5
    )  # fmt: skip


LABELING = {
    "kind": {"kind": "polygons"},
    "annotators": {"annotators": 0},
    "match_iou": {"match_iou": 1.0},
    "gold_share": {"gold_share": 0.6},
    "consensus": {"consensus": "vote"},
    "polygons": {"polygons": "yes"},
    "annotater": {"annotater": 2},
}


@pytest.mark.parametrize("key", LABELING)
def test_a_wrong_value_names_its_key(make_card: MakeCard, key: str) -> None:
    with pytest.raises(CardError) as caught:
        make_card(labeling=LABELING[key])
    (fault,) = caught.value.faults
    assert f"key 'labeling.{key}'" in fault


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ({"old": ["a", "b"]}, "one old and one new class in a rename"),
        ({"kind": "merge", "new": ["b", "c"]}, "one new class in a merge"),
        ({"kind": "split"}, "one old and several new classes in a split"),
        ({"rules": [{"to": "b", "min_aspect": 1.0}]}, "rules only in a split"),
        (
            {"kind": "split", "new": ["b", "c"], "rules": [{"to": "d", "min_aspect": 1.0}]},
            "rules that lead to a new class; 'd' is none",
        ),
        (
            {"kind": "split", "new": ["b", "c"], "rules": [{"to": "b"}]},
            "at least one condition besides `to`",
        ),
        (
            {"kind": "split", "new": ["b", "c"], "rules": [{"to": "b", "cameras": []}]},
            "a list of at least 1 item",
        ),
        ({"on": "soon"}, "date"),
        ({"old": []}, "a list of at least 1 item"),
    ],
)
def test_a_change_without_its_shape_is_refused(
    make_card: MakeCard, keys: dict[str, Any], part: str
) -> None:
    with pytest.raises(CardError) as caught:
        make_card(ontology_changes=[change(**keys)])
    assert len(caught.value.faults) == 1
    assert part in caught.value.faults[0]
    assert "key 'ontology_changes.0" in caught.value.faults[0]


@pytest.mark.parametrize(
    ("key", "wrong"),
    [("colour", "red"), ("colour", "#12345"), ("hotkey", "F1"), ("hotkey", "Q"), ("hotkey", "")],
)
def test_colours_and_hot_keys_have_their_form(make_card: MakeCard, key: str, wrong: str) -> None:
    with pytest.raises(CardError, match=rf"key 'classes.0.{key}'"):
        make_card(classes=[{"name": "a", "definition": "x", key: wrong}])
