"""A loss that is no number: back, with half the learning rate, once; then a clear stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from scenes import figures, quick, trained

from cityforge.errors import DataError


class Spoil(pl.Callback):
    """Makes a weight infinite in front of the given steps, each of them once."""

    def __init__(self, *steps: int) -> None:
        self.steps = list(steps)
        self.rates: list[float] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step in self.steps:
            self.steps.remove(trainer.global_step)
            with torch.no_grad():
                next(module.network.parameters()).fill_(float("inf"))

    def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[-1]["lr"])


def test_it_goes_back_with_half_the_learning_rate_and_says_so(tmp_path: Path) -> None:
    plain = Spoil()
    before, _ = trained(tmp_path / "plain", params=quick(), callbacks=[plain])
    spoilt, lines = Spoil(3), []  # two steps an epoch: in the middle of the second one
    after, _ = trained(tmp_path / "a", params=quick(), callbacks=[spoilt], say=lines.append)
    assert after.notes == ["learning rate halved in epoch 2 (the loss became nan at step 3)"]
    assert [each for each in lines if "halved" in each] == after.notes
    assert figures(after)[0] == figures(before)[0]  # the first epoch is not trained again
    assert [row["epoch"] for row in after.history] == [1, 2, 3]
    # Three steps, then the second epoch once more from its start.
    assert spoilt.rates[:3] == plain.rates[:3]
    assert spoilt.rates[3:] == pytest.approx([each / 2 for each in plain.rates[2:]])


def test_without_checkpoints_it_goes_back_to_the_start(tmp_path: Path) -> None:
    spoilt = Spoil(1)
    outcome, _ = trained(tmp_path, kept=False, callbacks=[spoilt])
    half, _ = trained(tmp_path / "half", params=quick(learning_rate=1e-3))
    assert figures(outcome) == figures(half)


def test_a_second_time_is_the_end(tmp_path: Path) -> None:
    with pytest.raises(DataError) as stopped:
        trained(tmp_path, callbacks=[Spoil(2, 3)])
    line = str(stopped.value)
    assert "step 3" in line and "half the learning rate" in line
    assert line.endswith("lower train.learning_rate")
    assert "\n" not in line


def test_the_half_is_remembered_by_a_resume(tmp_path: Path) -> None:
    class Cut(pl.Callback):
        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            if trainer.current_epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        trained(tmp_path, callbacks=[Spoil(3), Cut()])
    spoilt = Spoil()
    outcome, _ = trained(tmp_path, callbacks=[spoilt])
    assert len(outcome.notes) == 1
    assert len(spoilt.rates) == 2
    assert max(spoilt.rates) < 1e-3
    with pytest.raises(DataError, match="half the learning rate, too"):
        trained(tmp_path / "b", callbacks=[Spoil(3, 4)])


def test_weights_that_are_no_numbers_are_not_judged_nor_kept(tmp_path: Path) -> None:
    class SpoilLast(pl.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
            if trainer.global_step == 6:  # the last one: no loss follows
                with torch.no_grad():
                    next(module.network.parameters()).fill_(float("nan"))

    with pytest.raises(DataError, match="a weight that is no number"):
        trained(tmp_path, callbacks=[SpoilLast()])
    kept = torch.load(tmp_path / "work" / "last.ckpt", weights_only=True)
    assert all(torch.isfinite(each.float()).all() for each in kept["current_model_state"].values())


def test_an_absurd_learning_rate_ends_in_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lower train\.learning_rate"):
        trained(tmp_path, params=quick(learning_rate=1e6))
