"""What a training came to, epoch by epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from cityforge.cards.params import TrainParams
from cityforge.errors import DataError
from cityforge.training.progress import seconds_left, spoken

# Larger gradients are cut; the first steps from scratch are wild.
GRADIENT_NORM = 10.0
# By how much the sums over all weights may differ between processes.
AGREEMENT = 1e-6


class Watch(pl.Callback):
    """Keeps the history (through a resume, too) and says a line an epoch.

    It also holds that every step draws its random numbers by the seed, the epoch and the
    step alone, that weights stay finite, and that several processes act as one.
    """

    def __init__(
        self,
        train: TrainParams,
        on_validation: Callable[[int, float], bool] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.train = train
        self.on_validation = on_validation
        self.say = say
        self.history: list[dict[str, float]] = []
        self.best, self.best_epoch = 0.0, 0
        self.images, self.busy = 0, 0.0
        self._images_before, self._since = 0, 0.0
        self._is_under_way = False  # an epoch
        self._judging_since, self._judged_s = 0.0, 0.0  # validation is no training
        self.validated = False
        self._weights: list[torch.Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        return {
            "history": self.history, "best": self.best, "best_epoch": self.best_epoch,
            "images": self.images, "busy": self.busy + self._spent(),
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict["history"])
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]
        # Older checkpoints lack these.
        self.images, self.busy = state_dict.get("images", 0), state_dict.get("busy", 0.0)

    def _spent(self) -> float:
        """Seconds of training in the epoch that is under way; 0 between two."""
        if not self._is_under_way:
            return 0.0
        return time.monotonic() - self._since - self._judged_s

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self._images_before, self._since = self.images, time.monotonic()
        self._judged_s, self._is_under_way = 0.0, True
        self.validated = False
        if trainer.current_epoch + 1 == self.train.epochs:
            trainer.check_val_every_n_epoch = 1  # the last epoch is always judged

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        drawn_from = [self.train.seed, trainer.current_epoch, batch_idx, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(drawn_from).generate_state(1)[0]))
        if trainer.world_size > 1:
            module.agreed_seconds = None
            seconds = torch.tensor([module.seconds], dtype=torch.float64, device=module.device)
            torch.distributed.broadcast(seconds, src=0)
            module.agreed_seconds = float(seconds)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self._weights = list(module.parameters())  # walking the network costs time in each step

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        # Lightning itself refuses to cut for fused optimisers where it mixes precisions.
        torch.nn.utils.clip_grad_norm_(self._weights, GRADIENT_NORM)

    def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
        self.images += len(rest[1].pictures) * trainer.world_size

    def on_validation_start(self, trainer: Any, module: Any) -> None:
        hold_finite(module)
        self._judging_since = time.monotonic()

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        self._judged_s += time.monotonic() - self._judging_since
        self.validated = True

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        hold_finite(module)
        _hold_together(trainer, module)
        spent = self._spent()
        self.busy, self._is_under_way = self.busy + spent, False
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
        epoch = trainer.current_epoch + 1
        rate = trainer.optimizers[0].param_groups[-1]["lr"]  # of the head
        row = {"epoch": float(epoch), "learning_rate": rate, "seconds": module.seconds}
        row["images_per_second"] = (self.images - self._images_before) / max(spent, 1e-9)
        if "train_loss" in metrics:
            row["train_loss"] = _mean_of_all(trainer, metrics["train_loss"])
        stop = False
        if self.validated:
            row |= {k: v for k, v in metrics.items() if k.startswith("val_")}
            score = metrics["val_score"]
            if score > self.best or not self.best_epoch:
                self.best, self.best_epoch = score, epoch
            stop = bool(self.on_validation and self.on_validation(epoch, score))
        if trainer.strategy.reduce_boolean_decision(stop, all=False):
            trainer.should_stop = True
        self.history.append(row)
        if self.say:
            self.say(self._line(trainer, module, row))

    def _line(self, trainer: Any, module: Any, row: dict[str, float]) -> str:
        metrics = trainer.callback_metrics
        left = seconds_left(trainer)
        loss = float(metrics.get("train_loss", float("nan")))
        return (
            f"epoch {row['epoch']:.0f}/{self.train.epochs}  loss {loss:.3f}  "
            f"score {float(metrics.get('val_score', 0.0)):.3f} (best {self.best:.3f})  "
            f"{row['images_per_second']:.0f} pictures/s"
            + (f"  {spoken(left)} left" if left is not None else "")
        )


def hold_finite(module: Any) -> None:
    """Weights may be no numbers any more after a step whose loss still was one.

    Raises:
        FloatingPointError: they are.
    """
    for name, weight in module.network.named_parameters():
        if not torch.isfinite(weight).all():
            raise FloatingPointError(
                f"a weight that is no number in {name} after step {module.global_step}"
            )


def _mean_of_all(trainer: Any, value: float) -> float:
    """Each process knows the loss of its own frames only, as many as the others have."""
    if trainer.world_size == 1:
        return value
    of_all = torch.tensor(value, dtype=torch.float64, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(of_all)
    return float(of_all) / int(trainer.world_size)


def _hold_together(trainer: Any, module: Any) -> None:
    """Several processes must come to the same weights."""
    if trainer.world_size == 1:
        return
    with torch.no_grad():
        sums = torch.stack([each.double().sum() for each in module.network.parameters()])
    own = torch.stack([sums.sum(), sums.abs().sum()])
    found = [torch.empty_like(own) for _ in range(trainer.world_size)]
    torch.distributed.all_gather(found, own)
    if not all(torch.allclose(own, each, rtol=AGREEMENT, atol=AGREEMENT) for each in found):
        raise DataError(
            "the same weights on every device", found="other ones",
            where=f"epoch {trainer.current_epoch + 1}", do="train with train.devices: 1",
        )  # fmt: skip
