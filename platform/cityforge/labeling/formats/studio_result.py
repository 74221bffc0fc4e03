"""What one result of Label Studio says: a box, a point, classes of the image, or a polygon.

Places are in percent of the original image. The export as JSON and as JSON-MIN hold the same
values; they differ only in where the image's size and the kind of the result stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cityforge.labeling.formats.rows import Task
from cityforge.labeling.formats.shapes import Polygons, polygon_box
from cityforge.labeling.formats.values import (
    UnusableError,
    entries,
    ident,
    name,
    number,
    shown,
    size,
)

Row = dict[str, object]
Edges = tuple[float, float, float, float]
NOWHERE: Edges = (0.0, 0.0, 0.0, 0.0)
KINDS = ("rectanglelabels", "keypointlabels", "polygonlabels", "choices")


@dataclass(frozen=True)
class Mark:
    """One label of a result; edges are xyxy in pixels of the original image."""

    task: Task
    cls: str
    edges: Edges


def marks(kind: object, value: Row, stated: Row, polygons: Polygons) -> list[Mark]:
    """The labels of one result.

    `value` holds the place and the classes, `stated` the original image's size and rotation.

    Raises:
        UnusableError: it is of another kind, rotated, or its numbers and classes are unusable.
    """
    if kind == "choices":
        return _classes(value)
    if not isinstance(kind, str) or kind not in KINDS:
        raise UnusableError("no labelled rectangle, point or class", kind)
    scale = _scale(value, stated)
    task: Task = "density" if kind == "keypointlabels" else "detection"
    return [Mark(task, _one_class(value, kind), _edges(kind, value, scale, polygons))]


def annotator(who: object) -> str | None:
    """Who drew it: the e-mail address, else the number of the account."""
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    return None if who is None else str(ident(who, "completed_by"))


def moment(value: object) -> datetime | None:
    """Take an ISO time; one without a zone is UTC."""
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(name(value, "updated_at"))
    except ValueError:  # an UnusableError is one too
        raise UnusableError("updated_at is no ISO time", value) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def seconds(value: object) -> float | None:
    """Take the time that an annotation took."""
    return None if value is None else number(value, "lead_time")


def original_size(stated: Row) -> tuple[int | None, int | None]:
    """Width and height of the original image, where a result states them."""
    return (
        size(stated.get("original_width"), "original_width"),
        size(stated.get("original_height"), "original_height"),
    )


def _classes(value: Row) -> list[Mark]:
    if "x" in value or "points" in value:
        raise UnusableError("a class of one region, not of the image", value.get("choices"))
    chosen = entries(value.get("choices"), "choices")
    if not chosen:
        raise UnusableError("no class was chosen", chosen)
    return [Mark("classification", name(cls, "class"), NOWHERE) for cls in chosen]


def _one_class(value: Row, kind: str) -> str:
    labels = entries(value.get(kind), kind)
    if len(labels) != 1:
        what = {"rectanglelabels": "rectangle", "keypointlabels": "point"}.get(kind, "polygon")
        count = "more than one class on one" if labels else "no class on a"
        raise UnusableError(f"{count} {what}", labels)
    return name(labels[0], "class")


def _scale(value: Row, stated: Row) -> tuple[int, int]:
    """Width and height in pixels that 100 percent stand for."""
    for turn in (value.get("rotation"), stated.get("image_rotation")):
        if number(turn or 0, "rotation") != 0:
            raise UnusableError("rotated; only upright boxes are used", turn)
    width, height = original_size(stated)
    if not width or not height:
        raise UnusableError("size of the original image is missing", f"{width} x {height}")
    return width, height


def _edges(kind: str, value: Row, scale: tuple[int, int], polygons: Polygons) -> Edges:
    if kind == "polygonlabels":
        percent = polygon_box(_corners(value), polygons)
    else:
        percent = _point(value) if kind == "keypointlabels" else _rectangle(value)
    width, height = scale
    x1, y1, x2, y2 = percent
    edges = (x1 * width / 100, y1 * height / 100, x2 * width / 100, y2 * height / 100)
    for edge in edges:
        number(edge, "an edge in pixels")
    return edges


def _rectangle(value: Row) -> Edges:
    x, y = number(value.get("x"), "x"), number(value.get("y"), "y")
    width, height = number(value.get("width"), "width"), number(value.get("height"), "height")
    return x, y, x + width, y + height


def _point(value: Row) -> Edges:
    x, y = number(value.get("x"), "x"), number(value.get("y"), "y")
    return x, y, x, y


def _corners(value: Row) -> list[tuple[float, float]]:
    corners = []
    for row in entries(value.get("points"), "points"):
        pair = entries(row, "a corner")
        if len(pair) != 2:
            raise UnusableError("a corner has not 2 numbers", shown(pair))
        corners.append((number(pair[0], "corner x"), number(pair[1], "corner y")))
    return corners
