"""What a search leaves in the tracking, however it ends; a trial that is too large for memory."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streets import CARD, SEARCH, Streets

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.yaml_files import check
from cityforge.errors import DataError
from cityforge.training.results import read_best
from cityforge.training.storage import open_storage, storage_url
from cityforge.training.tracking import open_run

# A network for which 192 pixels are too many: what it asks for then no machine has.
LARGE = """
import torch
from torch import nn


class Own(nn.Module):
    def __init__(self, class_count):
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 3, 8, 1)
        self.score, self.side = nn.Conv2d(8, class_count, 1), nn.Conv2d(8, 4, 1)

    def raw(self, pictures):
        if pictures.shape[2] > 128:
            torch.empty(1 << 60, dtype=torch.uint8)
        found = torch.relu(self.backbone(pictures.permute(0, 3, 1, 2) / 255))
        height, width = found.shape[-2:]
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        points = torch.stack((x * 8 + 4, y * 8 + 4, torch.full_like(x, 8)), -1).reshape(-1, 3)
        scores = self.score(found).flatten(2).transpose(1, 2)
        sides = nn.functional.softplus(self.side(found)).flatten(2).transpose(1, 2) * 8
        return scores, sides, points.float().to(found.device)

    def forward(self, pictures):
        scores, sides, points = self.raw(pictures)
        centre = points[None, :, :2]
        boxes = torch.cat((centre - sides[..., :2], centre + sides[..., 2:]), -1)
        return scores.sigmoid(), boxes


def network(class_count):
    return Own(class_count)
