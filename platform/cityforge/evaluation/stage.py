"""The evaluate stage: a package is made of the exported model, judged, and reported."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from cityforge.cards.algorithm import METRICS, Algorithm
from cityforge.cards.params import AlgorithmParams, TrainParams
from cityforge.cards.yaml_files import check
from cityforge.dataset.digests import digest_of, digest_of_file
from cityforge.dataset.snapshot import write_json
from cityforge.errors import DataError
from cityforge.evaluation.against import Champion
from cityforge.evaluation.evidence import CreatedFrom, Evidence
from cityforge.evaluation.judging import (
    Case,
    MeasuredBefore,
    answer_subsets,
    case_of,
    judge,
    judge_again,
    rows_of,
    with_thresholds,
)
from cityforge.evaluation.proof import Device, Parity, Seeds, Speed, Spread
from cityforge.evaluation.report import write_report
from cityforge.export.found import read_int8, read_sides, read_speeds
from cityforge.inference.package import (
    EVIDENCE_FILE,
    INT8_FILE,
    MODEL_FILE,
    About,
    Package,
    write_about,
)
from cityforge.inference.runtime import Model
from cityforge.project import Project
from cityforge.provenance import git_state, lock_digest
from cityforge.tables import PREDICTIONS, write_table
from cityforge.training.data import TrainingData

__all__ = ["Champion", "evaluate", "judge_again"]


def evaluate(
    project: Project,
    card: Algorithm,
    params: AlgorithmParams,
    data: TrainingData,
    package_out: Path,
    out: Path,
    say: Callable[[str], None],
    champion: Champion | None,
) -> Evidence:
    """Answer val, test and unseen cameras, choose thresholds on val, measure on test.

    Writes `package_out` (models, description, evidence) and `out` (report, predictions).

    Args:
        champion: the version in use, which answers the same frames; None: there is none yet.

    Raises:
        DataError: the network was trained on another snapshot.
    """
    build = project.build(card.name)
    trained = json.loads((build / "train" / "train.json").read_text(encoding="utf-8"))
    _refuse_other_training(str(trained["snapshot_digest"]), data, card)
    case = case_of(project, card, params, data, champion, say)
    draft = _draft(case, build)
    package = Package(draft, (build / "export" / MODEL_FILE).read_bytes(), "")
    answers = answer_subsets(case, package)
    package = replace(package, about=with_thresholds(case, draft, answers["val"]))
    evidence = judge(case, package, answers, _measured(build, draft, trained))
    about = package.about.model_copy(update={"evidence_digest": evidence.digest()})
    _write_package(package_out, package.model, build / "export", about, evidence)
    augmented = _augmented(params, trained["params"], data)
    _write_results(out, evidence, case, answers["test"], package, augmented)
    return evidence


def _refuse_other_training(snapshot: str, data: TrainingData, card: Algorithm) -> None:
    if snapshot != data.digest:
        raise DataError(
            f"a network trained on snapshot {data.digest[:12]}",
            found=f"one trained on {snapshot[:12]}",
            where=f"algorithm '{card.name}'",
            do=f"cityforge run {card.name}",
        )


def _draft(case: Case, build: Path) -> About:
    project, card, params = case.project, case.card, case.params
    git = git_state(project.root)
    parity = json.loads((build / "export" / "parity.json").read_text(encoding="utf-8"))
    answers, loss = params.evaluate, params.train.loss
    return About(
        format="cityforge.package/1",
        algorithm=card.name,
        title=card.title,
        space=card.space,
        task=card.task,
        classes=list(card.classes),
        input_width=params.data.input_width,
        input_height=params.data.input_height,
        score_threshold=answers.score_floor,
        score_floor=answers.score_floor,
        overlap=getattr(answers, "overlap", None),
        max_boxes=getattr(answers, "max_boxes", None),
        several_labels=getattr(loss, "several_labels", None),
        envelope=card.envelope.model_dump(mode="json"),
        events=card.events or None,
        model_digest=digest_of_file(build / "export" / MODEL_FILE),
        evidence_digest="",
        snapshot_digest=case.data.digest,
        git_commit=git.commit,
        git_dirty=git.dirty,
        lock_digest=lock_digest(project.root),
        params_digest=digest_of(params.model_dump(mode="json")),
        parity=parity,
    )


def _measured(build: Path, about: About, trained: Mapping[str, Any]) -> MeasuredBefore:
    """What the stages train and export measured."""
    device, speeds = read_speeds(build / "export")
    onnx = next((asdict(each) for each in speeds if each.name == "onnx"), None)
    if onnx:
        del onnx["name"]
        onnx["device"] = f"{device.processor}, {device.threads} threads"
    return MeasuredBefore(
        source=CreatedFrom(
            snapshot_digest=about.snapshot_digest,
            git_commit=about.git_commit,
            git_dirty=about.git_dirty,
            lock_digest=about.lock_digest,
            model_digest=about.model_digest,
            mlflow_run_id=trained["mlflow_run_id"],
        ),
        training=trained["history"],
        latency=onnx,
        parity=Parity.model_validate(asdict(read_sides(build / "export"))),
        speeds=[Speed.model_validate(asdict(each)) for each in speeds],
        device=Device.model_validate(asdict(device)),
        seeds=_seeds(trained.get("seeds") or {}, about.task),
    )


def _seeds(found: Mapping[str, Any], task: str) -> Seeds | None:
    """What train.json says of several seeds; None where it was trained once."""
    if found.get("count", 1) < 2:
        return None
    spreads = {name: found["figures"].get(f"val_{name}") for name in METRICS[task]}
    return Seeds(
        count=found["count"],
        figures={name: Spread(**each) for name, each in spreads.items() if each},
    )


def _augmented(
    params: AlgorithmParams, trained: Mapping[str, Any], data: TrainingData
) -> list[bytes]:
    """Frames as they were trained on."""
    from cityforge.dataset.augmented import augmented_sheet

    train = check(TrainParams, dict(trained), Path("train.json"), "params.")
    return augmented_sheet(data.subset("train"), data.store, params.data, train)


def _write_package(
    out: Path, model: bytes, exported: Path, about: About, evidence: Evidence
) -> None:
    """Write the package; the smaller model goes with it only where the export offers it."""
    beside = _beside(out)
    (beside / MODEL_FILE).write_bytes(model)
    if read_int8(exported).offered:
        shutil.copyfile(exported / INT8_FILE, beside / INT8_FILE)
        about = about.model_copy(update={"int8_digest": digest_of_file(beside / INT8_FILE)})
    (beside / EVIDENCE_FILE).write_text(evidence.to_json(), encoding="utf-8")
    write_about(beside, about)
    _replace(beside, out)


def _write_results(
    out: Path,
    evidence: Evidence,
    case: Case,
    predictions: pa.Table,
    package: Package,
    augmented: Sequence[bytes],
) -> None:
    beside = _beside(out)
    model, data = Model(package), case.data
    write_table(predictions, PREDICTIONS, beside / "predictions.parquet")
    write_json(beside / "metrics.json", evidence.metrics)
    write_report(
        beside / "report.html",
        evidence,
        labels=data.labels,
        predictions=predictions,
        read_frame=data.store.read,
        answer=lambda jpeg: model.answer([jpeg])[0],
        augmented=augmented,
        frames=rows_of(data.frames, case.stated_ids("test")),
        footage=case.footage,
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
