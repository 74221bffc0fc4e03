"""One search and its trials: what it was made with, who runs what, what is still to do."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import AlgorithmParams, ChoiceOf, TuneParams
from cityforge.dataset.digests import digest_of, digest_of_file
from cityforge.errors import DataError, InputError
from cityforge.project import Project
from cityforge.provenance import birth_of, device_name
from cityforge.settings import Settings
from cityforge.tasks.kinds import OWN, OWN_FILE
from cityforge.training.storage import run_again, translated
from cityforge.trust.store import masked

DIRECTIONS = {"score": "maximize", "latency": "minimize"}
# Names of what is noted of a study and of a trial.
INPUTS, MADE_AT, RUN = "inputs", "made_at", "run_id"
OWNER, ENDED, SURPLUS = "owner", "ended", "surplus"
FAULT, GRAPH, MEASURED = "fault", "graph", "measured_ms"
# Latency of a trial that was too large to be measured: worse than any.
UNMEASURED_MS = 1e9
# Trials drawn at random before the sampler learns from them, and completed ones before the
# median of the earlier may end one early.
RANDOM_TRIALS = 4
TRIALS_BEFORE_PRUNING = 3


def inputs_of(
    project: Project, settings: Settings, card: Algorithm, params: AlgorithmParams,
    data_digest: str,
) -> dict[str, Any]:  # fmt: skip
    """All that decides what a trial comes to; trials of other inputs are never mixed.

    Where latency is an objective, the device is among them.

    Raises:
        InputError: no weights where `train.weights` says; and as `weights_digest`.
    """
    own = project.algorithm_folder(card.name) / OWN_FILE
    no_matter = {"epochs", "minutes", "seeds"}
    asked = {"trials", "minutes", "workers", "search", "objectives"}
    return {
        "data": data_digest,
        "classes": list(card.classes),
        "task": card.task,
        "network": card.network,
        "network.py": digest_of_file(own) if card.network == OWN and own.is_file() else None,
        "input": [params.data.input_width, params.data.input_height],
        "weights": weights_of(project, settings, params),
        "train": params.train.model_dump(mode="json", exclude=no_matter),
        "tune": params.tune.model_dump(mode="json", exclude=asked),
        "tune.search": {k: v.model_dump(mode="json") for k, v in params.tune.search.items()},
        "tune.objectives": list(params.tune.objectives),
        "device": device_name() if "latency" in params.tune.objectives else None,
    }


def weights_of(project: Project, settings: Settings, params: AlgorithmParams) -> Any:
    """Digest of the file or version that `train.weights` names, or of each that is searched.

    None where the name says it all: scratch and timm.
    """
    searched = params.tune.search.get("weights")
    if isinstance(searched, ChoiceOf):
        return {str(each): _digest_of(project, settings, str(each)) for each in searched.choices}
    return _digest_of(project, settings, params.train.weights)


def _digest_of(project: Project, settings: Settings, weights: str) -> str | None:
    if not names_weights(weights):
        return None
    from cityforge.training.weights import weights_digest

    return weights_digest(weights, project, settings)


def names_weights(weights: str) -> bool:
    """A file or a version, whose content may change under its name; not scratch or timm."""
    return "." in weights or "/" in weights


def name_of(algorithm: str, inputs: Mapping[str, Any]) -> str:
    """The study's name: the algorithm and a digest of its inputs."""
    return f"{algorithm}-{digest_of(inputs)[:16]}"


def studies_of(storage: Any, algorithm: str) -> list[Any]:
    """Studies of an algorithm that the storage holds, the newest first."""
    import optuna

    pattern = re.compile(re.escape(algorithm) + r"-[0-9a-f]{16}")
    names = [each for each in optuna.study.get_all_study_names(storage) if pattern.fullmatch(each)]
    found = [optuna.load_study(study_name=each, storage=storage) for each in names]
    return sorted(found, key=lambda s: -float(s.user_attrs.get(MADE_AT, 0)))


def open_study(storage: Any, url: str, algorithm: str, inputs: Mapping[str, Any]) -> Any:
    """The study of these inputs, made where it is missing.

    Raises:
        ServiceError: the storage does not answer.
    """
    import optuna

    params: Any = inputs["tune.objectives"]
    alone = len(params) == 1
    with translated(url):
        study = optuna.create_study(
            study_name=name_of(algorithm, inputs),
            storage=storage,
            load_if_exists=True,
            directions=[DIRECTIONS[each] for each in params],
            pruner=optuna.pruners.MedianPruner(n_startup_trials=TRIALS_BEFORE_PRUNING)
            if alone
            else optuna.pruners.NopPruner(),
        )
        if INPUTS not in study.user_attrs:
            study.set_user_attr(INPUTS, dict(inputs))
            study.set_user_attr(MADE_AT, time.time())
    return study


def load_study(storage: Any, url: str, algorithm: str, inputs: Mapping[str, Any]) -> Any:
    """The study of these inputs, begun before.

    Raises:
        InputError: there is none; what the newest one of the algorithm was made with.
        ServiceError: the storage does not answer.
    """
    name = name_of(algorithm, inputs)
    with translated(url):
        known = studies_of(storage, algorithm)
    for each in known:
        if each.study_name == name:
            return each
    if not known:
        raise InputError(
            f"a search of {algorithm} to join", found="none", where=masked(url),
            do=f"begin it: cityforge run {algorithm} --stage tune; on another machine set "
            "CITYFORGE_TUNING_STORAGE as there",
        )  # fmt: skip
    others = _differing(inputs, known[0].user_attrs.get(INPUTS, {}))
    alike = "; with latency as an objective all machines are of one kind" * ("device" in others)
    raise InputError(
        "a search with the data and parameters of here", where=masked(url),
        found=f"study {known[0].study_name} with other {', '.join(others) or 'parameters'}",
        do=f"make them alike{alike}, or begin another: cityforge run {algorithm} --stage tune",
    )  # fmt: skip


