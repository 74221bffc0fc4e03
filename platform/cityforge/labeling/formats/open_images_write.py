"""Write OpenImages tables: boxes, labels of whole images, class descriptions and sizes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cityforge.errors import LabelError
from cityforge.labeling.formats.csv_cells import write_rows
from cityforge.labeling.formats.files import refuse_strays, without_image_suffix
from cityforge.labeling.formats.gather import by_image, class_names, hold_only, stated_size
from cityforge.labeling.formats.open_images_files import (
    BOX_COLUMNS,
    CLASS_COLUMNS,
    LABEL_COLUMNS,
    SIZE_COLUMNS,
)
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage

SOURCE = "cityforge"
UNKNOWN = -1  # OpenImages' mark for a flag that nobody set

Cells = list[str | int | float]


def write(labels: LabelFile, path: Path) -> list[Path]:
    """Write a folder of tables; an ImageID is the image's name without its suffix.

    Raises:
        LabelError: points, a box on an image of unknown size, two images of one ImageID, or
            other tables in the folder.
    """
    hold_only(labels, "OpenImages", "detection", "classification")
    pairs = by_image(labels)
    ids = _image_ids([image for image, _ in pairs])
    mids = {cls: _mid(cls) for cls in class_names(labels)}
    boxes: list[Cells] = []
    classes: list[Cells] = []
    for image, rows in pairs:
        for box in rows:
            start: Cells = [ids[image.name], SOURCE, mids[box.cls], 1]
            if box.task == "classification":
                classes.append(start)
            else:
                boxes.append([*start, *_edges(image, box), *[UNKNOWN] * 5])
    names: list[Cells] = [[mid, cls] for cls, mid in mids.items()]
    sizes = [_size_row(ids[image.name], image) for image, _ in pairs]
    tables: dict[str, tuple[tuple[str, ...], list[Cells]]] = {
        "annotations-bbox.csv": (BOX_COLUMNS, boxes),
        "annotations-human-imagelabels.csv": (LABEL_COLUMNS, classes),
        "class-descriptions.csv": (CLASS_COLUMNS, names),
        "image-sizes.csv": (SIZE_COLUMNS, sizes),
    }
    refuse_strays(path, "*.csv", {path / file for file in tables})
    refuse_strays(path, "annotations/*.csv", set())
    return [write_rows(path / file, *table) for file, table in tables.items()]


def _image_ids(images: list[LabelledImage]) -> dict[str, str]:
    ids: dict[str, str] = {}
    first: dict[str, str] = {}
    for image in images:
        image_id = without_image_suffix(image.name) or image.name
        if image_id in first:
            raise LabelError(
                "one ImageID for each image",
                found=f"{first[image_id]!r} and {image.name!r}",
                where=f"ImageID {image_id!r}",
                do="rename one of the images",
            )
        first[image_id] = image.name
        ids[image.name] = image_id
    return ids


def _mid(cls: str) -> str:
    """An id of the class that stays the same in every export."""
    return "/x/" + hashlib.sha256(cls.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def _edges(image: LabelledImage, box: LabelledBox) -> Cells:
    width, height = stated_size(image)
    return [box.x1 / width, box.x2 / width, box.y1 / height, box.y2 / height]


def _size_row(image_id: str, image: LabelledImage) -> Cells:
    stated = (image.width, image.height, image.footage, image.pts_s)
    return [image_id, image.name, *("" if value is None else value for value in stated)]
