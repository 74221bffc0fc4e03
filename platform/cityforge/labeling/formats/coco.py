"""COCO detection JSON: boxes as `[x, y, width, height]` in pixels.

Beyond the standard's keys an image may carry `footage` and `pts_s`, and an annotation
`track_id`. Annotators and times are not part of the format and are not written. An annotation
with a segmentation and no box is refused, or becomes the upright box around all its polygons.

label-studio-sdk's converter is not used: it opens every image file, numbers images and
annotations anew, and on import gives each box a random id.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeGuard

from cityforge.errors import LabelError
from cityforge.labeling.formats.files import only_json, read_json, write_json
from cityforge.labeling.formats.gather import Gather, by_image, class_names, hold_only
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.formats.shapes import Polygons, polygon_box
from cityforge.labeling.formats.values import (
    UnusableError,
    entries,
    fields,
    ident,
    name,
    number,
    shown,
    size,
)

Row = dict[str, object]
PARTS = ("images", "annotations", "categories")


def read(path: Path, *, polygons: Polygons = "refuse") -> LabelFile:
    """Read a COCO file, or the only JSON file of a folder.

    Raises:
        LabelError: it is missing, no JSON, or has no lists of images, annotations, categories.
    """
    source = only_json(path)
    document = read_json(source)
    if not is_coco(document):
        raise LabelError(
            "a COCO file: an object with the lists images, annotations and categories",
            found=_outline(document),
            where=str(source),
            do="export the labels as COCO detection JSON",
        )
    gather = Gather(source)
    classes = _read_categories(gather, source.name, document["categories"])
    images = _read_images(gather, source.name, document["images"])
    for row, annotation in enumerate(document["annotations"], start=1):
        where = _where(source.name, "annotation", annotation, row)
        with gather.row(where, _image_of(annotation, images)):
            gather.box(_box(fields(annotation, "annotation"), where, images, classes, polygons))
    return gather.file(list(classes.values()))


def is_coco(document: object) -> TypeGuard[dict[str, list[object]]]:
    """Whether a JSON document has COCO's three lists."""
    return isinstance(document, dict) and all(isinstance(document.get(k), list) for k in PARTS)


def write(labels: LabelFile, path: Path) -> list[Path]:
    """Write one COCO file; images, boxes and classes are numbered from 1 in their order.

    Raises:
        LabelError: labels that are no boxes, or that contradict each other.
    """
    hold_only(labels, "COCO", "detection")
    categories = {cls: number for number, cls in enumerate(class_names(labels), start=1)}
    images: list[Row] = []
    annotations: list[Row] = []
    for image, boxes in by_image(labels):
        images.append(_image_row(len(images) + 1, image))
        for box in boxes:
            row = _annotation_row(len(annotations) + 1, len(images), categories[box.cls], box)
            annotations.append(row)
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": key, "name": cls} for cls, key in categories.items()],
    }
    return [write_json(path, document)]


def _outline(document: object) -> str:
    if isinstance(document, dict):
        return "the keys " + (", ".join(map(str, list(document)[:8])) or "none")
    return f"a {type(document).__name__}"


def _where(file: str, kind: str, row: object, count: int) -> str:
    key = row.get("id") if isinstance(row, dict) else None
    return f"{file} {kind} no. {count}" if key is None else f"{file} {kind} {key}"


def _read_categories(gather: Gather, file: str, rows: list[object]) -> dict[int | str, str]:
    classes: dict[int | str, str] = {}
    for count, row in enumerate(rows, start=1):
        with gather.row(_where(file, "category", row, count)):
            category = fields(row, "category")
            key = ident(category.get("id"), "category id")
            cls = name(category.get("name") or category.get("supercategory"), "category name")
            if key in classes:
                raise UnusableError("category id is there already", key)
            classes[key] = cls
    return classes


