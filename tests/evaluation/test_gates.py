"""Each kind of gate against figures whose verdict is known; what is not measured does not pass."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cityforge.cards.algorithm import Gate
from cityforge.errors import NameUnknown
from cityforge.evaluation.bootstrap import SliceFigure
from cityforge.evaluation.evidence import GateResult, Latency
from cityforge.evaluation.gates import Measured, hold_gates
from cityforge.evaluation.proof import (
    Against,
    Change,
    DataBasis,
    Device,
    FailureResult,
    Interval,
    Parity,
    Seeds,
    Side,
    Spread,
    Unseen,
)

NAN = math.nan
NIGHT = {"by": "lighting", "name": "night"}


def change(this: float, low: float | None, high: float | None) -> Change:
    return Change(champion=0.6, this=this, difference=this - 0.6, low=low, high=high)


def basis(**known: object) -> DataBasis:
    facts: dict[str, Any] = {
        "frames": {}, "boxes": {}, "films": 0, "cameras": [], "first": None, "last": None,
        "annotators": {}, "lawful_basis": [], "leak": None, "nearest": None, "agreement": None,
        "checks_failed": 0,
    }  # fmt: skip
    return DataBasis(**{**facts, **known})


def failed(passed: bool) -> FailureResult:
    return FailureResult(failure_id="f", said="missed", passed=passed, found="")


AGAINST = Against(
    version=3, package_digest="d", frames=9,
    changes={
        "map50": change(0.61, -0.02, 0.04),
        "map50, lighting night": change(0.5, -0.15, -0.05),
        "map75": change(0.61, None, None),
    },
)  # fmt: skip
PROOF: dict[str, Any] = {
    "parity": Parity(
        frames=4,
        sides=[Side(name="torch", score=0.6), Side(name="onnx", score=0.6, box_px=0.004)],
    ),
    "device": Device(processor="Xeon 8481C", threads=2, runtime="onnxruntime 1", providers=[]),
    "against": AGAINST,
    "data": basis(leak=0.0, agreement=0.9, checks_failed=1),
    "seeds": Seeds(
        count=3, figures={"map50": Spread(mean=0.6, deviation=0.02, low=0.55, high=0.65)}
    ),
    "unseen": Unseen(cameras=["北门"], frames=3, boxes=9, metrics={"map50": 0.4}),
    "failures": [failed(True), failed(True)],
}
MEASURED = Measured(
    task="detection",
    metrics={"map50": 0.61, "map50_95": 0.3, "map75": NAN, "ar100": 0.5},
    intervals={"map50": Interval(low=0.55, high=0.66)},
    slices={
        ("lighting", "night"): SliceFigure(0.5, 0.41, 0.6, False, 90),
        ("lighting", "day"): SliceFigure(0.8, 0.7, 0.9, False, 300),
        ("camera", "北门"): SliceFigure(0.9, 0.2, 1.0, True, 7),
        ("camera", "港口"): SliceFigure(NAN, NAN, NAN, False, 40),
    },
    latency=Latency(p50_ms=4.0, p95_ms=9.0, images_per_s=200.0, device="Xeon 8481C, 2 threads"),
    proof=PROOF,
)


def held(measured: Measured = MEASURED, **gate: Any) -> GateResult:
    result = hold_gates([Gate(**gate)], measured)
    return next(each for each in result if each.name == gate["metric"])


@pytest.mark.parametrize(
    ("gate", "passed", "value", "of", "why"),
    [
        ({"metric": "map50", "floor": 0.61}, True, 0.61, "", ""),
        ({"metric": "map50", "floor": 0.62}, False, 0.61, "", ""),
        ({"metric": "map50", "ceiling": 0.6}, False, 0.61, "", ""),
        ({"metric": "map75", "floor": 0.0}, False, None, "", "could not be measured"),
        ({"metric": "map50", "floor": 0.55, "end": "low"}, True, 0.55, "low end", ""),
        ({"metric": "map50", "floor": 0.56, "end": "low"}, False, 0.55, "low end", ""),
        ({"metric": "map50", "ceiling": 0.66, "end": "high"}, True, 0.66, "high end", ""),
        (
            {"metric": "map50_95", "floor": 0.1, "end": "low"},
            False, None, "low end", "no interval was resampled",
        ),
        ({"metric": "map50", "floor": 0.5, "slice": NIGHT}, True, 0.5, "lighting night", ""),
        (
            {"metric": "map50", "floor": 0.5, "slice": NIGHT, "end": "low"},
            False, 0.41, "lighting night, low end", "",
        ),
        (
            {"metric": "map50", "floor": 0.5, "slice": {"by": "lighting", "name": "nigt"}},
            False, None, "lighting nigt",
            "no such slice in the test split: did you mean 'night'?",
        ),
        (
            {"metric": "map50", "floor": 0.5, "slice": {"by": "weather", "name": "fog"}},
            False, None, "weather fog",
            "no such slice in the test split: no frame states its weather",
        ),
        (
            {"metric": "map50", "floor": 0.5, "slice": {"by": "camera", "name": "北门"}},
            False, 0.9, "camera 北门", "too few boxes (7)",
        ),
        (
            {"metric": "map50", "floor": 0.0, "slice": {"by": "camera", "name": "港口"}},
            False, None, "camera 港口", "could not be measured",
        ),
        (
            {"metric": "map50_95", "floor": 0.0, "slice": NIGHT},
            False, None, "lighting night", "slices are measured by map50",
        ),
        ({"metric": "map50", "most_drop": 0.02}, True, -0.02, "drop from the champion", ""),
        ({"metric": "map50", "most_drop": 0.01}, False, -0.02, "drop from the champion", ""),
        (
            {"metric": "map50", "most_drop": 0.1, "slice": NIGHT},
            False, -0.15, "lighting night, drop from the champion", "",
        ),
        (
            {"metric": "map75", "most_drop": 0.1},
            False, None, "drop from the champion", "no interval was resampled",
        ),
        (
            {"metric": "ar100", "most_drop": 0.1},
            False, None, "drop from the champion", "ar100 was not held against the champion",
        ),
        ({"metric": "latency_p50_ms", "ceiling": 4.0}, True, 4.0, "", ""),
        ({"metric": "latency_p95_ms", "ceiling": 8.0}, False, 9.0, "", ""),
        ({"metric": "latency_p50_ms", "ceiling": 5, "device": "Xeon*"}, True, 4.0, "on Xeon*", ""),
        (
            {"metric": "latency_p50_ms", "ceiling": 5, "device": "*Orin*"},
            False, 4.0, "on *Orin*", "measured on another device: Xeon 8481C, 2 threads",
        ),
        ({"metric": "parity_box_px", "ceiling": 0.01}, True, 0.004, "", ""),
        ({"metric": "parity_box_px", "ceiling": 0.001}, False, 0.004, "", ""),
        ({"metric": "parity_answer", "ceiling": 1}, False, None, "", "could not be measured"),
        ({"metric": "leak", "ceiling": 0.0}, True, 0.0, "", ""),
        ({"metric": "checks_failed", "ceiling": 0}, False, 1.0, "", ""),
        ({"metric": "agreement", "floor": 0.9}, True, 0.9, "", ""),
        ({"metric": "unseen", "floor": 0.4}, True, 0.4, "", ""),
        ({"metric": "seeds", "floor": 3}, True, 3.0, "", ""),
        ({"metric": "over_seeds", "floor": 0.56}, False, 0.55, "", ""),
        ({"metric": "failures_passed", "floor": 1.0}, True, 1.0, "", ""),
    ],
)  # fmt: skip
def test_a_gate(gate: dict[str, Any], passed: bool, value: float | None, of: str, why: str) -> None:
    found = held(**gate)
    assert (found.passed, found.value, found.of, found.why) == (passed, value, of, why)


@pytest.mark.parametrize(
    ("gate", "passed", "why"),
    [
        ({"metric": "map50", "most_drop": 0.0}, True, "no champion yet: nothing to drop from"),
        ({"metric": "failures_passed", "floor": 1}, True, "no field failure was confirmed yet"),
        ({"metric": "latency_p50_ms", "ceiling": 1e9}, False, "latency was not measured"),
        ({"metric": "parity_box_px", "ceiling": 1e9}, False, "ONNX was not held against torch"),
        ({"metric": "leak", "ceiling": 1}, False, "the leak of the split was not measured"),
        ({"metric": "agreement", "floor": 0}, False, "no frame was labelled by two people"),
        (
            {"metric": "over_seeds", "floor": 0},
            False, "it was trained once: cityforge run NAME --seeds 3",
        ),
        (
            {"metric": "unseen", "floor": 0},
            False, "no camera was left out: name some in split.unseen_cameras",
        ),
    ],
)  # fmt: skip
def test_without_anything_to_hold(gate: dict[str, Any], passed: bool, why: str) -> None:
    bare = Measured(task="detection", metrics={"map50": 0.5}, proof={"data": basis()})
    found = held(bare, **gate)
    assert (found.passed, found.value, found.why) == (passed, None, why)


def test_one_training_is_one_seed() -> None:
    bare = Measured(task="detection", metrics={"map50": 0.5})
    once, thrice = hold_gates([Gate(metric="seeds", floor=1), Gate(metric="seeds", floor=3)], bare)
    assert (once.value, once.passed, thrice.passed) == (1.0, True, False)


def test_an_error_is_held_by_its_high_end_over_the_seeds() -> None:
    spread = Spread(mean=4.0, deviation=0.5, low=3.0, high=5.0)
    crowd = Measured(
        task="density",
        metrics={"mae": 4.0},
        proof={"seeds": Seeds(count=3, figures={"mae": spread})},
    )
    (found,) = hold_gates([Gate(metric="over_seeds", ceiling=4.5)], crowd)
    assert (found.value, found.passed) == (5.0, False)


def test_a_champion_that_cannot_be_compared_is_no_excuse() -> None:
    found = held(
        Measured(task="detection", metrics={"map50": 1.0}, not_compared="it is of task density"),
        metric="map50", most_drop=0.5,
    )  # fmt: skip
    assert (found.passed, found.why) == (False, "it is of task density")


@pytest.mark.parametrize(
    ("high", "most", "passed"), [(0.2, 0.2, True), (0.3, 0.2, False), (-0.1, 0.0, True)]
)
def test_of_an_error_a_drop_is_a_rise(high: float, most: float, passed: bool) -> None:
    against = AGAINST.model_copy(update={"changes": {"mae": change(0.6, -0.4, high)}})
    measured = Measured(task="density", metrics={"mae": 0.6}, proof={"against": against})
    found = held(measured, metric="mae", most_drop=most)
    assert (found.passed, found.value, found.floor, found.ceiling) == (passed, high, None, most)


def test_slices_of_several_labels_are_measured_by_map() -> None:
    measured = Measured(
        task="classification", metrics={"map": 0.5, "accuracy": 0.1}, main="map",
        slices={("lighting", "night"): SliceFigure(0.5, NAN, NAN, False, 30)},
    )  # fmt: skip
    assert held(measured, metric="map", floor=0.5, slice=NIGHT).passed
    assert held(measured, metric="accuracy", floor=0, slice=NIGHT).why == (
        "slices are measured by map"
    )


@pytest.mark.parametrize(("second", "share", "passed"), [(True, 1.0, True), (False, 0.5, False)])
def test_failures_are_a_gate_that_no_card_names(second: bool, share: float, passed: bool) -> None:
    proof = {"failures": [failed(True), failed(second)]}
    measured = Measured(task="detection", metrics={"map50": 0.5}, proof=proof)
    results = hold_gates([Gate(metric="map50", floor=0.1)], measured)
    assert [(g.name, g.value, g.passed) for g in results] == [
        ("map50", 0.5, True), ("failures_passed", share, passed),
    ]  # fmt: skip
    own = hold_gates([Gate(metric="failures_passed", floor=0.5)], measured)
    assert [(g.floor, g.passed) for g in own] == [(0.5, True)]


def test_a_figure_that_the_task_has_not_is_named() -> None:
    with pytest.raises(NameUnknown, match="found 'mae', in gates"):
        held(metric="mae", ceiling=1)
