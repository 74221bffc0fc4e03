"""Imported labels of a dataset brought into the terms of its changed ontology, and stored.

What people drew in Label Studio is not touched here: it is settled anew from their annotations.
`labels/undecided.parquet` holds what a split leaves open until rules or people decide it; the
labels as they were stay in `labels/history/`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.dataset import Dataset
from cityforge.labeling.ontology import Migrated, migrate
from cityforge.labeling.stored import read_from_studio, read_imported, replace_labels
from cityforge.tables import LABELS, read_table, write_table


@dataclass(frozen=True)
class Moved:
    """Labels of one class that take another."""

    old: str
    new: str | None  # None: no rule decides; people are asked
    labels: int


@dataclass(frozen=True)
class Brought:
    """What the card's changes do to a dataset's imported labels."""

    moved: list[Moved]
    undecided_labels: int  # all labels of the frames that wait, decided ones too
    undecided_frames: list[str]  # sorted; people are asked about them


def undecided_path(folder: Path) -> Path:
    """Where imported labels wait for rules or people to decide their class."""
    return folder / "labels" / "undecided.parquet"


def read_undecided(folder: Path) -> pa.Table:
    """Table LABELS of the frames that a split leaves open."""
    path = undecided_path(folder)
    return read_table(LABELS, path) if path.exists() else LABELS.empty_table()


def bring_up(
    card: Dataset, folder: Path, cameras: Mapping[str, str], *, store: bool = True
) -> Brought:
    """Apply the card's changes to the imported labels of the dataset in `folder`.

    Labels that waited are taken up again where rules now decide them. Frames on which people
    have drawn since are not asked again. Killed at any moment, the next call ends the same way.

    Args:
        cameras: footage id to camera, which rules may ask for.
        store: else it is only said.

    Raises:
        CardError: changes that contradict each other or the card's classes.
    """
    studio, imported = read_from_studio(folder), read_imported(folder)
    waiting = read_undecided(folder)
    again = pc.is_in(waiting["label_id"], imported["label_id"].combine_chunks())
    before = pa.concat_tables([imported, waiting.filter(pc.invert(again))]).sort_by("label_id")
    owners = {each: each.partition("-")[0] for each in before["frame_id"].to_pylist()}
    cameras_of = {each: cameras[owner] for each, owner in owners.items() if owner in cameras}
    found = migrate(card, before, cameras_of)
    if store:
        _store(folder, studio, imported, found)
    answered = set(studio["frame_id"].to_pylist())
    frames = sorted(set(found.undecided["frame_id"].to_pylist()) - answered)
    return Brought(_moved(before, found), found.undecided.num_rows, frames)


def _store(folder: Path, studio: pa.Table, imported: pa.Table, found: Migrated) -> None:
    """First what leaves is written where it waits, last what returns is taken from there."""
    path, known = undecided_path(folder), read_undecided(folder)
    if not found.undecided.equals(known):
        leaving = pc.invert(pc.is_in(known["label_id"], found.undecided["label_id"]))
        both = pa.concat_tables([found.undecided, known.filter(leaving)])
        write_table(both, LABELS, path)
    if not found.labels.equals(imported):
        replace_labels(folder, [studio] if studio.num_rows else [], found.labels)
    if path.exists() and not found.undecided.equals(read_undecided(folder)):
        write_table(found.undecided, LABELS, path)


def _moved(before: pa.Table, found: Migrated) -> list[Moved]:
    was = dict(zip(before["label_id"].to_pylist(), before["class"].to_pylist(), strict=True))
    counts: Counter[tuple[str, str | None]] = Counter((was[key], None) for key in found.open_ids)
    for table in (found.labels, found.undecided):
        columns = table.select(["label_id", "class"]).to_pydict()
        counts.update(
            (was[key], now)
            for key, now in zip(columns["label_id"], columns["class"], strict=True)
            if now != was[key]
        )
    ordered = sorted(counts.items(), key=lambda each: (each[0][0], each[0][1] or ""))
    return [Moved(old, new, labels) for (old, new), labels in ordered]
