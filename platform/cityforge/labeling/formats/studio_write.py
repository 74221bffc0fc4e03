"""Write labels as tasks that Label Studio imports, with ids that stay the same."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from cityforge.labeling.formats.files import write_json
from cityforge.labeling.formats.gather import by_image, stated_size
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage, Task
from cityforge.labeling.formats.studio_image import data_of

Row = dict[str, object]
ORIGINS = {"human": "manual", "assisted": "prediction-changed"}
# The control of each task in the labelling interface: type of its results, and its name.
CONTROLS: dict[Task, tuple[str, str]] = {
    "detection": ("rectanglelabels", "label"),
    "density": ("keypointlabels", "point"),
    "classification": ("choices", "class"),
}
POINT_PERCENT = 0.5  # how large a point is drawn, of the image's width


def write(labels: LabelFile, path: Path) -> list[Path]:
    """Write one file of tasks; the same labels always give the same bytes.

    Raises:
        LabelError: a box or point on an image of unknown size, or contradicting labels.
    """
    pairs = enumerate(by_image(labels), start=1)
    return [write_json(path, [_task(key, image, boxes) for key, (image, boxes) in pairs])]


def annotations_of(boxes: list[LabelledBox]) -> list[list[LabelledBox]]:
    """The labels of one image by the annotation they came from, and by who made it."""
    groups: dict[tuple[str | None, str | None], list[LabelledBox]] = {}
    for box in boxes:
        groups.setdefault((box.annotation_id, box.annotator), []).append(box)
    return list(groups.values())


def place_of(image: LabelledImage, box: LabelledBox) -> Row:
    """The value of a box or point: its place in percent, and its class."""
    width, height = stated_size(image)
    value: Row = {"x": box.x1 / width * 100, "y": box.y1 / height * 100}
    if box.task == "density":
        value["width"] = POINT_PERCENT
    else:
        value["width"] = (box.x2 - box.x1) / width * 100
        value["height"] = (box.y2 - box.y1) / height * 100
        value["rotation"] = 0
    return value | {CONTROLS[box.task][0]: [box.cls]}


def annotation_id(box: LabelledBox) -> int | str | None:
    """The annotation's id, as a number where it is one."""
    key = box.annotation_id
    return int(key) if key is not None and key.isdecimal() else key


def _task(key: int, image: LabelledImage, boxes: list[LabelledBox]) -> Row:
    seen: Counter[tuple[object, ...]] = Counter()
    annotations = [_annotation(image, group, seen) for group in annotations_of(boxes)]
    nothing: Row = {"result": [], "was_cancelled": False, "ground_truth": False}
    return {
        "id": key,
        "data": data_of(image),
        "annotations": annotations or [nothing],
        "predictions": [],
    }


def _annotation(
    image: LabelledImage, boxes: list[LabelledBox], seen: Counter[tuple[object, ...]]
) -> Row:
    first = boxes[0]
    placed = [_region(image, box, seen) for box in boxes if box.task != "classification"]
    row: Row = {
        "result": placed + _choices(boxes, seen),
        "was_cancelled": False,
        "ground_truth": False,
    }
    key = annotation_id(first)
    if key is not None:
        row["id"] = key
    if first.lead_time_s is not None:
        row["lead_time"] = first.lead_time_s
    if first.updated_at is not None:
        row["updated_at"] = first.updated_at.isoformat()
    return row


def _choices(boxes: list[LabelledBox], seen: Counter[tuple[object, ...]]) -> list[Row]:
    """One result for all classes of the image: a control shows only one result."""
    groups: dict[tuple[str, str | None], list[LabelledBox]] = {}
    for box in boxes:
        if box.task == "classification":
            groups.setdefault((box.origin, box.track_id), []).append(box)
    return [
        _result(group[0], seen) | {"value": {"choices": [box.cls for box in group]}}
        for group in groups.values()
    ]


def _region(image: LabelledImage, box: LabelledBox, seen: Counter[tuple[object, ...]]) -> Row:
    width, height = stated_size(image)
    size = {"original_width": width, "original_height": height, "image_rotation": 0}
    return _result(box, seen) | size | {"value": place_of(image, box)}


def _result(box: LabelledBox, seen: Counter[tuple[object, ...]]) -> Row:
    """A result without its value."""
    kind, control = CONTROLS[box.task]
    row: Row = {
        "id": _region_id(box, seen),
        "type": kind,
        "from_name": control,
        "to_name": "image",
    }
    if box.origin in ORIGINS:
        row["origin"] = ORIGINS[box.origin]
    meta = {"track_id": box.track_id, "annotator": box.annotator}
    stated = {field: text for field, text in meta.items() if text is not None}
    return row | ({"meta": stated} if stated else {})


def _region_id(box: LabelledBox, seen: Counter[tuple[object, ...]]) -> str:
    """An id out of what the label says; equal ones on one image are told apart by order."""
    said: tuple[object, ...] = (box.image, box.cls, box.x1, box.y1, box.x2, box.y2)
    kind = () if box.task == "detection" else (box.task,)
    seen[said + kind] += 1
    said = (*said, seen[said + kind], *kind)
    return hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).hexdigest()[:10]
