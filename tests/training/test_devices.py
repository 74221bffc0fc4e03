"""Where a training runs, and that two processes train one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from scenes import card, jpeg, labelled, quick, squares, stored, trained

from cityforge.errors import DataError
from cityforge.training.device import compile_network, hardware_of
from cityforge.training.fit import make_learner
from cityforge.training.portion import Portion, frames_a_step

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@no_gpu
@pytest.mark.parametrize("devices", [1, 2])
def test_a_gpu_that_is_not_there_is_one_line(devices: int) -> None:
    _, train = quick(device="gpu", devices=devices)
    with pytest.raises(DataError) as refused:
        hardware_of(train)
    line = str(refused.value)
    assert line.startswith(f"expected {devices} GPU")
    assert "found 0 (torch" in line
    assert line.endswith("set train.device to cpu or auto")


@no_gpu
def test_auto_takes_the_processor() -> None:
    found = hardware_of(quick(device="auto", precision="bfloat16")[1])
    assert (found.accelerator, found.devices, found.precision) == ("cpu", 1, "bf16-mixed")


class Keys:
    """Twelve draws an epoch, numbered on."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 11

    def __iter__(self) -> Any:
        return iter(range(self.epoch * 100, self.epoch * 100 + 11))


def test_ranks_part_every_step_between_them() -> None:
    found = [Portion(Keys(), 4, rank, 2) for rank in range(2)]
    assert [list(each) for each in found] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert [len(each) for each in found] == [4, 4]
    for each in found:
        each.set_epoch(1)
        each.steps_done = 1
    assert [list(each) for each in found] == [[104, 106], [105, 107]]
    assert [len(list(each)) for each in found] == [4, 4]  # left out once


@pytest.mark.parametrize(
    ("batch", "devices", "count", "expected"),
    [(16, 1, 100, 16), (16, 1, 5, 5), (16, 2, 5, 4), (16, 4, 100, 16), (15, 2, 100, None)],
)
def test_frames_a_step(batch: int, devices: int, count: int, expected: int | None) -> None:
    train = quick(batch=batch, devices=devices)[1]
    if expected is None:
        with pytest.raises(DataError, match=r"15 a step, in train\.batch"):
            frames_a_step(train, count)
    else:
        assert frames_a_step(train, count) == expected


def test_two_processes_train_one_model(tmp_path: Path) -> None:
    """That their weights agree is held by the training itself, after each epoch."""
    same = {"epochs": 8, "batch": 8, "freeze_epochs": 1, "ema_decay": 0.5}
    data, train = quick(devices=2, **same)
    plain = train.augment.model_copy(update={"mosaic": 0.0, "scale": (1.0, 1.0)})
    frames = squares(tmp_path / "frames", 24)
    outcome, learner = trained(
        tmp_path,
        params=(data, train.model_copy(update={"augment": plain})),
        frames=frames,
    )
    assert learner.trainer.world_size == 2
    assert [row["epoch"] for row in outcome.history] == [1, 2, 3, 4, 5, 6, 7, 8]
    losses = [row["train_loss"] for row in outcome.history]
    assert max(losses[-2:]) < 0.8 * losses[0]
    assert outcome.best_score > 0.5
    assert learner.trainer.global_step == 16  # sixteen frames, eight a step of both together
    assert Path(outcome.best_checkpoint).is_file()
    assert not torch.distributed.is_initialized()
    one, _ = trained(tmp_path / "one", params=quick(**same), frames=frames)
    rates = [[row["learning_rate"] for row in each.history] for each in (outcome, one)]
    assert rates[0] == rates[1]


class Drift(pl.Callback):
    """Changes the weights of the first process alone."""

    def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
        with torch.no_grad():
            next(module.network.parameters()).add_(0.01)


@pytest.mark.slow
def test_processes_that_come_to_other_weights_are_stopped(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the same weights on every device"):
        trained(tmp_path, params=quick(devices=2, epochs=1), callbacks=[Drift()])


@pytest.mark.slow
def test_the_error_of_another_process_arrives_as_it_is(tmp_path: Path) -> None:
    """One frame is broken: whichever process draws it, it is named."""
    names = [f"f{number:03d}" for number in range(4)]
    pictures = {name: jpeg(number) for number, name in enumerate(names)}
    data = {name: found for name, (found, _) in pictures.items()}
    data["f002"] = bytes(len(data["f002"]))
    store = stored(tmp_path / "frames", data)
    frames = squares(tmp_path / "val") | {"train_frames": labelled(names, pictures)}
    frames["val_frames"] = labelled(names[:1], pictures)
    frames["store"] = store
    with pytest.raises(DataError, match="frame 'f002'"):
        trained(tmp_path, frames=frames, params=quick(devices=2, epochs=1), kept=False)


def test_a_compiled_network_learns_the_same() -> None:
    learner = make_learner(card(), quick()[1])
    pictures = torch.randint(0, 255, (2, 64, 64, 3), dtype=torch.uint8)
    learner.network.eval()
    before = learner.network.raw(pictures)
    compile_network(learner.network, backend="aot_eager")
    after = learner.network.raw(pictures)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other)
    assert not [name for name in learner.state_dict() if "orig_mod" in name]
