"""One trial: a short training on a share of the frames, judged by score and by latency."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import (
    AlgorithmParams,
    ChoiceOf,
    DataParams,
    RangeOf,
    TrainParams,
    TuneParams,
)
from cityforge.dataset.loader import LabelledFrames
from cityforge.errors import DataError
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.training.course import is_out_of_memory
from cityforge.training.data import TrainingData
from cityforge.training.fit import fit, make_learner
from cityforge.training.latency import measured_ms, one_at_a_time
from cityforge.training.one_seed import device_in_use
from cityforge.training.picked import (
    INPUT_WIDTH,
    ends_of,
    is_whole,
    with_picked,
    with_picked_input,
)
from cityforge.training.study import FAULT, GRAPH, MEASURED, RUN, UNMEASURED_MS
from cityforge.training.tracking import Run, open_run

# So many trials measure one network at one input; the least of theirs is its latency.
MEASUREMENTS = 3


@dataclass(frozen=True)
class Search:
    """What all trials of a study share."""

    project: Project
    settings: Settings
    card: Algorithm
    params: AlgorithmParams
    data: TrainingData
    frames: LabelledFrames
    val_frames: LabelledFrames


def search_of(
    project: Project, settings: Settings, card: Algorithm, params: AlgorithmParams,
    data: TrainingData,
) -> Search:  # fmt: skip
    """The search over this data; its trials see a share of the training's frames."""
    frames = _share_of(data.subset("train"), params.tune)
    return Search(project, settings, card, params, data, frames, data.subset("val"))


