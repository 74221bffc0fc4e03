"""Write a YOLO folder: data.yaml and a text file per image; images only when asked."""

from __future__ import annotations

import shutil
from io import StringIO
from pathlib import Path

from cityforge.errors import LabelError, ServiceError
from cityforge.labeling.formats.files import label_paths, place, refuse_strays, write_text
from cityforge.labeling.formats.gather import by_image, class_names, hold_only, stated_size
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage

# Folders that Ultralytics' data.yaml has a key for; all others are training images.
PARTS = {"valid": "val", "val": "val", "test": "test"}


def write(labels: LabelFile, path: Path, *, images_from: Path | None = None) -> list[Path]:
    """Write labels and data.yaml, and copy the images from `images_from` where it is given.

    An image whose name has no folder `images` is placed under `images/`. Annotators, tracks
    and times are not part of the format and are not written.

    Raises:
        LabelError: boxes on an image of unknown size, two images for one label file, labels
            of an earlier write in the folder, an image to copy that is missing, or labels
            that are no boxes.
    """
    hold_only(labels, "YOLO", "detection")
    pairs = by_image(labels)
    indices = {cls: index for index, cls in enumerate(class_names(labels))}
    images = [place(path, _under_images(image.name)) for image, _ in pairs]
    names = [image.relative_to(path).as_posix() for image in images]
    files = label_paths(path, [_swap(name) for name in names], ".txt")
    texts = [_lines(image, boxes, indices) for image, boxes in pairs]
    refuse_strays(path, "**/labels/**/*.txt", set(files))
    written = [write_text(file, text) for file, text in zip(files, texts, strict=True)]
    written.append(write_text(path / "data.yaml", _data_yaml(list(indices), names)))
    if images_from is not None:
        for (image, _), target in zip(pairs, images, strict=True):
            written.append(_copy(images_from, image.name, target))
    return written


def _under_images(name: str) -> str:
    return name if "images" in name.split("/")[:-1] else f"images/{name.lstrip('/')}"


def _swap(name: str) -> str:
    head, _, tail = f"/{name}".rpartition("/images/")
    return f"{head}/labels/{tail}".lstrip("/")


def _lines(image: LabelledImage, boxes: list[LabelledBox], indices: dict[str, int]) -> str:
    if not boxes:
        return ""
    width, height = stated_size(image)
    rows = [
        (
            indices[box.cls],
            (box.x1 + box.x2) / 2 / width,
            (box.y1 + box.y2) / 2 / height,
            (box.x2 - box.x1) / width,
            (box.y2 - box.y1) / height,
        )
        for box in boxes
    ]
    # repr of a float is its shortest exact text: nothing is rounded.
    return "".join(" ".join(map(repr, row)) + "\n" for row in rows)


def _data_yaml(classes: list[str], names: list[str]) -> str:
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    text = StringIO()
    yaml.dump(_parts(names) | {"nc": len(classes), "names": classes}, text)
    return text.getvalue()


def _parts(names: list[str]) -> dict[str, object]:
    folders: dict[str, list[str]] = {}
    for name in names:
        part, _, _ = f"/{name}".rpartition("/images/")
        head = f"{part}/images".lstrip("/")
        key = PARTS.get(part.rpartition("/")[2], "train")
        if head not in folders.setdefault(key, []):
            folders[key].append(head)
    return {key: heads[0] if len(heads) == 1 else heads for key, heads in folders.items()}


def _copy(source: Path, name: str, target: Path) -> Path:
    file = source / name
    if not file.resolve().is_relative_to(source.resolve()) or not file.is_file():
        do = "name the folder that the image names are relative to"
        raise LabelError("the image to copy", found="none", where=str(file), do=do)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    except OSError as error:
        found = error.strerror or str(error)
        raise ServiceError("a place to write images", found=found, where=str(target)) from None
    return target
