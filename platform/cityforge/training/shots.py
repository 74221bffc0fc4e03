"""A few frames of validation with the network's answers, drawn at every validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from cityforge.dataset.loader import LabelledFrames
from cityforge.training.sheet import Shot, contact_sheet

MOST_SHOTS = 6


class Shots(pl.Callback):
    """Asks the network as it is validated (averaged weights) for the chosen frames again.

    Args:
        chosen: indices of frames within the validation subset, from `choose`.
        keep: told a name such as `validation/epoch_003.jpg` and the JPEG.
    """

    def __init__(
        self,
        chosen: Sequence[int],
        task: str,
        classes: Sequence[str],
        keep: Callable[[str, bytes], None],
    ) -> None:
        self.chosen = list(chosen)
        self.task = task
        self.classes = list(classes)
        self.keep = keep
        self._shots: dict[int, Shot] = {}

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        # Here, not at the epoch's end: the averaged weights are put away again by then.
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        rows = [row for row, frame in enumerate(batch.frame.tolist()) if frame in self.chosen]
        if not rows:
            return
        with torch.no_grad(), trainer.precision_plugin.val_step_context():
            answers = module.network(batch.pictures[rows])
        plain = [each.float().cpu().numpy() for each in answers]
        for place, row in enumerate(rows):
            real = batch.real[row].cpu().numpy()
            self._shots[int(batch.frame[row])] = Shot(
                batch.pictures[row].cpu().numpy(),
                batch.truth[row].cpu().numpy()[real],
                batch.classes[row].cpu().numpy()[real],
                tuple(each[place] for each in plain),
            )

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        shots = [self._shots[frame] for frame in self.chosen if frame in self._shots]
        self._shots = {}
        if not shots:
            return
        epoch = trainer.current_epoch + 1
        title = f"epoch {epoch}"
        if "val_score" in trainer.callback_metrics:
            title += f", score {float(trainer.callback_metrics['val_score']):.3f}"
        jpeg = contact_sheet(shots, self.task, self.classes, title)
        self.keep(f"validation/epoch_{epoch:03d}.jpg", jpeg)


def choose(frames: LabelledFrames, seed: int, most: int = MOST_SHOTS) -> list[int]:
    """Indices of up to `most` frames, the same for the same seed; labelled ones before empty
    ones, and of each footage one before any footage gives a second.
    """
    taken: dict[tuple[bool, str], int] = {}
    ranked = []
    for index in np.random.default_rng(seed).permutation(len(frames.frame_ids)).tolist():
        empty = not len(frames.boxes[index][1])
        footage = frames.frame_ids[index].rpartition("-")[0]
        rank = taken[empty, footage] = taken.get((empty, footage), 0) + 1
        ranked.append((empty, rank, index))
    ranked.sort(key=lambda each: each[:2])
    return sorted(index for _, _, index in ranked[:most])
