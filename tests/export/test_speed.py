"""Speeds: what is counted, in which turn, and on what machine."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_frames import png

from cityforge.export import speed
from cityforge.export.speed import device, measure_speeds, measured_rounds, speeds_of, times_quicker
from cityforge.inference.package import About
from cityforge.provenance import device_name, processor_flags
from cityforge.tasks.picture import decode_and_fit

RAW = [np.zeros((1, 1, 2), np.float32), np.zeros((1, 1, 4), np.float32)]


def test_sides_take_turns_and_see_the_same_pictures(about: Callable[..., About]) -> None:
    seen: dict[str, list[int]] = {"torch": [], "onnx": []}
    turns: list[str] = []

    def way(name: str) -> Any:
        def run(pictures: Any) -> Any:
            seen[name].append(int(pictures[0, 0, 0, 0]))
            turns.append(name)
            return RAW

        return run

    shown = [decode_and_fit(png(level), 32, 32) for level in (10, 20, 30)]
    rounds = measured_rounds(about(), {name: way(name) for name in seen}, shown)  # type: ignore[misc]
    assert seen["torch"] == seen["onnx"]
    assert set(seen["torch"]) == {10, 20, 30}
    changes = sum(one != other for one, other in itertools.pairwise(turns))
    assert changes == 2 * speed.ROUNDS - 1
    for each in rounds.values():
        assert [len(one) for one in each] == [speed.ROUND_RUNS] * speed.ROUNDS  # warm-up left out


def test_the_time_of_a_picture_is_that_of_its_answer(
    about: Callable[..., About], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "ROUNDS", 2)

    def slow(pictures: Any) -> Any:
        time.sleep(0.02)  # what is measured
        return RAW

    (found,) = measure_speeds(about(), {"torch": slow}, [decode_and_fit(png(), 32, 32)])
    assert 20 <= found.p50_ms <= found.p95_ms
    assert found.images_per_s == pytest.approx(1000 / found.p50_ms, rel=0.8)
    assert found.images_per_s <= 50


def test_percentiles_are_over_all_rounds_and_the_ratio_over_pairs() -> None:
    quick = [np.array([1.0, 1.0, 4.0]), np.array([3.0, 3.0, 3.0])]
    slow = [np.array([2.0, 2.0, 2.0]), np.array([12.0, 12.0, 12.0])]  # a neighbour at work
    found = {each.name: each for each in speeds_of({"int8": quick, "onnx": slow})}
    assert found["int8"].p50_ms == 3.0
    assert found["int8"].p95_ms == pytest.approx(3.75)
    assert found["int8"].images_per_s == pytest.approx(1000 / 2.5)
    assert times_quicker({"int8": quick, "onnx": slow}, "int8", "onnx") == 3.0  # of 2 and 4


def test_the_device_is_this_machine() -> None:
    found = device()
    assert found.threads == len(os.sched_getaffinity(0))
    assert device_name() == f"{found.processor}, {found.threads} cores"
    assert found.runtime.startswith("onnxruntime 1.")
    assert "CPUExecutionProvider" in found.providers
    assert " " not in "".join(processor_flags())
