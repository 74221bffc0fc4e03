"""Stays in a zone and standing still: just long enough, with gaps, at the end of a clip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cityforge.cards.events import Dwell, IllegalParking, Stopped
from cityforge.inference.events.stays import DwellWatch, StillWatch

ZONE = np.array([[0.0, 0.0], [100.0, 0.0], [100.0, 100.0], [0.0, 100.0]])
IN, OUT = (50.0, 50.0), (150.0, 50.0)
DWELL = Dwell(kind="dwell", name="waits", zone="yard", seconds=2.0)
STOPPED = Stopped(kind="stopped", name="stands", seconds=2.0)
Moments = Callable[..., Any]


def walk(moment: Moments, places: list[tuple[float, float] | None], step_s: float = 0.2) -> Any:
    """Track 7 at these places, one a step; None: unseen."""
    return [
        moment(round(number * step_s, 6), [(7, "person", *place)] if place else [])
        for number, place in enumerate(places)
    ]


DWELLS: dict[str, tuple[list[Any], list[Any]]] = {
    "just long enough": ([IN] * 11 + [OUT] * 9, [(0.0, 2.0, (7,), False)]),
    "just too short": ([IN] * 10 + [OUT] * 9, []),
    "until the end": ([OUT, *[IN] * 11], [(0.2, 2.2, (7,), True)]),
    "a step out of it in between": ([IN] * 5 + [OUT] + [IN] * 5, [(0.0, 2.0, (7,), True)]),
    "out for too long in between": ([IN] * 6 + [OUT] * 4 + [IN] * 6, []),
    "hidden for a second": ([IN] * 6 + [None] * 5 + [IN] * 2, [(0.0, 2.4, (7,), True)]),
    "hidden for too long": ([IN] * 6 + [None] * 9 + [IN] * 6, []),
    "gone": ([IN] * 12 + [None] * 20, [(0.0, 2.2, (7,), False)]),
    "twice": (
        [IN] * 11 + [OUT] * 10 + [IN] * 11,
        [(0.0, 2.0, (7,), False), (4.2, 6.2, (7,), True)],
    ),
    "never": ([OUT] * 20, []),
}


@pytest.mark.parametrize("case", DWELLS)
def test_dwell(case: str, moment: Moments, told: Moments) -> None:
    places, expected = DWELLS[case]
    found = told(DwellWatch(DWELL, ZONE), walk(moment, places))
    assert found == expected


def test_dwell_begins_where_the_track_was_seen_before_it_was_told(
    moment: Moments, told: Moments
) -> None:
    moments = walk(moment, [None, *[IN] * 10])
    moments[1] = moment(0.2, [(7, "person", *IN)], earlier={7: [(0.0, np.array(IN))]})
    assert told(DwellWatch(DWELL, ZONE), moments) == [(0.0, 2.0, (7,), True)]
    moments[1] = moment(0.2, [(7, "person", *IN)], earlier={7: [(0.0, np.array(OUT))]})
    assert told(DwellWatch(DWELL, ZONE), moments) == []


def test_each_track_has_its_own_stay_and_those_without_one_have_none(
    moment: Moments, told: Moments
) -> None:
    moments = [
        moment(n / 5, [(1, "person", *IN), (0, "person", *IN), (2, "car", *IN)]) for n in range(15)
    ]
    rule = DWELL.model_copy(update={"classes": ["person"]})
    assert told(DwellWatch(rule, ZONE), moments) == [(0.0, 2.8, (1,), True)]


# The box's side is 10 pixels, so a tenth is one pixel.
def trembling(count: int, at: float = 50.0) -> list[tuple[float, float]]:
    noise = np.random.default_rng(1).normal(0, 0.3, (count, 2))
    return [(at + float(x), 50 + float(y)) for x, y in noise]


def moving(count: int, from_x: float, step: float) -> list[tuple[float, float]]:
    return [(from_x + step * n, 50.0) for n in range(count)]


STOPS: dict[str, tuple[list[Any], list[Any]]] = {
    "stands": ([IN] * 11, [(0.0, 2.0, (7,), True)]),
    "just too short": ([IN] * 10, []),
    "trembles where it stands": (trembling(60), [(0.0, 11.8, (7,), True)]),
    "moves": (moving(40, 0, 2), []),
    "creeps, a box's length in ten seconds": (moving(51, 0, 0.2), []),
    "drifts by less than a tenth": (moving(11, 50, 0.05), [(0.0, 2.0, (7,), True)]),
    "one box is off": ([*[IN] * 5, (58.0, 50.0), *[IN] * 5], [(0.0, 2.0, (7,), True)]),
    "hidden for a second": ([IN] * 6 + [None] * 5 + [IN] * 2, [(0.0, 2.4, (7,), True)]),
    "too long hidden": ([IN] * 6 + [None] * 9 + [IN] * 6, []),
}


@pytest.mark.parametrize("case", STOPS)
def test_stopped(case: str, moment: Moments, told: Moments) -> None:
    places, expected = STOPS[case]
    found = told(StillWatch(STOPPED, None), walk(moment, places))
    assert found == expected


def test_a_car_that_comes_to_a_stop_and_goes_on(moment: Moments, told: Moments) -> None:
    places = moving(10, 20, 4) + [(60.0, 50.0)] * 20 + moving(10, 64, 4)
    ((start, end, tracks, going_on),) = told(StillWatch(STOPPED, None), walk(moment, places))
    assert 1.6 <= start <= 2.4 and 5.6 <= end <= 6.4  # it stood from 2.0 to 5.8
    assert (tracks, going_on) == ((7,), False)


def test_parking_is_forbidden_in_the_zone_only(moment: Moments, told: Moments) -> None:
    rule = IllegalParking(kind="illegal_parking", name="no parking", zone="kerb", seconds=2.0)
    moments = [moment(n / 5, [(1, "car", *IN), (2, "car", *OUT)]) for n in range(12)]
    assert told(StillWatch(rule, ZONE), moments) == [(0.0, 2.2, (1,), True)]


def test_nobody_is_remembered_for_ever(moment: Moments) -> None:
    dwell, still = DwellWatch(DWELL, ZONE), StillWatch(STOPPED, None)
    for number in range(300):
        for watch in (dwell, still):
            watch.look(moment(number, [(number + 1, "car", *IN)]))
    assert len(dwell._spells) < 5 and len(still._spots) < 5
