"""A project whose algorithm `squares` has data to train on, without the stages before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import scenes

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import AlgorithmParams
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.tables import FRAMES, LABELS, SPLIT, from_rows
from cityforge.training.data import TrainingData
from cityforge.training.fit import Outcome
from cityforge.training.train import train


@dataclass
class Drawn:
    """What a training is called with."""

    project: Project
    settings: Settings
    card: Algorithm
    params: AlgorithmParams
    data: TrainingData

    @property
    def out(self) -> Path:
        return self.project.build(self.card.name) / "train"

    def train(self, said: list[str], **changes: Any) -> Outcome:
        values = self.params.train.model_copy(update=changes)
        params = self.params.model_copy(update={"train": values})
        return train(
            self.project, self.settings, self.card, params, self.data, self.out, said.append
        )


def drawn_project(root: Path, count: int = 12, **changes: Any) -> Drawn:
    found = scenes.squares(root / "frames", count)
    split, labels = [], []
    for subset in ("train", "val"):
        part = found[f"{subset}_frames"]
        for frame_id, (xyxy, _) in zip(part.frame_ids, part.boxes, strict=True):
            split.append({"frame_id": frame_id, "subset": subset, "group": frame_id})
            x1, y1, x2, y2 = map(float, xyxy[0])
            labels.append(
                {
                    "label_id": frame_id, "frame_id": frame_id, "task": "detection",
                    "class": "车", "x1": x1, "y1": y1, "x2": x2, "y2": y2,
                    "source": "drawn", "origin": "human",
                }
            )  # fmt: skip
    data = TrainingData(
        "d" * 64, from_rows([], FRAMES), from_rows(labels, LABELS), from_rows(split, SPLIT),
        found["store"], ["车"], "detection",
    )  # fmt: skip
    picture, values = scenes.quick(**changes)
    params = scenes.starter().model_copy(update={"data": picture, "train": values})
    return Drawn(Project(root), Settings(tracking_uri=""), scenes.card(), params, data)


class Killed(BaseException):
    """Ends a training where nothing of it may catch it."""


class StopsAfter(list[str]):
    """Takes lines; after the one that begins so the training is killed."""

    def __init__(self, start: str) -> None:
        super().__init__()
        self.start = start

    def append(self, line: str) -> None:
        super().append(line)
        if line.startswith(self.start):
            raise Killed
