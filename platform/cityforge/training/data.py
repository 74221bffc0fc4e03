"""What a training reads: a snapshot's frames and labels, parted by the algorithm's split."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.algorithm import Algorithm
from cityforge.dataset.loader import LabelledFrames, labelled_frames
from cityforge.dataset.snapshot import open_snapshot
from cityforge.errors import DataError
from cityforge.footage.catalogue import read_catalogue
from cityforge.footage.lawful import barred
from cityforge.footage.seals import read_marks, with_marks
from cityforge.footage.shards import FrameStore
from cityforge.labeling.withdrawn import read_withdrawn
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
    task: str
    several_labels: bool = False  # of classification: a frame may have several classes, or none

    def subset(self, name: str) -> LabelledFrames:
        """Frames of train, val or test with their labels."""
        return labelled_frames(
            self.split,
            self.labels,
            name,
            self.classes,
            self.task,
            several_labels=self.several_labels,
        )


def open_training_data(project: Project, card: Algorithm) -> TrainingData:
    """Open what `split` wrote, and refuse it when something in it may not be used any more.

    Raises:
        DataError: the split stage has not run, or footage or labels were withdrawn since.
        ServiceError: the journal does not answer: nobody knows what may be used.
    """
    folder = project.dataset_folder(card.dataset)
    about = split_about(project, card.name)
    _, frames, labels = open_snapshot(folder / "snapshot")
    _refuse_barred(folder, frames, labels, card.name)
    table = read_table(SPLIT, project.build(card.name) / "split" / "split.parquet")
    store = FrameStore(folder / "frames", frames)
    loss = project.algorithm_params(card.name).train.loss
    return TrainingData(
        digest=str(about["digest"]),
        frames=frames,
        labels=labels,
        split=table,
        store=store,
        classes=list(card.classes),
        task=card.task,
        several_labels=getattr(loss, "several_labels", False),
    )


def _refuse_barred(folder: Path, frames: pa.Table, labels: pa.Table, algorithm: str) -> None:
    """Refuse a snapshot from before a withdrawal, here or on another machine of the site."""
    marks = read_marks(folder)
    shut = dict.fromkeys(marks, "withdrawn")  # of one that the catalogue here does not name
    shut |= barred(with_marks(read_catalogue(folder), marks), datetime.now(UTC))
    held = sorted(shut.keys() & {*pc.unique(frames["footage_id"]).to_pylist()})
    found = [f"footage {each} ({shut[each]})" for each in held]
    gone = pc.sum(read_withdrawn(folder).rows_of(labels)).as_py()
    if gone:
        found.append(f"{gone} labels that were withdrawn")
    if found:
        raise DataError(
            "a snapshot of what may be used", found=found[0] if len(found) == 1 else
            f"{found[0]} and {len(found) - 1} more", where=str(folder / "snapshot"),
            do=f"cityforge run {algorithm}, which makes it without",
        )  # fmt: skip


def split_about(project: Project, algorithm: str) -> dict[str, Any]:
    """What the split stage says of itself: the snapshot's digest, frames and boxes a subset."""
    path = project.build(algorithm) / "split" / "snapshot.json"
    if not path.is_file():
        raise DataError(
            "a split", found="none", where=str(path), do=f"cityforge run {algorithm} --stage split"
        )
    about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return about
