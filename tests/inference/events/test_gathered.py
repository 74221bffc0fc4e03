"""Crowding, absence and presence: seconds, gaps, ends, and tasks that know no boxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cityforge.cards.events import Absence, Crowding, Presence
from cityforge.inference.events.gathered import AbsenceWatch, CrowdingWatch, PresenceWatch

ZONE = np.array([[0.0, 0.0], [100.0, 0.0], [100.0, 100.0], [0.0, 100.0]])
Moments = Callable[..., Any]


def people(moment: Moments, counts: list[int], step_s: float = 0.5) -> Any:
    """So many people in the zone, one of them a car's length outside."""
    return [
        moment(
            n * step_s,
            [(k + 1, "person", 10.0 * k + 5, 50) for k in range(count)] + [(99, "person", 150, 50)],
        )
        for n, count in enumerate(counts)
    ]


CROWDS: dict[str, tuple[list[int], list[Any]]] = {
    "just long enough": ([4, 4, 4, 4, 4, 2, 2, 2], [(0.0, 2.0, False)]),
    "just too short": ([4, 4, 4, 4, 2, 2, 2], []),
    "not over the limit": ([3] * 10, []),
    "a dip of half a second": ([4, 4, 2, 4, 4], [(0.0, 2.0, True)]),
    "a dip of a second": ([4, 4, 2, 2, 4, 4], []),
    "until the end": ([0, 0, *[5] * 6], [(1.0, 3.5, True)]),
    "nobody": ([0] * 6, []),
}


@pytest.mark.parametrize("case", CROWDS)
def test_crowding(case: str, moment: Moments, told: Moments) -> None:
    counts, expected = CROWDS[case]
    rule = Crowding(kind="crowding", name="queue", zone="yard", most=3, seconds=2.0)
    found = told(CrowdingWatch(rule, ZONE), people(moment, counts))
    assert [(start, end, going_on) for start, end, _, going_on in found] == expected


def test_crowding_says_how_many_at_most_and_who(moment: Moments) -> None:
    rule = Crowding(kind="crowding", name="queue", zone="yard", most=2, seconds=1.0)
    watch = CrowdingWatch(rule, ZONE)
    for each in people(moment, [3, 5, 4]):
        assert watch.look(each) == []
    (event,) = watch.end()
    assert (event.value, event.tracks, event.class_name) == (5, (1, 2, 3, 4, 5), "person")


def test_crowding_by_the_counts_of_a_density_map(moment: Moments, told: Moments) -> None:
    rule = Crowding(kind="crowding", name="square", most=10, seconds=2.0, classes=["person"])
    moments = [
        moment(n, amounts={"person": count, "bicycle": 100.0})
        for n, count in enumerate([9.9, 10.1, 12.5, 11.0, 3.0])
    ]
    watch = CrowdingWatch(rule, None, by_counts=True)
    assert told(watch, moments) == [(1, 3, (), False)]


ABSENCES: dict[str, tuple[list[int], list[Any]]] = {
    "just long enough": ([1, 0, 0, 0, 0, 0, 1], [(0.5, 2.5, False)]),
    "just too short": ([1, 0, 0, 0, 0, 1], []),
    "from the start to the end": ([0] * 8, [(0.0, 3.5, True)]),
    "somebody looks in": ([0, 0, 0, 1, 0, 0, 0], []),
    "twice": ([0] * 5 + [1] + [0] * 5, [(0.0, 2.0, False), (3.0, 5.0, True)]),
    "always there": ([1] * 10, []),
}


@pytest.mark.parametrize("case", ABSENCES)
def test_absence(case: str, moment: Moments, told: Moments) -> None:
    counts, expected = ABSENCES[case]
    rule = Absence(kind="absence", name="guard", zone="post", seconds=2.0)
    found = told(AbsenceWatch(rule, ZONE), people(moment, counts))
    assert [(start, end, going_on) for start, end, _, going_on in found] == expected


def test_who_is_seen_weakly_makes_an_absence_less_sure(moment: Moments) -> None:
    rule = Absence(kind="absence", name="guard", zone="post", seconds=1.0, classes=["person"])
    watch = AbsenceWatch(rule, ZONE)
    weak = [[("person", 0.4, 50, 50)], [("person", 0.4, 150, 50)], [("car", 0.4, 50, 50)], []]
    for number, each in enumerate(weak):
        watch.look(moment(number, weak=each))
    (event,) = watch.end()
    assert event.confidence == pytest.approx(1 - 0.4 / 4)
    assert (event.class_name, event.tracks) == (None, ())


PRESENCES: dict[str, tuple[list[int], list[Any]]] = {
    "just long enough": ([1, 1, 1, 1, 1, 0, 0, 0, 0], [(0.0, 2.0, False)]),
    "just too short": ([1, 1, 1, 1, 0, 0, 0, 0, 0], []),
    "a gap that is allowed": ([1, 1, 0, 1, 1], [(0.0, 2.0, True)]),
    "a gap that is too long": ([1, 1, 1, 0, 0, 0, 1, 1, 1], []),
    "nothing": ([0] * 9, []),
}


@pytest.mark.parametrize("case", PRESENCES)
def test_presence(case: str, moment: Moments, told: Moments) -> None:
    counts, expected = PRESENCES[case]
    rule = Presence(kind="presence", name="full bin", zone="kerb", seconds=2.0, gap_s=1.0)
    found = told(PresenceWatch(rule, ZONE), people(moment, counts))
    assert [(start, end, going_on) for start, end, _, going_on in found] == expected


def test_without_a_gap_one_moment_unseen_ends_it(moment: Moments, told: Moments) -> None:
    rule = Presence(kind="presence", name="full bin", seconds=1.0, gap_s=0, classes=["bin"])
    seen = [[(0, "bin", 5, 5)]] * 3 + [[(0, "person", 5, 5)]] + [[(0, "bin", 5, 5)]] * 2
    moments = [moment(n / 2, each) for n, each in enumerate(seen)]
    assert told(PresenceWatch(rule, None), moments) == [(0.0, 1.0, (), False)]


def test_presence_of_a_class_of_the_whole_picture(moment: Moments) -> None:
    rule = Presence(kind="presence", name="flood", seconds=2.0, gap_s=0.5, classes=["flood"])
    watch = PresenceWatch(rule, None, by_classes=True)
    moments = [moment(n, amounts={"flood": 0.9} if n < 3 else {"dry": 0.8}) for n in range(4)]
    (event,) = [each for one in moments for each in watch.look(one)]
    assert (event.start_s, event.end_s, event.class_name) == (0, 2, "flood")
    assert event.confidence == pytest.approx(0.9)
