"""A package's answers on val, test and unseen cameras, and all that is judged by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import AlgorithmParams
from cityforge.errors import DataError
from cityforge.evaluation.against import Champion, Compared, Ground, against_champion
from cityforge.evaluation.basis import data_basis
from cityforge.evaluation.boxes import found_boxes, truth_boxes
from cityforge.evaluation.classification import evaluate_classification
from cityforge.evaluation.density import evaluate_density
from cityforge.evaluation.evaluate import evaluate_detection
from cityforge.evaluation.evidence import CreatedFrom, Evidence, EvidenceSource
from cityforge.evaluation.failures import FOLDER, read_failures, repeat_failures
from cityforge.evaluation.predictions import predict_frames
from cityforge.evaluation.proof import (
    DataBasis,
    Device,
    FailureResult,
    Parity,
    Seeds,
    Speed,
    Unseen,
)
from cityforge.evaluation.scored import Answers
from cityforge.evaluation.subset import labels_by_class, numbers_by_class
from cityforge.evaluation.unseen import unseen_figures
from cityforge.footage.catalogue import read_catalogue
from cityforge.footage.lawful import barred
from cityforge.footage.seals import FRAMES_FILE, read_with_seals
from cityforge.footage.shards import FrameStore
from cityforge.inference.package import About, Package, open_package
from cityforge.inference.runtime import Model
from cityforge.project import Project
from cityforge.tables import FRAMES, read_table
from cityforge.tasks.classification.metrics import best_thresholds
from cityforge.tasks.detection.metrics import best_threshold
from cityforge.training.data import TrainingData, open_training_data

UNSEEN = "unseen"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """What a package is judged on."""

    project: Project
    card: Algorithm
    params: AlgorithmParams
    data: TrainingData
    footage: pa.Table
    champion: Champion | None
    say: Say

    def ids(self, subset: str) -> list[str]:
        """Frames of a subset that the task can be judged on."""
        return self.data.subset(subset).frame_ids

    def stated_ids(self, subset: str) -> list[str]:
        """All frames of a subset: evaluations say themselves which they leave out."""
        if self.card.task == "detection":
            return self.ids(subset)
        rows = self.data.split.filter(pc.equal(self.data.split["subset"], subset))
        found: list[str] = rows["frame_id"].to_pylist()
        return found

    def tables(self, subset: str) -> dict[str, pa.Table]:
        """Frames and labels of a subset."""
        ids = self.stated_ids(subset)
        frames, labels = rows_of(self.data.frames, ids), rows_of(self.data.labels, ids)
        return {"frames": frames, "labels": labels}


@dataclass(frozen=True)
class MeasuredBefore:
    """What takes time, torch or the training itself: a re-run takes it over."""

    source: CreatedFrom
    training: Sequence[Mapping[str, Any]]
    latency: Mapping[str, Any] | None
    parity: Parity | None
    speeds: Sequence[Speed]
    device: Device | None
    seeds: Seeds | None = None
    data: DataBasis | None = None  # of the record: whose agreement stands


def case_of(
    project: Project,
    card: Algorithm,
    params: AlgorithmParams,
    data: TrainingData,
    champion: Champion | None,
    say: Say,
) -> Case:
    """A case with the footage of its dataset."""
    footage = read_catalogue(project.dataset_folder(card.dataset))
    return Case(project, card, params, data, footage, champion, say)


def answer_subsets(
    case: Case, package: Package, subsets: Sequence[str] = ("val", "test", UNSEEN)
) -> dict[str, pa.Table]:
    """Table PREDICTIONS of each subset; of unseen cameras only where there are any."""
    model, about = Model(package), package.about
    # Of classes every score is kept: thresholds and curves need the low ones, too.
    floor = 0.0 if about.task == "classification" else about.score_floor
    wanted = {name: case.ids(name) for name in subsets}
    return {
        name: predict_frames(model, case.data.store, ids, floor, case.say)
        for name, ids in wanted.items()
        if ids or name != UNSEEN
    }


def with_thresholds(case: Case, about: About, predictions: pa.Table) -> About:
    """The package's description with the thresholds that its answers on val are best at.

    Detection and several labels take those of the highest F1; the others answer as they are.
    """
    data = case.data
    frames = data.subset("val")
    if about.task == "detection":
        truth = truth_boxes(rows_of(data.labels, frames.frame_ids), frames.frame_ids, data.classes)
        found = found_boxes(predictions, frames.frame_ids, data.classes)
        return about.model_copy(
            update={"score_threshold": best_threshold(truth, found, len(data.classes))}
        )
    if not about.several_labels:
        return about
    scores = numbers_by_class(predictions, frames.frame_ids, data.classes, "score")
    best = best_thresholds(labels_by_class(frames, len(data.classes)) > 0, scores)
    return about.model_copy(
        update={"class_thresholds": dict(zip(data.classes, best.tolist(), strict=True))}
    )


def judge(
    case: Case,
    package: Package,
    answers: Mapping[str, pa.Table],
    before: MeasuredBefore,
    only_failures: Sequence[str] | None = None,
) -> Evidence:
    """The evidence of a package on test, with what an approver needs beside accuracy.

    Args:
        answers: as `answer_subsets` gives them.
        only_failures: of the regression suite, by id; all when None.
    """
    about = package.about
    compared = compare(case, package, answers["test"])
    given: dict[str, Any] = {
        **case.tables("test"),
        "predictions": answers["test"],
        "footage": case.footage,
        "classes": about.classes,
        "score_threshold": about.score_threshold,
        "gates": case.card.gates,
        "about": _source(about, before.source),
        "training": before.training,
        "latency": before.latency,
        "resamples": case.params.evaluate.resamples,
        "few": case.params.evaluate.few,
        "proof": {
            "parity": before.parity,
            "speeds": list(before.speeds),
            "device": before.device,
            "seeds": before.seeds,
            "data": _basis(case, before.data),
            "unseen": _unseen(case, about, answers.get(UNSEEN)),
            "failures": _failures(case, package, only_failures),
            "against": compared.against,
            "not_compared": compared.why,
            "main": "map" if about.several_labels else "",
        },
    }
    if about.task == "classification":
        return evaluate_classification(class_thresholds=about.class_thresholds, **given)
    return (evaluate_density if about.task == "density" else evaluate_detection)(**given)


def judge_again(
    project: Project,
    card: Algorithm,
    params: AlgorithmParams,
    package_folder: Path,
    recorded: Evidence,
    champion: Champion | None,
    say: Say = lambda _: None,
) -> Evidence:
    """Answer and judge anew what a package was approved on; equal digest, or it is not proven.

    Taken over from the record is what cannot be made again here: times and their device, the
    sides of the parity, the history of the training and its seeds, commit, lock and run, and the
    agreement of annotators, who may have gone on since. The suite of failures is that of the time.

    Args:
        champion: the version that the record names in `against`, where it names one.

    Raises:
        DataError: the data here is another snapshot, or the champion another package.
    """
    package = open_package(package_folder)
    data = open_training_data(project, card)
    refuse_other_snapshot(data.digest, recorded.created_from.snapshot_digest, card.name)
    _refuse_other_champion(recorded, champion)
    theirs = champion if recorded.against else None
    case = case_of(project, card, params, data, theirs, say)
    answers = answer_subsets(case, package)
    about = with_thresholds(case, package.about, answers["val"])
    return judge(
        case,
        replace(package, about=about),
        answers,
        MeasuredBefore(
            source=recorded.created_from,
            training=recorded.training,
            latency=recorded.latency.model_dump() if recorded.latency else None,
            parity=recorded.parity,
            speeds=recorded.speeds,
            device=recorded.device,
            seeds=recorded.seeds,
            data=recorded.data,
        ),
        [each.failure_id for each in recorded.failures],
    )


def refuse_other_snapshot(here: str, wanted: str, algorithm: str) -> None:
    """Evidence speaks of one snapshot alone.

    Raises:
        DataError: the data here is another one.
    """
    if here != wanted:
        raise DataError(
            f"the snapshot {wanted[:12]} that the evidence rests on",
            found=f"{here[:12]}", where=f"algorithm '{algorithm}'",
            do="check out the version's commit, then dvc checkout",
        )  # fmt: skip


def rows_of(table: pa.Table, frame_ids: Sequence[str]) -> pa.Table:
    """The rows of these frames."""
    return table.filter(pc.is_in(table.column("frame_id"), pa.array(frame_ids, pa.string())))


def _refuse_other_champion(recorded: Evidence, champion: Champion | None) -> None:
    wanted = recorded.against
    if wanted is None or (champion and champion.package.digest == wanted.package_digest):
        return
    raise DataError(
        f"version {wanted.version}, the champion of the time ({wanted.package_digest[:12]})",
        found=champion.package.digest[:12] if champion else "none",
        where="the evidence, against",
    )


def _source(about: About, made: CreatedFrom) -> EvidenceSource:
    found = {"snapshot_digest": about.snapshot_digest, "model_digest": about.model_digest}
    return EvidenceSource(
        algorithm=about.algorithm,
        title=about.title,
        space=about.space,
        task=about.task,
        subset="test",
        created_from=made.model_copy(update=found),
    )


def _basis(case: Case, recorded: DataBasis | None) -> DataBasis:
    found = data_basis(case.project, case.card, case.data, case.footage)
    return found.model_copy(update={"agreement": recorded.agreement}) if recorded else found


def compare(case: Case, package: Package, predictions: pa.Table) -> Compared:
    """Hold a package's answers on test against those of the case's champion, if it has one."""
    if case.champion is None:
        return Compared(None)
    about = package.about
    tables = case.tables("test")
    ground = Ground(
        **tables, footage=case.footage, store=case.data.store,
        resamples=case.params.evaluate.resamples,
    )  # fmt: skip
    this = Answers(predictions, about.score_threshold, about.class_thresholds)
    return against_champion(case.champion, about, this, ground, case.card.gates, case.say)


def _unseen(case: Case, about: About, predictions: pa.Table | None) -> Unseen | None:
    if predictions is None:
        return None
    return unseen_figures(
        about.task,
        **case.tables(UNSEEN),
        footage=case.footage,
        classes=about.classes,
        answers=Answers(predictions, about.score_threshold, about.class_thresholds),
        resamples=case.params.evaluate.resamples,
    )


def _failures(case: Case, package: Package, only: Sequence[str] | None) -> list[FailureResult]:
    folder = case.project.algorithm_folder(case.card.name) / FOLDER
    failures = read_failures(folder)
    if only is not None:
        failures = [each for each in failures if each.failure_id in only]
    if not failures:
        return []
    dataset = case.project.dataset_folder(case.card.dataset)
    stored = read_table(FRAMES, dataset / "frames" / FRAMES_FILE)
    shut = barred(read_with_seals(dataset), datetime.now(UTC))
    store = FrameStore(dataset / "frames", stored)
    return repeat_failures(failures, folder, Model(package), store.read, shut, case.say)
