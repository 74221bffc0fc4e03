"""One Lightning fit on one process: from the start, or from a checkpoint."""

from __future__ import annotations

import logging
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

from cityforge.dataset.loader import plain_batches, training_batches
from cityforge.training.averaging import Average
from cityforge.training.course import Course
from cityforge.training.device import prepared
from cityforge.training.job import Job, Listeners
from cityforge.training.keeper import Keeper
from cityforge.training.keeping import CheckpointFiles
from cityforge.training.portion import Portion, take_portion
from cityforge.training.quicken import keep_memory, quicken_depthwise
from cityforge.training.watch import Watch

# So long one process waits for the others.
PATIENCE = timedelta(minutes=10)


def attempt(
    job: Job,
    learner: Any,
    course: Course,
    resume: Path | None,
    *,
    files: CheckpointFiles | None,
    listeners: Listeners,
    rank: int = 0,
) -> Watch:
    """Fit until the epochs, the minutes or the patience are used up, or an error ends it."""
    _quiet()
    keep_memory()
    if not job.hardware.is_gpu and job.hardware.precision == "bf16-mixed":
        quicken_depthwise(learner.network)
    frames = job.step // job.hardware.devices // course.parts  # at once
    at_once = job.train.model_copy(update={"batch": frames})
    batches = training_batches(job.train_frames, job.store, job.data, at_once)
    portion = Portion(batches.sampler, job.step, rank, job.hardware.devices)
    take_portion(batches, portion)
    watch = Watch(job.train, listeners.on_validation, listeners.say)
    keeper = Keeper(job, files, watch, course, portion)
    steps = portion.steps * job.train.epochs
    with prepared(learner, job.hardware, job.train.deterministic, steps):
        _trainer(job, course, watch, keeper, listeners).fit(
            learner,
            batches,
            plain_batches(job.val_frames, job.store, job.data, frames),
            ckpt_path=resume,
            weights_only=True,
        )
    return watch


def _trainer(job: Job, course: Course, watch: Watch, keeper: Any, listeners: Listeners) -> Any:
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import EarlyStopping
    from pytorch_lightning.strategies import DDPStrategy

    train, hardware, several = job.train, job.hardware, job.hardware.devices > 1
    patience = EarlyStopping("val_score", mode="max", patience=train.patience, check_finite=False)
    return pl.Trainer(
        max_epochs=train.epochs,
        precision=hardware.precision,
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        strategy=DDPStrategy(find_unused_parameters=True, timeout=PATIENCE) if several else "auto",
        use_distributed_sampler=False,
        accumulate_grad_batches=course.parts,
        deterministic=train.deterministic,
        benchmark=hardware.is_gpu and not train.deterministic,
        callbacks=[Average(train.ema_decay), patience, watch, *listeners.callbacks, keeper],
        plugins=[keeper.files] if keeper.files else None,
        logger=listeners.logger,
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=train.validate_every,
        log_every_n_steps=1000,
    )


def _quiet() -> None:
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec.*")
