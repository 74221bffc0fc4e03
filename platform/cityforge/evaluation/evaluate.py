"""Evaluate detections against what people labelled: tables in, evidence out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from cityforge.cards.algorithm import Gate
from cityforge.evaluation.bootstrap import intervals
from cityforge.evaluation.calibration import box_calibration
from cityforge.evaluation.evidence import (
    ClassResult,
    Confusion,
    Curves,
    Evidence,
    EvidenceSource,
    FrameResult,
    Note,
)
from cityforge.evaluation.picking import facts_of_frames, pick
from cityforge.evaluation.slices import slice_detection
from cityforge.evaluation.stated import stated
from cityforge.evaluation.subset import judged_boxes
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
from cityforge.tasks.detection.voc import voc_ap
from cityforge.tasks.detection.weighted import WeightedDetections, mean_of_known


def evaluate_detection(
    *,
    frames: pa.Table,
    labels: pa.Table,
    predictions: pa.Table,
    footage: pa.Table | None,
    classes: Sequence[str],
    score_threshold: float,
    gates: Sequence[Gate],
    about: EvidenceSource,
    training: Sequence[Mapping[str, float]],
    latency: Mapping[str, Any] | None,
    resamples: int,
    few: int,
    proof: Mapping[str, Any],
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
        gates: floors and ceilings of the card.
        about: which algorithm, which subset, made from what.
        training: one row an epoch.
        latency: p50_ms, p95_ms, images_per_s, device.
        resamples: of the bootstrap; without any no interval is stated.
        few: a slice of fewer boxes is too few to believe its figure.
        proof: fields of `Evidence` that others measured: parity, speeds, device, against, data,
            unseen, failures.

    Raises:
        DataError: no frame is labelled, or the tables name frames that are not in the subset.
        NameUnknown: a gate or a prediction names something that does not exist.
    """
    judged = judged_boxes(frames, labels, predictions, classes, about.subset)
    frames, truth, found = judged.frames, judged.truth, judged.found
    whole = coco_metrics(truth, found, len(frames), classes)
    metrics = _metrics(whole, truth, found, len(classes), score_threshold)
    pairs = WeightedDetections.of(
        truth, found, len(frames), len(classes), threshold=score_threshold
    )
    slices, of_slices = slice_detection(
        truth, found, frames, footage, len(classes), resamples=resamples, few=few
    )
    per_class = _per_class(whole, truth, found, classes, score_threshold)
    empty = [Note(kind="class_without_box", name=c.name, count=0) for c in per_class if not c.boxes]
    errors = frame_errors(truth, found, len(frames), score_threshold)
    facts = facts_of_frames(frames, footage)
    return Evidence(
        **stated(
            about=about,
            classes=classes,
            frame_count=len(frames),
            score_threshold=score_threshold,
            metrics=metrics,
            training=training,
            latency=latency,
            gates=gates,
            proof=proof,
            intervals=intervals(pairs.figures, frames["footage_id"].to_pylist(), resamples),
            slices=of_slices,
        ),
        box_count=len(truth),
        per_class=per_class,
        slices=slices,
        curves=_curves(truth, found, classes),
        confusion=Confusion(
            labels=list(classes),
            matrix=confusion(truth, found, len(classes), score_threshold).tolist(),
        ),
        calibration=box_calibration(truth, found, score_threshold),
        best_frames=_frames(frames, facts, errors, "best"),
        worst_frames=_frames(frames, facts, errors, "worst"),
        notes=empty + judged.notes,
    )


def _metrics(
    whole: DetectionMetrics, truth: Boxes, found: Boxes, class_count: int, threshold: float
) -> dict[str, float]:
    """COCO's figures, VOC's, and over all boxes the precision, recall and F1 at the threshold."""
    at = rates(truth, found, class_count, threshold)
    correct, reported = int(at.correct.sum()), int(at.found.sum())
    figures = {k: v for k, v in vars(whole).items() if isinstance(v, float)}
    figures["map_voc"] = float(mean_of_known(voc_ap(truth, found, class_count), 0))
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


def _frames(
    frames: pa.Table,
    facts: Sequence[Mapping[str, Any]],
    errors: FrameErrors,
    kind: Literal["best", "worst"],
) -> list[FrameResult]:
    if kind == "best":
        order = np.lexsort((-errors.correct, errors.error))
        order = order[errors.correct[order] > 0]
    else:
        order = np.argsort(-errors.error, kind="stable")
        order = order[errors.error[order] > 0]
    return [
        FrameResult(
            **facts[i],
            missed=int(errors.missed[i]),
            false_alarms=int(errors.false_alarms[i]),
            score=errors.error[i],
        )
        for i in pick(order, frames["footage_id"].to_pylist())
    ]
