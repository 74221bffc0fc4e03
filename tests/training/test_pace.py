"""What is said of epoch and pace after a training was taken up again within an epoch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import scenes
import torch

from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.training import keeper
from cityforge.training.keeping import LAST
from cityforge.training.progress import Progress
from cityforge.training.recorder import Recorder
from cityforge.training.tracking import open_run, tracking_client

# Eight frames, two a step: four steps an epoch.
PARAMS = scenes.quick(epochs=2, batch=2)


class StopAt(pl.Callback):
    """Fails at a step, epoch and batch from 0."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.step = (epoch, batch)

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == self.step:
            raise KeyError


@pytest.fixture
def cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training that was ended in its second epoch, after two steps of it."""
    monkeypatch.setattr(keeper, "SAVE_EVERY_S", 0.0)
    with pytest.raises(KeyError):
        scenes.trained(tmp_path, params=PARAMS, callbacks=[StopAt(1, 2)])
    return tmp_path


def test_the_epoch_is_said_that_is_under_way(cut: Path) -> None:
    said: list[str] = []
    bar = Progress(PARAMS[1], said.append, every=0.0)
    scenes.trained(cut, params=PARAMS, callbacks=[bar])
    assert "epoch 2 of 2, step 3 of 4" in said[0]
    assert all("epoch 2 of 2" in line for line in said)


def test_the_tracked_pace_is_of_the_steps_since(cut: Path) -> None:
    project, settings = Project(cut / "project"), Settings(tracking_uri="")
    project.root.mkdir()
    run = open_run(project, settings, scenes.card(), "train", {})
    begun = time.monotonic()
    scenes.trained(cut, params=PARAMS, callbacks=[Recorder(run)])
    at_least = 4 / (time.monotonic() - begun)  # two steps of two frames
    client = tracking_client(project, settings)
    found = client.get_metric_history(run.run_id, "images_per_second")
    assert [(each.step, each.value >= at_least) for each in found] == [(2, True)]


def test_the_pace_of_all_counts_what_was_trained_before_the_cut(cut: Path) -> None:
    kept = torch.load(cut / "work" / LAST, weights_only=True)["callbacks"]["Watch"]
    assert kept["images"] == 8 + 4
    first = kept["history"][0]
    assert kept["busy"] > 8 / first["images_per_second"]  # and two steps
    outcome, _ = scenes.trained(cut, params=PARAMS)
    second = outcome.history[1]
    busy = kept["busy"] + 4 / second["images_per_second"]
    assert outcome.images_per_second == pytest.approx(16 / busy)


def test_a_training_that_had_ended_still_knows_its_pace(tmp_path: Path) -> None:
    first, _ = scenes.trained(tmp_path, params=PARAMS)
    second, _ = scenes.trained(tmp_path, params=PARAMS)
    assert first.images_per_second > 0
    assert second.images_per_second == pytest.approx(first.images_per_second)
