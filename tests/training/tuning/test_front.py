"""The front against Optuna's own, the card's rule on tiny cases, and a picture that can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cityforge.cards.algorithm import Choice
from cityforge.errors import DataError
from cityforge.training.front import Point, draw_front, front_of, pick


def points(*figures: tuple[float, float | None], **more: Any) -> list[Point]:
    return [Point(i, "complete", score, ms, **more) for i, (score, ms) in enumerate(figures)]


FOUR = points((0.40, 2.0), (0.55, 9.0), (0.50, 4.0), (0.45, 5.0))


def choice(**values: Any) -> Choice:
    return Choice.model_validate({"prefer": "best", **values})


def test_front_is_the_one_that_optuna_finds() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    rng = np.random.default_rng(1)
    checked = 0
    for _ in range(20):
        figures = np.round(rng.random((12, 2)), 2)
        study = optuna.create_study(directions=["maximize", "minimize"])
        for score, ms in figures:
            study.add_trial(optuna.create_trial(values=[float(score), float(ms)]))
        found = front_of(points(*[(float(a), float(b)) for a, b in figures]))
        theirs = {tuple(each.values) for each in study.best_trials}
        assert {(each.score, each.latency_ms) for each in found} == theirs
        checked += len(found)
    assert checked > 40


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (FOUR, [0, 2, 1]),
        (points((0.3, 1.0), (0.3, 1.0)), [0]),  # equal ones: the earliest
        (points((0.3, 1.0), (0.4, 1.0)), [1]),
        (points((0.3, None), (0.5, None), (0.4, None)), [1]),  # one objective: the best
        (points((0.3, 1.0), fault="no number"), []),
        ([Point(0, "pruned", 0.9), Point(1, "complete", 0.2)], [1]),
        ([], []),
    ],
)
def test_front(given: list[Point], expected: list[int]) -> None:
    assert [each.number for each in front_of(given)] == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, 1),
        ({"most_ms": 5.0}, 2),
        ({"most_ms": 2.0}, 0),
        ({"least_score": 0.5}, 1),
        ({"prefer": "fastest", "least_score": 0.3}, 0),
        ({"prefer": "fastest", "least_score": 0.45}, 2),
        ({"prefer": "fastest", "least_score": 0.51, "most_ms": 9.0}, 1),
    ],
)
def test_rule_picks(values: dict[str, Any], expected: int) -> None:
    taken, why = pick(FOUR, choice(**values))
    assert taken.number == expected
    assert f"trial {expected} with {taken.score:.3f} in {taken.latency_ms:.2f} ms" in why


@pytest.mark.parametrize(
    ("values", "nearest"),
    [
        ({"least_score": 0.6}, "trial 1 with 0.550 in 9.00 ms"),
        ({"least_score": 0.5, "most_ms": 3.0}, "trial 0 with 0.400 in 2.00 ms"),
        ({"most_ms": 1.0}, "trial 0 with 0.400 in 2.00 ms"),
        ({"prefer": "fastest", "least_score": 0.9}, "trial 1 with 0.550 in 9.00 ms"),
    ],
)
def test_less_than_the_card_asks_for_is_never_picked(values: dict[str, Any], nearest: str) -> None:
    with pytest.raises(DataError) as error:
        pick(FOUR, choice(**values))
    line = str(error.value)
    assert line.startswith("expected a trial ") and "\n" not in line
    assert f"found {nearest} as the nearest of 4" in line


def test_fastest_asks_for_a_score_that_it_must_keep() -> None:
    with pytest.raises(ValueError, match="least_score beside prefer: fastest"):
        choice(prefer="fastest")


@pytest.mark.parametrize("timed", [True, False])
def test_picture_shows_every_trial_and_what_was_picked(tmp_path: Path, timed: bool) -> None:
    from PIL import Image

    given = FOUR if timed else [Point(p.number, p.state, p.score) for p in FOUR]
    given = [*given, Point(4, "pruned", 0.1), Point(5, "fail")]
    pixels = []
    for name, picked in (("with", given[1]), ("without", None)):
        path = tmp_path / f"{name}.png"
        draw_front(path, "垃圾桶识别", given, picked, choice(least_score=0.42), "a CPU, 2 cores")
        image = Image.open(path)
        assert image.size == (1040, 676)
        pixels.append(np.asarray(image.convert("RGB")).astype(int))
    orange = np.abs(pixels[0] - np.array([213, 94, 0])).sum(-1) < 30
    assert orange.sum() > np.sum(np.abs(pixels[1] - np.array([213, 94, 0])).sum(-1) < 30) + 100
    blue = np.abs(pixels[0] - np.array([0, 114, 178])).sum(-1) < 30
    assert blue.sum() > 300  # the front, or the best so far


def test_same_points_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_front(tmp_path / name, "t", FOUR, FOUR[0], choice(), "d")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
