"""Gather rows while a label file is read, and group them again when one is written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cityforge.errors import LabelError
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage, Rejected
from cityforge.labeling.formats.values import UnusableError


class Gather:
    """The rows read so far; an image name is taken once, a second one is rejected."""

    def __init__(self, source: Path) -> None:
        self._labels = LabelFile(source=str(source))
        self._first: dict[str, str] = {}

    def image(self, image: LabelledImage) -> None:
        """Add an image.

        Raises:
            UnusableError: an image of this name is there already.
        """
        if image.name in self._first:
            first = self._first[image.name]
            raise UnusableError(f"image is there already, in {first}", image.name)
        self._first[image.name] = image.where
        self._labels.images.append(image)

    def box(self, box: LabelledBox) -> None:
        """Add a box."""
        self._labels.boxes.append(box)

    def reject(self, where: str, reason: str, found: str, image: str | None = None) -> None:
        """List a row as unusable."""
        row = Rejected(where=where, reason=reason, found=found, image=image)
        self._labels.rejected.append(row)

    @contextmanager
    def row(self, where: str, image: str | None = None) -> Iterator[None]:
        """Work on one row; what makes it unusable is listed, and reading goes on."""
        try:
            yield
        except UnusableError as fault:
            self.reject(where, fault.reason, fault.found, image)

    def file(self, classes: list[str] | None = None) -> LabelFile:
        """All rows; `classes` as the file states them, else as its boxes name them."""
        seen = classes if classes is not None else [box.cls for box in self._labels.boxes]
        self._labels.classes.extend(dict.fromkeys(seen))
        return self._labels


def class_names(labels: LabelFile) -> list[str]:
    """The stated classes in their order, then those that only a box names."""
    return list(dict.fromkeys([*labels.classes, *(box.cls for box in labels.boxes)]))


def by_image(labels: LabelFile) -> list[tuple[LabelledImage, list[LabelledBox]]]:
    """Pair every image with its boxes, in the order of the images, negatives too.

    Raises:
        LabelError: two images of one name, a box on no image, or a coordinate not finite.
    """
    boxes: dict[str, list[LabelledBox]] = {}
    for image in labels.images:
        if image.name in boxes:
            raise LabelError(
                "each image once", found=repr(image.name), where=labels.source, do="merge the two"
            )
        boxes[image.name] = []
    for box in labels.boxes:
        _check_box(box, boxes, labels.source)
        boxes[box.image].append(box)
    return [(image, boxes[image.name]) for image in labels.images]


def stated_size(image: LabelledImage) -> tuple[int, int]:
    """Width and height of an image whose boxes are written relative to them.

    Raises:
        LabelError: the image has no size.
    """
    if not image.width or not image.height:
        raise LabelError(
            "width and height of every image that has boxes",
            found=f"{image.width} x {image.height}",
            where=f"image {image.name!r}",
            do="match the labels with stored frames first, or write coco or voc",
        )
    return image.width, image.height


def _check_box(box: LabelledBox, images: dict[str, list[LabelledBox]], source: str) -> None:
    if box.image not in images:
        raise LabelError(
            "every box on a listed image",
            found=repr(box.image),
            where=box.where or source,
            do="list the image too",
        )
    if not all(math.isfinite(edge) for edge in (box.x1, box.y1, box.x2, box.y2)):
        raise LabelError(
            "finite coordinates",
            found=f"{box.x1}, {box.y1}, {box.x2}, {box.y2}",
            where=box.where or source,
            do="drop the box",
        )
