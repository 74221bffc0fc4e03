"""When a training's state is kept, and how it is taken up again in the middle of an epoch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pytorch_lightning.callbacks import Checkpoint

from cityforge.dataset.draws import size_at
from cityforge.training.course import Course
from cityforge.training.job import Job
from cityforge.training.keeping import LAST, OWN, CheckpointFiles
from cityforge.training.portion import Portion
from cityforge.training.watch import Watch, hold_finite

SAVE_EVERY_S = 180.0


class Keeper(Checkpoint):
    """Saves after each epoch, and every few minutes within one.

    Lightning numbers the batches of an epoch on after a resume, but draws its frames from
    the start and forgets the sums of its losses: the sampler and the sums go on here.
    """

    def __init__(
        self,
        job: Job,
        files: CheckpointFiles | None,
        watch: Watch,
        course: Course,
        portion: Portion,
    ) -> None:
        self.job = job
        self.files = files
        self.watch = watch
        self.course = course
        self.portion = portion
        self._is_best = self._is_mid_epoch = False
        self._saved_at = 0.0
        self._sums: dict[str, Any] = {}

    def on_train_start(self, trainer: Any, module: Any) -> None:
        if trainer.fit_loop.restarted_mid_epoch:  # then Lightning does not say so
            self.watch.on_train_epoch_start(trainer, module)
            module.on_train_epoch_start()

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.portion.draws.set_size(*size_at(module.progress, self.job.data, self.job.train))

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        self._saved_at = self._saved_at or module.seconds

    def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
        results = trainer.fit_loop.epoch_loop._results
        for name, (value, size) in self._sums.items():
            if name in results:
                results[name].value = results[name].value + value.to(module.device)
                results[name].cumulated_batch_size += size.to(module.device)
        self._sums = {}
        done = rest[2] + 1  # batches of this epoch
        between_steps = done % trainer.accumulate_grad_batches == 0
        if (
            between_steps
            and done < trainer.num_training_batches
            and not trainer.should_stop
            and module.seconds - self._saved_at >= SAVE_EVERY_S
        ):
            hold_finite(module)
            self._save(trainer, module, is_mid_epoch=True)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self._save(trainer, module, is_mid_epoch=False)

    def _save(self, trainer: Any, module: Any, is_mid_epoch: bool) -> None:
        self._saved_at = module.seconds
        if not self.files:
            return
        best = self.files.best
        judged = not is_mid_epoch and self.watch.validated
        self._is_best = judged and (best is None or self._score() > best.score)
        self._is_mid_epoch = is_mid_epoch
        trainer.save_checkpoint(self.files.folder / LAST)

    def _score(self) -> float:
        return self.watch.history[-1].get("val_score", 0.0) if self.watch.history else 0.0

    def on_save_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        results = trainer.fit_loop.epoch_loop._results if self._is_mid_epoch else {}
        checkpoint[OWN] = {
            "course": asdict(self.course),
            "epoch": trainer.current_epoch + 1,
            "score": self._score(),
            "is_best": self._is_best,
            "has_ended": bool(trainer.should_stop),
            "is_mid_epoch": self._is_mid_epoch,
            "size": self.portion.draws.size,
            "sums": {
                name: (each.value.cpu(), each.cumulated_batch_size.cpu())
                for name, each in results.items()
                if each.is_tensor and each.meta.is_mean_reduction and not each.has_reset
            },
        }

    def on_load_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        own = checkpoint[OWN]
        self._sums = own["sums"]
        loops = checkpoint["loops"]["fit_loop"]
        parts_then = own["course"]["parts"]
        _part_batches(loops["epoch_loop.batch_progress"], parts_then, self.course.parts)
        self.portion.set_epoch(loops["epoch_progress"]["current"]["processed"])
        if own["is_mid_epoch"]:
            batches = loops["epoch_loop.batch_progress"]["current"]["ready"]
            self.portion.steps_done = batches // self.course.parts
            self.portion.draws.set_size(*own["size"])
        trainer.should_stop = own["has_ended"]


def _part_batches(progress: dict[str, Any], before: int, now: int) -> None:
    """Count batches as they are taken now; a step was parted into other ones before."""
    for which in ("total", "current"):
        counts = progress[which]
        behind = counts["ready"] - counts["completed"]  # 1 while a batch is being ended
        for name in ("ready", "started", "processed"):
            counts[name] = counts[name] // before * now
        counts["completed"] = counts["ready"] - behind
