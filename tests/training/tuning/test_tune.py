"""The stage on a small project: real trainings, real latencies, a picture, workers and kills."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from streets import Streets, make_streets

from cityforge.errors import DataError, InputError
from cityforge.training.results import read_best, read_picked
from cityforge.training.study import OWNER

# The larger the input, the better and the slower.
SIZES = {
    "learning_rate": {"low": 2e-3, "high": 5e-3, "log": True},
    "data.input_width": {"choices": [64, 96, 128, 192]},
}


def trials_of(best: dict[str, Any], *states: str) -> list[dict[str, Any]]:
    return [each for each in best["trials"] if each["state"] in states]


def test_no_trial_asked_for_picks_nothing(streets: Streets) -> None:
    assert streets.tune(trials=0) == {}
    assert read_best(streets.out)["why"] == "no search was asked for: tune.trials is 0"
    assert read_picked(streets.out) == {}


def test_what_was_picked_is_written_with_its_reasons(streets: Streets) -> None:
    said: list[str] = []
    picked = streets.tune(said.append, trials=2)
    best = read_best(streets.out)
    assert picked == read_picked(streets.out) == best["picked"]
    assert 1e-3 <= picked["learning_rate"] <= 1e-2
    scores = {each["number"]: each["val_score"] for each in best["trials"]}
    assert best["val_score"] == max(scores.values()) == scores[best["trial"]]
    assert best["front"] == [best["trial"]]
    assert best["why"].startswith("the highest score of 2 trials: trial")
    assert "cores" in best["device"]
    assert (streets.out / "front.png").stat().st_size > 10_000
    assert said[-1] == f"picked {best['why']}"
    # Run again, it has nothing to do; another rule of the card picks without a new trial.
    said.clear()
    assert streets.tune(said.append, trials=2) == picked
    assert any("going on with study" in line and "2 of 2 done" in line for line in said)
    assert read_best(streets.out) == best
    with pytest.raises(DataError, match="a score of at least 1, found trial"):
        streets.with_choice(prefer="best", least_score=1.0).tune(trials=2)
    runs = runs_of(streets)
    parent = next(r for r in runs if r.info.run_name == "tune")
    nested = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(r.info.run_name for r in nested) == ["trial 0", "trial 1"]
    assert {float(r.data.metrics["score"]) for r in nested} == set(scores.values())


def runs_of(streets: Streets) -> list[Any]:
    from cityforge.training.tracking import tracking_client

    client = tracking_client(streets.project, streets.settings)
    experiment = client.get_experiment_by_name("bins")
    found: list[Any] = list(client.search_runs([experiment.experiment_id]))
    return found


def test_a_search_of_rates_that_never_work_says_so(streets: Streets) -> None:
    wild = {"learning_rate": {"choices": [10.0]}, "loss.box_weight": {"choices": [1e300]}}
    with pytest.raises(DataError) as error:
        streets.tune(trials=1, search=wild)
    line = str(error.value)
    assert "expected a trial that comes to a score, found 1 that failed" in line
    assert "\n" not in line


def test_a_wrong_storage_ends_before_any_trial(streets: Streets) -> None:
    from dataclasses import replace

    from cityforge.settings import Settings

    wrong = replace(streets, settings=Settings(tuning_storage="mysql://a:b@c/d"))
    with pytest.raises(InputError, match="found 'mysql://a:\\*\\*\\*@c/d'"):
        wrong.tune(trials=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "trials"), [("sqlite", 20), pytest.param("postgresql", 8, marks=pytest.mark.services)]
)
def test_trials_by_two_workers_one_of_them_killed(
    kind: str, trials: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from cityforge.training.storage import open_storage, storage_url
    from cityforge.training.study import studies_of

    stated = ""
    if kind == "postgresql":
        stated = request.getfixturevalue("postgresql").new_database("tuned")
    streets = make_streets(tmp_path / "city", storage=stated)
    url = storage_url(streets.project, streets.settings)
    said: list[str] = []
    killed: list[int] = []

    def say(line: str) -> None:
        said.append(line)
        done = sum("done" in each for each in said)
        if done < trials // 2 or killed:
            return
        (study,) = studies_of(open_storage(url), "bins")
        running = [t for t in study.get_trials(deepcopy=False) if t.state.name == "RUNNING"]
        owned = [t for t in running if OWNER in t.user_attrs and t.params]
        if owned:
            killed.append(owned[0].number)
            os.kill(owned[0].user_attrs[OWNER]["pid"], signal.SIGKILL)

    values = {"search": SIZES, "objectives": ["score", "latency"], "epochs": 4}
    picked = streets.tune(say, trials=trials, workers=2, **values)
    best = read_best(streets.out)
    finished = trials_of(best, "complete")
    assert len(finished) == trials
    numbers = [each["number"] for each in best["trials"]]
    assert len(set(numbers)) == len(numbers)
    assert len(killed) == 1, said
    again = [each for each in best["trials"] if each["again"] == killed[0]]
    assert [each["state"] for each in again] == ["complete"]
    states = {r.info.run_name: r.info.status for r in runs_of(streets)}
    assert states[f"trial {killed[0]}"] == "KILLED" and states["tune"] == "FINISHED"
    assert {"worker 1", "worker 2"} <= {line[:8] for line in said}
    assert set(picked) == set(SIZES)
    by_number = {each["number"]: each for each in best["trials"]}
    front = [by_number[number] for number in best["front"]]
    assert [each["latency_ms"] for each in front] == sorted(each["latency_ms"] for each in front)
    assert [each["val_score"] for each in front] == sorted(each["val_score"] for each in front)
    # One network at one input has one latency, and a larger input a longer one.
    latency = {}
    for each in finished:
        width = each["params"]["data.input_width"]
        assert latency.setdefault(width, each["latency_ms"]) == each["latency_ms"]
    assert [latency[width] for width in sorted(latency)] == sorted(latency.values())
    keep = os.environ.get("CITYFORGE_KEEP")
    if keep:
        Path(keep, f"{kind}.png").write_bytes((streets.out / "front.png").read_bytes())
        Path(keep, f"{kind}.json").write_text(json.dumps(best, indent=1, ensure_ascii=False))
    if kind == "sqlite":
        assert len(front) >= 3
