"""One world at one recording: the same traffic for every camera that looks at it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cityforge.synthetic.actors import Actor
from cityforge.synthetic.signals import CYCLE_S, Light, Signals
from cityforge.synthetic.street import ARMS
from cityforge.synthetic.traffic import Traffic
from cityforge.synthetic.walkers import Walkers

WARM_UP_S = 48.0
LONGEST_STEP_S = 0.1
PEOPLE_GAP_S = {"day": 6.0, "rain": 8.0, "night": 8.0}


@dataclass(frozen=True)
class Moment:
    """The world at `seconds` after the clip's start."""

    seconds: float
    actors: tuple[Actor, ...]
    lights: dict[str, Light]


def moments(
    seed: int, session: int, condition: str, *, frames: int, fps: float, prefix: str
) -> Iterator[Moment]:
    """The world at each frame of a recording; it depends on nothing but the arguments."""
    salt = sum(ord(letter) << (8 * i) for i, letter in enumerate(condition[:4]))
    rng = np.random.default_rng([seed, session, salt])
    signals = Signals(float(rng.uniform(0.0, CYCLE_S)))
    traffic = Traffic(np.random.default_rng(rng.integers(1 << 62)), signals)
    gap = PEOPLE_GAP_S.get(condition, 3.0)
    walkers = Walkers(np.random.default_rng(rng.integers(1 << 62)), signals, mean_gap_s=gap)

    def advance(seconds: float, dt: float) -> None:
        walkers.step(seconds, dt)
        traffic.step(seconds, dt, walkers.zebras_in_use(seconds))

    steps = math.ceil(1.0 / fps / LONGEST_STEP_S - 1e-9)
    dt = 1.0 / fps / steps
    clock = 0.0
    for _ in range(math.ceil(WARM_UP_S / dt)):
        advance(clock, dt)
        clock += dt
    for frame in range(frames):
        actors = (*traffic.actors(prefix), *walkers.actors(prefix))
        lights = {arm: signals.light(arm, clock) for arm in ARMS}
        yield Moment(frame / fps, actors, lights)
        for _ in range(steps):
            advance(clock, dt)
            clock += dt
