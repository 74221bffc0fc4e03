"""Takes a label file into a dataset: matched with frames, judged, nothing dropped in silence."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cityforge.cards.dataset import Dataset
from cityforge.errors import LabelError, suggest
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage, Rejected
from cityforge.labeling.matching import FrameFinder, FramesOfFilm, StoredFrame
from cityforge.tables import LABELS, REJECTED, from_rows, read_table, write_table

# A box may stand out of its image by rounding; by more it is cut at the edge and counted.
ROUNDING_PX = 1.0


@dataclass(frozen=True)
class Intake:
    """What one import came to."""

    images: int
    boxes: int
    empty_images: int  # looked at, nothing in them
    cut_boxes: int  # stood partly outside, cut at the edge
    rejected: list[Rejected]
    stored_boxes: int  # in the dataset afterwards


def labels_path(folder: Path) -> Path:
    """Where the labels of the dataset in `folder` lie."""
    return folder / "labels" / "labels.parquet"


def rejected_path(folder: Path) -> Path:
    """Where the rows that could not be used lie, each with its reason."""
    return folder / "labels" / "rejected.parquet"


def read_labels(folder: Path) -> pa.Table:
    """Table LABELS of a dataset; empty when nothing was imported yet."""
    path = labels_path(folder)
    return read_table(LABELS, path) if path.exists() else LABELS.empty_table()


def take_in(
    card: Dataset,
    folder: Path,
    labels: LabelFile,
    footage: pa.Table,
    frames: pa.Table,
    film: FramesOfFilm | None = None,
) -> Intake:
    """Store what a label file says about frames of the dataset.

    Frames that the file speaks of lose what an earlier import from the same source said of
    them; all other labels stay. The table before the import is kept in `labels/history/`.

    Raises:
        LabelError: not one row could be used; nothing stored was changed.
    """
    finder = FrameFinder(footage, frames, film)
    rejected = list(labels.rejected)
    places = _places(labels.images, finder, rejected)
    judge = _Judge(card, labels.source, rejected, read_labels(folder))
    rows = [row for box in labels.boxes if (row := judge.row(box, places)) is not None]
    with_boxes = {str(row["frame_id"]) for row in rows}
    spoken_of = {place[0].frame_id for place in places.values()}
    refused_there = {places[each.image][0].frame_id for each in rejected if each.image in places}
    empty = sorted(spoken_of - with_boxes - refused_there)
    rows += [_row_of_nothing(frame_id, labels.source) for frame_id in empty]
    _set_aside(folder, labels.source, rejected)
    if not rows:
        first = f"; the first: {rejected[0].reason} ({rejected[0].found})" if rejected else ""
        raise LabelError(
            "a label that can be used",
            found=f"none in {len(labels.images)} images, {len(rejected)} rows refused{first}",
            where=labels.source,
            do="nothing was changed",
        )
    stored = _store(folder, labels.source, rows, spoken_of)
    return Intake(len(spoken_of), len(rows) - len(empty), len(empty), judge.cut, rejected, stored)


Place = tuple[StoredFrame, float, float]


def _places(
    images: list[LabelledImage], finder: FrameFinder, rejected: list[Rejected]
) -> dict[str, Place]:
    """Frame and scale (file's pixels to frame's pixels) of each image."""
    places: dict[str, Place] = {}
    for image in images:
        frame = finder.find(image)
        if isinstance(frame, Rejected):
            rejected.append(frame)
            continue
        scale_x = frame.width / image.width if image.width else 1.0
        scale_y = frame.height / image.height if image.height else 1.0
        places[image.name] = (frame, scale_x, scale_y)
    return places


class _Judge:
    """Turns boxes into rows, and counts what it cannot use."""

    def __init__(
        self, card: Dataset, source: str, rejected: list[Rejected], stored: pa.Table
    ) -> None:
        self._card = card
        self._classes = set(card.class_names)
        self._source = source
        self._rejected = rejected
        self._seen: set[str] = set()
        self._elsewhere = {
            _place_of(row): row["source"]
            for row in stored.to_pylist()
            if row["class"] is not None and row["source"] != source
        }
        self.cut = 0

    def row(self, box: LabelledBox, places: dict[str, Place]) -> dict[str, Any] | None:
        if box.image not in places:
            self._refuse(box, "its image has no stored frame", box.image)
            return None
        frame, scale_x, scale_y = places[box.image]
        reason, found = "", ""
        x1, x2 = box.x1 * scale_x, box.x2 * scale_x
        y1, y2 = box.y1 * scale_y, box.y2 * scale_y
        if box.cls not in self._classes:
            hint = suggest(box.cls, self._classes)
            reason, found = f"a class that the card does not name ({hint})", box.cls
        elif not (x1 < x2 and y1 < y2):
            reason, found = "a box of no size", _shown(x1, y1, x2, y2)
        elif x2 <= 0 or y2 <= 0 or x1 >= frame.width or y1 >= frame.height:
            reason = f"a box outside its image of {frame.width}×{frame.height}"
            found = _shown(x1, y1, x2, y2)
        if reason:
            self._refuse(box, reason, found)
            return None
        return self._accept(box, frame, (x1, y1, x2, y2))

    def _accept(
        self, box: LabelledBox, frame: StoredFrame, raw: tuple[float, float, float, float]
    ) -> dict[str, Any] | None:
        x1, y1 = max(raw[0], 0.0), max(raw[1], 0.0)
        x2, y2 = min(raw[2], float(frame.width)), min(raw[3], float(frame.height))
        cut = (x1, y1, x2, y2)
        if max(abs(a - b) for a, b in zip(raw, cut, strict=True)) > ROUNDING_PX:
            self.cut += 1
        key = f"{frame.frame_id}|{box.cls}|{_shown(*cut)}|{box.annotator or ''}|{self._source}"
        label_id = hashlib.sha256(key.encode()).hexdigest()[:16]
        if label_id in self._seen:
            self._refuse(box, "the same box stands twice", _shown(*cut))
            return None
        row = {
            "label_id": label_id,
            "frame_id": frame.frame_id,
            "task": "detection",
            "class": box.cls,
            "x1": x1,
            "y1": y1,
            "x2": x2,
            "y2": y2,
            "track_id": box.track_id,
            "annotator": box.annotator,
            "annotation_id": box.annotation_id,
            "source": self._source,
            "origin": box.origin,
            "lead_time_s": box.lead_time_s,
            "updated_at": box.updated_at,
        }
        other = self._elsewhere.get(_place_of(row))
        if other is not None:
            self._refuse(box, f"the same box stands already, from {other}", _shown(*cut))
            return None
        self._seen.add(label_id)
        return row

    def _refuse(self, box: LabelledBox, reason: str, found: str) -> None:
        self._rejected.append(
            Rejected(where=box.where, reason=reason, found=found, image=box.image)
        )


def _place_of(row: dict[str, Any]) -> tuple[object, ...]:
    """What makes two labels the same: frame, class, box to 0.001 px, annotator."""
    box = _shown(row["x1"], row["y1"], row["x2"], row["y2"])
    return row["frame_id"], row["class"], box, row["annotator"]


def _row_of_nothing(frame_id: str, source: str) -> dict[str, Any]:
    label_id = hashlib.sha256(f"{frame_id}|nothing|{source}".encode()).hexdigest()[:16]
    return {
        "label_id": label_id,
        "frame_id": frame_id,
        "task": "detection",
        "source": source,
        "origin": "imported",
    }


def _store(
    folder: Path,
    source: str,
    rows: list[dict[str, Any]],
    spoken_of: set[str],
) -> int:
    before = read_labels(folder)
    _keep_history(folder)
    kept = [
        row
        for row in before.to_pylist()
        if row["source"] != source or row["frame_id"] not in spoken_of
    ]
    table = from_rows(sorted(kept + rows, key=lambda row: str(row["label_id"])), LABELS)
    write_table(table, LABELS, labels_path(folder))
    return int(table.num_rows - table.column("class").null_count)


def _set_aside(folder: Path, source: str, rejected: list[Rejected]) -> None:
    """Keep the rows that could not be used; those of other imports stay."""
    path = rejected_path(folder)
    kept = read_table(REJECTED, path).to_pylist() if path.exists() else []
    rows: list[dict[str, object]] = [row for row in kept if row["source"] != source]
    for each in rejected:
        rows.append(
            {"source": source, "where": each.where, "reason": each.reason, "found": each.found}
        )
    write_table(from_rows(rows, REJECTED), REJECTED, path)


def _keep_history(folder: Path) -> None:
    path = labels_path(folder)
    if not path.exists():
        return
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    kept = path.parent / "history" / f"{digest}.parquet"
    if kept.exists():
        return
    kept.parent.mkdir(exist_ok=True)
    beside = kept.with_name(f".{kept.name}.{os.getpid()}")
    shutil.copyfile(path, beside)
    beside.replace(kept)


def _shown(x1: float, y1: float, x2: float, y2: float) -> str:
    return f"{x1:.3f},{y1:.3f},{x2:.3f},{y2:.3f}"
