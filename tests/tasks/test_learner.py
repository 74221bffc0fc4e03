"""The step size rises, then falls, within the epochs or the minutes; the loss goes down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from cityforge.dataset.loader import Batch
from cityforge.tasks.detection.network import build
from cityforge.tasks.detection.objective import DetectionObjective
from cityforge.tasks.learner import LAST_SHARE, Learner

PEAK = 2e-3


def learner(**changes: Any) -> Learner:
    torch.manual_seed(0)
    values = {
        "network": build("detection/nano", 2),
        "objective": DetectionObjective(["汽车", "bus"], {"box_weight": 2.0}),
        "learning_rate": PEAK, "weight_decay": 0.05, "warmup_epochs": 1.0, "epochs": 4,
        "minutes": 60.0,
    }  # fmt: skip
    return Learner(**{**values, **changes})


def batches(count: int = 4) -> list[Batch]:
    """Pictures of noise with one bright square, whose box it is."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for number in range(count):
        pictures = torch.randint(0, 90, (2, 64, 64, 3), generator=generator, dtype=torch.uint8)
        left = 8 * (number % 4)
        pictures[:, 16:48, left : left + 32] = 250
        truth = torch.tensor([[[left, 16.0, left + 32.0, 48.0]]]).repeat(2, 1, 1)
        classes = torch.zeros(2, 1, dtype=torch.long)
        real = torch.ones(2, 1, dtype=torch.bool)
        found.append(Batch(pictures, truth, classes, real, torch.arange(2)))
    return found


class Watch(pl.Callback):
    """Keeps what each step was taken with."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.progress: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.progress.append(module.progress)
        self.losses.append(float(outputs["loss"]))


def trained(module: Learner, epochs: int = 4, count: int = 4, **options: Any) -> Watch:
    watch = Watch()
    values: dict[str, Any] = {
        "max_epochs": epochs, "accelerator": "cpu", "logger": False,
        "enable_checkpointing": False, "enable_progress_bar": False,
        "enable_model_summary": False, "callbacks": [watch],
    }  # fmt: skip
    resume = options.pop("resume", None)
    trainer = pl.Trainer(**{**values, **options})
    loader = torch.utils.data.DataLoader(batches(count), batch_size=None)
    trainer.fit(module, loader, ckpt_path=resume, weights_only=False)
    return watch


@pytest.fixture(scope="module")
def full() -> Watch:
    return trained(learner())


def test_the_step_size_rises_and_then_falls(full: Watch) -> None:
    rates = full.rates
    assert len(rates) == 16
    highest = rates.index(max(rates))
    assert highest in (3, 4)  # the end of the epoch of warming up
    assert rates[: highest + 1] == sorted(rates[: highest + 1])
    assert rates[highest:] == sorted(rates[highest:], reverse=True)
    assert rates[0] == pytest.approx(PEAK / 4)
    assert 0.8 * PEAK < max(rates) <= PEAK
    assert LAST_SHARE * PEAK < rates[-1] < 0.1 * PEAK


def test_progress_is_the_share_of_the_steps(full: Watch) -> None:
    assert full.progress == pytest.approx([(step + 1) / 16 for step in range(16)])


def test_the_loss_goes_down(full: Watch) -> None:
    assert sum(full.losses[-4:]) < 0.7 * sum(full.losses[:4])


def test_minutes_that_are_used_up_end_the_training_with_small_steps() -> None:
    module = learner(epochs=1000, minutes=2 / 60, warmup_epochs=0.0)
    watch = trained(module, epochs=1000)
    assert len(watch.rates) < 4000
    assert watch.progress == sorted(watch.progress)
    assert watch.progress[-1] == 1.0
    assert module.seconds >= 2
    assert watch.rates[-1] < 0.1 * PEAK


def test_minutes_of_an_earlier_run_count(tmp_path: Path) -> None:
    first = learner(epochs=100, minutes=2 / 60)
    trainer = pl.Trainer(
        max_steps=3, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    loader = torch.utils.data.DataLoader(batches(), batch_size=None)
    trainer.fit(first, loader)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    kept = torch.load(tmp_path / "last.ckpt", weights_only=False)
    assert 0 < kept["cityforge_seconds"] <= first.seconds
    kept["cityforge_seconds"] = 100.0
    torch.save(kept, tmp_path / "last.ckpt")
    second = learner(epochs=100, minutes=2 / 60)
    watch = trained(second, epochs=100, resume=str(tmp_path / "last.ckpt"))
    assert len(watch.rates) <= 1  # the budget was used up before
    assert second.seconds >= 100


def test_a_checkpoint_holds_plain_values() -> None:
    kept = dict(learner().hparams)
    assert {type(value) for value in kept.values()} == {int, float, bool}
    assert len(kept) == 8


@pytest.mark.parametrize(("device", "waits"), [("cuda", False), ("cpu", True), ("mps", True)])
def test_a_batch_is_copied_to_a_gpu_beside_the_work(device: str, waits: bool) -> None:
    """No GPU is needed: the batch only notes how it is asked to move."""
    asked: list[tuple[str, bool]] = []

    class Asked(Batch):
        def to(self, device: torch.device, non_blocking: bool = False) -> Batch:
            asked.append((device.type, non_blocking))
            return self

    batch = Asked(**vars(batches(1)[0]))
    assert learner().transfer_batch_to_device(batch, torch.device(device), 0) is batch
    assert asked == [(device, not waits)]


def test_weights_are_decayed_and_offsets_are_not() -> None:
    module = learner()
    optimiser = module.configure_optimizers()
    groups = optimiser.param_groups
    assert [each["weight_decay"] for each in groups] == [0.05, 0.0, 0.05, 0.0]
    for decayed, free in (groups[:2], groups[2:]):
        assert all(each.ndim > 1 for each in decayed["params"])
        assert all(each.ndim <= 1 for each in free["params"])
    count = sum(len(each["params"]) for each in groups)
    assert count == len(list(module.network.parameters()))


def test_a_perfect_validation_scores_one() -> None:
    module = learner()
    truth = batches(2)

    class Oracle(torch.nn.Module):
        """Answers with the truth of the pictures it is shown."""

        def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            batch = next(each for each in truth if torch.equal(each.pictures, pictures))
            return torch.tensor([[[0.9, 0.0]]]).repeat(2, 1, 1), batch.truth

    module.network = Oracle()
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    loader = torch.utils.data.DataLoader(truth, batch_size=None)
    scores = trainer.validate(module, loader, verbose=False)[0]
    assert scores["val_map50"] == pytest.approx(1.0)
    assert scores["val_map50_95"] == pytest.approx(1.0)


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    module = learner()
    with torch.no_grad():
        module.network.heads[0].score.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 0"):
        trained(module)
