"""Label Studio's JSON export (not JSON-MIN): rectangles in percent of the original image.

Predictions and drafts in an export are no labels and are not read. The writer leaves
`completed_by` out, because an import fails on an account the server does not know; the
annotator and the track stand in each region's `meta`, and `width` and `height` in the task's
data, so that images without boxes keep their size.

label-studio-sdk's converter is not used: it cuts VOC edges to whole pixels, drops tasks
without boxes, keeps the first of several classes and loses who drew what.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cityforge.errors import LabelError
from cityforge.labeling.formats.files import only_json, read_json
from cityforge.labeling.formats.gather import Gather
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.formats.studio_image import image_name
from cityforge.labeling.formats.studio_write import write
from cityforge.labeling.formats.values import (
    UnusableError,
    entries,
    fields,
    ident,
    name,
    number,
    size,
)

__all__ = ["is_studio", "read", "write"]

Row = dict[str, object]
ASSISTED = ("prediction", "prediction-changed")


def read(path: Path) -> LabelFile:
    """Read an export, or the only JSON file of a folder.

    Raises:
        LabelError: it is missing, no JSON, or no list of tasks.
    """
    source = only_json(path)
    tasks = read_json(source)
    if not isinstance(tasks, list) or (tasks and not is_studio(tasks)):
        found = "a list without tasks" if isinstance(tasks, list) else type(tasks).__name__
        raise LabelError(
            "a Label Studio export: a list of tasks with data and annotations",
            found=found,
            where=str(source),
            do="export as JSON, not JSON-MIN",
        )
    gather = Gather(source)
    for count, task in enumerate(tasks, start=1):
        where = _where(source.name, "task", task, count)
        with gather.row(where):
            _read_task(gather, where, fields(task, "task"))
    return gather.file()


def is_studio(document: object) -> bool:
    """Whether a JSON document is a list with at least one task, or empty."""
    if not isinstance(document, list):
        return False
    return not document or any(isinstance(t, dict) and _is_task(t) for t in document)


def _is_task(task: Row) -> bool:
    return isinstance(task.get("data"), dict)


def _where(place: str, kind: str, row: object, count: int) -> str:
    key = row.get("id") if isinstance(row, dict) else None
    return f"{place} {kind} no. {count}" if key is None else f"{place} {kind} {key}"


def _read_task(gather: Gather, where: str, task: Row) -> None:
    data = fields(task.get("data"), "data")
    image = image_name(data)
    rows = entries(task.get("annotations") or [], "annotations")
    if not rows:
        raise UnusableError("not labelled yet", image)
    usable = _usable_annotations(gather, where, rows, image)
    if not usable:
        return
    width, height = _image_size(data, [annotation for _, annotation in usable])
    gather.image(_image(data, image, (width, height), where))
    for place, annotation in usable:
        with gather.row(place, image):
            _read_annotation(gather, place, annotation, image)


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


def _image_size(data: Row, annotations: list[Row]) -> tuple[int | None, int | None]:
    for annotation in annotations:
        for row in entries(annotation["result"], "result"):
            try:
                stated = fields(row, "result")
                width = size(stated.get("original_width"), "original_width")
                height = size(stated.get("original_height"), "original_height")
            except UnusableError:
                continue  # rejected where the region itself is read
            if width and height:
                return width, height
    return size(data.get("width"), "data width"), size(data.get("height"), "data height")


def _image(
    data: Row, image: str, pixels: tuple[int | None, int | None], where: str
) -> LabelledImage:
    footage, pts_s = data.get("footage"), data.get("pts_s")
    return LabelledImage(
        name=image,
        width=pixels[0],
        height=pixels[1],
        footage=None if footage is None else name(footage, "footage"),
        pts_s=None if pts_s is None else number(pts_s, "pts_s"),
        where=where,
    )


def _read_annotation(gather: Gather, where: str, annotation: Row, image: str) -> None:
    who = annotation.get("completed_by")
    lead_time, updated_at = annotation.get("lead_time"), annotation.get("updated_at")
    key = annotation.get("id")
    annotator = _annotator(who)
    lead_time_s = None if lead_time is None else number(lead_time, "lead_time")
    updated = None if updated_at is None else _time(updated_at)
    assisted = _is_assisted(annotation)
    for count, row in enumerate(entries(annotation["result"], "result"), start=1):
        place = f"{where} result {count}"
        with gather.row(place, image):
            region = fields(row, "result")
            x1, y1, x2, y2 = _edges(region)
            meta = region.get("meta")
            meta = meta if isinstance(meta, dict) else {}
            track, drawn_by = meta.get("track_id"), meta.get("annotator")
            gather.box(
                LabelledBox(
                    image=image,
                    cls=_cls(region),
                    x1=x1,
                    y1=y1,
                    x2=x2,
                    y2=y2,
                    where=place,
                    track_id=None if track is None else str(ident(track, "track_id")),
                    annotator=annotator or (None if drawn_by is None else str(drawn_by)),
                    annotation_id=None if key is None else str(ident(key, "annotation id")),
                    lead_time_s=lead_time_s,
                    updated_at=updated,
                    origin="assisted" if assisted or region.get("origin") in ASSISTED else "human",
                )
            )


def _annotator(who: object) -> str | None:
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    return None if who is None else str(ident(who, "completed_by"))


def _time(value: object) -> datetime:
    try:
        time = datetime.fromisoformat(name(value, "updated_at"))
    except ValueError:  # an UnusableError is one too
        raise UnusableError("updated_at is no ISO time", value) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _is_assisted(annotation: Row) -> bool:
    prediction = annotation.get("prediction")
    made_from = prediction.get("id") if isinstance(prediction, dict) else prediction
    return annotation.get("parent_prediction") is not None or made_from is not None


def _cls(region: Row) -> str:
    value = fields(region.get("value"), "value")
    labels = entries(value.get("rectanglelabels"), "rectanglelabels")
    if len(labels) != 1:
        reason = "more than one class on one rectangle" if labels else "a rectangle with no class"
        raise UnusableError(reason, labels)
    return name(labels[0], "class")


def _edges(region: Row) -> tuple[float, float, float, float]:
    """Edges as xyxy in pixels of the original image."""
    if region.get("type") != "rectanglelabels":
        raise UnusableError("no labelled rectangle", region.get("type"))
    value = fields(region.get("value"), "value")
    for turn in (value.get("rotation"), region.get("image_rotation")):
        if number(turn or 0, "rotation") != 0:
            raise UnusableError("rotated; only upright boxes are used", turn)
    width = size(region.get("original_width"), "original_width")
    height = size(region.get("original_height"), "original_height")
    if not width or not height:
        raise UnusableError("size of the original image is missing", f"{width} x {height}")
    x, y = number(value.get("x"), "x"), number(value.get("y"), "y")
    right, bottom = (
        x + number(value.get("width"), "width"),
        y + number(value.get("height"), "height"),
    )
    edges = (x * width / 100, y * height / 100, right * width / 100, bottom * height / 100)
    for edge in edges:
        number(edge, "an edge in pixels")
    return edges
