"""Evaluate classes of frames against what people said: tables in, evidence out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cityforge.cards.algorithm import Gate
from cityforge.evaluation.bootstrap import intervals
from cityforge.evaluation.calibration import class_calibration
from cityforge.evaluation.evidence import Evidence, EvidenceSource, Note
from cityforge.evaluation.figures import (
    ClassificationFigures,
    ClassifiedFrame,
    ClassOfFrames,
    ClassSlice,
    Confusion,
    Curves,
)
from cityforge.evaluation.picking import facts_of_frames, pick
from cityforge.evaluation.slices import SliceFigures, figures_of_parts
from cityforge.evaluation.stated import stated
from cityforge.evaluation.subset import Judged, judged_frames, numbers_by_class
from cityforge.tasks.classification.metrics import (
    Bools,
    ClassificationMetrics,
    Floats,
    answers,
    class_rates,
    classification_metrics,
    confusion,
)
from cityforge.tasks.classification.weighted import WeightedClasses
from cityforge.tasks.detection.curves import RECALL_LEVELS

TASK = "classification"


def evaluate_classification(
    *,
    frames: pa.Table,
    labels: pa.Table,
    predictions: pa.Table,
    footage: pa.Table | None,
    classes: Sequence[str],
    class_thresholds: Mapping[str, float] | None,
    score_threshold: float,
    gates: Sequence[Gate],
    about: EvidenceSource,
    training: Sequence[Mapping[str, float]],
    latency: Mapping[str, Any] | None,
    resamples: int,
    few: int,
    proof: Mapping[str, Any],
) -> Evidence:
    """Measure the classes of one subset.

    Args:
        frames: the frames of the subset, table FRAMES.
        labels: the labels of these frames, table LABELS.
        predictions: the score of each class for every frame, table PREDICTIONS.
        footage: table FOOTAGE, for the slices by camera, light and weather.
        classes: the algorithm's classes.
        class_thresholds: of each class where a frame may have several; None: it has one.
        score_threshold: a class under it is not answered, where a frame has one.
        gates: floors and ceilings of the card.
        about: which algorithm, which subset, made from what.
        training: one row an epoch.
        latency: p50_ms, p95_ms, images_per_s, device.
        resamples: of the bootstrap; without any no interval is stated.
        few: a slice of fewer frames is too few to believe its figure.
        proof: fields of `Evidence` that others measured: parity, speeds, device, against, data,
            unseen, failures.

    Raises:
        DataError: no frame is labelled, or one has not a score of each class.
        NameUnknown: a gate or a prediction names something that does not exist.
    """
    several = class_thresholds is not None
    judged = judged_frames(frames, labels, classes, TASK, about.subset, several_labels=several)
    truth = judged.truth > 0
    scores = numbers_by_class(predictions, judged.frame_ids, classes, "score")
    least = np.array([class_thresholds[name] for name in classes] if class_thresholds else [0.5])
    given = answers(scores, several_labels=several, thresholds=least)
    whole = classification_metrics(truth, scores, several_labels=several, thresholds=least)
    sure = _surety(truth, scores, given) if several else scores.max(1)
    metrics = _metrics(whole)
    main: Literal["map", "accuracy"] = "map" if several else "accuracy"
    per_class = _per_class(whole, classes)
    weighted = WeightedClasses(truth, scores, given)
    slices, of_slices = _slices(judged, footage, weighted, several, resamples, few)
    unseen = [Note(kind="class_without_label", name=c.name, count=0) for c in per_class]
    return Evidence(
        **stated(
            about=about,
            classes=classes,
            frame_count=len(judged.frames),
            score_threshold=score_threshold,
            metrics=metrics,
            training=training,
            latency=latency,
            gates=gates,
            proof={**proof, "main": main},
            intervals=intervals(
                weighted.figures, judged.frames["footage_id"].to_pylist(), resamples
            ),
            slices=of_slices,
        ),
        calibration=class_calibration(truth, scores),
        classification=ClassificationFigures(
            several_labels=several,
            main=main,
            thresholds=dict(class_thresholds or {}),
            per_class=per_class,
            confusion=None if several else _confusion(truth, given, classes),
            curves=_curves(truth, scores, classes, several),
            slices=slices,
            best_frames=_frames(judged, footage, truth, given, sure, classes, "best"),
            worst_frames=_frames(judged, footage, truth, given, sure, classes, "worst"),
        ),
        notes=[n for n, c in zip(unseen, per_class, strict=True) if not c.frames] + judged.notes,
    )


def _metrics(whole: ClassificationMetrics) -> dict[str, float]:
    """Shares of frames, and means over the classes where there is something to count."""
    return {
        "accuracy": whole.accuracy,
        "f1": whole.f1,
        "map": whole.map,
        "precision": _mean(whole.per_class.precision),
        "recall": _mean(whole.per_class.recall),
        "f1_micro": whole.f1_micro,
        "hamming_loss": whole.hamming_loss,
    }


def _per_class(whole: ClassificationMetrics, classes: Sequence[str]) -> list[ClassOfFrames]:
    rates = whole.per_class
    return [
        ClassOfFrames(
            name=name,
            frames=int(rates.truth[k]),
            answered=int(rates.found[k]),
            precision=rates.precision[k],
            recall=rates.recall[k],
            f1=rates.f1[k],
            ap=whole.per_class_ap[k],
        )
        for k, name in enumerate(classes)
    ]


def _confusion(truth: Bools, given: Bools, classes: Sequence[str]) -> Confusion:
    cells = confusion(truth.argmax(1), given.argmax(1), len(classes))
    return Confusion(labels=list(classes), matrix=cells.tolist())


def _curves(truth: Bools, scores: Floats, classes: Sequence[str], several: bool) -> Curves:
    """Precision over recall; F1 over the threshold only where there is one."""
    seen: Bools = np.asarray(truth.any(axis=0))
    precision = {
        name: precision_at_levels(truth[:, k], scores[:, k]).tolist() if seen[k] else []
        for k, name in enumerate(classes)
    }
    thresholds = np.linspace(0.0, 1.0, 101 if several else 0)
    f1 = np.array([class_rates(truth, scores >= at).f1 for at in thresholds])  # (T, C)
    mean = f1[:, seen].mean(1).tolist() if several and seen.any() else []
    return Curves(
        recall=RECALL_LEVELS.tolist(),
        precision=precision,
        threshold=list(thresholds.tolist()),
        f1={n: f1[:, k].tolist() if several and seen[k] else [] for k, n in enumerate(classes)},
        f1_mean=mean,
    )


def precision_at_levels(truth: Bools, scores: Floats) -> Floats:
    """Highest precision at each of 101 recall levels or beyond, (101,); equal scores are one step.

    Args:
        truth: (N,), at least one true.
        scores: (N,).

    >>> precision_at_levels(np.array([True, False, True]), np.array([0.9, 0.5, 0.1]))[[0, 50, 100]]
    array([1.        , 1.        , 0.66666667])
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    correct = np.cumsum(truth[order])[last]
    envelope = np.maximum.accumulate((correct / (last + 1))[::-1])[::-1]
    reached = np.searchsorted(correct / truth.sum(), RECALL_LEVELS, side="left")
    return np.asarray(envelope[np.minimum(reached, len(envelope) - 1)], np.float64)


