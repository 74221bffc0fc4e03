"""The card's gates against what was measured; what could not be measured does not pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from cityforge.cards.algorithm import TRUST, Gate, PartOf
from cityforge.errors import NameUnknown, suggest
from cityforge.evaluation.evidence import GateResult, Latency
from cityforge.evaluation.headline import HEADLINE, SMALLER_IS_BETTER
from cityforge.evaluation.proof import Change, FailureResult, Interval, Spread

if TYPE_CHECKING:
    from cityforge.evaluation.bootstrap import SliceFigure

FAILURES = "failures_passed"
EVERY_FAILURE = Gate(metric=FAILURES, floor=1.0)


@dataclass(frozen=True)
class Measured:
    """What gates are held against.

    Attributes:
        metrics: figures on the test split; nan where undefined.
        main: the figure that slices and unseen cameras are measured by.
        slices: that figure of each slice, by kind and name.
        proof: fields of `Evidence`: parity, device, against, data, seeds, unseen, failures.
        not_compared: why there is a champion and yet no `against`.
    """

    task: str
    metrics: Mapping[str, float]
    main: str = ""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    slices: Mapping[tuple[str, str], SliceFigure] = field(default_factory=dict)
    latency: Latency | None = None
    proof: Mapping[str, Any] = field(default_factory=dict)
    not_compared: str = ""

    @property
    def main_figure(self) -> str:
        """`main`, or the first figure of the task."""
        return self.main or HEADLINE[self.task][0]


class Reached(NamedTuple):
    """A figure to hold against a limit; `why`: it cannot be, `excused`: it need not."""

    value: float | None
    why: str = ""
    excused: bool = False


def hold_gates(gates: Sequence[Gate], measured: Measured) -> list[GateResult]:
    """Hold each gate against its figure.

    Confirmed failures are a gate from the first one on, whether the card names it or not.

    Raises:
        NameUnknown: a gate on a figure that this task does not have.
    """
    wanted = list(gates)
    if measured.proof.get("failures") and not any(each.metric == FAILURES for each in gates):
        wanted.append(EVERY_FAILURE)
    return [_held(gate, measured) for gate in wanted]


def share_passed(failures: Sequence[FailureResult]) -> float:
    """Share of the failures that are answered rightly now; nan without any."""
    return sum(each.passed for each in failures) / len(failures) if failures else math.nan


def change_name(metric: str, part: PartOf | None) -> str:
    """How `Against.changes` calls a figure, or a figure of one slice.

    >>> change_name("map50", PartOf(by="lighting", name="night"))
    'map50, lighting night'
    """
    return f"{metric}, {part.by} {part.name}" if part else metric


def _held(gate: Gate, measured: Measured) -> GateResult:
    floor, ceiling = _limits(gate)
    reached = _reached(gate, measured)
    value = reached.value
    known = value is not None and not math.isnan(value)
    why = reached.why or ("" if known else "could not be measured")
    above = floor is None or (value is not None and value >= floor)
    below = ceiling is None or (value is not None and value <= ceiling)
    return GateResult(
        name=gate.metric,
        of=_of(gate),
        floor=floor,
        ceiling=ceiling,
        value=value,
        passed=reached.excused or (not why and above and below),
        why=why,
    )


def _limits(gate: Gate) -> tuple[float | None, float | None]:
    """Floor and ceiling; a drop is a change below, or of an error above."""
    if gate.most_drop is None:
        return gate.floor, gate.ceiling
    if gate.metric in SMALLER_IS_BETTER:
        return None, gate.most_drop
    return 0.0 - gate.most_drop, None


def _of(gate: Gate) -> str:
    parts = [
        f"{gate.slice.by} {gate.slice.name}" if gate.slice else "",
        f"{gate.end} end" if gate.end else "",
        "drop from the champion" if gate.most_drop is not None else "",
        f"on {gate.device}" if gate.device else "",
    ]
    return ", ".join(part for part in parts if part)


def _reached(gate: Gate, measured: Measured) -> Reached:
    if gate.metric in TRUST:
        return TRUSTED[gate.metric](gate, measured)
    if gate.metric not in measured.metrics:
        raise NameUnknown("a metric", gate.metric, measured.metrics, where="gates")
    if gate.most_drop is not None:
        return _drop(gate, measured)
    if gate.slice:
        return _slice(gate, gate.slice, measured)
    if gate.end:
        found = measured.intervals.get(gate.metric)
        end = getattr(found, gate.end) if found else None
        return Reached(end, "" if end is not None else "no interval was resampled")
    return Reached(measured.metrics[gate.metric])


def _drop(gate: Gate, measured: Measured) -> Reached:
    """The worse end of the difference's interval."""
    against = measured.proof.get("against")
    if against is None and measured.not_compared:
        return Reached(None, measured.not_compared)
    if against is None:
        return Reached(None, "no champion yet: nothing to drop from", excused=True)
    change: Change | None = against.changes.get(change_name(gate.metric, gate.slice))
    if change is None:
        what = change_name(gate.metric, gate.slice)
        return Reached(None, f"{what} was not held against the champion")
    end = change.high if gate.metric in SMALLER_IS_BETTER else change.low
    return Reached(end, "" if end is not None else "no interval was resampled")


