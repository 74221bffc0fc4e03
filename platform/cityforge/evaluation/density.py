"""Evaluate counts against those of people: tables in, evidence out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cityforge.cards.algorithm import Gate
from cityforge.evaluation.bootstrap import intervals
from cityforge.evaluation.evidence import Evidence, EvidenceSource, Note
from cityforge.evaluation.figures import (
    CountedClass,
    CountedFrame,
    CountPairs,
    CountSlice,
    DensityFigures,
)
from cityforge.evaluation.picking import facts_of_frames, pick
from cityforge.evaluation.slices import SliceFigures, figures_of_parts
from cityforge.evaluation.stated import stated
from cityforge.evaluation.subset import Ints, Judged, judged_frames, numbers_by_class
from cityforge.tasks.density.metrics import CountMetrics, count_metrics
from cityforge.tasks.density.weighted import WeightedCounts

TASK = "density"
MOST_PAIRS = 1000  # frames whose counts the evidence holds one by one
FIGURES = ("mae", "rmse", "relative_mae", "bias", "mean_count")

Floats = npt.NDArray[np.float64]


def evaluate_density(
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
    """Measure the counts of one subset.

    Args:
        frames: the frames of the subset, table FRAMES.
        labels: the labels of these frames, table LABELS; points, or boxes where there are none.
        predictions: the count (`value`) of each class for every frame, table PREDICTIONS.
        footage: table FOOTAGE, for the slices by camera, light and weather.
        classes: the algorithm's classes.
        score_threshold: objects a cell under which a cell does not count.
        gates: floors and ceilings of the card.
        about: which algorithm, which subset, made from what.
        training: one row an epoch.
        latency: p50_ms, p95_ms, images_per_s, device.
        resamples: of the bootstrap; without any no interval is stated.
        few: a slice of fewer frames is too few to believe its figure.
        proof: fields of `Evidence` that others measured: parity, speeds, device, against, data,
            unseen, failures.

    Raises:
        DataError: no frame is labelled, or one has not a count of each class.
        NameUnknown: a gate or a prediction names something that does not exist.
    """
    judged = judged_frames(frames, labels, classes, TASK, about.subset)
    found = numbers_by_class(predictions, judged.frame_ids, classes, "value")
    whole = count_metrics(judged.truth, found, classes)
    metrics = {**_figures(whole), "r2": whole.r2}
    weighted = WeightedCounts(judged.truth, found)
    slices, of_slices = _slices(judged, footage, weighted, resamples, few)
    per_class = _per_class(whole, judged.truth, classes)
    worst, best = _frames(judged, footage, found)
    unseen = [
        Note(kind="class_without_label", name=c.name, count=0) for c in per_class if not c.objects
    ]
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
            proof=proof,
            intervals=intervals(
                weighted.figures, judged.frames["footage_id"].to_pylist(), resamples
            ),
            slices=of_slices,
        ),
        density=DensityFigures(
            per_class=per_class,
            pairs=_pairs(judged.truth, found, classes),
            slices=slices,
            best_frames=best,
            worst_frames=worst,
        ),
        notes=unseen + judged.notes,
    )


def _figures(found: CountMetrics) -> dict[str, float]:
    return {name: getattr(found, name) for name in FIGURES}


def _per_class(whole: CountMetrics, truth: Ints, classes: Sequence[str]) -> list[CountedClass]:
    return [
        CountedClass(
            name=name,
            objects=int(truth[:, k].sum()),
            frames=int((truth[:, k] > 0).sum()),
            **_figures(whole.per_class[name]),
        )
        for k, name in enumerate(classes)
    ]


def _pairs(truth: Ints, found: Floats, classes: Sequence[str]) -> list[CountPairs]:
    rows = np.unique(
        np.linspace(0, len(truth) - 1, min(len(truth), MOST_PAIRS)).round().astype(int)
    )
    return [
        CountPairs(name=name, truth=truth[rows, k].tolist(), found=found[rows, k].tolist())
        for k, name in enumerate(classes)
    ]


def _slices(
    judged: Judged,
    footage: pa.Table | None,
    weighted: WeightedCounts,
    resamples: int,
    few: int,
) -> tuple[list[CountSlice], SliceFigures]:
    """Mean absolute error of each camera, hour, light and weather."""
    slices = []
    figures: SliceFigures = {}
    for by, name, rows, found in figures_of_parts(
        weighted.mae, judged.frames, footage, resamples=resamples, few=few
    ):
        figures[by, name] = found
        mean = float(judged.truth[rows].mean())
        slices.append(
            CountSlice(
                by=by,
                name=name,
                frames=found.count,
                mae=found.value,
                mean_count=mean,
                low=found.low,
                high=found.high,
                few=found.few,
            )
        )
    return slices, figures


def _frames(
    judged: Judged, footage: pa.Table | None, found: Floats
) -> tuple[list[CountedFrame], list[CountedFrame]]:
    """Those of the largest errors; of the others those of the smallest for their objects."""
    truth, error = judged.truth.sum(1), np.abs(found - judged.truth).sum(1)
    groups = judged.frames["footage_id"].to_pylist()
    worst = np.argsort(-error, kind="stable")
    picked = pick(worst[error[worst] > 0], groups)
    best = np.lexsort((-truth, error / np.maximum(truth, 1)))
    best = best[(truth[best] > 0) & ~np.isin(best, picked)]
    facts = facts_of_frames(judged.frames, footage)

    def shown(rows: Sequence[int]) -> list[CountedFrame]:
        return [
            CountedFrame(
                **facts[i], truth=int(truth[i]), found=float(found[i].sum()), error=float(error[i])
            )
            for i in rows
        ]

    return shown(picked), shown(pick(best, groups))
