"""The search before the training: an Optuna study that goes on after a kill, with any workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import AlgorithmParams
from cityforge.dataset.snapshot import write_json
from cityforge.errors import DataError, ServiceError
from cityforge.project import Project
from cityforge.provenance import device_name
from cityforge.settings import Settings
from cityforge.training.data import TrainingData
from cityforge.training.front import Point, draw_front, front_of, pick
from cityforge.training.latency import MEANING
from cityforge.training.picked import check_search
from cityforge.training.results import BEST, PICTURE, points_of, row_of
from cityforge.training.results import read_picked as read_picked
from cityforge.training.storage import open_storage, storage_url, translated
from cityforge.training.study import (
    INPUTS,
    OWNER,
    RUN,
    has_died,
    inputs_of,
    left_behind,
    load_study,
    open_study,
    refuse_without_result,
    standing,
)
from cityforge.training.tracking import TAG_PARENT, Run, open_run
from cityforge.training.trial import judge, search_of
from cityforge.training.workers import WORKER, Loop, run_workers, share_of_cores, work_on

Say = Callable[[str], None]


def tune(
    project: Project,
    settings: Settings,
    card: Algorithm,
    params: AlgorithmParams,
    data: TrainingData,
    out: Path,
    say: Say,
) -> dict[str, Any]:
    """Search until `tune.trials` or `tune.minutes` are used up, and write what was picked.

    Run again, it goes on with the trials there are. `out` gets best.json and front.png.

    Raises:
        CardError: a search space that its keys do not take.
        DataError: no trial keeps what the card's `choice` asks for.
        ServiceError: the storage does not answer.
    """
    if params.tune.trials == 0:
        why = "no search was asked for: tune.trials is 0"
        write_json(out / BEST, {"picked": {}, "why": why, "trials": [], "front": []})
        return {}
    check_search(card, params)
    url = storage_url(project, settings)
    inputs = inputs_of(project, settings, card, params, data.digest)
    study = open_study(open_storage(url), url, card.name, inputs)
    _say_before(study, params, say)
    with _tracked(project, settings, card, params, data, study, url) as run:
        _work(project, settings, card, params, data, study, url, say)
        with translated(url):
            refuse_without_result(study)
            points = points_of(study)
            result = _written(card, study, points, out)
        run.log(_figures(result), 0)
        run.tags({f"picked.{name}": value for name, value in result["picked"].items()})
    say(f"picked {result['why']}")
    picked: dict[str, Any] = result["picked"]
    return picked


def join(
    project: Project,
    settings: Settings,
    card: Algorithm,
    params: AlgorithmParams,
    data: TrainingData,
    say: Say,
) -> tuple[str, int]:
    """Work on the study of these inputs in this process until its budget is spent.

    Returns:
        The study's name and how many of its trials are finished.

    Raises:
        InputError: no such study was begun.
        ServiceError: the storage does not answer.
    """
    check_search(card, params)
    url = storage_url(project, settings)
    inputs = inputs_of(project, settings, card, params, data.digest)
    study = load_study(open_storage(url), url, card.name, inputs)
    _work_here(project, settings, card, params, data, study, url, say)
    return str(study.study_name), standing(study).finished


def _say_before(study: Any, params: AlgorithmParams, say: Say) -> None:
    for line in left_behind(study):
        say(line)
    done = standing(study).finished
    if done:
        say(f"going on with study {study.study_name}: {done} of {params.tune.trials} done")


def _work(
    project: Project, settings: Settings, card: Algorithm, params: AlgorithmParams,
    data: TrainingData, study: Any, url: str, say: Say,
) -> None:  # fmt: skip
    workers = min(params.tune.workers, params.tune.trials)
    if workers == 1 or standing(study).finished >= params.tune.trials:
        _work_here(project, settings, card, params, data, study, url, say)
        return
    threads = share_of_cores(workers)
    shared = params.data.model_copy(update={"workers": min(params.data.workers, threads - 1)})
    job = {
        "root": str(project.root),
        "study": study.study_name,
        "threads": threads,
        "card": card.model_dump(mode="json"),
        "params": params.model_copy(update={"data": shared}).model_dump(mode="json"),
    }
    environment = {
        **os.environ,
        "CITYFORGE_TUNING_STORAGE": settings.tuning_storage,
        "CITYFORGE_TRACKING_URI": settings.tracking_uri,
    }
    run_workers(WORKER, job, project.root, workers, environment, say)


def _work_here(
    project: Project, settings: Settings, card: Algorithm, params: AlgorithmParams,
    data: TrainingData, study: Any, url: str, say: Say,
) -> None:  # fmt: skip
    search = search_of(project, settings, card, params, data)
    work_on(Loop(study, lambda trial: judge(search, study, trial), params.tune, url, say))


@contextmanager
def _tracked(
    project: Project, settings: Settings, card: Algorithm, params: AlgorithmParams,
    data: TrainingData, study: Any, url: str,
) -> Iterator[Run]:  # fmt: skip
    """The study's run of MLflow, which those of its trials are nested in; closed at the end."""
    tags = {"stage": "tune", "study": study.study_name, "snapshot_digest": data.digest}
    run = open_run(project, settings, card, "tune", tags, run_id=study.user_attrs.get(RUN))
    run.params({"tune": params.tune.model_dump(mode="json"), "network": card.network})
    study.set_user_attr(RUN, run.run_id)
    try:
        yield run
    except BaseException as error:
        run.finish("FAILED" if isinstance(error, Exception) else "KILLED")
        with suppress(ServiceError), translated(url):
            _close_cut_short(run, study)
        raise
    run.finish()
    with translated(url):
        _close_cut_short(run, study)


