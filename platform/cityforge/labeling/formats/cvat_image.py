"""CVAT for images 1.1: one XML file, an `<image>` each with its boxes, points and tags.

Boxes become detections, every point of a points shape a density label, tags classes of the image.
Beyond the standard an `<image>` may carry `footage` and `pts_s`, which CVAT passes over, and a
shape the attribute `track_id`. Annotators and times are not part of the format.

datumaro (MIT) reads the format but is not used: it cannot be installed beside pandas 3, rounds
to two decimals, and refuses a file whose images do not lie beside it. cvat-sdk speaks to a CVAT
server and reads no files; supervision does not know the format.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cityforge.labeling.formats.cvat import (
    class_names_in,
    label_of,
    labels_in,
    origin_of,
    rows_of,
)
from cityforge.labeling.formats.cvat_image_write import write
from cityforge.labeling.formats.gather import Gather
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.formats.shapes import Polygons
from cityforge.labeling.formats.values import name, number, size
from cityforge.labeling.formats.xml_files import xml_paths

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["read", "write"]


def read(path: Path, *, polygons: Polygons = "refuse") -> LabelFile:
    """Read one XML file, or all of a folder and its subfolders.

    Raises:
        LabelError: missing, no XML, with a DOCTYPE, or not CVAT for images.
    """
    gather = Gather(path)
    classes: list[str] = []
    for file in xml_paths(path):
        source = file.relative_to(path).as_posix() if path.is_dir() else file.name
        for element in rows_of(file, "image"):
            if element.tag == "meta":
                classes += class_names_in(element)
                continue
            where = f"{source} image {element.get('id', '')}".rstrip()
            with gather.row(where):
                _read_image(gather, element, where, polygons)
    return gather.file(classes or None)


def _read_image(gather: Gather, element: Element, where: str, polygons: Polygons) -> None:
    footage, pts_s = element.get("footage"), element.get("pts_s")
    image = name(element.get("name"), "name")
    gather.image(
        LabelledImage(
            name=image,
            width=size(element.get("width"), "width"),
            height=size(element.get("height"), "height"),
            footage=None if footage is None else name(footage, "footage"),
            pts_s=None if pts_s is None else number(pts_s, "pts_s"),
            where=where,
        )
    )
    for count, shape in enumerate(element, start=1):
        place = f"{where} {shape.tag} no. {count}"
        with gather.row(place, image):
            for box in _labels(shape, image, place, polygons):
                gather.box(box)


def _labels(shape: Element, image: str, where: str, polygons: Polygons) -> list[LabelledBox]:
    cls, track = label_of(shape), _track_id(shape)
    return [
        LabelledBox(
            image=image,
            cls=cls,
            x1=x1,
            y1=y1,
            x2=x2,
            y2=y2,
            where=where,
            track_id=track,
            origin=origin_of(shape),
            task=task,
        )
        for task, (x1, y1, x2, y2) in labels_in(shape, polygons)
    ]


def _track_id(shape: Element) -> str | None:
    for attribute in shape.iterfind("attribute"):
        if attribute.get("name") == "track_id":
            return name(attribute.text, "track_id")
    return None