"""
FIGURES = {
    "train_loss", "val_score", "learning_rate", "images_per_second", "seconds", "memory_peak_mb",
}  # fmt: skip
SIZES = {"data.input_width": {"choices": [64, 192]}}


def with_own_network(streets: Streets, code: str) -> Streets:
    folder = streets.project.algorithm_folder("bins")
    (folder / "network.py").write_text(code, encoding="utf-8")
    return replace(streets, card=check(Algorithm, {**CARD, "network": "own"}, Path("card")))


def client_of(streets: Streets) -> Any:
    from cityforge.training.tracking import tracking_client

    return tracking_client(streets.project, streets.settings)


def runs_of(streets: Streets) -> dict[str, Any]:
    """Runs by their names."""
    client = client_of(streets)
    experiment = client.get_experiment_by_name("bins")
    return {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}


@pytest.mark.parametrize("objectives", [["score"], ["score", "latency"]])
def test_a_trial_too_large_for_memory_ends_alone(streets: Streets, objectives: list[str]) -> None:
    said: list[str] = []
    own = with_own_network(streets, LARGE)
    picked = own.tune(said.append, trials=6, search=SIZES, objectives=objectives)
    assert picked == {"data.input_width": 64}
    trials = read_best(streets.out)["trials"]
    assert [each["state"] for each in trials] == ["complete"] * 6
    large = [each for each in trials if each["params"]["data.input_width"] == 192]
    small = [each for each in trials if each not in large]
    assert large and small
    for each in large:
        assert (each["val_score"], each["latency_ms"]) == (0.0, None)
        assert "expected memory for one frame at a time" in each["fault"]
    assert {each["fault"] for each in small} == {None}
    assert all((each["latency_ms"] is not None) == (len(objectives) > 1) for each in small)
    number = large[0]["number"]
    (line,) = [each for each in said if each.startswith(f"trial {number}: ")]
    assert "no score (expected memory for one frame" in line and "data.input_width 192" in line
    run = runs_of(streets)[f"trial {number}"]
    assert run.info.status == "FINISHED" and run.data.tags["fault"] == "memory"
    assert "latency" not in run.data.metrics, "nothing was measured"


def test_a_search_in_which_all_are_too_large_says_so(streets: Streets) -> None:
    own = with_own_network(streets, LARGE)
    with pytest.raises(DataError, match="where memory was short, smaller inputs"):
        own.tune(trials=1, search={"data.input_width": {"choices": [192]}})


def test_a_trial_is_tracked_as_a_training_is(streets: Streets) -> None:
    streets.tune(trials=1, epochs=2, search={**SEARCH, "batch": {"choices": [8]}})
    runs = runs_of(streets)
    assert set(runs) == {"tune", "trial 0"}
    trial, client = runs["trial 0"], client_of(streets)
    assert set(trial.data.metrics) >= FIGURES
    for name in FIGURES:
        history = client.get_metric_history(trial.info.run_id, name)
        assert [each.step for each in history] == [1, 2], name
    (best,) = read_best(streets.out)["trials"]
    assert trial.data.metrics["score"] == best["val_score"]
    params = trial.data.params
    assert float(params["learning_rate"]) == best["params"]["learning_rate"]
    assert params["train.learning_rate"] == params["learning_rate"]
    assert (params["train.epochs"], params["train.device"], params["batch"]) == ("2", "cpu", "8")
    assert (params["network"], params["data.input_width"]) == ("detection/nano", "96")
    assert "cores" in trial.data.tags["cityforge.device"]
    for each in runs.values():
        assert each.data.tags["cityforge.snapshot_digest"] == streets.data.digest
        assert each.info.status == "FINISHED"


BROKEN = LARGE.replace("torch.empty(1 << 60, dtype=torch.uint8)", "raise ValueError('broken')")
STOPPED = LARGE.replace("torch.empty(1 << 60, dtype=torch.uint8)", "raise KeyboardInterrupt")


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_search_that_fails_is_no_run_under_way(streets: Streets, workers: int) -> None:
    own = with_own_network(streets, BROKEN)
    with pytest.raises((ValueError, DataError), match="broken"):
        own.tune(trials=2, workers=workers, search={"data.input_width": {"choices": [192]}})
    states = {name: run.info.status for name, run in runs_of(streets).items()}
    assert states.pop("tune") == "FAILED"
    assert "FAILED" in states.values() and set(states.values()) <= {"FAILED", "KILLED"}


def test_a_search_without_a_result_is_no_run_under_way(streets: Streets) -> None:
    with pytest.raises(DataError, match="a score of at least 1"):
        streets.with_choice(prefer="best", least_score=1.0).tune(trials=1)
    states = {name: run.info.status for name, run in runs_of(streets).items()}
    assert states == {"tune": "FAILED", "trial 0": "FINISHED"}
    # Another rule finds a trial that it keeps, and the run goes on to its end.
    streets.tune(trials=1)
    assert runs_of(streets)["tune"].info.status == "FINISHED"


@pytest.fixture
def _interrupts() -> Iterator[None]:
    """Lightning leaves Ctrl-C ignored behind one."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interrupts")
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_search_that_is_stopped_says_so(streets: Streets, workers: int) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if workers == 2 and len(said) == 1:  # as by Ctrl-C, once the workers have begun
            os.kill(os.getpid(), signal.SIGINT)

    own = with_own_network(streets, STOPPED) if workers == 1 else streets
    search = {"data.input_width": {"choices": [192]}}
    with pytest.raises((KeyboardInterrupt, SystemExit)):  # the second is Lightning's
        own.tune(say, trials=6, workers=workers, search=search)
    states = {name: run.info.status for name, run in runs_of(streets).items()}
    assert states.pop("tune") == "KILLED"
    assert states and "RUNNING" not in states.values(), states
    assert workers == 2 or set(states.values()) == {"KILLED"}


def test_a_run_that_its_trial_did_not_get_to_know_is_closed(streets: Streets) -> None:
    """As by a kill between the two writes: the run is open, the trial knows of none."""
    import optuna

    streets.tune(trials=1)
    parent = runs_of(streets)["tune"]
    url = storage_url(streets.project, streets.settings)
    name = parent.data.tags["cityforge.study"]
    study = optuna.load_study(study_name=name, storage=open_storage(url))
    number = study.ask().number
    study.tell(number, state=optuna.trial.TrialState.FAIL)
    tags = {"study": name, "trial": number}
    left = open_run(
        streets.project, streets.settings, check(Algorithm, CARD, Path("card")), "left", tags,
        parent=parent.info.run_id,
    )  # fmt: skip
    streets.tune(trials=2)
    status = client_of(streets).get_run(left.run_id).info.status
    assert status == "KILLED"
    assert runs_of(streets)["tune"].info.status == "FINISHED"
