"""The training of an algorithm: every seed that was asked for, then what came of it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cityforge.cards.algorithm import METRICS, Algorithm
from cityforge.cards.params import AlgorithmParams
from cityforge.dataset.digests import digest_of, digest_of_file
from cityforge.dataset.snapshot import write_json
from cityforge.errors import DataError
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.tasks.kinds import OWN, OWN_FILE
from cityforge.training.data import TrainingData
from cityforge.training.fit import Outcome
from cityforge.training.lock import training_lock
from cityforge.training.one_seed import WEIGHTS, Trained, Work, noted_run, trained
from cityforge.training.picked import with_picked, with_picked_input
from cityforge.training.seeds import detailed, lines, summary
from cityforge.training.tracking import Run
from cityforge.training.tune import read_picked
from cityforge.training.unfinished import left_behind, note_inputs, work_folder
from cityforge.training.weights import weights_digest

ABOUT = "train.json"
SEEDS = "seeds.json"


def train(
    project: Project,
    settings: Settings,
    card: Algorithm,
    params: AlgorithmParams,
    data: TrainingData,
    out: Path,
    say: Callable[[str], None],
) -> Outcome:
    """Train, and write the best weights and how they came about into `out`.

    With `train.seeds` above 1 so many trainings follow each other, with seed, seed + 1, ...
    The weights are those of the first one; the others say how much of its figures is chance.

    Checkpoints under way lie in the project's work folder, named by what goes into the
    training; run again with the same inputs, it goes on from there, and trains no seed again
    that was done.

    Raises:
        DataError: no frame to train on, or none to validate on.
        ServiceError: this algorithm is being trained already.
    """
    picked = read_picked(project.build(card.name) / "tune")
    card, values = with_picked(card, params.train, picked)
    picture = with_picked_input(params.data, picked)
    params = params.model_copy(update={"train": values, "data": picture})
    with training_lock(project.work / "training", card.name):
        work = _work(project, settings, card, params, data, say)
        parent = _parent_run(work) if values.seeds > 1 else None
        found = [trained(work, seed, parent) for seed in _seeds(work)]
        if parent:
            _close(parent, found, card.task, say)
        _write(out, found, work.folder / str(values.seed) / WEIGHTS)
        shutil.rmtree(work.folder)
    return found[0].outcome


def _work(
    project: Project,
    settings: Settings,
    card: Algorithm,
    params: AlgorithmParams,
    data: TrainingData,
    say: Callable[[str], None],
) -> Work:
    frames, val_frames = data.subset("train"), data.subset("val")
    for name, subset in (("train", frames), ("val", val_frames)):
        if not any(len(cls) for _, cls in subset.boxes):
            raise DataError(
                f"a label in {name}", found="none", where=f"algorithm '{card.name}'",
                do=f"label frames of dataset '{card.dataset}', or change split in params.yaml",
            )  # fmt: skip
    inputs = inputs_of(project, settings, card, params, data)
    digest = digest_of(inputs)
    folder = work_folder(project.work / "training", card.name, digest)
    line = left_behind(folder, card.name, inputs)
    if line:
        sys.stderr.write(f"{line}\n")
    note_inputs(folder, inputs)
    return Work(project, settings, card, params, data, frames, val_frames, digest, folder, say)


def inputs_of(
    project: Project,
    settings: Settings,
    card: Algorithm,
    params: AlgorithmParams,
    data: TrainingData,
) -> dict[str, Any]:
    """Everything that decides the weights; how many seeds follow the first does not.

    `patience` and `validate_every` decide which epoch is the best, `device`, `devices` and
    `precision` how its numbers are rounded.
    """
    own = project.algorithm_folder(card.name) / OWN_FILE
    return {
        "snapshot": data.digest,
        "train": params.train.model_dump(exclude={"seeds"}),
        "weights": weights_digest(params.train.weights, project, settings),
        "data": params.data.model_dump(exclude={"workers"}),
        "network": card.network,
        "network.py": digest_of_file(own) if card.network == OWN and own.is_file() else None,
        "classes": list(card.classes),
    }


def _seeds(work: Work) -> range:
    first = work.params.train.seed
    return range(first, first + work.params.train.seeds)


def _parent_run(work: Work) -> Run:
    """The run that those of the seeds are nested in."""
    name = f"train, {work.params.train.seeds} seeds"
    run = noted_run(work, work.folder, name, work.params.train)
    run.params({"train": work.params.train.model_dump(mode="json"), "network": work.card.network})
    return run


def _close(parent: Run, found: Sequence[Trained], task: str, say: Callable[[str], None]) -> None:
    """Say and track how far the seeds lie apart."""
    spreads = summary([each.result for each in found])
    for line in lines(spreads, METRICS[task]):
        say(line)
    parent.log(
        {
            f"{name}_{part}": value
            for name, parts in spreads["figures"].items()
            for part, value in parts.items()
        },
        step=0,
    )
    parent.finish()


def _write(out: Path, found: Sequence[Trained], weights: Path) -> None:
    results = [each.result for each in found]
    about: dict[str, Any] = {**found[0].about, "seeds": summary(results)}
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    shutil.copyfile(weights, beside / WEIGHTS)
    write_json(beside / ABOUT, about)
    write_json(beside / SEEDS, detailed(results))
    shutil.rmtree(out, ignore_errors=True)
    beside.replace(out)
