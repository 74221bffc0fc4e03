"""How quick each side is on this machine: the same decoded pictures through each in turn."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.export.found import Device, SideName, Speed
from cityforge.export.sides import Way
from cityforge.inference.package import About
from cityforge.inference.runtime import answer_of, providers
from cityforge.provenance import core_count, processor_name
from cityforge.tasks.picture import Fitted

# Rounds go in turn, so that a neighbour at work slows every side alike.
ROUNDS = 7
ROUND_RUNS = 12
ROUND_S = 1.0  # a slow network is run less often
# Threads of the side before still spin, and caches hold its weights: these do not count.
WARM_UP = 2

Rounds = dict[SideName, list[NDArray[Any]]]  # of each side: milliseconds, an array a round


def measure_speeds(
    about: About, ways: Mapping[SideName, Way], fitted: Sequence[Fitted]
) -> list[Speed]:
    """Time from a decoded and fitted picture to its answer, one picture at a time.

    Args:
        about: of a package, with its thresholds.
        fitted: pictures that are taken in turn; each side sees the same ones.
    """
    return speeds_of(measured_rounds(about, ways, fitted))


def measured_rounds(about: About, ways: Mapping[SideName, Way], fitted: Sequence[Fitted]) -> Rounds:
    """The same, as each round measured it."""
    found: Rounds = {name: [] for name in ways}
    for number in range(ROUNDS):
        for name, way in ways.items():
            found[name].append(_round(about, way, fitted, number * ROUND_RUNS))
    return found


def _round(about: About, way: Way, fitted: Sequence[Fitted], first: int) -> NDArray[Any]:
    spent: list[float] = []
    begun = time.perf_counter()
    for run in range(WARM_UP + ROUND_RUNS):
        picture = fitted[(first + run) % len(fitted)]
        start = time.perf_counter()
        raw = way(picture.canvas[None])
        answer_of(about, [each[0] for each in raw], picture, None)
        spent.append((time.perf_counter() - start) * 1000)
        if run > WARM_UP and time.perf_counter() - begun > ROUND_S:
            break
    return np.array(spent[WARM_UP:])


def speeds_of(rounds: Rounds) -> list[Speed]:
    """Percentiles over all rounds, and how many pictures a second one after another."""
    speeds = []
    for name, each in rounds.items():
        spent = np.concatenate(each)
        half, most = np.percentile(spent, [50, 95])
        speeds.append(Speed(name, float(half), float(most), 1000 / float(spent.mean())))
    return speeds


def times_quicker(rounds: Rounds, quick: SideName, slow: SideName) -> float:
    """How many times `quick` goes into `slow`: the median over rounds that followed each other."""
    pairs = zip(rounds[slow], rounds[quick], strict=True)
    return float(np.median([np.median(one) / np.median(other) for one, other in pairs]))


def device() -> Device:
    """The machine, and what runs models on it."""
    import onnxruntime

    return Device(
        processor=processor_name(),
        threads=core_count(),
        runtime=f"onnxruntime {onnxruntime.__version__}",
        providers=providers(),
    )
