"""LabelMe: a folder with one JSON file an image, shapes as lists of points in pixels.

Rectangles become detections, points density labels, flags of the image that are set its classes.
Two corners of a rectangle have no order. `imagePath` is relative to its JSON file. Beyond
LabelMe's own keys a file may carry `image_name`, `footage` and `pts_s`, and a shape `track_id`,
which LabelMe keeps when it saves the file again; its `group_id` joins parts of one object.

labelme itself is GPL and needs Qt, so it is not used; supervision and motmetrics do not know the
format, and datumaro's LabelMe is another one, the XML of MIT's old annotation tool.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from cityforge.errors import LabelError
from cityforge.labeling.formats.files import read_json
from cityforge.labeling.formats.gather import Gather
from cityforge.labeling.formats.labelme_write import write
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage, Task
from cityforge.labeling.formats.shapes import (
    Edges,
    Point,
    Polygons,
    circle_box,
    corners,
    polygon_box,
)
from cityforge.labeling.formats.values import (
    UnusableError,
    entries,
    fields,
    ident,
    name,
    number,
    size,
)

__all__ = ["is_labelme", "looks_like_labelme", "read", "write"]

Row = dict[str, object]


def read(path: Path, *, polygons: Polygons = "refuse") -> LabelFile:
    """Read one JSON file, or all of a folder and its subfolders.

    Raises:
        LabelError: missing, no JSON, or no LabelMe file.
    """
    gather = Gather(path)
    classes: list[str] = []
    for file in _json_files(path):
        where = file.relative_to(path).as_posix() if path.is_dir() else file.name
        document = read_json(file)
        if is_labelme(document):
            with gather.row(where):
                classes += _read_image(gather, document, where, polygons)
        elif file == path:
            found = type(document).__name__
            raise LabelError("a LabelMe file with shapes", found=found, where=str(file))
        else:
            gather.reject(where, "no LabelMe file", type(document).__name__)
    return gather.file(classes)


def is_labelme(document: object) -> TypeGuard[Row]:
    """Whether a JSON document is LabelMe's: shapes of one image."""
    return isinstance(document, dict) and "shapes" in document and "imagePath" in document


def looks_like_labelme(folder: Path) -> bool:
    """Whether the first JSON file of a folder is LabelMe's."""
    first = next(iter(sorted(folder.glob("*.json")) or sorted(folder.rglob("*.json"))), None)
    return first is not None and is_labelme(read_json(first))


def _json_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob("*.json"))
    if not files:
        raise LabelError("a folder of LabelMe JSON files", found="no .json file", where=str(path))
    return files


def _read_image(gather: Gather, document: Row, where: str, polygons: Polygons) -> list[str]:
    footage, pts_s = document.get("footage"), document.get("pts_s")
    image = _image_name(document, where)
    shapes = entries(document.get("shapes"), "shapes")
    gather.image(
        LabelledImage(
            name=image,
            width=size(document.get("imageWidth"), "imageWidth"),
            height=size(document.get("imageHeight"), "imageHeight"),
            footage=None if footage is None else name(footage, "footage"),
            pts_s=None if pts_s is None else number(pts_s, "pts_s"),
            where=where,
        )
    )
    groups = Counter(_group(shape) for shape in shapes)
    classes: list[str] = []
    for count, shape in enumerate(shapes, start=1):
        place = f"{where} shape {count}"
        with gather.row(place, image):
            if groups[_group(shape)] > 1 and _group(shape):
                raise UnusableError("one of several shapes of one object (group_id)", shape)
            for box in _labels(fields(shape, "shape"), image, place, polygons):
                gather.box(box)
                classes.append(box.cls)
    return classes + _read_flags(gather, document, where, image)


def _image_name(document: Row, where: str) -> str:
    stated = document.get("image_name")
    if stated is not None:
        return name(stated, "image_name")
    path = name(document.get("imagePath"), "imagePath").replace("\\", "/")
    return posixpath.normpath(posixpath.join(posixpath.dirname(where), path))


def _group(shape: object) -> tuple[str, str] | None:
    """What joins parts of one object in LabelMe: class and group id."""
    if not isinstance(shape, dict) or shape.get("group_id") is None:
        return None
    return str(shape.get("label")), str(shape["group_id"])


def _labels(shape: Row, image: str, where: str, polygons: Polygons) -> Iterator[LabelledBox]:
    cls, track = name(shape.get("label"), "label"), shape.get("track_id")
    track_id = None if track is None else str(ident(track, "track_id"))
    for task, (x1, y1, x2, y2) in _tasks_and_edges(shape, polygons):
        yield LabelledBox(
            image=image,
            cls=cls,
            x1=x1,
            y1=y1,
            x2=x2,
            y2=y2,
            where=where,
            track_id=track_id,
            task=task,
        )


def _tasks_and_edges(shape: Row, polygons: Polygons) -> list[tuple[Task, Edges]]:
    kind = shape.get("shape_type") or "polygon"  # LabelMe before version 3 knew nothing else
    points = _points(shape.get("points"))
    if kind == "rectangle":
        return [("detection", corners(points))]
    if kind == "polygon":
        return [("detection", polygon_box(points, polygons))]
    if kind == "circle":
        return [("detection", circle_box(points, polygons))]
    if kind in ("point", "points"):
        return [("density", (x, y, x, y)) for x, y in points]
    reason = "only rectangles, polygons, circles and points are used"
    raise UnusableError(f"another shape; {reason}", kind)


def _points(value: object) -> list[Point]:
    points: list[Point] = []
    for row in entries(value, "points"):
        pair = entries(row, "point")
        if len(pair) != 2:
            raise UnusableError("a point has not 2 numbers", pair)
        points.append((number(pair[0], "x"), number(pair[1], "y")))
    if not points:
        raise UnusableError("shape has no points", value)
    return points


def _read_flags(gather: Gather, document: Row, where: str, image: str) -> list[str]:
    """Classes of the whole image; a flag that is not set is a class all the same."""
    flags = document.get("flags") or {}
    classes: list[str] = []
    place = f"{where} flags"
    with gather.row(place, image):
        for flag, holds in fields(flags, "flags").items():
            classes.append(name(flag, "flag"))
            if not isinstance(holds, bool):
                raise UnusableError("flag is neither true nor false", holds)
            if holds:
                gather.box(
                    LabelledBox(
                        image=image,
                        cls=flag,
                        x1=0.0,
                        y1=0.0,
                        x2=0.0,
                        y2=0.0,
                        where=place,
                        task="classification",
                    )
                )
    return classes