def judge(search: Search, study: Any, trial: Any) -> float | tuple[float, ...]:
    """Train with the values that the sampler suggests; its score and, if asked for, its ms.

    A training whose loss is no number any more, or that is too large for memory, comes to a
    score of 0, which teaches the sampler to keep away.

    Raises:
        optuna.TrialPruned: worse than the median of the earlier ones at the same epoch.
    """
    import optuna

    params = search.params
    picked = {key: suggested(trial, params, key) for key in params.tune.search}
    run = _run_of(search, study, trial, picked)
    try:
        values = _values(search, study, trial, picked, run)
    except optuna.TrialPruned:
        run.tags({"state": "pruned"})
        run.finish()
        raise
    except BaseException as error:
        run.finish("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    run.finish()
    return values if len(values) > 1 else values[0]


def _values(
    search: Search, study: Any, trial: Any, picked: Mapping[str, Any], run: Run
) -> tuple[float, ...]:
    """What the trial comes to, by objective; the worst of each where memory is too short."""
    tune = search.params.tune
    timed = "latency" in tune.objectives
    try:
        score, network = _score(search, trial, picked, run)
        values = (score, _latency(search, study, trial, picked, network)) if timed else (score,)
    except Exception as error:  # noqa: BLE001 - all but a lack of memory is raised again
        _note_too_large(trial, error)
    else:
        run.log(dict(zip(tune.objectives, values, strict=True)), tune.epochs)
        return values
    import torch

    # What the training held is freed before the next trial.
    gc.collect()
    torch.cuda.empty_cache()
    run.log({"score": 0.0}, tune.epochs)
    run.tags({"fault": "memory"})
    return (0.0, UNMEASURED_MS) if timed else (0.0,)


def _note_too_large(trial: Any, error: Exception) -> None:
    """Note that the trial had too little memory; an error of another kind is raised again."""
    cause = error.__cause__ if isinstance(error, DataError) else error
    if cause is None or not is_out_of_memory(cause):
        raise error
    said = str(error) if isinstance(error, DataError) else f"out of memory: {error}"
    trial.set_user_attr(FAULT, said.splitlines()[0])
    for each in {error, cause}:
        traceback.clear_frames(each.__traceback__)  # they hold tensors


def suggested(trial: Any, params: AlgorithmParams, key: str) -> Any:
    """The sampler's value for one key of `tune.search`."""
    searched = params.tune.search[key]
    if isinstance(searched, ChoiceOf):
        return trial.suggest_categorical(key, searched.choices)
    if key == INPUT_WIDTH:
        low, high = ends_of(searched)
        return trial.suggest_int(key, low, high, step=32)
    if is_whole(params, key):
        low, high = ends_of(searched)
        return trial.suggest_int(key, low, high, log=searched.log)
    return _suggested_float(trial, key, searched)


def _suggested_float(trial: Any, key: str, searched: RangeOf) -> float:
    return float(trial.suggest_float(key, searched.low, searched.high, log=searched.log))


def _score(search: Search, trial: Any, picked: Mapping[str, Any], run: Run) -> tuple[float, Any]:
    """Best score of a short training, and its network."""
    import optuna

    from cityforge.training.recorder import Recorder
    from cityforge.training.weights import warm_start

    tune = search.params.tune
    card, train = _short(search, picked)
    learner = make_learner(card, train, search.project.algorithm_folder(card.name))
    warm_start(
        learner.network, train.weights, card=card, loss=train.loss.model_dump(),
        project=search.project, settings=search.settings,
    )  # fmt: skip
    pruned = False

    def on_validation(epoch: int, score: float) -> bool:
        nonlocal pruned
        if len(tune.objectives) == 1:  # pruning and several objectives do not mix
            trial.report(score, epoch)
            pruned = bool(trial.should_prune()) and epoch < tune.epochs
        return pruned

    try:
        outcome = fit(
            learner,
            train_frames=search.frames,
            val_frames=search.val_frames,
            store=search.data.store,
            data=_input_of(search, picked),
            train=train,
            on_validation=on_validation,
            callbacks=[Recorder(run)],
        )
    except DataError as error:
        if not isinstance(error.__cause__, FloatingPointError):
            raise
        trial.set_user_attr(FAULT, str(error))
        return 0.0, learner.network
    if pruned:
        raise optuna.TrialPruned
    return outcome.best_score, learner.network


def _short(search: Search, picked: Mapping[str, Any]) -> tuple[Algorithm, TrainParams]:
    """Card and parameters of a trial's training."""
    tune = search.params.tune
    short = {"epochs": tune.epochs, "minutes": tune.minutes, "validate_every": 1}
    return with_picked(search.card, search.params.train, {**picked, **short})


def _latency(
    search: Search, study: Any, trial: Any, picked: Mapping[str, Any], network: Any
) -> float:
    """Measured milliseconds: the least that this network took at this input so far."""
    from cityforge.tasks.kinds import build_network

    card, _ = with_picked(search.card, search.params.train, picked)
    data = _input_of(search, picked)
    graph = f"{card.network} {data.input_width}x{data.input_height}"
    with one_at_a_time(search.project.work):
        found = measured_before(study, graph)
        if len(found) < MEASUREMENTS:
            loss = search.params.train.loss.model_dump()
            folder = search.project.algorithm_folder(card.name)
            # A fresh one: the trained one was fitted to how it trains quickest.
            fresh = build_network(
                card.task, card.network, len(card.classes), loss=loss, folder=folder
            )
            fresh.load_state_dict(network.state_dict())
            found.append(measured_ms(fresh, data, search.params.export.opset, card.task))
            trial.set_user_attr(MEASURED, found[-1])
        trial.set_user_attr(GRAPH, graph)
    return min(found)


def measured_before(study: Any, graph: str) -> list[float]:
    """What this network took at this input; a study with latency belongs to one device."""
    noted = [trial.user_attrs for trial in study.get_trials(deepcopy=False)]
    return [n[MEASURED] for n in noted if n.get(GRAPH) == graph and MEASURED in n]


def _input_of(search: Search, picked: Mapping[str, Any]) -> DataParams:
    return with_picked_input(search.params.data, picked)


def _run_of(search: Search, study: Any, trial: Any, picked: Mapping[str, Any]) -> Run:
    """The trial's run of MLflow, nested in the study's."""
    card, train = _short(search, picked)
    tags = {
        "study": study.study_name,
        "trial": trial.number,
        "snapshot_digest": search.data.digest,
        "device": device_in_use(train),
        "seed": train.seed,
    }
    run = open_run(
        search.project, search.settings, card, f"trial {trial.number}", tags,
        parent=study.user_attrs.get(RUN),
    )  # fmt: skip
    trial.set_user_attr(RUN, run.run_id)
    run.params(
        {
            **picked,
            "task": card.task,
            "network": card.network,
            "snapshot": search.data.digest,
            "epochs": train.epochs,
            "train": train.model_dump(mode="json"),
            "data": _input_of(search, picked).model_dump(mode="json"),
        }
    )
    return run


def _share_of(frames: LabelledFrames, params: TuneParams) -> LabelledFrames:
    count = max(1, round(params.train_share * len(frames.frame_ids)))
    chosen = np.sort(np.random.default_rng(params.seed).permutation(len(frames.frame_ids))[:count])
    return frames.take(chosen.tolist())
