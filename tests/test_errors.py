"""Errors: one line that says what was expected, what was found, where, and what to do."""

from __future__ import annotations

import pickle

import pytest

from cityforge import errors
from cityforge.errors import CardError, CityforgeError, FootageError, NameUnknown, suggest

TWELVE = ", ".join(f"n{number:02}" for number in range(12))


def tree(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(each for below in kind.__subclasses__() for each in tree(below))]


def kinds() -> list[type[Exception]]:
    return [kind for kind in tree(CityforgeError) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ({}, "expected a film"),
        ({"found": "a text"}, "expected a film, found a text"),
        ({"where": "a.mp4"}, "expected a film, in a.mp4"),
        ({"do": "send a film"}, "expected a film: send a film"),
        (
            {"found": "a text", "where": "a.mp4", "do": "send a film"},
            "expected a film, found a text, in a.mp4: send a film",
        ),
    ],
)
def test_line_says_what_is_known(words: dict[str, str], line: str) -> None:
    assert str(FootageError("a film", **words)) == line


def test_docstring_draws_the_whole_tree() -> None:
    drawn = [line for line in (errors.__doc__ or "").splitlines() if "─" in line]
    below = [kind for kind in kinds() if kind is not CityforgeError]
    assert [line.split("─ ")[1].split()[0] for line in drawn] == [kind.__name__ for kind in below]
    assert len(below) == 13


def test_errors_come_whole_through_a_process_pool() -> None:
    checked = 0
    for kind in kinds():
        if kind is NameUnknown:
            error: Exception = NameUnknown("a class", "cra", ["car"], where="card")
        else:
            error = kind("a", found="b", where="c", do="d")
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))
        checked += 1
    assert checked == 14


def test_card_error_keeps_its_faults_through_a_process_pool() -> None:
    error = CardError("a card", where="x.yaml", faults=("one", "two"))
    again = pickle.loads(pickle.dumps(error))
    assert again.faults == ("one", "two")
    assert str(again) == "one\ntwo"


def test_unknown_name_suggests_the_nearest() -> None:
    line = str(NameUnknown("a dataset", "hihgway", ["street", "highway"], where="datasets"))
    assert line == "expected a dataset, found 'hihgway', in datasets: did you mean 'highway'?"


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("x", [], "there is none yet"),
        ("zzz", ["b", "a"], "known: a, b"),
        ("小汽东", ["行人", "小汽车"], "did you mean '小汽车'?"),
        ("zzz", [f"n{i:02}" for i in range(13)], f"known: {TWELVE}, …"),
    ],
)
def test_suggestion(name: str, known: list[str], said: str) -> None:
    assert suggest(name, known) == said
