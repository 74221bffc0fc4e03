"""The LightningModule of detection: loss, optimiser, step size, validation."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.assignment import losses
from cityforge.tasks.detection.decode import decode_boxes
from cityforge.tasks.detection.metrics import coco_metrics
from cityforge.tasks.detection.network import BLUEPRINTS, Detector, boxes_of

# The step size ends at this share of its peak.
LAST_SHARE = 0.02
# How raw output becomes boxes while training; what is served is `evaluate` in params.yaml.
SCORE_FLOOR, OVERLAP, MAX_BOXES = 0.01, 0.6, 100


class DetectionLearner(pl.LightningModule):
    """Trains a `Detector`; takes plain values only, so that a checkpoint holds no objects."""

    def __init__(
        self,
        *,
        network: str,
        classes: list[str],
        learning_rate: float,
        weight_decay: float,
        box_weight: float,
        warmup_epochs: float,
        epochs: int,
        minutes: float,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = Detector(BLUEPRINTS[network], len(classes)).to(
            memory_format=torch.channels_last
        )
        self._found: list[Boxes] = []
        self._truth: list[Boxes] = []
        self._frames = 0
        self._seconds_before = 0.0  # of earlier runs that were cut short
        self._started = 0.0

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        scores, boxes = self.network(pictures)
        return scores, boxes

    def configure_optimizers(self) -> torch.optim.Optimizer:
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        free = [p for p in self.network.parameters() if p.ndim <= 1]
        return torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.hparams["weight_decay"]},
                {"params": free, "weight_decay": 0.0},
            ],
            lr=self.hparams["learning_rate"],
        )

    @property
    def seconds(self) -> float:
        """Time spent training, that of earlier runs of this training included."""
        return self._seconds_before + (time.monotonic() - self._started if self._started else 0.0)

    @property
    def progress(self) -> float:
        """How much of the budget is used, 0 to 1: of the epochs or the minutes, the larger.

        The step size follows it, so that a training which runs out of minutes still ends
        with small steps.
        """
        steps = self.trainer.estimated_stepping_batches
        share = self.global_step / max(1, float(steps))
        minutes = float(self.hparams["minutes"])
        return float(min(1.0, max(share, self.seconds / (60 * minutes))))

    def on_train_start(self) -> None:
        self._started = time.monotonic()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        if self.seconds > 60 * self.hparams["minutes"]:
            self.trainer.should_stop = True
            self.trainer.check_val_every_n_epoch = 1  # what it came to is judged, whenever it ends
        epochs = self.hparams["epochs"]
        warmup = self.hparams["warmup_epochs"] / epochs
        at = self.progress
        cosine = LAST_SHARE + (1 - LAST_SHARE) * (1 + math.cos(math.pi * at)) / 2
        rise = min(1.0, (self.global_step + 1) * warmup_step(self.trainer, warmup))
        for group in self.optimizers().param_groups:
            group["lr"] = self.hparams["learning_rate"] * cosine * rise
        return None

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        logits, distances, points = self.network.raw(batch.pictures)
        boxes = boxes_of(points, distances)
        score_loss, box_loss = losses(logits, boxes, points, batch.truth, batch.classes, batch.real)
        loss: Tensor = score_loss + float(self.hparams["box_weight"]) * box_loss
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss became {loss.item()} at step {self.global_step}")
        size = len(batch.pictures)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=size)
        self.log("score_loss", score_loss, on_step=False, on_epoch=True, batch_size=size)
        self.log("box_loss", box_loss, on_step=False, on_epoch=True, batch_size=size)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores, boxes = self.network(batch.pictures)
        height, width = batch.pictures.shape[1:3]
        for row in range(len(scores)):
            xyxy, score, cls = decode_boxes(
                scores[row].float().cpu().numpy(),
                boxes[row].float().cpu().numpy(),
                scale=1.0,
                width=width,
                height=height,
                score_floor=SCORE_FLOOR,
                overlap=OVERLAP,
                max_boxes=MAX_BOXES,
            )
            frame = np.full(len(xyxy), self._frames, np.int64)
            self._found.append(Boxes(frame, cls, xyxy, score))
            real = batch.real[row].cpu().numpy()
            truth = batch.truth[row].cpu().numpy()[real]
            kinds = batch.classes[row].cpu().numpy()[real]
            of_frame = np.full(len(truth), self._frames, np.int64)
            self._truth.append(Boxes(of_frame, kinds, truth, np.ones(len(truth), np.float32)))
            self._frames += 1

    def on_validation_epoch_end(self) -> None:
        if self._frames:
            measured = coco_metrics(
                _joined(self._truth), _joined(self._found), self._frames, self.hparams["classes"]
            )
            self.log("val_map50", _number(measured.map50), prog_bar=True)
            self.log("val_map50_95", _number(measured.map50_95))
        self._found, self._truth, self._frames = [], [], 0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["cityforge_seconds"] = self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._seconds_before = float(checkpoint.get("cityforge_seconds", 0.0))


def warmup_step(trainer: Any, share: float) -> float:
    """By how much the step size rises each step, as a share of its peak."""
    steps = float(trainer.estimated_stepping_batches) * share
    return 1.0 / steps if steps > 1 else 1.0


def _joined(boxes: list[Boxes]) -> Boxes:
    return Boxes(
        np.concatenate([each.frame for each in boxes]),
        np.concatenate([each.cls for each in boxes]),
        np.concatenate([each.xyxy for each in boxes]),
        np.concatenate([each.score for each in boxes]),
    )


def _number(value: float) -> float:
    return 0.0 if math.isnan(value) else value
