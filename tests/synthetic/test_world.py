"""How traffic and people move through the crossing."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from cityforge.synthetic.actors import CLASSES
from cityforge.synthetic.signals import CYCLE_S, Signals
from cityforge.synthetic.world import Moment, moments


@pytest.fixture(scope="module")
def minute() -> list[Moment]:
    return list(moments(11, 0, "day", frames=600, fps=10.0, prefix="t"))


def test_every_class_takes_part(minute: list[Moment]) -> None:
    kinds = {actor.kind for moment in minute for actor in moment.actors}
    assert kinds == set(CLASSES)


def test_tracks_move_smoothly(minute: list[Moment]) -> None:
    steps = 0
    for before, after in pairwise(minute):
        places = {actor.track_id: actor for actor in before.actors}
        for actor in after.actors:
            if actor.track_id not in places:
                continue
            was = places[actor.track_id]
            moved = math.hypot(actor.east_m - was.east_m, actor.north_m - was.north_m)
            assert moved < 1.3, actor.track_id
            steps += 1
    assert steps > 5000


def test_vehicles_do_not_drive_through_each_other(minute: list[Moment]) -> None:
    pairs = 0
    for moment in minute:
        cars = [actor for actor in moment.actors if actor.kind in ("car", "bus", "truck")]
        for index, one in enumerate(cars):
            for other in cars[:index]:
                apart = math.hypot(one.east_m - other.east_m, one.north_m - other.north_m)
                assert apart > 1.7, (moment.seconds, one.track_id, other.track_id)
                pairs += 1
    assert pairs > 5000


def test_queues_form_at_red(minute: list[Moment]) -> None:
    standing = [sum(a.speed < 0.2 for a in m.actors if a.kind == "car") for m in minute]
    assert max(standing) >= 2
    assert min(standing) < max(standing)


def test_the_world_is_the_same_for_the_same_seed_and_differs_for_another() -> None:
    def look(seed: int, session: int, condition: str) -> tuple[object, ...]:
        return next(iter(moments(seed, session, condition, frames=1, fps=10.0, prefix="t"))).actors

    assert look(3, 0, "day") == look(3, 0, "day")
    assert look(3, 0, "day") != look(4, 0, "day")
    assert look(3, 0, "day") != look(3, 1, "day")
    assert look(3, 0, "day") != look(3, 0, "night")


def test_crossing_streets_are_never_green_together() -> None:
    signals = Signals(offset_s=3.0)
    for tenth in range(int(CYCLE_S * 10)):
        seconds = tenth / 10
        lights = {signals.light("north", seconds), signals.light("east", seconds)}
        assert "red" in lights
        if signals.walk("north", seconds):
            assert signals.light("north", seconds) == "red"
