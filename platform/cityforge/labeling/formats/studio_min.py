"""Label Studio's JSON-MIN export: one record for each annotation, its results under its controls.

A record holds the task's data, then `id`, then a list or text for each control, then
`annotator` and the annotation's times; only this order tells a chosen class from a text of the
data, so a record in another order is refused. The text of a text area cannot be told from a
class; the card's classes decide. The format holds no meta, origin or ground truth; the writer
adds `track_id` to boxes and points, and an empty list `label` for an image with nothing in it.

label-studio-sdk's converter is not used: it writes JSON-MIN and cannot read it, and what it
writes loses annotators' addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cityforge.errors import LabelError
from cityforge.labeling.formats.files import only_json, write_json
from cityforge.labeling.formats.gather import Gather, by_image, stated_size
from cityforge.labeling.formats.json_list import json_list
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.formats.shapes import Polygons
from cityforge.labeling.formats.studio_image import data_of, image_of
from cityforge.labeling.formats.studio_result import (
    KINDS,
    Mark,
    annotator,
    marks,
    moment,
    original_size,
    seconds,
)
from cityforge.labeling.formats.studio_write import (
    CONTROLS,
    annotation_id,
    annotations_of,
    place_of,
)
from cityforge.labeling.formats.values import UnusableError, fields, ident, size

Row = dict[str, object]
_EXPECTED = "a Label Studio export as JSON-MIN: a list of records with id and annotation_id"


def read(path: Path, *, polygons: Polygons = "refuse") -> LabelFile:
    """Read an export, or the only JSON file of a folder.

    Raises:
        LabelError: it is missing, no JSON, or no list of records.
    """
    source = only_json(path)
    gather = Gather(source)
    tasks: dict[str, object] = {}
    count, is_export = 0, False
    for count, row in enumerate(json_list(source, _EXPECTED), start=1):
        is_export = is_export or is_record(row)
        where = _where(source.name, row, count)
        with gather.row(where):
            _read_record(gather, where, fields(row, "record"), tasks, polygons)
    if count and not is_export:
        found = "a list without such records"
        raise LabelError(_EXPECTED, found=found, where=str(source), do="export as JSON-MIN")
    return gather.file()


def is_record(row: object) -> bool:
    """Whether an item of a JSON list is a record of JSON-MIN."""
    return isinstance(row, dict) and "data" not in row and {"id", "annotation_id"} <= row.keys()


def write(labels: LabelFile, path: Path) -> list[Path]:
    """Write one file of records, in the order of an export.

    Raises:
        LabelError: a box or point on an image of unknown size, or contradicting labels.
    """
    records: list[Row] = []
    for key, (image, boxes) in enumerate(by_image(labels), start=1):
        start = data_of(image) | {"id": key}
        records += [_record(start, image, group) for group in annotations_of(boxes) or [[]]]
    return [write_json(path, records)]


def _where(file: str, row: object, count: int) -> str:
    if not isinstance(row, dict) or row.get("id") is None:
        return f"{file} record no. {count}"
    return f"{file} task {row['id']} annotation {row.get('annotation_id')}"


def _read_record(
    gather: Gather, where: str, record: Row, tasks: dict[str, object], polygons: Polygons
) -> None:
    controls, data = _parts(record)
    image = image_of(data, where)
    key = record.get("annotation_id")
    if key is None and not controls:
        raise UnusableError("not labelled yet", image.name)
    if tasks.setdefault(image.name, record["id"]) != record["id"]:
        raise UnusableError("image is there already, in another task", image.name)
    if not gather.has_image(image.name):
        gather.image(_sized(image, data, controls))
    with gather.row(where, image.name):
        said = LabelledBox(
            image=image.name, cls="", x1=0, y1=0, x2=0, y2=0, where=where,
            annotator=annotator(record.get("annotator")),
            annotation_id=None if key is None else str(ident(key, "annotation_id")),
            lead_time_s=seconds(record.get("lead_time")),
            updated_at=moment(record.get("updated_at")),
        )  # fmt: skip
        for control, value in controls.items():
            _read_control(gather, said, control, value, polygons)


def _parts(record: Row) -> tuple[Row, Row]:
    """The controls and the task's data, told apart by the order of the keys."""
    keys = list(record)
    try:
        start, end = keys.index("id"), keys.index("annotator")
    except ValueError:
        raise UnusableError("record has no id or annotator", ", ".join(keys)) from None
    if end < start:
        reason = "keys are not in the order of an export: data, id, controls, annotator"
        raise UnusableError(reason, ", ".join(keys))
    controls = {key: record[key] for key in keys[start + 1 : end]}
    return controls, {key: record[key] for key in keys[:start]}


def _sized(image: LabelledImage, data: Row, controls: Row) -> LabelledImage:
    for value in controls.values():
        for row in _results(value):
            if isinstance(row, dict):
                try:
                    width, height = original_size(row)
                except UnusableError:
                    continue  # rejected where the result itself is read
                if width and height:
                    return replace(image, width=width, height=height)
    width, height = size(data.get("width"), "data width"), size(data.get("height"), "data height")
    return replace(image, width=width, height=height)


def _results(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _read_control(
    gather: Gather, said: LabelledBox, control: str, value: object, polygons: Polygons
) -> None:
    for count, row in enumerate(_results(value), start=1):
        where = f"{said.where} {control} {count}"
        with gather.row(where, said.image):
            track = row.get("track_id") if isinstance(row, dict) else None
            label = replace(
                said,
                where=where,
                track_id=None if track is None else str(ident(track, "track_id")),
            )
            for mark in _marks(row, polygons):
                x1, y1, x2, y2 = mark.edges
                gather.box(replace(label, cls=mark.cls, task=mark.task, x1=x1, y1=y1, x2=x2, y2=y2))


def _marks(row: object, polygons: Polygons) -> list[Mark]:
    if isinstance(row, str):  # a single choice stands without its object
        return marks("choices", {"choices": [row]}, {}, polygons)
    value = fields(row, "result")
    kind = next((kind for kind in KINDS if kind in value), None)
    if kind is None:
        raise UnusableError("no labelled rectangle, point or class", value)
    return marks(kind, value, value, polygons)


def _record(start: Row, image: LabelledImage, boxes: list[LabelledBox]) -> Row:
    first = boxes[0] if boxes else None
    updated_at = first.updated_at if first else None
    end: Row = {
        "annotator": first.annotator if first else None,
        "annotation_id": annotation_id(first) if first else None,
        "created_at": None,
        "updated_at": updated_at.isoformat() if updated_at else None,
        "lead_time": first.lead_time_s if first else None,
    }
    return start | (dict(_controls(image, boxes)) or {"label": []}) | end


def _controls(image: LabelledImage, boxes: list[LabelledBox]) -> Iterator[tuple[str, object]]:
    for task, (_, control) in CONTROLS.items():
        group = [box for box in boxes if box.task == task]
        if task != "classification" and group:
            yield control, [_result(image, box) for box in group]
        elif len(group) == 1:
            yield control, group[0].cls
        elif group:
            yield control, {"choices": [box.cls for box in group]}


def _result(image: LabelledImage, box: LabelledBox) -> Row:
    width, height = stated_size(image)
    row = place_of(image, box) | {"original_width": width, "original_height": height}
    return row if box.track_id is None else row | {"track_id": box.track_id}
