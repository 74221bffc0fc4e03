"""One Lightning fit: the same for a tuning trial and for the training itself."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import DataParams, TrainParams
from cityforge.dataset.loader import LabelledFrames, plain_batches, training_batches
from cityforge.errors import DataError
from cityforge.footage.shards import FrameStore
from cityforge.training.quicken import keep_memory, quicken_depthwise

# Larger gradients are cut; the first steps from scratch are wild.
GRADIENT_NORM = 10.0


@dataclass(frozen=True)
class Outcome:
    """What a fit came to."""

    best_map50: float
    best_epoch: int
    epochs: int
    seconds: float
    images_per_second: float
    best_checkpoint: str
    history: list[dict[str, float]]


def precision_of(wanted: str) -> str:
    """Lightning's name of the precision that this machine does quickly."""
    import torch

    if wanted == "float32":
        return "32-true"
    if wanted == "bfloat16" or torch.cuda.is_available():
        return "bf16-mixed"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if fast else "32-true"


def make_learner(card: Algorithm, train: TrainParams) -> Any:
    """The learner of the card's task; weights are seeded by `train.seed`."""
    import pytorch_lightning as pl

    from cityforge.tasks.detection.learner import DetectionLearner

    pl.seed_everything(train.seed, verbose=False)
    return DetectionLearner(
        network=card.network,
        classes=list(card.classes),
        learning_rate=train.learning_rate,
        weight_decay=train.weight_decay,
        box_weight=train.box_weight,
        warmup_epochs=train.warmup_epochs,
        epochs=train.epochs,
        minutes=train.minutes,
    )


def fit(
    learner: Any,
    *,
    train_frames: LabelledFrames,
    val_frames: LabelledFrames,
    store: FrameStore,
    data: DataParams,
    train: TrainParams,
    checkpoints: Path | None = None,
    logger: Any = False,
    on_validation: Callable[[int, float], bool] | None = None,
    say: Callable[[str], None] | None = None,
) -> Outcome:
    """Train until the epochs, the minutes or the patience are used up.

    Args:
        checkpoints: folder of `last.ckpt`; where one is there already, the fit goes on from it.
        on_validation: told (epoch, mAP50) after each validation; True stops the fit.
        say: told a line of progress an epoch.

    Raises:
        DataError: the loss is no number any more.
    """
    import pytorch_lightning as pl
    import torch
    from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint

    _quiet()
    precision = precision_of(train.precision)
    keep_memory()
    if precision == "bf16-mixed" and not torch.cuda.is_available():
        quicken_depthwise(learner.network)
    batches = training_batches(train_frames, store, data, train)
    val_batches = plain_batches(val_frames, store, data, train.batch)
    watch = _watcher(pl.Callback, learner, train, on_validation, say)
    callbacks: list[Any] = [
        EMAWeightAveraging(
            decay=train.ema_decay,
            update_starting_at_step=min(
                round(train.warmup_epochs * len(batches)), len(batches) // 2
            )
            + 1,
        ),
        EarlyStopping("val_map50", mode="max", patience=train.patience, check_finite=False),
        watch,
    ]
    keep = None
    if checkpoints:
        keep = ModelCheckpoint(
            checkpoints,
            filename="best",
            monitor="val_map50",
            mode="max",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        # One of its own, behind the best: `save_last` writes in epochs with a new best only.
        last_epoch = ModelCheckpoint(
            checkpoints,
            filename="last",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        callbacks += [keep, last_epoch]
    trainer = pl.Trainer(
        max_epochs=train.epochs,
        precision=precision,
        accelerator="auto",
        devices=1,
        callbacks=callbacks,
        logger=logger,
        enable_checkpointing=checkpoints is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=train.validate_every,
        gradient_clip_val=GRADIENT_NORM,
        log_every_n_steps=1000,
    )
    last = checkpoints / "last.ckpt" if checkpoints else None
    resume = str(last) if last and last.is_file() else None
    try:
        trainer.fit(learner, batches, val_batches, ckpt_path=resume, weights_only=False)
    except FloatingPointError as error:
        raise DataError(
            "a finite loss", found=str(error), where="training", do="lower train.learning_rate"
        ) from error
    best = keep.best_model_path if keep else ""
    return Outcome(
        best_map50=watch.best,
        best_epoch=watch.best_epoch,
        epochs=len(watch.history),
        seconds=learner.seconds,
        images_per_second=watch.images / max(watch.busy, 1e-9),
        best_checkpoint=best,
        history=watch.history,
    )


def _watcher(
    callback: Any,
    learner: Any,
    train: TrainParams,
    on_validation: Callable[[int, float], bool] | None,
    say: Callable[[str], None] | None,
) -> Any:
    class Watch(callback):
        """Keeps the history (through a resume, too) and says a line an epoch."""

        def __init__(self) -> None:
            self.history: list[dict[str, float]] = []
            self.best, self.best_epoch = 0.0, 0
            self.images, self.busy = 0, 0.0
            self._images_before, self._since = 0, 0.0
            self._validated = False

        def state_dict(self) -> dict[str, Any]:
            return {"history": self.history, "best": self.best, "best_epoch": self.best_epoch}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.history = list(state["history"])
            self.best, self.best_epoch = state["best"], state["best_epoch"]

        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            self._images_before, self._since = self.images, time.monotonic()
            self._validated = False
            if trainer.current_epoch + 1 == train.epochs:
                trainer.check_val_every_n_epoch = 1  # the last epoch is always judged

        def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
            self.images += len(rest[1].pictures)

        def on_validation_end(self, trainer: Any, module: Any) -> None:
            self._validated = True

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            spent = time.monotonic() - self._since
            self.busy += spent
            metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
            epoch = trainer.current_epoch + 1
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            row = {"epoch": float(epoch), "learning_rate": rate, "seconds": learner.seconds}
            row["images_per_second"] = (self.images - self._images_before) / spent
            if "train_loss" in metrics:
                row["train_loss"] = metrics["train_loss"]
            if self._validated:
                score = row["val_map50"] = metrics["val_map50"]
                row["val_map50_95"] = metrics["val_map50_95"]
                if score > self.best or not self.best_epoch:
                    self.best, self.best_epoch = score, epoch
                if on_validation and on_validation(epoch, score):
                    trainer.should_stop = True
            self.history.append(row)
            if say:
                say(self._line(trainer, row))

        def _line(self, trainer: Any, row: dict[str, float]) -> str:
            epoch = trainer.current_epoch + 1
            metrics = trainer.callback_metrics
            share = max(learner.progress, 1e-6)
            left = learner.seconds * (1 - share) / share
            loss = float(metrics.get("train_loss", float("nan")))
            return (
                f"epoch {epoch}/{train.epochs}  loss {loss:.3f}  "
                f"mAP50 {float(metrics.get('val_map50', 0.0)):.3f} (best {self.best:.3f})  "
                f"{row['images_per_second']:.0f} pictures/s  {left / 60:.1f} min left"
            )

    return Watch()


def _quiet() -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec.*")
