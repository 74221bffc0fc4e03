"""Write LabelMe JSON, one file an image, as LabelMe opens it."""

from __future__ import annotations

from pathlib import Path

from cityforge.errors import LabelError
from cityforge.labeling.formats.files import label_paths, place, refuse_strays, write_json
from cityforge.labeling.formats.gather import by_image
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage

Row = dict[str, object]

VERSION = "5.5.0"  # of LabelMe, whose keys these are


def write(labels: LabelFile, path: Path) -> list[Path]:
    """Write a folder with one JSON file per image, under the image's own subfolders.

    Raises:
        LabelError: two images for one file, other JSON there, a box whose edges are crossed, or
            an image's class with a track or twice.
    """
    pairs = by_image(labels)
    files = label_paths(path, [image.name for image, _ in pairs], ".json")
    documents = [_document(path, image, boxes) for image, boxes in pairs]
    refuse_strays(path, "**/*.json", set(files))
    return [write_json(file, document) for file, document in zip(files, documents, strict=True)]


def _document(folder: Path, image: LabelledImage, boxes: list[LabelledBox]) -> Row:
    row: Row = {
        "version": VERSION,
        "flags": _flags([box for box in boxes if box.task == "classification"]),
        "shapes": [_shape(box) for box in boxes if box.task != "classification"],
        "imagePath": place(folder, image.name).name,
        "imageData": None,
        "imageHeight": image.height,
        "imageWidth": image.width,
        "image_name": image.name,
    }
    stated = {"footage": image.footage, "pts_s": image.pts_s}
    return row | {key: value for key, value in stated.items() if value is not None}


def _flags(boxes: list[LabelledBox]) -> dict[str, bool]:
    flags = {box.cls: True for box in boxes}
    if len(flags) < len(boxes) or any(box.track_id for box in boxes):
        raise LabelError(
            "each class of an image once and without a track, as LabelMe's flags hold them",
            found=f"{len(boxes)} labels, {len(flags)} classes",
            where=f"image {boxes[0].image!r}",
            do="leave the others out, or write coco",
        )
    return flags


def _shape(box: LabelledBox) -> Row:
    if box.x1 > box.x2 or box.y1 > box.y2:
        raise LabelError(
            "x1 <= x2 and y1 <= y2: LabelMe's corners have no order",
            found=f"{box.x1}, {box.y1}, {box.x2}, {box.y2}",
            where=box.where or f"image {box.image!r}",
            do="drop the box",
        )
    is_point = box.task == "density"
    corners = [[box.x1, box.y1]] if is_point else [[box.x1, box.y1], [box.x2, box.y2]]
    row: Row = {
        "label": box.cls,
        "points": corners,
        "group_id": None,
        "description": "",
        "shape_type": "point" if is_point else "rectangle",
        "flags": {},
    }
    return row if box.track_id is None else row | {"track_id": box.track_id}
