"""Write labels as tasks that Label Studio imports, with ids that stay the same."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from urllib.parse import quote

from cityforge.labeling.formats.files import write_json
from cityforge.labeling.formats.gather import by_image, stated_size
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage

Row = dict[str, object]
ORIGINS = {"human": "manual", "assisted": "prediction-changed"}


def write(labels: LabelFile, path: Path) -> list[Path]:
    """Write one file of tasks; the same labels always give the same bytes."""
    pairs = enumerate(by_image(labels), start=1)
    return [write_json(path, [_task(key, image, boxes) for key, (image, boxes) in pairs])]


def _task(key: int, image: LabelledImage, boxes: list[LabelledBox]) -> Row:
    stated = {
        "width": image.width,
        "height": image.height,
        "footage": image.footage,
        "pts_s": image.pts_s,
    }
    data: Row = {"image": f"/data/local-files/?d={quote(image.name, safe='/')}"}
    data |= {field: value for field, value in stated.items() if value is not None}
    annotations = _annotations(image, boxes)
    return {"id": key, "data": data, "annotations": annotations, "predictions": []}


def _annotations(image: LabelledImage, boxes: list[LabelledBox]) -> list[Row]:
    """One annotation for each one the boxes came from; an empty one where there is no box."""
    groups: dict[tuple[str | None, str | None], list[LabelledBox]] = {}
    for box in boxes:
        groups.setdefault((box.annotation_id, box.annotator), []).append(box)
    if not groups:
        return [{"result": [], "was_cancelled": False, "ground_truth": False}]
    seen: Counter[LabelledBox] = Counter()
    return [_annotation(image, key, group, seen) for (key, _), group in groups.items()]


def _annotation(
    image: LabelledImage, key: str | None, boxes: list[LabelledBox], seen: Counter[LabelledBox]
) -> Row:
    first = boxes[0]
    row: Row = {
        "result": [_region(image, box, seen) for box in boxes],
        "was_cancelled": False,
        "ground_truth": False,
    }
    if key is not None:
        row["id"] = int(key) if key.isdecimal() else key
    if first.lead_time_s is not None:
        row["lead_time"] = first.lead_time_s
    if first.updated_at is not None:
        row["updated_at"] = first.updated_at.isoformat()
    return row


def _region(image: LabelledImage, box: LabelledBox, seen: Counter[LabelledBox]) -> Row:
    width, height = stated_size(image)
    value = {
        "x": box.x1 / width * 100,
        "y": box.y1 / height * 100,
        "width": (box.x2 - box.x1) / width * 100,
        "height": (box.y2 - box.y1) / height * 100,
        "rotation": 0,
        "rectanglelabels": [box.cls],
    }
    row: Row = {
        "id": _region_id(box, seen),
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value,
    }
    if box.origin in ORIGINS:
        row["origin"] = ORIGINS[box.origin]
    meta = {"track_id": box.track_id, "annotator": box.annotator}
    stated = {field: text for field, text in meta.items() if text is not None}
    return row | ({"meta": stated} if stated else {})


def _region_id(box: LabelledBox, seen: Counter[LabelledBox]) -> str:
    """An id out of what the box says; equal boxes on one image are told apart by order."""
    twin = LabelledBox(
        image=box.image, cls=box.cls, x1=box.x1, y1=box.y1, x2=box.x2, y2=box.y2, where=""
    )
    seen[twin] += 1
    said = (box.image, box.cls, box.x1, box.y1, box.x2, box.y2, seen[twin])
    return hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).hexdigest()[:10]