def _slice(gate: Gate, part: PartOf, measured: Measured) -> Reached:
    if gate.metric != measured.main_figure:
        return Reached(None, f"slices are measured by {measured.main_figure}")
    found = measured.slices.get((part.by, part.name))
    if found is None:
        known = sorted(name for by, name in measured.slices if by == part.by)
        there = suggest(part.name, known) if known else f"no frame states its {part.by}"
        return Reached(None, f"no such slice in the test split: {there}")
    value = getattr(found, gate.end) if gate.end else found.value
    if found.few:
        counted = "boxes" if measured.task == "detection" else "frames"
        return Reached(value, f"too few {counted} ({found.count})")
    return Reached(value)


def _latency(gate: Gate, measured: Measured) -> Reached:
    found = measured.latency
    if found is None:
        return Reached(None, "latency was not measured")
    value = getattr(found, gate.metric.removeprefix("latency_"))
    device = measured.proof.get("device")
    names = [found.device, *([device.processor] if device else [])]
    if gate.device and not any(fnmatchcase(name, gate.device) for name in names):
        return Reached(value, f"measured on another device: {found.device}")
    return Reached(value)


def _parity(gate: Gate, measured: Measured) -> Reached:
    parity = measured.proof.get("parity")
    sides = {side.name: side for side in parity.sides} if parity else {}
    if "onnx" not in sides:
        return Reached(None, "ONNX was not held against torch")
    return Reached(getattr(sides["onnx"], gate.metric.removeprefix("parity_")))


def _of_data(why: str) -> Callable[[Gate, Measured], Reached]:
    """A figure of the data; `why` stands where it is not known."""

    def look(gate: Gate, measured: Measured) -> Reached:
        value = getattr(measured.proof.get("data"), gate.metric, None)
        return Reached(value, "" if value is not None else why)

    return look


def _failures(gate: Gate, measured: Measured) -> Reached:
    failures = measured.proof.get("failures")
    if not failures:
        return Reached(None, "no field failure was confirmed yet", excused=True)
    return Reached(share_passed(failures))


def _unseen(gate: Gate, measured: Measured) -> Reached:
    unseen = measured.proof.get("unseen")
    if unseen is None:
        return Reached(None, "no camera was left out: name some in split.unseen_cameras")
    return Reached(unseen.metrics.get(measured.main_figure))


def _seeds(gate: Gate, measured: Measured) -> Reached:
    seeds = measured.proof.get("seeds")
    return Reached(float(seeds.count) if seeds else 1.0)


def _over_seeds(gate: Gate, measured: Measured) -> Reached:
    seeds, name = measured.proof.get("seeds"), measured.main_figure
    if seeds is None:
        return Reached(None, "it was trained once: cityforge run NAME --seeds 3")
    found: Spread | None = seeds.figures.get(name)
    if found is None:
        return Reached(None, f"{name} was not measured on val")
    return Reached(found.high if name in SMALLER_IS_BETTER else found.low)


TRUSTED: dict[str, Callable[[Gate, Measured], Reached]] = {
    "latency_p50_ms": _latency,
    "latency_p95_ms": _latency,
    "parity_box_px": _parity,
    "parity_answer": _parity,
    "leak": _of_data("the leak of the split was not measured"),
    "checks_failed": _of_data("the checks of the data were not counted"),
    "agreement": _of_data("no frame was labelled by two people"),
    FAILURES: _failures,
    "unseen": _unseen,
    "seeds": _seeds,
    "over_seeds": _over_seeds,
}
