"""Evaluate detections against what people labelled: tables in, evidence out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cityforge.errors import DataError, NameUnknown
from cityforge.evaluation.boxes import found_boxes, truth_boxes
from cityforge.evaluation.evidence import (
    ClassResult,
    Confusion,
    Curves,
    Evidence,
    EvidenceSource,
    FrameResult,
    GateResult,
    Latency,
    Note,
)
from cityforge.evaluation.slices import footage_column, slice_detection
from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.curves import (
    RECALL_LEVELS,
    FrameErrors,
    confusion,
    frame_errors,
    pr_curves,
    rates,
)
from cityforge.tasks.detection.metrics import DetectionMetrics, coco_metrics

SHOWN = 6  # best and worst frames each
ALIKE = 2  # of them from one footage before another footage gets its turn


def evaluate_detection(
    *,
    frames: pa.Table,
    labels: pa.Table,
    predictions: pa.Table,
    footage: pa.Table | None,
    classes: Sequence[str],
    score_threshold: float,
    gates: Mapping[str, float],
    about: EvidenceSource,
    training: Sequence[Mapping[str, float]],
    latency: Mapping[str, Any] | None,
) -> Evidence:
    """Measure the detections of one subset.

    Frames that nobody looked at (no row in `labels`) are left out, and a note says so.

    Args:
        frames: the frames of the subset, table FRAMES.
        labels: the labels of these frames, table LABELS; class null says looked at and empty.
        predictions: the detections in these frames at all scores, table PREDICTIONS.
        footage: table FOOTAGE, for the slices by camera, light and weather.
        classes: the algorithm's classes.
        score_threshold: the score from which a detection is reported, 0 to 1.
        gates: floor by the name of a metric.
        about: which algorithm, which subset, made from what.
        training: one row an epoch.
        latency: p50_ms, p95_ms, images_per_s, device.

    Raises:
        DataError: no frame is labelled, or the tables name frames that are not in the subset.
        NameUnknown: a gate or a prediction names something that does not exist.
    """
    looked_at = pc.is_in(frames["frame_id"], labels["frame_id"].combine_chunks())
    notes = _notes(labels, classes, len(frames) - int(pc.sum(looked_at).as_py() or 0))
    all_ids = frames["frame_id"].to_pylist()
    frames = frames.filter(looked_at)
    if not len(frames):
        raise DataError(
            "at least one labelled frame", found="none", where=f"subset '{about.subset}'"
        )
    found_boxes(predictions, all_ids, classes)  # refuses frames outside the subset
    ids = frames["frame_id"].to_pylist()
    kept = pc.is_in(predictions["frame_id"], pa.array(ids))
    truth = truth_boxes(labels, ids, classes)
    found = found_boxes(predictions.filter(kept), ids, classes)
    whole = coco_metrics(truth, found, len(frames), classes)
    metrics = _metrics(whole, truth, found, len(classes), score_threshold)
    per_class = _per_class(whole, truth, found, classes, score_threshold)
    empty = [Note(kind="class_without_box", name=c.name, count=0) for c in per_class if not c.boxes]
    errors = frame_errors(truth, found, len(frames), score_threshold)
    cameras = footage_column(frames, footage, "camera")
    return Evidence(
        **about.model_dump(),
        classes=list(classes),
        frame_count=len(frames),
        box_count=len(truth),
        score_threshold=score_threshold,
        metrics=metrics,
        per_class=per_class,
        slices=slice_detection(truth, found, frames, footage, classes, whole),
        curves=_curves(truth, found, classes),
        confusion=Confusion(
            labels=list(classes),
            matrix=confusion(truth, found, len(classes), score_threshold).tolist(),
        ),
        training=[dict(row) for row in training],
        latency=Latency(**latency) if latency is not None else None,
        gates=_gates(gates, metrics),
        best_frames=_frames(frames, cameras, errors, "best"),
        worst_frames=_frames(frames, cameras, errors, "worst"),
        notes=empty + notes,
    )


def _notes(labels: pa.Table, classes: Sequence[str], unseen: int) -> list[Note]:
    notes = []
    other = labels["class"].filter(pc.invert(pc.is_in(labels["class"], pa.array(classes))))
    for row in sorted(other.drop_null().value_counts().to_pylist(), key=lambda r: r["values"]):
        notes.append(Note(kind="labels_of_other_classes", name=row["values"], count=row["counts"]))
    if unseen:
        notes.append(Note(kind="frames_not_looked_at", name="", count=unseen))
    return notes


def _metrics(
    whole: DetectionMetrics, truth: Boxes, found: Boxes, class_count: int, threshold: float
) -> dict[str, float]:
    """COCO's figures, and over all boxes the precision, recall and F1 at the threshold."""
    at = rates(truth, found, class_count, threshold)
    correct, reported = int(at.correct.sum()), int(at.found.sum())
    figures = {k: v for k, v in vars(whole).items() if isinstance(v, float)}
    figures["precision"] = correct / reported if reported else float("nan")
    figures["recall"] = correct / len(truth) if len(truth) else float("nan")
    both = reported + len(truth)
    figures["f1"] = 2 * correct / both if both else float("nan")
    return figures


