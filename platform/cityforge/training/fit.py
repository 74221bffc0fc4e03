"""One training, led around what can go wrong: the same for a tuning trial and for a model."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import DataParams, TrainParams
from cityforge.dataset.loader import LabelledFrames
from cityforge.footage.shards import FrameStore
from cityforge.training.attempt import attempt
from cityforge.training.course import Course
from cityforge.training.device import hardware_of
from cityforge.training.job import Job, Listeners
from cityforge.training.keeping import BEST, CheckpointFiles, read_own
from cityforge.training.kills import (
    close_attempt,
    cut_off,
    have_grown,
    kill_counts,
    note_attempt,
)
from cityforge.training.ranks import other_ranks
from cityforge.training.watch import Watch

Kills = Callable[[], dict[str, int]]


@dataclass(frozen=True)
class Outcome:
    """What a fit came to; `notes` says what was changed on the way, and why."""

    best_score: float
    best_epoch: int
    epochs: int
    seconds: float
    images_per_second: float
    best_checkpoint: str
    history: list[dict[str, float]]
    notes: list[str] = field(default_factory=list)


def make_learner(card: Algorithm, train: TrainParams, folder: Path | None = None) -> Any:
    """The learner of the card's task; weights are seeded by `train.seed`.

    Args:
        folder: of the algorithm, for a network of its own.
    """
    import pytorch_lightning as pl

    from cityforge.tasks.kinds import build_network, objective_of
    from cityforge.tasks.learner import Learner

    pl.seed_everything(train.seed, verbose=False)
    loss = train.loss.model_dump()
    network = build_network(card.task, card.network, len(card.classes), loss=loss, folder=folder)
    objective = objective_of(card.task, card.classes, loss)
    return Learner(
        network=network,
        objective=objective,
        learning_rate=train.learning_rate,
        weight_decay=train.weight_decay,
        warmup_epochs=train.warmup_epochs,
        epochs=train.epochs,
        minutes=train.minutes,
        backbone_rate=train.backbone_rate,
        freeze_epochs=train.freeze_epochs,
        deterministic=train.deterministic,
        task=card.task,
        network_name=card.network,
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
    callbacks: Sequence[Any] = (),
    kills: Kills = kill_counts,
) -> Outcome:
    """Train until the epochs, the minutes or the patience are used up.

    Where memory is too short for a step's frames they are taken in parts, also where the
    kernel ended the fit before this one for it; where the loss is no number any more, it goes
    back to the last checkpoint (or the start) with half the learning rate, once.

    Args:
        checkpoints: folder of `last.ckpt`; where one is there already, the fit goes on from it.
        on_validation: told (epoch, score) after each validation; True stops the fit.
        say: told a line of progress an epoch, and what is changed on the way.
        callbacks: more of Lightning's, for the first process where there are several.
        kills: how often the kernel killed for memory, by where it counts.

    Raises:
        DataError: no GPU where one is asked for, memory too short for one frame, a loss that
            is no number again, a frame that cannot be read.
        ServiceError: the disk took no checkpoint at all.
    """
    job = Job(train_frames, val_frames, store, data, train, hardware_of(train), checkpoints)
    listeners = Listeners(logger, on_validation, say, callbacks)
    files = CheckpointFiles(checkpoints, say) if checkpoints else None
    if files:
        files.open(learner.state_dict())
    watch, course = _led(job, learner, files, listeners, kills)
    best = files.finish() if files else None
    return Outcome(
        best_score=best.score if best else watch.best,
        best_epoch=best.epoch if best else watch.best_epoch,
        epochs=len(watch.history),
        seconds=learner.seconds,
        images_per_second=watch.images / max(watch.busy, 1e-9),
        best_checkpoint=str(files.folder / BEST) if files else "",
        history=watch.history,
        notes=course.notes,
    )


def _led(
    job: Job, learner: Any, files: CheckpointFiles | None, listeners: Listeners, kills: Kills
) -> tuple[Watch, Course]:
    """Try, and try again from the newest checkpoint with what an error made necessary."""
    start = {name: value.clone() for name, value in learner.state_dict().items()}
    rate = float(learner.hparams["learning_rate"])
    resume = files.newest() if files else None
    course = _course(job, resume, files, listeners, kills)
    while True:
        learner.hparams["learning_rate"] = rate * course.rate
        try:
            with other_ranks(job, learner, course, resume), _noted(files, course, kills):
                return attempt(
                    job, learner, course, resume, files=files, listeners=listeners
                ), course
        except Exception as error:  # noqa: BLE001 - what cannot be met is raised again
            line = course.meet(error, _frames(job), learner.current_epoch + 1, job.data)
            traceback.clear_frames(error.__traceback__)  # they hold tensors
        if listeners.say:
            listeners.say(line)
        _forget(learner, start)
        resume = files.newest() if files else None


def _course(
    job: Job, resume: Path | None, files: CheckpointFiles | None, listeners: Listeners, kills: Kills
) -> Course:
    """The course to begin with: as the last attempt was led, with smaller parts if it was killed.

    A course that cannot be changed any more is an error once: the next start tries it again.
    """
    cut = cut_off(files.folder) if files else None
    if files is None or cut is None:
        return Course(**read_own(resume)["course"]) if resume else Course()
    counts = kills()
    if have_grown(cut.counts, counts):
        note_attempt(files.folder, cut.course, counts)
        line = cut.course.meet_kill(_frames(job), job.data)
        if listeners.say:
            listeners.say(line)
    return cut.course


@contextmanager
def _noted(files: CheckpointFiles | None, course: Course, kills: Kills) -> Iterator[None]:
    """Only a process that is killed leaves the note of its attempt behind."""
    if files is None:
        yield
        return
    note_attempt(files.folder, course, kills())
    try:
        yield
    finally:
        close_attempt(files.folder)


def _frames(job: Job) -> int:
    """Of a step, on one device."""
    return job.step // job.hardware.devices


def _forget(learner: Any, start: dict[str, torch.Tensor]) -> None:
    """Take a learner back to where it began, and free what an attempt left in memory."""
    learner.zero_grad(set_to_none=True)
    learner.load_state_dict(start)
    learner._trainer = None
    learner.forget_time()
    gc.collect()
    torch.cuda.empty_cache()
