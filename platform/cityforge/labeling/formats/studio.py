"""Label Studio's JSON export: rectangles, points and classes, in percent of the original image.

Predictions and drafts in an export are no labels and are not read. The writer leaves
`completed_by` out, because an import fails on an account the server does not know; the
annotator and the track stand in each result's `meta`, and `width` and `height` in the task's
data, so that images without boxes keep their size. Its controls are named `label` (boxes),
`point` (points) and `class` (classes of the whole image). Tasks are read one after another, so
that a large export need not fit into memory.

label-studio-sdk's converter is not used: it cuts VOC edges to whole pixels, drops tasks
without boxes, keeps the first of several classes and loses who drew what.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cityforge.errors import LabelError
from cityforge.labeling.formats.files import only_json
from cityforge.labeling.formats.gather import Gather
from cityforge.labeling.formats.json_list import json_list
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.formats.shapes import Polygons
from cityforge.labeling.formats.studio_image import image_of
from cityforge.labeling.formats.studio_result import (
    Mark,
    annotator,
    marks,
    moment,
    original_size,
    seconds,
)
from cityforge.labeling.formats.studio_write import write
from cityforge.labeling.formats.values import UnusableError, entries, fields, ident, size

__all__ = ["is_studio", "is_task", "read", "read_tasks", "write"]

Row = dict[str, object]
ASSISTED = ("prediction", "prediction-changed")
_EXPECTED = "a Label Studio export: a list of tasks with data and annotations"


def read(path: Path, *, polygons: Polygons = "refuse") -> LabelFile:
    """Read an export, or the only JSON file of a folder.

    Raises:
        LabelError: it is missing, no JSON, or no list of tasks.
    """
    source = only_json(path)
    return read_tasks(json_list(source, _EXPECTED), source, polygons=polygons)


def read_tasks(
    tasks: Iterable[object], source: Path, *, polygons: Polygons = "refuse"
) -> LabelFile:
    """Read tasks as an export or the server gives them; `source` names them in messages.

    Raises:
        LabelError: there are rows, and not one of them is a task.
    """
    gather = Gather(source)
    count, is_export = 0, False
    for count, task in enumerate(tasks, start=1):
        is_export = is_export or is_task(task)
        where = _where(source.name, "task", task, count)
        with gather.row(where):
            _read_task(gather, where, fields(task, "task"), polygons)
    if count and not is_export:
        do = "export as JSON; JSON-MIN is read as studio_min"
        raise LabelError(_EXPECTED, found="a list without tasks", where=str(source), do=do)
    return gather.file()


def is_studio(document: object) -> bool:
    """Whether a JSON document is a list with at least one task, or empty."""
    return isinstance(document, list) and (not document or any(map(is_task, document)))


def is_task(task: object) -> bool:
    """Whether an item of a JSON list is a task."""
    return isinstance(task, dict) and isinstance(task.get("data"), dict)


def _where(place: str, kind: str, row: object, count: int) -> str:
    key = row.get("id") if isinstance(row, dict) else None
    return f"{place} {kind} no. {count}" if key is None else f"{place} {kind} {key}"


def _read_task(gather: Gather, where: str, task: Row, polygons: Polygons) -> None:
    data = fields(task.get("data"), "data")
    image = image_of(data, where)
    rows = entries(task.get("annotations") or [], "annotations")
    if not rows:
        raise UnusableError("not labelled yet", image.name)
    usable = _usable_annotations(gather, where, rows, image.name)
    if not usable:
        return
    gather.image(_sized(image, data, [annotation for _, annotation in usable]))
    for place, annotation in usable:
        with gather.row(place, image.name):
            _read_annotation(gather, place, annotation, image.name, polygons)


def _usable_annotations(
    gather: Gather, where: str, rows: list[object], image: str
) -> list[tuple[str, Row]]:
    usable = []
    for count, row in enumerate(rows, start=1):
        place = _where(where, "annotation", row, count)
        with gather.row(place, image):
            annotation = fields(row, "annotation")
            if annotation.get("was_cancelled"):
                raise UnusableError("cancelled by the annotator", image)
            entries(annotation.get("result"), "result")
            usable.append((place, annotation))
    return usable


def _sized(image: LabelledImage, data: Row, annotations: list[Row]) -> LabelledImage:
    for annotation in annotations:
        for row in entries(annotation["result"], "result"):
            try:
                width, height = original_size(fields(row, "result"))
            except UnusableError:
                continue  # rejected where the region itself is read
            if width and height:
                return replace(image, width=width, height=height)
    width, height = size(data.get("width"), "data width"), size(data.get("height"), "data height")
    return replace(image, width=width, height=height)


@dataclass(frozen=True)
class _Work:
    """What an annotation says of all its results."""

    annotator: str | None
    annotation_id: str | None
    lead_time_s: float | None
    updated_at: datetime | None
    is_assisted: bool


def _read_annotation(
    gather: Gather, where: str, annotation: Row, image: str, polygons: Polygons
) -> None:
    key = annotation.get("id")
    work = _Work(
        annotator=annotator(annotation.get("completed_by")),
        annotation_id=None if key is None else str(ident(key, "annotation id")),
        lead_time_s=seconds(annotation.get("lead_time")),
        updated_at=moment(annotation.get("updated_at")),
        is_assisted=_is_assisted(annotation),
    )
    for count, row in enumerate(entries(annotation["result"], "result"), start=1):
        place = f"{where} result {count}"
        with gather.row(place, image):
            region = fields(row, "result")
            value = fields(region.get("value"), "value")
            for mark in marks(region.get("type"), value, region, polygons):
                gather.box(_label(mark, region, work, image, place))


def _label(mark: Mark, region: Row, work: _Work, image: str, where: str) -> LabelledBox:
    meta = region.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    track, drawn_by = meta.get("track_id"), meta.get("annotator")
    x1, y1, x2, y2 = mark.edges
    is_assisted = work.is_assisted or region.get("origin") in ASSISTED
    return LabelledBox(
        image=image,
        cls=mark.cls,
        x1=x1,
        y1=y1,
        x2=x2,
        y2=y2,
        where=where,
        track_id=None if track is None else str(ident(track, "track_id")),
        annotator=work.annotator or (None if drawn_by is None else str(drawn_by)),
        annotation_id=work.annotation_id,
        lead_time_s=work.lead_time_s,
        updated_at=work.updated_at,
        origin="assisted" if is_assisted else "human",
        task=mark.task,
    )


def _is_assisted(annotation: Row) -> bool:
    prediction = annotation.get("prediction")
    made_from = prediction.get("id") if isinstance(prediction, dict) else prediction
    return annotation.get("parent_prediction") is not None or made_from is not None
