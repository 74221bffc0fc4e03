"""`cityforge run`: what it sets, and the figures it ends with, for each kind of task."""

from __future__ import annotations

import json
import os
import pty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cityforge.cards.algorithm import METRICS
from cityforge.cards.yaml_files import read_yaml
from cityforge.cli.run import FIGURES, _results, _summary
from cityforge.cli.surroundings import dvc_environment
from cityforge.project import Project
from cityforge.settings import TERMINAL
from cityforge.training.seeds import SeedResult, detailed

NAME = "demo_crossing"
TASK_LINES = {
    "detection": "mAP50 0.512, mAP50-95 not measured",
    "classification": "accuracy 0.512, F1 not measured",
    "density": "mean count error 0.512, relative to the mean count not measured",
}


def test_seeds_are_a_parameter(cityforge: Callable[..., Any], root: Path) -> None:
    said = cityforge("run", NAME, "--set", "train.epochs=3", "--seeds", "3")
    assert "train.seeds: 1 → 3" in said.out
    assert said.code == 1  # no footage in this project
    assert Project(root).algorithm_params(NAME).train.seeds == 3
    assert Project(root).algorithm_params(NAME).train.epochs == 3


@pytest.mark.parametrize("seeds", ["0", "33", "many"])
def test_a_count_of_seeds_that_makes_no_sense_is_refused(
    cityforge: Callable[..., Any], root: Path, seeds: str
) -> None:
    assert cityforge("run", NAME, "--seeds", seeds).code in (1, 2)
    assert Project(root).algorithm_params(NAME).train.seeds == 1


def finished(root: Path, task: str, seeds: int) -> Project:
    """A project whose algorithm has been run: only what the last lines are read from."""
    project = Project(root)
    path = root / "algorithms" / NAME / "algorithm.yaml"
    network = {"detection": "nano"}.get(task, "small")
    card = read_yaml(path) | {
        "task": task, "network": f"{task}/{network}", "events": [], "gates": [],
    }  # fmt: skip
    path.write_text(json.dumps(card), encoding="utf-8")  # which is YAML, too
    build = project.build(NAME)
    first, second = METRICS[task][:2]
    results = [
        SeedResult(7 + n, {f"val_{first}": 0.4 + n / 10}, 1, 1, 1.0, "r") for n in range(seeds)
    ]
    for name, content in (
        ("evaluate/metrics.json", {first: 0.512, second: None}),
        ("register/version.json", {"version": 4}),
        ("train/seeds.json", detailed(results)),
    ):
        (build / name).parent.mkdir(parents=True, exist_ok=True)
        (build / name).write_text(json.dumps(content), encoding="utf-8")
    return project


@pytest.mark.parametrize("task", sorted(FIGURES))
def test_the_last_lines_name_the_figures_of_the_task(
    root: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _summary(finished(root, task, seeds=2), NAME, "register")
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{NAME} version 4: {TASK_LINES[task]} on the test split"
    assert said[1].startswith(f"{METRICS[task][0]} of 2 seeds: 0.450, deviation 0.071, 95%")
    assert said[-1] == f"next: cityforge model approve {NAME} 4"
    assert set(FIGURES[task]) <= set(METRICS[task])


def test_one_seed_says_nothing_of_a_spread(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = finished(root, "detection", seeds=1)
    _summary(project, NAME, "register")
    assert "seeds" not in capsys.readouterr().out
    found: Any = _results(project, NAME)["seeds"]
    assert (found["count"], found["seeds"]) == (1, [7])


def test_the_stages_are_told_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TERMINAL, raising=False)
    here, there = pty.openpty()
    with os.fdopen(there, "w") as screen:
        monkeypatch.setattr("sys.stdout", screen)
        told, quiet = dvc_environment(), dvc_environment(quietly=True)
        name = os.ttyname(screen.fileno())
    os.close(here)
    monkeypatch.undo()
    assert told[TERMINAL] == name
    assert TERMINAL not in quiet
    assert TERMINAL not in dvc_environment()
