"""What a training reads: a snapshot's frames and labels, parted by the algorithm's split."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cityforge.cards.algorithm import Algorithm
from cityforge.dataset.loader import LabelledFrames, labelled_frames
from cityforge.dataset.snapshot import open_snapshot
from cityforge.errors import DataError
from cityforge.footage.shards import FrameStore
from cityforge.project import Project
from cityforge.tables import SPLIT, read_table


@dataclass(frozen=True)
class TrainingData:
    """Frames, labels and split of one algorithm, and the digest of all three."""

    digest: str
    frames: pa.Table
    labels: pa.Table
    split: pa.Table
    store: FrameStore
    classes: list[str]

    def subset(self, name: str) -> LabelledFrames:
        """Frames of train, val or test with their boxes."""
        return labelled_frames(self.split, self.labels, name, self.classes)


def open_training_data(project: Project, card: Algorithm) -> TrainingData:
    """Open what `split` wrote.

    Raises:
        DataError: the split stage has not run.
    """
    folder = project.dataset_folder(card.dataset)
    about = split_about(project, card.name)
    _, frames, labels = open_snapshot(folder / "snapshot")
    table = read_table(SPLIT, project.build(card.name) / "split" / "split.parquet")
    store = FrameStore(folder / "frames", frames)
    return TrainingData(str(about["digest"]), frames, labels, table, store, list(card.classes))


def split_about(project: Project, algorithm: str) -> dict[str, Any]:
    """What the split stage says of itself: the snapshot's digest, frames and boxes a subset."""
    path = project.build(algorithm) / "split" / "snapshot.json"
    if not path.is_file():
        raise DataError(
            "a split", found="none", where=str(path), do=f"cityforge run {algorithm} --stage split"
        )
    about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return about
