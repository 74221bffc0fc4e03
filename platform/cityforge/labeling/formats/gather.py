"""Gather rows while a label file is read, and group them again when one is written."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cityforge.errors import LabelError
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage, Rejected, Task
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

    def has_image(self, name: str) -> bool:
        """Whether an image of this name was added."""
        return name in self._first

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


def hold_only(labels: LabelFile, format_name: str, *tasks: Task) -> None:
    """Refuse to write labels of a kind that the format has no place for.

    Raises:
        LabelError: there is such a label; a point is never written as a box.
    """
    others = [box for box in labels.boxes if box.task not in tasks]
    if not others:
        return
    counts = Counter(box.task for box in others)
    found = ", ".join(f"{count} of {task}" for task, count in sorted(counts.items()))
    first = others[0]
    raise LabelError(
        f"only labels that {format_name} can hold: {' and '.join(tasks)}",
        found=f"{found}; the first is {first.cls!r} on image {first.image!r}",
        where=first.where or labels.source,
        do="write studio, which holds boxes, points and classes",
    )


def class_names(labels: LabelFile) -> list[str]:
    """The stated classes in their order, then those that only a box names."""
    return list(dict.fromkeys([*labels.classes, *(box.cls for box in labels.boxes)]))


def by_image(labels: LabelFile) -> list[tuple[LabelledImage, list[LabelledBox]]]:
    """Pair every image with its boxes, in the order of the images, negatives too.

    Raises:
        LabelError: two images of one name, a box on no image, a coordinate not finite, or a
            point or class with the extent of a box.
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
    _check_shape(box, source)


def _check_shape(box: LabelledBox, source: str) -> None:
    edges = (box.x1, box.y1, box.x2, box.y2)
    if box.task == "density" and (box.x1, box.y1) != (box.x2, box.y2):
        expected = "a point with x1 = x2 and y1 = y2"
    elif box.task == "classification" and any(edges):
        expected = "a class of the whole image with coordinates 0"
    else:
        return
    raise LabelError(
        expected,
        found=", ".join(map(str, edges)),
        where=box.where or source,
        do="give the label its own task",
    )
