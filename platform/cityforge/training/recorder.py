"""Writes what an epoch came to into the training's MLflow run."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl

from cityforge.training.memory_peak import MemoryPeak
from cityforge.training.tracking import Run


class Recorder(pl.Callback):
    """One batch of figures an epoch: losses, step size, speed, memory; val_* where validated.

    The step of a figure is its epoch, counted from 1.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.memory = MemoryPeak()
        self._images, self._since = 0, 0.0
        self._training_s = 0.0
        self._validated = False

    def on_train_start(self, trainer: Any, module: Any) -> None:
        # Taken up within an epoch, Lightning says no start of it.
        self.on_train_epoch_start(trainer, module)

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self._images, self._training_s, self._validated = 0, 0.0, False
        self._since = time.monotonic()

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch.pictures)
        self._training_s = time.monotonic() - self._since
        self.memory.look()

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        if not trainer.is_global_zero:
            return
        figures = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if self._validated or not name.startswith("val_")
        }
        figures["learning_rate"] = float(
            trainer.optimizers[0].param_groups[-1]["lr"]
        )  # of the head
        figures["seconds"] = float(module.seconds)
        if self._training_s:
            images = self._images * trainer.world_size
            figures["images_per_second"] = images / self._training_s
        self.run.log(figures | self.memory.figures(), trainer.current_epoch + 1)
