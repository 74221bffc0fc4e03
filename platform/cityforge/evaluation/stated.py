"""What the evidence of every task states alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cityforge.cards.algorithm import Gate
from cityforge.evaluation.evidence import EvidenceSource, Latency
from cityforge.evaluation.gates import FAILURES, Measured, hold_gates, share_passed
from cityforge.evaluation.proof import Interval

if TYPE_CHECKING:
    from cityforge.evaluation.bootstrap import SliceFigure

# What a proof says beside the fields of `Evidence`: for the gates alone.
FOR_GATES = ("main", "not_compared")


def stated(
    *,
    about: EvidenceSource,
    classes: Sequence[str],
    frame_count: int,
    score_threshold: float,
    metrics: Mapping[str, float],
    training: Sequence[Mapping[str, float]],
    latency: Mapping[str, Any] | None,
    gates: Sequence[Gate],
    proof: Mapping[str, Any],
    intervals: Mapping[str, Interval],
    slices: Mapping[tuple[str, str], SliceFigure],
) -> dict[str, Any]:
    """Fields of `Evidence`: source, figures, training, latency, proof, and the gates held.

    Args:
        proof: ready-made fields: parity, speeds, device, against, data, seeds, unseen, failures.
            Beside them `main`, the figure of the slices, and `not_compared`; see `gates.Measured`.
        intervals: of `metrics`, where they were resampled.
        slices: the main figure of each slice, by kind and name.

    Raises:
        NameUnknown: a gate on a figure that this task does not have.
    """
    time = Latency(**latency) if latency is not None else None
    fields = {name: value for name, value in proof.items() if name not in FOR_GATES}
    measured = Measured(
        task=about.task,
        metrics=metrics,
        intervals=intervals,
        slices=slices,
        latency=time,
        proof=fields,
        **{name: proof[name] for name in FOR_GATES if name in proof},
    )
    held = hold_gates(gates, measured)
    failures = fields.get("failures")
    repeated = {FAILURES: share_passed(failures)} if failures else {}
    return {
        **about.model_dump(),
        "classes": list(classes),
        "frame_count": frame_count,
        "score_threshold": score_threshold,
        "metrics": {**metrics, **repeated},
        "intervals": dict(intervals),
        "training": [dict(row) for row in training],
        "latency": time,
        "gates": held,
        **fields,
    }
