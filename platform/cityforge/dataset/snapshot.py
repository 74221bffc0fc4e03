"""An immutable snapshot: labelled frames, their labels, the ontology, and one digest."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.dataset import Dataset
from cityforge.dataset.digests import digest_of, digest_of_frames, digest_of_labels
from cityforge.errors import DataError
from cityforge.footage.shards import FrameStore
from cityforge.tables import FRAMES, LABELS, read_table, write_table

FRAMES_FILE = "frames.parquet"
LABELS_FILE = "labels.parquet"
ABOUT_FILE = "snapshot.json"


@dataclass(frozen=True)
class Snapshot:
    """What a snapshot says of itself."""

    dataset: str
    digest: str
    frames: int
    boxes: int
    empty_frames: int
    boxes_per_class: dict[str, int]
    ontology: dict[str, str]


def gather(card: Dataset, frames: pa.Table, labels: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Labelled frames and the labels on them, both sorted.

    Raises:
        DataError: nothing is labelled, or a label speaks of a frame that is not stored.
    """
    stored = frames.column("frame_id")
    orphans = labels.filter(pc.invert(pc.is_in(labels.column("frame_id"), stored)))
    if orphans.num_rows:
        raise DataError(
            "labels of stored frames",
            found=f"{orphans.num_rows} labels of frames that are not stored, "
            f"such as {orphans.column('frame_id')[0].as_py()}",
            where=f"dataset '{card.name}'",
            do="add their footage again, or sample it as it was sampled when it was labelled",
        )
    labelled = frames.filter(pc.is_in(stored, labels.column("frame_id")))
    if labelled.num_rows == 0:
        raise DataError(
            "labelled frames",
            found="none",
            where=f"dataset '{card.name}'",
            do=f"cityforge label import {card.name} FILE",
        )
    return labelled.sort_by("frame_id"), labels.sort_by("label_id")


def describe(card: Dataset, frames: pa.Table, labels: pa.Table, store: FrameStore) -> Snapshot:
    """Count and digest what a snapshot holds."""
    ontology = {each.name: each.definition for each in card.classes}
    names = labels.column("class").to_pylist()
    drawn = set(labels.filter(labels.column("class").is_valid()).column("frame_id").to_pylist())
    digest = digest_of(
        {
            "frames": digest_of_frames(frames, store.read),
            "labels": digest_of_labels(labels),
            "ontology": ontology,
        }
    )
    return Snapshot(
        dataset=card.name,
        digest=digest,
        frames=frames.num_rows,
        boxes=sum(name is not None for name in names),
        empty_frames=frames.num_rows - len(drawn),
        boxes_per_class={name: names.count(name) for name in card.class_names},
        ontology=ontology,
    )


def write_snapshot(out: Path, about: Snapshot, frames: pa.Table, labels: pa.Table) -> None:
    """Write the two tables and what is known about them; the description comes last."""
    write_table(frames, FRAMES, out / FRAMES_FILE)
    write_table(labels, LABELS, out / LABELS_FILE)
    write_json(out / ABOUT_FILE, asdict(about))


def open_snapshot(folder: Path) -> tuple[Snapshot, pa.Table, pa.Table]:
    """Read a snapshot back: description, frames, labels.

    Raises:
        DataError: there is none.
    """
    path = folder / ABOUT_FILE
    if not path.is_file():
        raise DataError(
            "a snapshot", found="none", where=str(folder), do="cityforge run, or dvc repro"
        )
    about = Snapshot(**json.loads(path.read_text(encoding="utf-8")))
    return about, read_table(FRAMES, folder / FRAMES_FILE), read_table(LABELS, folder / LABELS_FILE)


def write_json(path: Path, value: Any) -> None:
    """Write JSON that a person can read, beside `path`, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    beside.write_text(text + "\n", encoding="utf-8")
    beside.replace(path)
