"""Made-up proof of every kind, to lay over a small evaluation."""

from __future__ import annotations

from typing import Any

from cityforge.evaluation.evidence import Evidence, GateResult
from cityforge.evaluation.proof import (
    Against,
    Calibration,
    CalibrationBin,
    Change,
    DataBasis,
    Device,
    FailureResult,
    Interval,
    Parity,
    Seeds,
    Side,
    Speed,
    Spread,
    Unseen,
)


def change(difference: float, low: float | None, high: float | None) -> Change:
    return Change(champion=0.5, this=0.5 + difference, difference=difference, low=low, high=high)


def against(**changes: Change) -> Against:
    return Against(version=3, package_digest="ab" * 32, frames=180, changes=changes)


def gate(name: str = "map50", passed: bool = True, **given: Any) -> GateResult:
    limits = {"floor": 0.5} if "ceiling" not in given else {"floor": None}
    return GateResult(**{"name": name, "value": 0.6, "passed": passed, **limits, **given})


def basis(**changes: Any) -> DataBasis:
    given: dict[str, Any] = {
        "frames": {"train": 1200, "val": 180, "test": 90, "unseen": 60},
        "boxes": {"train": 9100, "val": 1380, "test": 1427},
        "films": 91, "cameras": ["北门", "Old Harbour"], "first": "2026-03-14T09:00:00+00:00",
        "last": "2026-04-16T21:00:00+00:00", "annotators": {"李雷": 5200, "han": 4100},
        "lawful_basis": ["traffic safety order 12"], "leak": 0.0, "nearest": 0.83,
        "agreement": 0.91, "checks_failed": 0,
    }  # fmt: skip
    return DataBasis(**{**given, **changes})


def parity() -> Parity:
    slices = {"lighting day": 0.55, "lighting night": 0.44}
    return Parity(
        frames=64,
        sides=[
            Side(name="torch", score=0.5756, slices=slices),
            Side(name="onnx", score=0.5756, slices=slices, box_px=0.00003, answer=4e-6),
            Side(name="int8", score=0.561, slices=slices, box_px=4.2, answer=0.11, unmatched=31),
            Side(name="endpoint", score=0.5756, slices=slices, box_px=0.004, answer=0.00005),
        ],
    )


def proven(evidence: Evidence, main: str, **changes: Any) -> Evidence:
    """Evidence with everything that an approver may ask for.

    Args:
        main: the figure that unseen cameras, intervals and the champion speak of.
    """
    given = {
        "intervals": {main: Interval(low=0.41, high=0.63)},
        "calibration": Calibration(
            ece=0.061,
            bins=[
                CalibrationBin(score=0.1, right=0.01, answers=900),
                CalibrationBin(score=0.6, right=0.5, answers=90),
                CalibrationBin(score=0.9, right=0.8, answers=7),
            ],
        ),
        "unseen": Unseen(
            cameras=["东桥"], frames=60, boxes=310, metrics={main: 0.377},
            intervals={main: Interval(low=0.3, high=0.45)},
        ),
        "parity": parity(),
        "speeds": [
            Speed(name="torch", p50_ms=52.0, p95_ms=60.0, images_per_s=19.0),
            Speed(name="onnx", p50_ms=8.0, p95_ms=9.9, images_per_s=110.9),
        ],
        "device": Device(
            processor="Test CPU", threads=2, runtime="onnxruntime 9.9",
            providers=["CPUExecutionProvider"],
        ),
        "against": against(**{main: change(0.026, 0.004, 0.047)}),
        "data": basis(),
        "seeds": Seeds(
            count=3, figures={main: Spread(mean=0.58, deviation=0.012, low=0.551, high=0.612)}
        ),
        "failures": [
            FailureResult(failure_id="f-1", said="雨夜漏报公交车", passed=True, found="bus 0.71"),
            FailureResult(failure_id="f-2", said="a shadow", passed=False, found="car 0.58"),
        ],
    }  # fmt: skip
    return evidence.model_copy(update={**given, **changes})
