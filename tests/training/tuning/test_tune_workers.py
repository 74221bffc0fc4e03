"""A study has exactly the trials that were asked for, whoever is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cheap_worker import inputs, params_of

from cityforge.errors import DataError, ServiceError
from cityforge.training.front import front_of
from cityforge.training.results import points_of
from cityforge.training.storage import open_storage
from cityforge.training.study import (
    OWNER,
    DeadTrials,
    has_died,
    left_behind,
    open_study,
    standing,
    this_process,
)
from cityforge.training.workers import run_workers

Launch = Callable[..., "subprocess.Popen[str]"]
CHEAP = [sys.executable, str(Path(__file__).parent / "cheap_worker.py")]


def study_of(url: str, **storage: int) -> Any:
    return open_study(open_storage(url, **storage), url, "bins", inputs())


def finished(study: Any) -> list[Any]:
    trials = study.get_trials(deepcopy=False)
    return [each for each in trials if each.state.name in ("COMPLETE", "PRUNED")]


def wait_for(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.05)  # nothing tells when it came about: looked at again
    raise AssertionError("it did not come about")


@pytest.mark.slow
def test_twenty_trials_by_two_workers_one_of_them_killed(url: str, tmp_path: Path) -> None:
    study = study_of(url)
    said: list[str] = []
    killed: list[int] = []

    def say(line: str) -> None:
        said.append(line)
        if not killed and len(finished(study)) >= 6:
            running = [t for t in study.get_trials(deepcopy=False) if t.state.name == "RUNNING"]
            owned = [t for t in running if OWNER in t.user_attrs]
            if owned:
                killed.append(owned[0].number)
                os.kill(owned[0].user_attrs[OWNER]["pid"], signal.SIGKILL)

    job = {"url": url, "trials": 20, "seconds": 0.3, "grace_s": 60, "minutes": 10}
    run_workers(CHEAP, job, tmp_path, 2, dict(os.environ), say)
    done = finished(study)
    assert len(done) == 20
    assert len({each.number for each in done}) == 20
    assert standing(study).running == standing(study).waiting == 0
    assert len(killed) == 1, said
    points = {each.number: each for each in points_of(study)}
    again = [each for each in points.values() if each.again == killed[0]]
    assert [each.state for each in again] == ["complete"], "what was killed is run again"
    assert again[0].params == points[killed[0]].params or not points[killed[0]].params
    assert len(front_of(list(points.values()))) >= 3
    assert any("signal 9; another one takes its place" in line for line in said)
    assert any("20 of 20 done" in line for line in said)


@pytest.mark.slow
def test_six_workers_at_once_do_not_finish_one_trial_too_many(url: str, launch: Launch) -> None:
    team = [launch(url, 13) for _ in range(6)]
    said = [each.communicate(timeout=90)[0] for each in team]
    assert [each.returncode for each in team] == [0] * 6, said
    study = study_of(url)
    numbers = [each.number for each in study.get_trials(deepcopy=False)]
    assert len(finished(study)) == 13
    assert len(set(numbers)) == len(numbers)
    rates = {each.params["learning_rate"] for each in finished(study)}
    assert len(rates) == 13, "no two trials draw the same"


def test_a_trial_whose_process_was_killed_is_taken_up_at_once(url: str, launch: Launch) -> None:
    first = launch(url, 3, seconds=60)
    study = study_of(url)
    wait_for(lambda: any(t.params for t in study.get_trials(deepcopy=False)))
    first.kill()
    first.wait()
    began = time.monotonic()
    second = launch(url, 3, grace_s=600)
    said = second.communicate(timeout=60)[0]
    assert second.returncode == 0, said
    assert time.monotonic() - began < 30
    assert "trial 0 lost its worker and is run again" in said
    trials = study.get_trials(deepcopy=False)
    assert [each.state.name for each in trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert trials[1].params == trials[0].params
    # Begun anew, the sampler does not draw its first values once more.
    assert len({each.params["learning_rate"] for each in trials[1:]}) == 3


def test_a_worker_ends_with_the_process_that_started_it(url: str, tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from cityforge.training.workers import run_workers\n"
        f"job = {{'url': {url!r}, 'trials': 9, 'seconds': 60, 'grace_s': 9, 'minutes': 9}}\n"
        f"run_workers({CHEAP!r}, job, Path({str(tmp_path)!r}), 2, dict(os.environ), print)\n"
    )
    study = study_of(url)
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)

    def owners() -> list[dict[str, Any]]:
        trials = study.get_trials(deepcopy=False)
        return [t.user_attrs[OWNER] for t in trials if OWNER in t.user_attrs]

    wait_for(lambda: len(owners()) == 2)
    assert not any(has_died(each) for each in owners())
    parent.kill()
    parent.wait()
    wait_for(lambda: all(has_died(each) for each in owners()), 10)


def test_a_trial_of_another_machine_is_run_again_once_it_gives_no_sign(url: str) -> None:
    study = study_of(url, beat_s=1, grace_s=2)
    trial = study.ask()
    trial.set_user_attr(OWNER, {**this_process(), "host": "another", "pid": 1})
    study._storage.record_heartbeat(trial._trial_id)
    dead = DeadTrials(study, 2)
    said: list[str] = []
    dead.requeue(said.append)
    assert standing(study).running == 1
    time.sleep(1.0)  # less than its grace: a sign of life in between
    study._storage.record_heartbeat(trial._trial_id)
    dead.requeue(said.append)
    assert standing(study).running == 1, "its sign of life counts, whatever the server's zone"
    time.sleep(3.5)  # longer than its grace, without a sign of life
    dead.requeue(said.append)
    now = standing(study)
    assert (now.running, now.waiting) == (0, 1)


def test_a_trial_killed_before_it_had_an_owner_is_not_waited_for_for_ever(url: str) -> None:
    study = study_of(url)
    study.ask()
    dead = DeadTrials(study, grace_s=0.5)
    said: list[str] = []
    dead.requeue(said.append)
    assert (standing(study).running, said) == (1, [])
    time.sleep(0.6)  # longer than its grace
    dead.requeue(said.append)
    assert standing(study).waiting == 1
    assert said == ["trial 0 lost its worker and is run again"]


@pytest.mark.slow
def test_minutes_end_the_search_for_all_workers(url: str, launch: Launch) -> None:
    team = [launch(url, 500, seconds=0.5, minutes=0.05) for _ in range(2)]
    said = [each.communicate(timeout=60)[0] for each in team]
    assert [each.returncode for each in team] == [0, 0], said
    study = study_of(url)
    now = standing(study)
    assert 4 <= now.finished <= 16
    assert (now.running, now.waiting) == (0, 0)
    assert all("0.05 minutes are used up" in each for each in said)
    # Another run has no time left either.
    again = launch(url, 500, seconds=0.5, minutes=0.05)
    again.communicate(timeout=60)
    assert standing(study).finished == now.finished


@pytest.mark.slow
def test_more_trials_go_on_where_the_earlier_ended(url: str, launch: Launch) -> None:
    for trials, expected in ((2, 2), (5, 5), (4, 5)):
        worker = launch(url, trials)
        assert worker.communicate(timeout=60) and worker.returncode == 0
        assert len(finished(study_of(url))) == expected


@pytest.mark.slow
@pytest.mark.services
def test_a_server_that_is_away_for_a_while_ends_no_search(
    postgresql: Any, launch: Launch, tmp_path: Path
) -> None:
    url = postgresql.new_database("away").replace("postgresql:", "postgresql+pg8000:")
    worker = launch(url, 6, seconds=0.5, grace_s=4)
    study = study_of(url)
    wait_for(lambda: finished(study))
    postgresql.stop()
    time.sleep(1)  # workers meet a server that is not there
    postgresql.start()
    said = worker.communicate(timeout=90)[0]
    assert worker.returncode == 0, said
    assert len(finished(study)) == 6


def test_a_worker_that_fails_says_why(tmp_path: Path) -> None:
    path = tmp_path / "tuning.db"
    path.write_text("no database")
    job = {"url": f"sqlite:///{path}", "trials": 2, "seconds": 0, "grace_s": 9, "minutes": 1}
    with pytest.raises(DataError, match="file is not a database"):
        run_workers(CHEAP, job, tmp_path, 2, dict(os.environ), lambda line: None)


def test_workers_that_are_killed_again_and_again_end_the_search(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    with pytest.raises(ServiceError, match="signal 9, 4 times"):
        run_workers(command, {}, tmp_path, 1, dict(os.environ), lambda line: None)


def test_a_study_of_other_inputs_is_left_alone_and_named(url: str) -> None:
    storage = open_storage(url)
    other = open_study(storage, url, "bins", inputs(seed=4) | {"train": {"batch": 16}})
    other.optimize(lambda t: (0.5, t.suggest_float("learning_rate", 0, 1)), n_trials=2)
    open_study(storage, url, "bins_too", inputs())
    study = open_study(storage, url, "bins", inputs())
    assert standing(study).finished == 0
    (line,) = left_behind(study)
    assert other.study_name in line and "2 trials" in line
    assert line.endswith("it was made with other tune.seed, train.batch")
    assert params_of(3).seed == 3
