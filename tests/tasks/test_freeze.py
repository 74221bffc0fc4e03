"""A frozen backbone stays as it came, statistics included, and then learns at its own rate."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor, nn

from cityforge.dataset.loader import Batch
from cityforge.tasks.learner import Learner

RATE = 0.01


class TinyNetwork(nn.Module):
    """Backbone and head of one convolution each, both with BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Sequential(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.backbone(pictures)).mean((2, 3))


class TinyObjective:
    """Learns that the first output is above the second."""

    def losses(self, network: Any, batch: Batch) -> dict[str, Tensor]:
        found = network(batch.pictures)
        return {"loss": (found[:, 1] - found[:, 0]).exp().mean() + found.square().mean()}

    def observe(self, network: Any, batch: Batch) -> None:
        assert not network.backbone.training
        network(batch.pictures)

    def figures(self) -> dict[str, float]:
        return {"score": 0.5}


def batches() -> list[Batch]:
    pictures = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(1)) + 2
    none = torch.zeros(4, 0)
    return [Batch(each, none, none.long(), none.bool(), torch.arange(4)) for each in pictures]


class Watch(pl.Callback):
    """Keeps the network's state at the end of each epoch, before and with the averaging."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.rates: list[list[float]] = []

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        self.rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.states.append(copied(module))


def copied(module: Any) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in module.network.state_dict().items()}


def trained(**values: Any) -> tuple[dict[str, Tensor], Watch, EMAWeightAveraging, Learner]:
    torch.manual_seed(0)
    module = Learner(
        network=TinyNetwork(), objective=TinyObjective(), learning_rate=RATE, weight_decay=0.1,
        warmup_epochs=0.0, epochs=4, minutes=5.0, deterministic=True, **values,
    )  # fmt: skip
    start = copied(module)
    watch, average = Watch(), EMAWeightAveraging(decay=0.9, update_starting_at_step=1)
    trainer = pl.Trainer(
        max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[average, watch],
        num_sanity_val_steps=0,
    )  # fmt: skip
    loader = torch.utils.data.DataLoader(batches(), batch_size=None)
    trainer.fit(module, loader, loader)
    return start, watch, average, module


def changed(one: dict[str, Tensor], other: dict[str, Tensor], part: str) -> set[str]:
    return {name for name in one if name.startswith(part) and not one[name].equal(other[name])}


BACKBONE = {
    "backbone.0.weight", "backbone.0.bias", "backbone.1.weight", "backbone.1.bias",
    "backbone.1.running_mean", "backbone.1.running_var", "backbone.1.num_batches_tracked",
}  # fmt: skip


def test_a_frozen_backbone_stays_and_then_learns() -> None:
    start, watch, _, _ = trained(freeze_epochs=2)
    assert len(watch.states) == 4
    for state in watch.states[:2]:
        assert changed(start, state, "backbone") == set()
        assert len(changed(start, state, "head")) == 7
    # In the third epoch all of it moves, the statistics of its BatchNorm too.
    assert changed(start, watch.states[2], "backbone") == BACKBONE
    assert changed(watch.states[2], watch.states[3], "backbone") == BACKBONE


def test_without_a_freeze_all_learns_from_the_first_epoch() -> None:
    start, watch, _, _ = trained(freeze_epochs=0)
    assert changed(start, watch.states[0], "backbone") == BACKBONE


def test_the_average_of_a_frozen_backbone_is_the_backbone() -> None:
    start, _, _, module = trained(freeze_epochs=4)
    ended = copied(module)  # what the averaging put there at the end
    for name in BACKBONE:
        assert torch.allclose(ended[name].float(), start[name].float(), rtol=1e-5), name
    assert changed(start, ended, "head")


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_the_backbone_learns_at_its_share_of_the_rate(share: float) -> None:
    _, watch, _, module = trained(backbone_rate=share)
    groups = module.configure_optimizers().param_groups
    inner = {id(each) for each in module.network.backbone.parameters()}
    of_backbone = [all(id(each) in inner for each in group["params"]) for group in groups]
    assert of_backbone == [True, True, False, False]
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.1, 0.0]
    assert len(watch.rates) == 8
    for rates in watch.rates:
        assert rates[0] == rates[1] == pytest.approx(share * rates[2])
        assert rates[2] == rates[3] > 0


def test_a_smaller_rate_moves_the_backbone_less() -> None:
    moved = []
    for share in (1.0, 0.01):
        start, watch, _, _ = trained(backbone_rate=share)
        name = "backbone.0.weight"
        moved.append(float((watch.states[-1][name] - start[name]).abs().mean()))
    assert moved[1] < 0.05 * moved[0]