def _read_images(gather: Gather, file: str, rows: list[object]) -> dict[int | str, str]:
    images: dict[int | str, str] = {}
    for count, row in enumerate(rows, start=1):
        where = _where(file, "image", row, count)
        with gather.row(where):
            image = fields(row, "image")
            key = ident(image.get("id"), "image id")
            if key in images:
                raise UnusableError("image id is there already", key)
            gather.image(_image(image, where))
            images[key] = name(image.get("file_name"), "file_name")
    return images


def _image(row: Row, where: str) -> LabelledImage:
    footage, pts_s = row.get("footage"), row.get("pts_s")
    return LabelledImage(
        name=name(row.get("file_name"), "file_name"),
        width=size(row.get("width"), "width"),
        height=size(row.get("height"), "height"),
        footage=None if footage is None else name(footage, "footage"),
        pts_s=None if pts_s is None else number(pts_s, "pts_s"),
        where=where,
    )


def _box(
    annotation: Row,
    where: str,
    images: dict[int | str, str],
    classes: dict[int | str, str],
    polygons: Polygons,
) -> LabelledBox:
    image = _known(annotation, "image_id", images, "usable image")
    cls = _known(annotation, "category_id", classes, "usable category")
    if annotation.get("iscrowd") not in (0, None, False, "0"):
        raise UnusableError("a crowd region, not one object", annotation.get("iscrowd"))
    x1, y1, x2, y2 = _edges(annotation, polygons)
    track = annotation.get("track_id")
    return LabelledBox(
        image=image,
        cls=cls,
        x1=x1,
        y1=y1,
        x2=x2,
        y2=y2,
        where=where,
        track_id=None if track is None else str(ident(track, "track_id")),
    )


def _image_of(row: object, images: dict[int | str, str]) -> str | None:
    try:
        return images.get(ident(fields(row, "annotation").get("image_id"), "image_id"))
    except UnusableError:
        return None  # the row itself is read, and rejected, by the caller


def _known(row: Row, key: str, known: dict[int | str, str], what: str) -> str:
    value = ident(row.get(key), key)
    if value not in known:
        raise UnusableError(f"{key} of no {what}", value)
    return known[value]


def _edges(annotation: Row, polygons: Polygons) -> tuple[float, float, float, float]:
    """Edges as xyxy in pixels: the box, else the one around the segmentation."""
    bbox, segmentation = annotation.get("bbox"), annotation.get("segmentation")
    if bbox or not segmentation:
        return _bbox(bbox)
    if isinstance(segmentation, dict):
        raise UnusableError("a mask with no bbox", segmentation)
    points: list[tuple[float, float]] = []
    for part in entries(segmentation, "segmentation"):
        numbers = [number(edge, "segmentation") for edge in entries(part, "polygon")]
        if len(numbers) % 2:
            raise UnusableError("a polygon of an odd count of coordinates", len(numbers))
        points += zip(numbers[0::2], numbers[1::2], strict=True)
    return polygon_box(points, polygons)


def _bbox(value: object) -> tuple[float, float, float, float]:
    edges = entries(value, "bbox")
    if len(edges) != 4:
        raise UnusableError("bbox has not 4 numbers", shown(edges))
    x, y, width, height = (
        number(edge, f"bbox {key}")
        for key, edge in zip(("x", "y", "width", "height"), edges, strict=True)
    )
    right = number(x + width, "bbox right edge")
    return x, y, right, number(y + height, "bbox bottom edge")


def _image_row(key: int, image: LabelledImage) -> Row:
    stated = {
        "width": image.width,
        "height": image.height,
        "footage": image.footage,
        "pts_s": image.pts_s,
    }
    row: Row = {"id": key, "file_name": image.name}
    return row | {key: value for key, value in stated.items() if value is not None}


def _annotation_row(key: int, image: int, category: int, box: LabelledBox) -> Row:
    width, height = box.x2 - box.x1, box.y2 - box.y1
    row: Row = {
        "id": key,
        "image_id": image,
        "category_id": category,
        "bbox": [box.x1, box.y1, width, height],
        "area": width * height,
        "iscrowd": 0,
        "segmentation": [],
    }
    return row if box.track_id is None else row | {"track_id": box.track_id}