def _close_cut_short(run: Run, study: Any) -> None:
    """Runs of trials whose workers were killed are not under way for ever.

    They are found by their tags: a worker may be killed before its trial knows its run.
    """
    trials = {str(each.number): each for each in study.get_trials(deepcopy=False)}
    for nested in _open_runs(run):
        trial = trials.get(nested.data.tags.get("cityforge.trial", ""))
        if trial and (trial.state.name == "FAIL" or _was_cut_off(trial)):
            Run(run.client, nested.info.run_id).finish("KILLED")


def _was_cut_off(trial: Any) -> bool:
    owner = trial.user_attrs.get(OWNER)
    return trial.state.name == "RUNNING" and bool(owner) and has_died(owner)


def _open_runs(run: Run) -> list[Any]:
    """Runs nested in this one that are under way."""
    from mlflow.exceptions import MlflowException

    asked = f"tags.`{TAG_PARENT}` = '{run.run_id}' and attributes.status = 'RUNNING'"
    try:
        experiment = run.client.get_run(run.run_id).info.experiment_id
        return list(run.client.search_runs([experiment], asked))
    except MlflowException:  # the server is away
        return []


def _written(card: Algorithm, study: Any, points: list[Point], out: Path) -> dict[str, Any]:
    device = device_name()
    title = f"{card.title} · {study.study_name}"
    try:
        picked, why = pick(points, card.choice)
    except DataError:
        # The picture shows how far the search is from what the card asks for.
        draw_front(out / PICTURE, title, points, None, card.choice, device)
        raise
    draw_front(out / PICTURE, title, points, picked, card.choice, device)
    result = {
        "study": study.study_name,
        "picked": dict(picked.params),
        "why": why,
        "trial": picked.number,
        "val_score": picked.score,
        "latency_ms": picked.latency_ms,
        "latency_is": MEANING if picked.latency_ms is not None else None,
        "weights": study.user_attrs[INPUTS].get("weights"),
        "device": device,
        "choice": card.choice.model_dump(mode="json"),
        "front": [each.number for each in front_of(points)],
        "trials": [row_of(each) for each in points],
    }
    write_json(out / BEST, result)
    return result


def _figures(result: dict[str, Any]) -> dict[str, float]:
    found = {"val_score": result["val_score"], "latency_ms": result["latency_ms"]}
    return {name: float(value) for name, value in found.items() if value is not None}
