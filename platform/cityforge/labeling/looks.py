"""What each person said of each frame: pulled annotations as flat arrays, judged row by row.

A look is one person's annotation of one frame. Which annotations count is decided here, and
what cannot be used is listed with its reason.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cityforge.cards.dataset import Dataset
from cityforge.errors import suggest
from cityforge.labeling.fitting import cut_to, misfit_of_box, shown_box
from cityforge.labeling.formats.rows import LabelledBox, Rejected
from cityforge.labeling.formats.values import UnusableError, entries, fields, number
from cityforge.labeling.matching import StoredFrame
from cityforge.labeling.ontology import check_changes, translate
from cityforge.labeling.pulled import Annotation, Pulled, superseded
from cityforge.labeling.results import TASK_OF_KIND, labels_of_picture, read_result
from cityforge.labeling.video import VideoLabels, boxes_of_video, frames_of_clip
from cityforge.labeling.withdrawn import Withdrawn, read_withdrawn
from cityforge.tables import LABELS, from_rows

# Index of an annotation, frame id, labels, and whether none of them had to be refused.
Said = tuple[int, str, list[LabelledBox], bool]


@dataclass(frozen=True)
class Looks:
    """All looks that count, and their labels: those of look i are rows first[i] to first[i + 1].

    Attributes:
        annotations: every pulled annotation, those that do not count too.
        annotation: (L,) index among `annotations`.
        frame: (L,) index among `frame_ids`.
        whole: (L,) False where a region could not be used: without others it says nothing.
        cls: (N,) index among `classes`.
        xyxy: (N, 4) pixels of the stored frame; zeros for a class of the whole picture.
        assisted: (N,) True where a prediction was kept or changed.
        track: (N,) of a video box, else None.
    """

    annotations: list[Annotation]
    frame_ids: list[str]
    sizes: npt.NDArray[np.int32]  # (F, 2) width, height of each frame
    classes: list[str]
    annotation: npt.NDArray[np.int32]
    frame: npt.NDArray[np.int32]
    whole: npt.NDArray[np.bool_]
    first: npt.NDArray[np.int64]
    cls: npt.NDArray[np.int32]
    xyxy: npt.NDArray[np.float64]
    assisted: npt.NDArray[np.bool_]
    track: list[str | None]
    rejected: list[tuple[str, Rejected]] = field(default_factory=list)  # with their source
    skipped: int = 0  # annotations
    superseded: int = 0  # annotations
    cut: int = 0  # boxes that stood partly outside their frame

    def by(self, look: int) -> Annotation:
        """The annotation of a look."""
        return self.annotations[int(self.annotation[look])]

    def rows(self, look: int) -> slice:
        """Where the labels of a look stand."""
        return slice(int(self.first[look]), int(self.first[look + 1]))

    def says_something(self, look: int) -> bool:
        """Whether it holds labels, or a person found nothing there."""
        return bool(self.whole[look]) or self.first[look] < self.first[look + 1]

    def by_frame(self) -> Iterator[tuple[int, list[int]]]:
        """Each frame (by frame id) with its looks, the oldest first, of each person one.

        Films may share frames: of one person's looks the newest counts there.
        """
        of: dict[int, list[int]] = {}
        for look, frame in enumerate(self.frame.tolist()):
            of.setdefault(frame, []).append(look)
        for frame in sorted(of, key=lambda each: self.frame_ids[each]):
            yield frame, self._of_each_person(of[frame])

    def _of_each_person(self, looks: list[int]) -> list[int]:
        ordered = sorted(looks, key=lambda look: self.by(look).age)
        last = {self.by(look).annotator: look for look in ordered}
        counted = set(last.values())
        return [look for look in ordered if look in counted or self.by(look).annotator is None]


def read_looks(card: Dataset, folder: Path, footage: pa.Table, frames: pa.Table) -> Looks:
    """Read the pulled annotations of the dataset in `folder`.

    Args:
        footage: table FOOTAGE, for the cameras that ontology changes may ask for.
        frames: table FRAMES; only those that may be used now.

    Raises:
        LabelError: nothing was pulled yet.
        TableError: the table of annotations has another schema.
        CardError: ontology changes that contradict each other.
    """
    check_changes(card)
    pulled = Pulled(card, folder)
    reading = _Reading(card, pulled.annotations(), footage, frames, read_withdrawn(folder))
    for start, results, data in pulled.results():
        reading.take(start, results, data)
    return reading.looks()


class _Reading:
    """Turns annotations into looks, batch by batch."""

    def __init__(
        self,
        card: Dataset,
        rows: list[Annotation],
        footage: pa.Table,
        frames: pa.Table,
        withdrawn: Withdrawn,
    ) -> None:
        self._card = card
        self._withdrawn = {
            at
            for at, row in enumerate(rows)
            if withdrawn.covers("", row.annotator, row.annotation_id)
        }
        self._task = TASK_OF_KIND[card.labeling.kind]
        self._of = {name: number for number, name in enumerate(card.class_names)}
        self._old = {name for change in card.ontology_changes for name in change.old}
        self._rows = rows
        columns = frames.select(["frame_id", "footage_id", "width", "height"]).to_pydict()
        self._frame_ids: list[str] = columns["frame_id"]
        self._number = {frame_id: at for at, frame_id in enumerate(self._frame_ids)}
        self._sizes = np.array([columns["width"], columns["height"]], np.int32).T.reshape(-1, 2)
        self._footage_ids: list[str] = columns["footage_id"]
        self._cameras = dict(
            zip(footage["footage_id"].to_pylist(), footage["camera"].to_pylist(), strict=True)
        )
        self._rejected: list[tuple[str, Rejected]] = []
        self._annotation, self._frame, self._whole = array("i"), array("i"), array("b")
        self._first = array("q", [0])
        self._cls, self._xyxy, self._assisted = array("i"), array("d"), array("b")
        self._track: list[str | None] = []
        self._cut = 0
        self._superseded = superseded(rows)

    def looks(self) -> Looks:
        for row, newer in sorted(self._superseded.items()):
            if row in self._withdrawn:
                continue
            annotation = self._rows[row]
            self._refuse(annotation, "superseded by the same person's later one", newer)
        return Looks(
            annotations=self._rows,
            frame_ids=self._frame_ids,
            sizes=self._sizes,
            classes=self._card.class_names,
            annotation=np.array(self._annotation, np.int32),
            frame=np.array(self._frame, np.int32),
            whole=np.array(self._whole, np.bool_),
            first=np.array(self._first, np.int64),
            cls=np.array(self._cls, np.int32),
            xyxy=np.array(self._xyxy, np.float64).reshape(-1, 4),
            assisted=np.array(self._assisted, np.bool_),
            track=self._track,
            rejected=self._rejected,
            skipped=sum(row.skipped for row in self._rows),
            superseded=len(self._superseded),
            cut=self._cut,
        )

    def take(self, start: int, results: Sequence[str], data: Sequence[str]) -> None:
        """Read a batch of results; the first is of annotation `start`."""
        looks: list[Said] = []
        for row, (result, about) in enumerate(zip(results, data, strict=True), start=start):
            if self._rows[row].skipped or row in self._superseded or row in self._withdrawn:
                continue
            try:
                looks += self._read(row, result, about)
            except UnusableError as error:
                self._refuse(self._rows[row], error.reason, error.found)
        undecided, classes = self._todays_classes(looks)
        for at, (row, frame_id, boxes, whole) in enumerate(looks):
            if at not in undecided:
                self._append(row, frame_id, boxes, whole, classes.get(at, {}))

    def _read(self, row: int, result: str, about: str) -> list[Said]:
        """The looks of one annotation: of a film one a frame."""
        annotation = self._rows[row]
        if self._card.labeling.kind == "video":
            return self._read_video(row, result, about)
        frame = self._stored(annotation.frame_id)
        found = labels_of_picture(
            read_result(result), self._card.labeling, frame, annotation.where, annotation.origin
        )
        self._cut += found.cut
        self._rejected += [(annotation.source, each) for each in found.rejected]
        return [(row, frame.frame_id, found.boxes, not found.rejected)]

    def _read_video(self, row: int, result: str, about: str) -> list[Said]:
        annotation = self._rows[row]
        data = fields(read_result(about), "data")
        frame_ids = [str(each) for each in entries(data.get("frame_ids"), "frame_ids")]
        stored = [self._stored(each) for each in frame_ids if each in self._number]
        if not stored:
            raise UnusableError("frames that are not stored, or may not be used", frame_ids)
        fps = number(data.get("fps"), "fps")
        found = boxes_of_video(
            read_result(result),
            frames_of_clip(frame_ids, fps),
            stored[0].width,
            stored[0].height,
            fps,
            annotation.where,
        )
        boxes = self._fitted(annotation, found, {frame.frame_id: frame for frame in stored})
        self._rejected += [(annotation.source, each) for each in found.rejected]
        lacking = found.incomplete
        return [(row, each, boxes[each], each not in lacking) for each in sorted(boxes)]

    def _fitted(
        self, annotation: Annotation, found: VideoLabels, frames: dict[str, StoredFrame]
    ) -> dict[str, list[LabelledBox]]:
        """Boxes of each stored frame, cut at its edge; an object that left it is no fault."""
        boxes: dict[str, list[LabelledBox]] = {frame_id: [] for frame_id in frames}
        for box in found.boxes:
            frame = frames.get(box.image)
            if frame is None:
                continue
            xyxy = (box.x1, box.y1, box.x2, box.y2)
            misfit = misfit_of_box(xyxy, frame.width, frame.height)
            if misfit:
                row = Rejected(where=box.where, reason=misfit, found=shown_box(xyxy))
                self._rejected.append((annotation.source, row))
                continue
            (x1, y1, x2, y2), was_cut = cut_to(xyxy, frame.width, frame.height)
            self._cut += was_cut
            boxes[box.image].append(replace(box, x1=x1, y1=y1, x2=x2, y2=y2))
        return boxes

    def _stored(self, frame_id: str | None) -> StoredFrame:
        if frame_id is None:
            raise UnusableError("a task that cityforge did not push", "no frame_id")
        at = self._number.get(frame_id)
        if at is None:
            raise UnusableError("a frame that is not stored, or may not be used", frame_id)
        width, height = self._sizes[at].tolist()
        return StoredFrame(frame_id, width, height)

    def _todays_classes(self, looks: list[Said]) -> tuple[set[int], dict[int, dict[int, str]]]:
        """Looks that a split leaves open, and new classes: of a look, by place of the box."""
        rows: list[dict[str, Any]] = []
        cameras: dict[str, str] = {}
        for look, (row, frame_id, boxes, _) in enumerate(looks):
            for place, box in enumerate(boxes):
                if box.cls in self._old:
                    rows.append(_as_row(look, place, box, self._rows[row], self._task))
                    footage_id = self._footage_ids[self._number[frame_id]]
                    cameras[str(look)] = self._cameras.get(footage_id, "")
        if not rows:
            return set(), {}
        moved = translate(from_rows(rows, LABELS), self._card.ontology_changes, cameras)
        classes: dict[int, dict[int, str]] = {}
        for each in moved.labels.select(["frame_id", "label_id", "class"]).to_pylist():
            classes.setdefault(int(each["frame_id"]), {})[int(each["label_id"])] = each["class"]
        undecided = {int(each) for each in moved.undecided["frame_id"].to_pylist()}
        for look in sorted(undecided):
            reason = "a class that was split and that no rule decides; people are asked again"
            row, frame_id, boxes, _ = looks[look]
            found = ", ".join(sorted({box.cls for box in boxes if box.cls in self._old}))
            self._refuse(self._rows[row], reason, found, frame_id)
        return undecided, classes

    def _append(
        self,
        row: int,
        frame_id: str,
        boxes: list[LabelledBox],
        whole: bool,
        classes: dict[int, str],
    ) -> None:
        annotation = self._rows[row]
        seen: set[tuple[str, str]] = set()
        for place, box in enumerate(boxes):
            cls = classes.get(place, box.cls)
            at = shown_box((box.x1, box.y1, box.x2, box.y2))
            if cls not in self._of:
                hint = suggest(cls, self._of)
                reason, whole = f"a class that the card does not name ({hint})", False
                self._list(annotation, box.where, reason, cls, frame_id)
            elif (cls, at) in seen:
                self._list(annotation, box.where, "the same label stands twice", at, frame_id)
            else:
                seen.add((cls, at))
                self._cls.append(self._of[cls])
                self._xyxy.extend((box.x1, box.y1, box.x2, box.y2))
                self._assisted.append(box.origin == "assisted")
                self._track.append(box.track_id)
        self._annotation.append(row)
        self._frame.append(self._number[frame_id])
        self._whole.append(whole)
        self._first.append(len(self._cls))

    def _refuse(
        self, annotation: Annotation, reason: str, found: str, frame_id: str | None = None
    ) -> None:
        frame_id = frame_id or annotation.frame_id
        self._list(annotation, annotation.where, reason, found, frame_id)

    def _list(
        self, annotation: Annotation, where: str, reason: str, found: str, frame_id: str | None
    ) -> None:
        row = Rejected(where=where, reason=reason, found=found, image=frame_id)
        self._rejected.append((annotation.source, row))


def _as_row(
    look: int, place: int, box: LabelledBox, annotation: Annotation, task: str
) -> dict[str, Any]:
    """A label of one look as the ontology's changes take it: the look stands for the frame."""
    return {
        "label_id": str(place),
        "frame_id": str(look),
        "task": task,
        "class": box.cls,
        "x1": box.x1,
        "y1": box.y1,
        "x2": box.x2,
        "y2": box.y2,
        "source": annotation.source,
        "origin": box.origin,
        "updated_at": annotation.updated_at,
    }