def left_behind(study: Any) -> list[str]:
    """A line for each study of this algorithm that was made with other inputs."""
    lines = []
    for other in studies_of(study._storage, study.study_name.rpartition("-")[0]):
        if other.study_name == study.study_name:
            continue
        names = _differing(study.user_attrs[INPUTS], other.user_attrs.get(INPUTS, {}))
        lines.append(
            f"study {other.study_name} ({standing(other).finished} trials) is left as it is: "
            f"it was made with other {', '.join(names) or 'parameters'}"
        )
    return lines


def _differing(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    names: list[str] = []
    for key, value in mine.items():
        other = theirs.get(key)
        if value != other and isinstance(value, Mapping) and isinstance(other, Mapping):
            inner = sorted(k for k in {*value, *other} if value.get(k) != other.get(k))
            names += [f"{key}.{each}" for each in inner]
        elif value != other:
            names.append(key)
    return names[:6]


def sampler_of(params: TuneParams, number: int) -> Any:
    """The sampler of one trial: its draws depend on the seed, its number and those before it.

    One sampler for all would, begun anew behind a kill, draw its first values again.
    """
    import optuna

    seed = int(digest_of([params.seed, number])[:8], 16) % 2**31
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)


@dataclass(frozen=True)
class Standing:
    """How far a study is."""

    finished: int  # complete or pruned
    running: int
    waiting: int  # to be run again
    used_s: float  # time in which at least one trial was under way


def standing(study: Any) -> Standing:
    """How far a study is, by what its storage says."""
    trials = study.get_trials(deepcopy=False)
    counts = dict.fromkeys(("COMPLETE", "PRUNED", "RUNNING", "WAITING", "FAIL"), 0)
    for each in trials:
        counts[each.state.name] += 1
    return Standing(
        finished=counts["COMPLETE"] + counts["PRUNED"],
        running=counts["RUNNING"],
        waiting=counts["WAITING"],
        used_s=_used_s(trials),
    )


def _used_s(trials: Iterable[Any]) -> float:
    """Length of the union of the trials' times; a trial that was cut short does not count."""
    now = time.time()
    spans = sorted(
        (owner["began"], trial.user_attrs.get(ENDED, now))
        for trial in trials
        if (owner := trial.user_attrs.get(OWNER)) and trial.state.name != "FAIL"
    )
    used, until = 0.0, 0.0
    for began, ended in spans:
        used += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return used


def claims_before(study: Any, number: int) -> int:
    """Trials with a lower number that are finished, under way or to be run again.

    A trial is surplus where there are as many as were asked for. These claims only ever
    become fewer, so by this rule alone no study finishes one trial too many, whoever works
    on it and wherever.
    """
    trials = study.get_trials(deepcopy=False)
    return sum(each.number < number and each.state.name != "FAIL" for each in trials)


def this_process() -> dict[str, Any]:
    """Who runs a trial, and since when (seconds since 1970)."""
    pid = os.getpid()
    return {"host": _host(), "pid": pid, "birth": birth_of(pid), "began": time.time()}


def has_died(owner: Mapping[str, Any]) -> bool:
    """The process was one of this machine since it was started, and runs no more."""
    birth = str(owner["birth"])
    boot = birth_of(os.getpid()).partition(" ")[0]
    here = owner["host"] == _host() and birth.partition(" ")[0] == boot
    return here and birth_of(int(owner["pid"])) != birth


def _host() -> str:
    """The machine's name and the container within it that sees the same process ids."""
    space = Path("/proc/self/ns/pid").readlink().name
    return f"{socket.gethostname()} {space}"


class DeadTrials:
    """Trials whose workers are gone: found, and queued to be run again."""

    def __init__(self, study: Any, grace_s: float) -> None:
        self._study = study
        self._grace_s = grace_s
        self._unowned: dict[int, float] = {}  # trial: when it was first seen without owner

    def requeue(self, say: Callable[[str], None]) -> None:
        """Queue those of this machine at once, of others once they gave no sign of life."""
        import optuna

        running = (optuna.trial.TrialState.RUNNING,)
        for trial in self._study.get_trials(deepcopy=False, states=running):
            if self._is_dead(trial) and self._fail(trial):
                say(f"trial {trial.number} lost its worker and is run again")
        optuna.storages.fail_stale_trials(self._study)

    def _is_dead(self, trial: Any) -> bool:
        owner = trial.user_attrs.get(OWNER)
        if owner:
            return has_died(owner)
        # Killed between taking the trial and putting its name to it, or just about to.
        first = self._unowned.setdefault(trial.number, time.monotonic())
        return time.monotonic() - first > self._grace_s

    def _fail(self, trial: Any) -> bool:
        """Whether it was this process that took it from its worker."""
        import optuna

        try:
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            return False
        run_again(self._study, trial)
        return True


def refuse_without_result(study: Any) -> None:
    """Raise where no trial came to a figure.

    Raises:
        DataError: each trial failed; what the first one said.
    """
    trials = [each for each in study.get_trials(deepcopy=False) if each.state.name == "COMPLETE"]
    faults = [each.user_attrs.get(FAULT) for each in trials]
    if trials and all(faults):
        raise DataError(
            "a trial that comes to a score", found=f"{len(trials)} that failed: {faults[0]}",
            where="tune",
            do="search lower values of learning_rate; where memory was short, smaller inputs or "
            "networks",
        )  # fmt: skip
