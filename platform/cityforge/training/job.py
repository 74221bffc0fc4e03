"""What a fit is given, the same for each of its processes, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.cards.params import DataParams, TrainParams
from cityforge.dataset.loader import LabelledFrames
from cityforge.footage.shards import FrameStore
from cityforge.training.device import Hardware
from cityforge.training.portion import frames_a_step


@dataclass(frozen=True)
class Job:
    """What is trained on what; the same for every process."""

    train_frames: LabelledFrames
    val_frames: LabelledFrames
    store: FrameStore
    data: DataParams
    train: TrainParams
    hardware: Hardware
    checkpoints: Path | None

    @property
    def step(self) -> int:
        """Frames a step, of all devices together."""
        return frames_a_step(self.train, len(self.train_frames.frame_ids))


@dataclass(frozen=True)
class Listeners:
    """Who is told of a training: of its first process, where there are several."""

    logger: Any = False
    on_validation: Callable[[int, float], bool] | None = None
    say: Callable[[str], None] | None = None
    callbacks: Sequence[Any] = ()
