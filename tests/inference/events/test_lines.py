"""Who crosses a line is counted once, by direction; who trembles or goes around is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cityforge.cards.events import LineCount
from cityforge.inference.events.lines import LineWatch

# From the left to the right of the picture: who moves down crosses from its left to its right.
LINE = np.array([[0.0, 50.0], [100.0, 50.0]])
RULE = LineCount(kind="line_count", name="southbound", line="stop line")
Moments = Callable[..., Any]

PATHS: dict[str, tuple[list[tuple[float, float]], tuple[int, int]]] = {
    "down": ([(50, 20), (50, 40), (50, 60)], (1, 0)),
    "up": ([(50, 80), (50, 30)], (0, 1)),
    "down and up again": ([(50, 30), (50, 70), (50, 30)], (1, 1)),
    "slowly, with points on the line": ([(50, 48), (50, 49), (50, 50), (50, 50), (50, 52)], (1, 0)),
    "trembles, then goes on": ([(50, 40), (50, 50.5), (50, 49.6), (50, 50.4), (50, 60)], (1, 0)),
    "trembles, then turns back": ([(50, 40), (50, 50.5), (50, 49.5), (50, 50.5), (50, 40)], (0, 0)),
    "trembles for ever": ([(50, 40), *[(50, 50.5), (50, 49.5)] * 20], (0, 0)),
    "appears on the line": ([(50, 50.2), (50, 60)], (0, 0)),
    "around the left end": ([(20, 30), (-20, 30), (-20, 70), (20, 70)], (0, 0)),
    "past the right end": ([(101, 30), (101, 70)], (0, 0)),
    "through the very end": ([(100, 30), (100, 70)], (1, 0)),
    "out around an end, back through it": (
        [(20, 30), (-20, 30), (-20, 70), (20, 70), (20, 30)],
        (0, 1),
    ),
    "through it while it is near, around back": (
        [(99, 40), (99, 50.5), (103, 50.5), (103, 40)],
        (0, 0),
    ),
    "along it": ([(10, 50.5), (40, 49.5), (70, 50.5), (90, 49.5)], (0, 0)),
    "in one leap": ([(50, -500), (50, 500)], (1, 0)),
}


@pytest.mark.parametrize("case", PATHS)
def test_paths(case: str, moment: Moments) -> None:
    points, expected = PATHS[case]
    watch = LineWatch(RULE, LINE)
    happened = [
        each
        for number, (x, y) in enumerate(points)
        for each in watch.look(moment(number / 5, [(7, "car", x, y)]))
    ]
    assert tuple(watch.counts.get("car", [0, 0])) == expected
    found = [each.direction for each in happened]
    assert (found.count("forward"), found.count("backward")) == expected
    assert watch.end() == []


def test_the_event_says_between_which_moments(moment: Moments) -> None:
    watch = LineWatch(RULE, LINE)
    events = [
        each
        for at_s, y in ((2.0, 20), (2.4, 49.2), (2.6, 50.8), (3.0, 60))
        for each in watch.look(moment(at_s, [(7, "car", 50, y)]))
    ]
    (event,) = events
    assert (event.start_s, event.end_s, event.tracks) == (2.4, 2.6, (7,))
    assert (event.zone, event.class_name, event.rule) == ("stop line", "car", "southbound")
    assert event.confidence == pytest.approx(0.8)


def test_a_track_that_is_told_late_is_counted_by_where_it_was_before(moment: Moments) -> None:
    watch = LineWatch(RULE, LINE)
    assert watch.look(moment(0.0)) == []
    late = moment(0.2, [(1, "car", 50, 80)], earlier={1: [(0.0, np.array([50.0, 20.0]))]})
    (event,) = watch.look(late)
    assert (event.start_s, event.end_s) == (0.0, 0.2)


@pytest.mark.parametrize(
    ("before", "now", "expected", "at_s"),
    [
        ((20, 80), 90, (1, 0), [(0.0, 0.2)]),
        ((80, 20), 10, (0, 1), [(0.0, 0.2)]),
        ((20, 80), 20, (1, 1), [(0.0, 0.2), (0.2, 0.4)]),
        ((20, 30), 80, (1, 0), [(0.2, 0.4)]),
    ],
)
def test_each_step_before_a_track_was_told_counts(
    moment: Moments,
    before: tuple[float, float],
    now: float,
    expected: tuple[int, int],
    at_s: list[tuple[float, float]],
) -> None:
    """A track of which more than one box may have been the second is told with its third."""
    watch = LineWatch(RULE, LINE)
    earlier = [(0.2 * number, np.array([50.0, y])) for number, y in enumerate(before)]
    found = watch.look(moment(0.4, [(1, "car", 50, now)], earlier={1: earlier}))
    assert tuple(watch.counts["car"]) == expected
    assert [(each.start_s, each.end_s) for each in found] == at_s
    assert {each.tracks for each in found} == {(1,)}


def test_only_the_named_classes_are_counted_and_they_are_from_the_start(moment: Moments) -> None:
    watch = LineWatch(RULE.model_copy(update={"classes": ["bus", "truck"]}), LINE)
    for number, y in enumerate((20, 80)):
        watch.look(moment(number, [(1, "car", 30, y), (2, "bus", 60, y), (0, "bus", 80, y)]))
    assert watch.counts == {"bus": [1, 0], "truck": [0, 0]}


def test_a_slanted_line_has_its_own_sides(moment: Moments) -> None:
    watch = LineWatch(RULE, np.array([[60.0, 100.0], [40.0, 0.0]]))  # upwards
    for number, x in enumerate((10, 90)):
        watch.look(moment(number, [(1, "car", x, 50)]))
    assert watch.counts == {"car": [1, 0]}  # looking up, the right is the right


def test_tracks_that_are_gone_are_forgotten(moment: Moments) -> None:
    watch = LineWatch(RULE, LINE)
    for number in range(1000):
        watch.look(moment(number, [(number + 1, "car", 50, 20)]))
    assert len(watch._paths) < 10
