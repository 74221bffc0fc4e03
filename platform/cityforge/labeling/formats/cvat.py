"""What CVAT's two XML formats (version 1.1, for images and for video) have in common.

Coordinates are pixels from the image's corner: the left edge of the first pixel is at 0.0. CVAT
itself writes two decimals. Attributes other than `track_id`, z_order, groups and `occluded` are
no labels and are not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cityforge.errors import LabelError
from cityforge.labeling.formats.rows import Task
from cityforge.labeling.formats.shapes import Edges, Point, Polygons, polygon_box
from cityforge.labeling.formats.values import UnusableError, name, number
from cityforge.labeling.formats.xml_files import children

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

Kind = Literal["cvat_image", "cvat_video"]

# How a shape was made, in CVAT's words; "auto" is a model's work that nobody looked at.
ORIGINS = {"human": "manual", "assisted": "semi-auto", "imported": "file"}
_ORIGIN_OF = {"manual": "human", "semi-auto": "assisted"}


def kind_of(path: Path) -> Kind | None:
    """Which of CVAT's formats an XML file is in; None where it is another's.

    Only the start of the file is read: up to its first image or track.

    Raises:
        LabelError: missing, not UTF-8, no XML, or with a DOCTYPE.
    """
    mode = ""
    for element in children(path):
        if element.tag == "meta":
            mode = (element.findtext(".//mode") or "").strip()
        elif element.tag in ("image", "track"):
            return "cvat_image" if element.tag == "image" else "cvat_video"
        elif element.tag not in ("annotations", "version"):
            return None
    return "cvat_video" if mode == "interpolation" else "cvat_image"


def rows_of(path: Path, row: Literal["image", "track"]) -> Iterator[Element]:
    """The `meta` and then each image or track of a file, one by one.

    Raises:
        LabelError: no CVAT file, or one in the other of the two formats.
    """
    other, other_format = {
        "image": ("track", "cvat_video"),
        "track": ("image", "cvat_image"),
    }[row]
    for element in children(path):
        if element.tag in ("meta", row):
            yield element
        elif element.tag == other:
            do = f"read it as {other_format}"
            raise LabelError(f"CVAT's <{row}>", found=f"<{other}>", where=str(path), do=do)
        elif element.tag not in ("annotations", "version"):
            raise LabelError("CVAT's <annotations>", found=f"<{element.tag}>", where=str(path))


def class_names_in(meta: Element) -> list[str]:
    """The labels of the task; joints of a skeleton are none."""
    rows = [row for row in meta.iter("label") if row.find("parent") is None]
    return [said for row in rows if (said := (row.findtext("name") or "").strip())]


def label_of(element: Element) -> str:
    """Class of a shape or track."""
    return name(element.get("label"), "label")


def origin_of(element: Element) -> str:
    """How a shape was made, in the terms of the labels table."""
    return _ORIGIN_OF.get(element.get("source", ""), "imported")


def labels_in(shape: Element, polygons: Polygons) -> list[tuple[Task, Edges]]:
    """What a shape states: a box, or one label for each of its points.

    Raises:
        UnusableError: another kind of shape, a rotated one, or coordinates that are none.
    """
    if shape.tag == "tag":
        return [("classification", (0.0, 0.0, 0.0, 0.0))]
    if shape.tag == "box":
        return [("detection", _box(shape))]
    if shape.tag == "points":
        return [("density", (x, y, x, y)) for x, y in _points(shape)]
    if shape.tag == "polygon":
        return [("detection", polygon_box(_points(shape), polygons))]
    reason = f"a {shape.tag}; only boxes, polygons, points and tags are used"
    raise UnusableError(reason, shape.get("label"))


def _box(shape: Element) -> Edges:
    turn = shape.get("rotation", "0")
    if number(turn, "rotation") != 0:
        raise UnusableError("rotated; only upright boxes are used", turn)
    x1, y1, x2, y2 = (number(shape.get(key), key) for key in ("xtl", "ytl", "xbr", "ybr"))
    return x1, y1, x2, y2


def _points(shape: Element) -> list[Point]:
    stated = shape.get("points", "")
    points: list[Point] = []
    for pair in stated.split(";"):
        x, comma, y = pair.partition(",")
        if not comma:
            raise UnusableError("points are not written x,y;x,y", stated)
        points.append((number(x, "x"), number(y, "y")))
    return points
