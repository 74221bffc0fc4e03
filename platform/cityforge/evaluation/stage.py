"""The evaluate stage: a model's answers on val and test, its package and its report."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import AlgorithmParams
from cityforge.dataset.digests import digest_of, digest_of_file
from cityforge.dataset.snapshot import write_json
from cityforge.errors import DataError
from cityforge.evaluation.boxes import found_boxes, truth_boxes
from cityforge.evaluation.evaluate import evaluate_detection
from cityforge.evaluation.evidence import CreatedFrom, Evidence, EvidenceSource
from cityforge.evaluation.report import write_report
from cityforge.footage.catalogue import read_catalogue
from cityforge.footage.shards import FrameStore
from cityforge.inference.package import (
    EVIDENCE_FILE,
    MODEL_FILE,
    About,
    Package,
    write_about,
)
from cityforge.inference.runtime import Model
from cityforge.project import Project
from cityforge.provenance import device_name, git_state, lock_digest
from cityforge.tables import PREDICTIONS, from_rows, write_table
from cityforge.tasks.detection.metrics import best_threshold
from cityforge.tasks.picture import decode_and_fit
from cityforge.training.data import TrainingData

BATCH = 8
LATENCY_RUNS = 40


def evaluate(
    project: Project,
    card: Algorithm,
    params: AlgorithmParams,
    data: TrainingData,
    package_out: Path,
    out: Path,
    say: Callable[[str], None],
) -> Evidence:
    """Answer val and test, choose the threshold on val, measure on test.

    Writes `package_out` (model, description, evidence) and `out` (report, predictions).
    """
    build = project.build(card.name)
    trained = json.loads((build / "train" / "train.json").read_text(encoding="utf-8"))
    if trained["snapshot_digest"] != data.digest:
        raise DataError(
            f"a network trained on snapshot {data.digest[:12]}",
            found=f"one trained on {trained['snapshot_digest'][:12]}",
            where=f"algorithm '{card.name}'",
            do=f"cityforge run {card.name}",
        )
    about = _draft(project, card, params, data, build)
    package = Package(about, (build / "export" / MODEL_FILE).read_bytes(), "")
    model = Model(package)
    answers: dict[str, pa.Table] = {}
    for subset in ("val", "test"):
        ids = data.subset(subset).frame_ids
        answers[subset] = predict_frames(model, data.store, ids, params.evaluate.score_floor, say)
    threshold = _threshold(data, answers["val"])
    evidence = evaluate_detection(
        frames=_rows_of(data.frames, data.subset("test").frame_ids),
        labels=_rows_of(data.labels, data.subset("test").frame_ids),
        predictions=answers["test"],
        footage=read_catalogue(project.dataset_folder(card.dataset)),
        classes=card.classes,
        score_threshold=threshold,
        gates={gate.metric: gate.floor for gate in card.gates},
        about=_source(card, about, trained["mlflow_run_id"]),
        training=trained["history"],
        latency=_latency(model, data),
    )
    about = about.model_copy(
        update={"score_threshold": threshold, "evidence_digest": evidence.digest()}
    )
    _write_package(package_out, package.model, about, evidence)
    _write_results(out, evidence, data, answers["test"])
    return evidence


def predict_frames(
    model: Model,
    store: FrameStore,
    frame_ids: Sequence[str],
    score_floor: float,
    say: Callable[[str], None],
) -> pa.Table:
    """Table PREDICTIONS of stored frames."""
    about = model.about
    rows: list[dict[str, Any]] = []
    for start in range(0, len(frame_ids), BATCH):
        ids = frame_ids[start : start + BATCH]
        answers = model.answer([store.read(each) for each in ids], score_floor)
        for frame_id, answer in zip(ids, answers, strict=True):
            for rank in range(len(answer.score)):
                x1, y1, x2, y2 = answer.xyxy[rank].tolist()
                rows.append(
                    {
                        "frame_id": frame_id,
                        "rank": rank,
                        "class": about.classes[answer.cls[rank]],
                        "score": float(answer.score[rank]),
                        "x1": x1,
                        "y1": y1,
                        "x2": x2,
                        "y2": y2,
                        "model_digest": about.model_digest,
                    }
                )
    say(f"answered {len(frame_ids)} frames")
    return from_rows(rows, PREDICTIONS)


def _draft(
    project: Project, card: Algorithm, params: AlgorithmParams, data: TrainingData, build: Path
) -> About:
    git = git_state(project.root)
    parity = json.loads((build / "export" / "parity.json").read_text(encoding="utf-8"))
    return About(
        format="cityforge.package/1",
        algorithm=card.name,
        title=card.title,
        space=card.space,
        task=card.task,
        classes=list(card.classes),
        input_width=params.data.input_width,
        input_height=params.data.input_height,
        score_threshold=params.evaluate.score_floor,
        score_floor=params.evaluate.score_floor,
        overlap=params.evaluate.overlap,
        max_boxes=params.evaluate.max_boxes,
        envelope=card.envelope.model_dump(mode="json"),
        model_digest=digest_of_file(build / "export" / MODEL_FILE),
        evidence_digest="",
        snapshot_digest=data.digest,
        git_commit=git.commit,
        git_dirty=git.dirty,
        lock_digest=lock_digest(project.root),
        params_digest=digest_of(params.model_dump(mode="json")),
        parity=parity,
    )


def _source(card: Algorithm, about: About, run_id: str) -> EvidenceSource:
    return EvidenceSource(
        algorithm=card.name,
        title=card.title,
        space=card.space,
        task=card.task,
        subset="test",
        created_from=CreatedFrom(
            snapshot_digest=about.snapshot_digest,
            git_commit=about.git_commit,
            git_dirty=about.git_dirty,
            lock_digest=about.lock_digest,
            model_digest=about.model_digest,
            mlflow_run_id=run_id,
        ),
    )


def _threshold(data: TrainingData, predictions: pa.Table) -> float:
    ids = data.subset("val").frame_ids
    truth = truth_boxes(_rows_of(data.labels, ids), ids, data.classes)
    found = found_boxes(predictions, ids, data.classes)
    return best_threshold(truth, found, len(data.classes))


def _latency(model: Model, data: TrainingData) -> dict[str, Any]:
    """Milliseconds from a decoded picture to boxes, one picture at a time."""
    about = model.about
    jpeg = data.store.read(data.subset("test").frame_ids[0])
    fitted = [decode_and_fit(jpeg, about.input_width, about.input_height)]
    spent = []
    for _ in range(LATENCY_RUNS):
        begun = time.perf_counter()
        model.answer_fitted(fitted)
        spent.append((time.perf_counter() - begun) * 1000)
    half, most = np.percentile(spent, [50, 95])
    return {
        "p50_ms": float(half),
        "p95_ms": float(most),
        "images_per_s": 1000 / float(np.mean(spent)),
        "device": device_name(),
    }


def _rows_of(table: pa.Table, frame_ids: Sequence[str]) -> pa.Table:
    return table.filter(pc.is_in(table.column("frame_id"), pa.array(frame_ids, pa.string())))


def _write_package(out: Path, model: bytes, about: About, evidence: Evidence) -> None:
    beside = _beside(out)
    (beside / MODEL_FILE).write_bytes(model)
    (beside / EVIDENCE_FILE).write_text(evidence.to_json(), encoding="utf-8")
    write_about(beside, about)
    _replace(beside, out)


def _write_results(
    out: Path, evidence: Evidence, data: TrainingData, predictions: pa.Table
) -> None:
    beside = _beside(out)
    write_table(predictions, PREDICTIONS, beside / "predictions.parquet")
    write_json(beside / "metrics.json", evidence.metrics)
    write_report(
        beside / "report.html",
        evidence,
        labels=data.labels,
        predictions=predictions,
        read_frame=data.store.read,
    )
    _replace(beside, out)


def _beside(out: Path) -> Path:
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    return beside


def _replace(beside: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    beside.replace(out)