def _slices(
    judged: Judged,
    footage: pa.Table | None,
    weighted: WeightedClasses,
    several: bool,
    resamples: int,
    few: int,
) -> tuple[list[ClassSlice], SliceFigures]:
    """Accuracy, or mAP with several labels, of each camera, hour, light and weather."""
    slices = []
    figures: SliceFigures = {}
    figure = weighted.map if several else weighted.accuracy
    for by, name, _, found in figures_of_parts(
        figure, judged.frames, footage, resamples=resamples, few=few
    ):
        figures[by, name] = found
        slices.append(
            ClassSlice(
                by=by,
                name=name,
                frames=found.count,
                value=found.value,
                low=found.low,
                high=found.high,
                few=found.few,
            )
        )
    return slices, figures


def _frames(
    judged: Judged,
    footage: pa.Table | None,
    truth: Bools,
    given: Bools,
    sure: Floats,
    classes: Sequence[str],
    kind: Literal["best", "worst"],
) -> list[ClassifiedFrame]:
    """The surest mistakes, or of each class the surest right answers."""
    wrong = (truth != given).any(1)
    rows = np.flatnonzero(wrong if kind == "worst" else ~wrong & truth.any(1))
    order = rows[np.argsort(-sure[rows], kind="stable")]
    groups = judged.frames["footage_id"].to_pylist()
    if kind == "best":
        groups = [classes[k] for k in truth.argmax(1)]
    facts = facts_of_frames(judged.frames, footage)
    return [
        ClassifiedFrame(
            **facts[i],
            truth=_named(truth[i], classes),
            answered=_named(given[i], classes),
            score=sure[i],
        )
        for i in pick(order, groups)
    ]


def _surety(truth: Bools, scores: Floats, given: Bools) -> Floats:
    """How far from its truth the worst mistaken class lies, (N,), 0 to 1.

    Of a frame without mistake, the score of the weakest class it has.
    """
    apart = np.where(truth != given, np.abs(truth - scores), 0.0).max(1)
    weakest = np.where(truth, scores, np.inf).min(1)
    return np.asarray(np.where((truth != given).any(1), apart, weakest), np.float64)


def _named(row: Bools, classes: Sequence[str]) -> list[str]:
    return [name for name, there in zip(classes, row, strict=True) if there]


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
