"""Several seeds: their spread, and no training twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_project import Drawn, drawn_project
from safetensors.torch import load_file
from scipy import stats

from cityforge.training.seeds import SeedResult, detailed, lines, spread, summary
from cityforge.training.tracking import TAG_PARENT, tracking_client


@pytest.mark.parametrize("values", [[0.4, 0.5], [0.41, 0.43, 0.47], [0.1, 0.1, 0.9, 0.3, 0.2]])
def test_the_interval_is_students(values: list[float]) -> None:
    found = spread(values)
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=sum(values) / len(values), scale=error)
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert found["mean"] == pytest.approx(sum(values) / len(values))
    assert found["deviation"] == pytest.approx(error * len(values) ** 0.5)


def test_three_seeds_by_hand() -> None:
    """Mean 2, deviation 1, and t(0.975; 2) = 4.303 (any table of Student's t)."""
    found = spread([1.0, 2.0, 3.0])
    assert (found["mean"], found["deviation"]) == (2.0, 1.0)
    assert found["high"] == pytest.approx(2 + 4.303 / 3**0.5, abs=1e-3)


def test_one_seed_has_no_deviation() -> None:
    assert spread([0.4]) == {"mean": 0.4, "deviation": None, "low": None, "high": None}
    assert spread([0.4, 0.4])["deviation"] == 0


def result(seed: int, **figures: float) -> SeedResult:
    return SeedResult(seed, {f"val_{k}": v for k, v in figures.items()}, 2, 3, 4.0, f"run{seed}")


def test_a_figure_that_one_training_lacks_is_left_out() -> None:
    found = summary([result(7, map50=0.4, map75=0.2), result(8, map50=0.6)])
    assert list(found["figures"]) == ["val_map50"]
    assert (found["count"], found["weights_of"], found["seeds"]) == (2, 7, [7, 8])
    assert detailed([result(7, map50=0.4)])["runs"][0]["mlflow_run_id"] == "run7"


def test_the_spread_is_said_in_a_line_a_figure() -> None:
    found = summary([result(7, map50=0.4, score=0.4), result(8, map50=0.6, score=0.6)])
    said = lines(found, ["map50", "map75"])
    assert len(said) == 1
    assert said[0].startswith("map50 of 2 seeds: 0.500, deviation 0.141, 95% interval -0.771 to ")
    assert lines(summary([result(7, map50=0.4)]), ["map50"]) == []


class Killed(BaseException):
    """Ends a training where nothing of it may catch it."""


# The tests below train, four times in all.
@pytest.fixture(scope="module")
def cut_short(tmp_path_factory: pytest.TempPathFactory) -> tuple[Drawn, list[str], list[str]]:
    """Three seeds, ended in the third one's first epoch, and run again."""
    root = tmp_path_factory.mktemp("seeds")
    drawn = drawn_project(root, epochs=2, seeds=3, seed=7)
    before: list[str] = []

    class Stop(list[str]):
        def append(self, line: str) -> None:
            before.append(line)
            if line.startswith("seed 9: epoch 1/2"):
                raise Killed

    with pytest.raises(Killed):
        drawn.train(Stop())
    assert not drawn.out.exists()
    again: list[str] = []
    drawn.train(again)
    return drawn, before, again


@pytest.mark.slow
def test_seeds_that_are_done_are_not_trained_again(
    cut_short: tuple[Drawn, list[str], list[str]],
) -> None:
    drawn, before, again = cut_short
    for seed in (7, 8):
        assert sum(line.startswith(f"seed {seed}: epoch ") for line in before) == 2
        assert f"seed {seed}: trained already" in again
        assert not any(line.startswith(f"seed {seed}: epoch ") for line in again)
    assert any(line.startswith("seed 9: epoch 2/2") for line in again)
    assert [path.name for path in (drawn.project.work / "training").iterdir()] == [".squares.lock"]


@pytest.mark.slow
def test_train_json_says_how_far_the_seeds_lie_apart(
    cut_short: tuple[Drawn, list[str], list[str]],
) -> None:
    drawn, _, again = cut_short
    about = json.loads((drawn.out / "train.json").read_text(encoding="utf-8"))
    told = json.loads((drawn.out / "seeds.json").read_text(encoding="utf-8"))
    assert about["seeds"] == {key: value for key, value in told.items() if key != "runs"}
    assert about["seeds"]["seeds"] == [7, 8, 9]
    figures = [run["figures"]["val_map50"] for run in told["runs"]]
    assert about["seeds"]["figures"]["val_map50"]["mean"] == pytest.approx(sum(figures) / 3)
    assert any(line.startswith("map50 of 3 seeds: ") for line in again)
    assert about["mlflow_run_id"] == told["runs"][0]["mlflow_run_id"]
    assert about["params"]["seed"] == 7


@pytest.mark.slow
def test_each_seed_is_a_nested_run(cut_short: tuple[Drawn, list[str], list[str]]) -> None:
    drawn, _, _ = cut_short
    client = tracking_client(drawn.project, drawn.settings)
    experiment = client.get_experiment_by_name("squares").experiment_id
    runs = client.search_runs([experiment])
    parents = [run for run in runs if TAG_PARENT not in run.data.tags]
    assert len(parents) == 1 and len(runs) == 4
    nested = {run.info.run_name: run for run in runs if run is not parents[0]}
    assert sorted(nested) == ["seed 7", "seed 8", "seed 9"]
    for name, run in nested.items():
        assert run.data.tags[TAG_PARENT] == parents[0].info.run_id
        assert run.data.tags["cityforge.seed"] == run.data.params["train.seed"] == name[-1]
        assert run.info.status == "FINISHED"
    assert parents[0].data.params["train.seeds"] == "3"
    assert {"val_map50_mean", "val_map50_low", "val_map50_high"} <= set(parents[0].data.metrics)


@pytest.mark.slow
def test_the_first_seeds_weights_are_those_of_a_training_of_its_own(
    cut_short: tuple[Drawn, list[str], list[str]], tmp_path: Path
) -> None:
    drawn, _, _ = cut_short
    of_seeds = load_file(drawn.out / "model.safetensors")
    alone = drawn_project(tmp_path, epochs=2, seeds=1, seed=7)
    alone.train([])
    weights = load_file(alone.out / "model.safetensors")
    assert weights.keys() == of_seeds.keys()
    assert all(torch.equal(weights[name], of_seeds[name]) for name in weights)
    about: dict[str, Any] = json.loads((alone.out / "train.json").read_text(encoding="utf-8"))
    assert about["seeds"]["count"] == 1
    assert about["seeds"]["figures"]["val_map50"]["deviation"] is None