def _per_class(
    whole: DetectionMetrics,
    truth: Boxes,
    found: Boxes,
    classes: Sequence[str],
    threshold: float,
) -> list[ClassResult]:
    at = rates(truth, found, len(classes), threshold)
    return [
        ClassResult(
            name=name,
            boxes=int(at.truth[k, 0]),
            frames=len(np.unique(truth.frame[truth.cls == k])),
            ap50=whole.per_class_ap50[name],
            ap50_95=whole.per_class_ap[name],
            precision=at.precision[k, 0],
            recall=at.recall[k, 0],
            f1=at.f1[k, 0] if at.truth[k, 0] else None,
        )
        for k, name in enumerate(classes)
    ]


def _curves(truth: Boxes, found: Boxes, classes: Sequence[str]) -> Curves:
    thresholds = np.linspace(0.0, 1.0, 101)
    precision = pr_curves(truth, found, len(classes))
    at = rates(truth, found, len(classes), thresholds)
    seen = np.flatnonzero(at.truth[:, 0])
    mean = at.f1[seen].mean(axis=0) if seen.size else np.full(len(thresholds), np.nan)
    return Curves(
        recall=RECALL_LEVELS.tolist(),
        precision={c: precision[k].tolist() if k in seen else [] for k, c in enumerate(classes)},
        threshold=thresholds.tolist(),
        f1={c: at.f1[k].tolist() if k in seen else [] for k, c in enumerate(classes)},
        f1_mean=mean.tolist(),
    )


def _gates(gates: Mapping[str, float], metrics: Mapping[str, float]) -> list[GateResult]:
    """Hold each floor against its figure; a figure that could not be measured does not pass."""
    results = []
    for name, floor in gates.items():
        if name not in metrics:
            raise NameUnknown("a metric", name, metrics, where="gates")
        value = metrics[name]
        results.append(GateResult(name=name, floor=floor, value=value, passed=value >= floor))
    return results


def _frames(
    frames: pa.Table,
    cameras: Sequence[str | None],
    errors: FrameErrors,
    kind: Literal["best", "worst"],
) -> list[FrameResult]:
    """Pick the frames to look at, few of one footage, so that six pictures show six things."""
    if kind == "best":
        order = np.lexsort((-errors.correct, errors.error))
        order = order[errors.correct[order] > 0]
    else:
        order = np.argsort(-errors.error, kind="stable")
        order = order[errors.error[order] > 0]
    turn: dict[str, int] = {}
    rounds = []
    for name in frames["footage_id"].take(pa.array(order)).to_pylist():
        rounds.append(turn.get(name, 0) // ALIKE)
        turn[name] = turn.get(name, 0) + 1
    picked = order[np.argsort(rounds, kind="stable")][:SHOWN]
    return [_frame(frames, cameras, errors, int(i)) for i in picked]


def _frame(
    frames: pa.Table, cameras: Sequence[str | None], errors: FrameErrors, i: int
) -> FrameResult:
    captured_at = frames["captured_at"][i].as_py()
    return FrameResult(
        frame_id=frames["frame_id"][i].as_py(),
        camera=cameras[i],
        captured_at=captured_at.isoformat() if captured_at else None,
        missed=int(errors.missed[i]),
        false_alarms=int(errors.false_alarms[i]),
        score=errors.error[i],
    )
