"""Takes a label file into a dataset: matched with frames, judged, nothing dropped in silence."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.dataset import Dataset
from cityforge.errors import LabelError, suggest
from cityforge.labeling.clips import by_frame
from cityforge.labeling.fitting import XYXY, cut_to, misfit_of_box, misfit_of_point, shown_box
from cityforge.labeling.formats.rows import (
    LabelFile,
    LabelledBox,
    LabelledImage,
    Rejected,
    Task,
)
from cityforge.labeling.matching import FrameFinder, FramesOfFilm, StoredFrame
from cityforge.labeling.stored import (
    labels_path,
    list_rejected,
    read_from_studio,
    read_imported,
    read_labels,
    rejected_path,
    replace_labels,
)
from cityforge.labeling.withdrawn import Withdrawn, read_withdrawn
from cityforge.tables import LABELS, from_rows

__all__ = ["Intake", "labels_path", "read_labels", "rejected_path", "take_in"]


@dataclass(frozen=True)
class Intake:
    """What one import came to."""

    images: int
    boxes: int
    empty_images: int  # looked at, nothing in them
    cut_boxes: int  # stood partly outside, cut at the edge
    rejected: list[Rejected]
    stored_boxes: int  # in the dataset afterwards
    withdrawn: int = 0  # labels that were withdrawn, and stay out


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
    labels = by_frame(labels, finder, card.class_names)
    rejected = list(labels.rejected)
    places = _places(labels.images, finder, rejected)
    judge = _Judge(card, labels.source, rejected, read_labels(folder), read_withdrawn(folder))
    rows = [row for box in labels.boxes if (row := judge.row(box, places)) is not None]
    with_boxes = {str(row["frame_id"]) for row in rows}
    spoken_of = {place[0].frame_id for place in places.values()}
    refused_there = {places[each.image][0].frame_id for each in rejected if each.image in places}
    empty = sorted(spoken_of - with_boxes - refused_there - judge.withdrawn_on)
    task = _task_of(labels)
    rows += [row_of_nothing(frame_id, labels.source, task) for frame_id in empty]
    list_rejected(folder, labels.source, [(labels.source, each) for each in rejected])
    if not rows:
        first = f"; the first: {rejected[0].reason} ({rejected[0].found})" if rejected else ""
        raise LabelError(
            "a label that can be used",
            found=f"none in {len(labels.images)} images, {len(rejected)} rows refused"
            f"{f', {judge.withdrawn} withdrawn' if judge.withdrawn else ''}{first}",
            where=labels.source,
            do="nothing was changed",
        )
    stored = _store(folder, labels.source, rows, spoken_of)
    boxes = len(rows) - len(empty)
    return Intake(len(spoken_of), boxes, len(empty), judge.cut, rejected, stored, judge.withdrawn)


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
        self,
        card: Dataset,
        source: str,
        rejected: list[Rejected],
        stored: pa.Table,
        withdrawn: Withdrawn,
    ) -> None:
        self._card = card
        self._barred = withdrawn
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
        self.withdrawn = 0
        self.withdrawn_on: set[str] = set()  # frames that do not become empty by it

    def row(self, box: LabelledBox, places: dict[str, Place]) -> dict[str, Any] | None:
        if box.image not in places:
            self._refuse(box, "its image has no stored frame", box.image)
            return None
        frame, scale_x, scale_y = places[box.image]
        xyxy = (box.x1 * scale_x, box.y1 * scale_y, box.x2 * scale_x, box.y2 * scale_y)
        if box.cls not in self._classes:
            hint = suggest(box.cls, self._classes)
            self._refuse(box, f"a class that the card does not name ({hint})", box.cls)
            return None
        if misfit := _MISFIT[box.task](xyxy, frame.width, frame.height):
            self._refuse(box, misfit, shown_box(xyxy))
            return None
        return self._accept(box, frame, xyxy)

    def _accept(self, box: LabelledBox, frame: StoredFrame, raw: XYXY) -> dict[str, Any] | None:
        cut, was_cut = cut_to(raw, frame.width, frame.height)
        self.cut += was_cut
        of_image = box.task == "classification"
        at = "image" if of_image else shown_box(cut)
        key = f"{frame.frame_id}|{box.cls}|{at}|{box.annotator or ''}|{self._source}"
        label_id = hashlib.sha256(key.encode()).hexdigest()[:16]
        if self._barred.covers(label_id, box.annotator, box.annotation_id):
            self.withdrawn += 1
            self.withdrawn_on.add(frame.frame_id)
            return None
        if label_id in self._seen:
            self._refuse(box, f"the same {_KIND[box.task]} stands twice", at)
            return None
        row = {
            "label_id": label_id,
            "frame_id": frame.frame_id,
            "task": box.task,
            "class": box.cls,
            **dict(zip(("x1", "y1", "x2", "y2"), (None,) * 4 if of_image else cut, strict=True)),
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
            self._refuse(box, f"the same {_KIND[box.task]} stands already, from {other}", at)
            return None
        self._seen.add(label_id)
        return row

    def _refuse(self, box: LabelledBox, reason: str, found: str) -> None:
        self._rejected.append(
            Rejected(where=box.where, reason=reason, found=found, image=box.image)
        )


_KIND = {"detection": "box", "classification": "class", "density": "point"}


def _fits(_xyxy: XYXY, _width: int, _height: int) -> str:
    """A class of the whole image has no place to misfit."""
    return ""


_MISFIT = {"detection": misfit_of_box, "classification": _fits, "density": misfit_of_point}


def _place_of(row: dict[str, Any]) -> tuple[object, ...]:
    """What makes two labels the same: frame, task, class, box to 0.001 px, annotator."""
    box = "" if row["x1"] is None else shown_box((row["x1"], row["y1"], row["x2"], row["y2"]))
    return row["frame_id"], row["task"], row["class"], box, row["annotator"]


def _task_of(labels: LabelFile) -> Task:
    """What an image without labels was looked at for: what the others of its file are."""
    if any(image.every_frame for image in labels.images):
        return "classification"
    tasks = {box.task for box in labels.boxes}
    return tasks.pop() if len(tasks) == 1 else "detection"


def row_of_nothing(frame_id: str, source: str, task: Task) -> dict[str, Any]:
    """The row of a frame that somebody looked at, and that holds nothing."""
    label_id = hashlib.sha256(f"{frame_id}|nothing|{source}".encode()).hexdigest()[:16]
    return {
        "label_id": label_id,
        "frame_id": frame_id,
        "task": task,
        "source": source,
        "origin": "imported",
    }


def _store(folder: Path, source: str, rows: list[dict[str, Any]], spoken_of: set[str]) -> int:
    before = read_imported(folder)
    spoken = pc.is_in(before["frame_id"], pa.array(sorted(spoken_of), pa.string()))
    again = pc.and_(pc.equal(before["source"], source), spoken)
    imported = pa.concat_tables([before.filter(pc.invert(again)), from_rows(rows, LABELS)])
    return replace_labels(folder, [read_from_studio(folder)], imported).boxes
