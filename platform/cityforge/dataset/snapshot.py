"""An immutable snapshot: labelled frames, their labels, the ontology, and one digest."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.dataset import Dataset
from cityforge.dataset.digests import digest_of, digest_of_frames, digest_of_labels
from cityforge.errors import CheckFailed, DataError
from cityforge.footage.lawful import barred, footage_of
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


@dataclass(frozen=True)
class Gathered:
    """What may enter a snapshot, and how much may not."""

    frames: pa.Table
    labels: pa.Table
    left_out: int  # frames of withdrawn or expired files
    left_out_files: int

    @property
    def note(self) -> str:
        """One line on what was left out; empty when nothing was."""
        if not self.left_out:
            return ""
        files = f"{self.left_out_files} withdrawn or expired files"
        return f"{self.left_out} frames of {files} left out"


def gather(
    card: Dataset,
    frames: pa.Table,
    labels: pa.Table,
    footage: pa.Table,
    now: datetime,
    redactor: str | None,
) -> Gathered:
    """Labelled frames that may be used and the labels on them, both sorted.

    Args:
        frames: table FRAMES.
        labels: table LABELS.
        footage: table FOOTAGE; see `footage.seals.read_with_seals`.
        now: with its zone; footage whose retention ended by then is left out.
        redactor: `footage.redact.redactor_digest` of the card's redaction as it is now.

    Raises:
        DataError: nothing is labelled, or labels or frames speak of what is not stored.
        CheckFailed: the card asks for redaction, and a labelled frame did not pass it.
    """
    shut = pa.array(sorted(barred(footage, now)), pa.string())
    frames, out = _parted(frames, shut)
    labels, labelled_out = _parted(labels, shut)
    left = {*out.column("frame_id").to_pylist(), *labelled_out.column("frame_id").to_pylist()}
    files = len({each.partition("-")[0] for each in left})
    stored = frames.column("frame_id")
    _refuse_orphans(card, labels, stored)
    labelled = frames.filter(pc.is_in(stored, labels.column("frame_id")))
    found = Gathered(labelled.sort_by("frame_id"), labels.sort_by("label_id"), len(left), files)
    if labelled.num_rows == 0:
        raise DataError(
            "labelled frames",
            found=f"none; {found.note}" if found.note else "none",
            where=f"dataset '{card.name}'",
            do=f"cityforge label import {card.name} FILE",
        )
    _refuse_unknown(card, labelled, footage)
    _refuse_unredacted(card, labelled, redactor)
    return found


def _parted(table: pa.Table, shut: pa.Array) -> tuple[pa.Table, pa.Table]:
    """Rows of frames that may be used, and rows of frames that may not."""
    out = pc.is_in(footage_of(table.column("frame_id")), shut)
    return table.filter(pc.invert(out)), table.filter(out)


def _refuse_orphans(card: Dataset, labels: pa.Table, stored: pa.ChunkedArray) -> None:
    known = pc.is_in(labels.column("frame_id"), stored)
    orphans = labels.filter(pc.invert(known))
    if orphans.num_rows:
        raise DataError(
            "labels of stored frames",
            found=f"{orphans.num_rows} labels of frames that are not stored, "
            f"such as {orphans.column('frame_id')[0].as_py()}",
            where=f"dataset '{card.name}'",
            do="add their footage again, or sample it as it was sampled when it was labelled",
        )


def _refuse_unknown(card: Dataset, frames: pa.Table, footage: pa.Table) -> None:
    """Of footage that the catalogue does not name nobody knows the law it stands on."""
    known = pc.is_in(frames.column("footage_id"), footage.column("footage_id"))
    unknown = frames.filter(pc.invert(known))
    if unknown.num_rows:
        raise DataError(
            "frames of footage in the catalogue",
            found=f"{unknown.num_rows} of other footage, "
            f"such as {unknown.column('frame_id')[0].as_py()}",
            where=f"dataset '{card.name}'",
            do=f"dvc repro ingest@{card.name}, which makes the frames of the catalogue anew",
        )


def _refuse_unredacted(card: Dataset, frames: pa.Table, redactor: str | None) -> None:
    if not card.privacy.redact:
        return
    ours = pa.scalar(redactor or None, pa.string())  # a null is equal to nothing
    passed = pc.fill_null(pc.equal(frames.column("redacted_by"), ours), False)
    other = frames.filter(pc.invert(passed))
    if other.num_rows:
        raise CheckFailed(
            f"frames that passed the card's redaction ({' and '.join(card.privacy.redact)})",
            found=f"{other.num_rows} of {frames.num_rows} labelled frames that did not, "
            f"such as {other.column('frame_id')[0].as_py()}",
            where=f"dataset '{card.name}'",
            do=f"dvc repro ingest@{card.name}, or cityforge run, which stores them anew",
        )


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
