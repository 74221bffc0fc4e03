"""The LightningModule of every task: optimiser, step size and validation around an objective."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor

# The step size ends at this share of its peak.
LAST_SHARE = 0.02


class Objective(Protocol):
    """What differs by task: what is learnt, and how good it has become."""

    def losses(self, network: Any, batch: Any) -> dict[str, Tensor]:
        """The `loss` to go down, and its parts by name, each a scalar."""

    def observe(self, network: Any, batch: Any) -> None:
        """Keep the answers to a batch of validation."""

    def figures(self) -> dict[str, float]:
        """Figures over what was observed, which is forgotten then.

        `score` is among them: the one by which epochs and trials are ranked, higher is better.
        """


class Learner(pl.LightningModule):
    """Trains a network towards an objective.

    Args:
        network: has a `backbone`; its other parts are the head.
        minutes: the training ends with the step that passes them; without limit when
            `deterministic`, where only steps count.
        backbone_rate: step size of the backbone as a share of `learning_rate`.
        freeze_epochs: so long the backbone stays as it came.
        task: and `network_name` go into the checkpoints, so that they say what they are.
    """

    def __init__(
        self,
        *,
        network: Any,
        objective: Objective,
        learning_rate: float,
        weight_decay: float,
        warmup_epochs: float,
        epochs: int,
        minutes: float,
        backbone_rate: float = 1.0,
        freeze_epochs: float = 0.0,
        deterministic: bool = False,
        task: str = "",
        network_name: str = "",
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["network", "objective", "task", "network_name"])
        self.task, self.network_name = task, network_name
        self.network = network.to(memory_format=torch.channels_last)
        self.objective = objective
        self.forget_time()

    def forget_time(self) -> None:
        """Begin to count the seconds anew."""
        self._seconds_before = 0.0  # of earlier runs that were cut short
        self._started = 0.0
        self.agreed_seconds: float | None = None  # where several processes must act alike

    def forward(self, pictures: Tensor) -> Any:
        return self.network(pictures)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Lightning itself waits for every copy of a batch that is no plain tensor."""
        return batch.to(device, non_blocking=device.type == "cuda")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(list(self._groups()), lr=self.hparams["learning_rate"], fused=True)

    def _groups(self) -> Iterator[dict[str, Any]]:
        """Weights by their step size and decay; norms and biases do not decay."""
        inner = {id(p) for p in self.network.backbone.parameters()}
        for in_backbone in (True, False):
            share = self.hparams["backbone_rate"] if in_backbone else 1.0
            own = [p for p in self.network.parameters() if (id(p) in inner) == in_backbone]
            for decays in (True, False):
                found = [p for p in own if (p.ndim > 1) == decays]
                decay = self.hparams["weight_decay"] if decays else 0.0
                if found:
                    yield {"params": found, "weight_decay": decay, "share": share}

    @property
    def seconds(self) -> float:
        """Time spent training, that of earlier runs of this training included."""
        if self.agreed_seconds is not None:
            return self.agreed_seconds
        return self._seconds_before + (time.monotonic() - self._started if self._started else 0.0)

    @property
    def progress(self) -> float:
        """How much of the budget is used, 0 to 1: of the epochs or the minutes, the larger.

        The step size follows it, so that a training which runs out of minutes still ends
        with small steps.
        """
        steps = self.trainer.estimated_stepping_batches
        share = self.global_step / max(1, float(steps))
        if self.hparams["deterministic"]:
            return float(min(1.0, share))
        minutes = float(self.hparams["minutes"])
        return float(min(1.0, max(share, self.seconds / (60 * minutes))))

    def on_train_start(self) -> None:
        self._started = time.monotonic()

    def on_train_epoch_start(self) -> None:
        frozen = self.current_epoch < self.hparams["freeze_epochs"]
        for each in self.network.backbone.parameters():
            each.requires_grad_(not frozen)
        self.network.backbone.train(not frozen)  # frozen, its running means stay, too

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        spent = not self.hparams["deterministic"] and self.seconds > 60 * self.hparams["minutes"]
        if spent:
            self.trainer.should_stop = True
            self.trainer.check_val_every_n_epoch = 1  # what it came to is judged, whenever it ends
        warmup = self.hparams["warmup_epochs"] / self.hparams["epochs"]
        cosine = LAST_SHARE + (1 - LAST_SHARE) * (1 + math.cos(math.pi * self.progress)) / 2
        rise = min(1.0, (self.global_step + 1) * warmup_step(self.trainer, warmup))
        for group in self.optimizers().param_groups:
            group["lr"] = self.hparams["learning_rate"] * group["share"] * cosine * rise
        return None

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        parts = self.objective.losses(self.network, batch)
        loss = parts["loss"]
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss became {loss.item()} at step {self.global_step}")
        size = len(batch.pictures)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=size)
        for name, value in parts.items():
            if name != "loss":
                self.log(name, value, on_step=False, on_epoch=True, batch_size=size)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.objective.observe(self.network, batch)

    def on_validation_epoch_end(self) -> None:
        for name, value in self.objective.figures().items():
            number = 0.0 if math.isnan(value) else value
            self.log(f"val_{name}", number, prog_bar=name == "score")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["cityforge_seconds"] = self.seconds
        # By name, so that a later training can begin from this checkpoint.
        checkpoint["cityforge_classes"] = list(getattr(self.objective, "classes", []))
        checkpoint["cityforge_task"] = self.task
        checkpoint["cityforge_network"] = self.network_name

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._seconds_before = float(checkpoint.get("cityforge_seconds", 0.0))


def warmup_step(trainer: Any, share: float) -> float:
    """By how much the step size rises each step, as a share of its peak."""
    steps = float(trainer.estimated_stepping_batches) * share
    return 1.0 / steps if steps > 1 else 1.0
