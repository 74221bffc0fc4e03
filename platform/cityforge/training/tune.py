"""The search before the training: an Optuna study that goes on after a kill."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import AlgorithmParams, TuneParams
from cityforge.dataset.digests import digest_of
from cityforge.dataset.loader import LabelledFrames
from cityforge.dataset.snapshot import write_json
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.training.data import TrainingData
from cityforge.training.fit import fit, make_learner

BEST = "best.json"
# After so many trials the median of the earlier ones may end a trial early.
TRIALS_BEFORE_PRUNING = 3


def read_best(folder: Path) -> dict[str, float]:
    """What the search found, as values of `train`; empty when it was asked for no trial."""
    path = folder / BEST
    if not path.is_file():
        return {}
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["best"]
    return found


def tune(
    project: Project,
    settings: Settings,
    card: Algorithm,
    params: AlgorithmParams,
    data: TrainingData,
    out: Path,
    say: Callable[[str], None],
) -> dict[str, float]:
    """Search `tune.trials` times, or `tune.minutes` long, and write what was best into `out`.

    A trial is a short training on a share of the frames, judged by mAP50 on val.
    """
    if params.tune.trials == 0:
        write_json(out / BEST, {"best": {}, "trials": []})
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    study = _study(optuna, project, settings, card, params, data)
    begun = time.monotonic()
    objective = _objective(optuna, card, params, data, say)
    while _finished(optuna, study) < params.tune.trials:
        if time.monotonic() - begun > 60 * params.tune.minutes and _finished(optuna, study):
            say(f"{params.tune.minutes:g} minutes are used up")
            break
        study.optimize(objective, n_trials=1)
    best = {name: float(value) for name, value in study.best_params.items()}
    trials = [_row(trial) for trial in study.trials]
    write_json(out / BEST, {"best": best, "val_map50": study.best_value, "trials": trials})
    say(f"best of {len(trials)} trials: mAP50 {study.best_value:.3f} with {_shown(best)}")
    return best


def _study(
    optuna: Any,
    project: Project,
    settings: Settings,
    card: Algorithm,
    params: AlgorithmParams,
    data: TrainingData,
) -> Any:
    fixed = params.train.model_dump(exclude={"epochs", "minutes"})
    asked = params.tune.model_dump(exclude={"trials", "minutes"})
    picture = params.data.model_dump(exclude={"workers"})
    inputs = [data.digest, fixed, asked, picture, card.network, list(card.classes)]
    name = f"{card.name}-{digest_of(inputs)[:16]}"
    storage = settings.tuning_storage
    if not storage:
        project.work.mkdir(exist_ok=True)
        storage = f"sqlite:///{project.work / 'tuning.db'}"
    return optuna.create_study(
        study_name=name,
        storage=storage,
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=params.tune.seed, n_startup_trials=4),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=TRIALS_BEFORE_PRUNING),
    )


def _objective(
    optuna: Any,
    card: Algorithm,
    params: AlgorithmParams,
    data: TrainingData,
    say: Callable[[str], None],
) -> Callable[[Any], float]:
    frames = _share_of(data.subset("train"), params.tune)
    val_frames = data.subset("val")

    def objective(trial: Any) -> float:
        picked = {
            name: trial.suggest_float(name, *getattr(params.tune, name), log=True)
            for name in ("learning_rate", "weight_decay", "box_weight")
        }
        short = {"epochs": params.tune.epochs, "minutes": params.tune.minutes}
        train = params.train.model_copy(update=picked | short | {"validate_every": 1})

        def prune(epoch: int, score: float) -> bool:
            trial.report(score, epoch)
            return bool(trial.should_prune())

        outcome = fit(
            make_learner(card, train),
            train_frames=frames,
            val_frames=val_frames,
            store=data.store,
            data=params.data,
            train=train,
            on_validation=prune,
        )
        say(
            f"trial {trial.number + 1}/{params.tune.trials}  mAP50 {outcome.best_map50:.3f}  "
            f"{_shown(picked)}"
        )
        if trial.should_prune() and outcome.epochs < train.epochs:
            raise optuna.TrialPruned
        return outcome.best_map50

    return objective


def _share_of(frames: LabelledFrames, params: TuneParams) -> LabelledFrames:
    count = max(1, round(params.train_share * len(frames.frame_ids)))
    chosen = np.sort(np.random.default_rng(params.seed).permutation(len(frames.frame_ids))[:count])
    return LabelledFrames([frames.frame_ids[i] for i in chosen], [frames.boxes[i] for i in chosen])


def _finished(optuna: Any, study: Any) -> int:
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return len(study.get_trials(deepcopy=False, states=states))


def _row(trial: Any) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "val_map50": trial.value,
        "params": trial.params,
    }


def _shown(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2g}" for name, value in values.items())
