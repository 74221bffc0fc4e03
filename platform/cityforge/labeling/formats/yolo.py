"""YOLO folder: a text file per image, `class cx cy w h` as fractions of the image.

Images lie in a folder `images` and their labels in `labels` beside it, in any part
(`train/images`) or order (`images/train`); `data.yaml` names the classes. An image with no
label file, or an empty one, was looked at and holds nothing. Sizes come from the image's
header, as stored: a rotation in EXIF is not applied. A row of more than 4 coordinates is a
polygon: refused, or the upright box around it.

label-studio-sdk's converter is not used: it takes every sixth column for a score, passes by
images with other suffixes than jpg and png, and knows neither data.yaml nor parts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cityforge.errors import LabelError
from cityforge.labeling.formats.files import read_text, without_image_suffix
from cityforge.labeling.formats.gather import Gather
from cityforge.labeling.formats.pictures import header_size, is_picture
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.formats.shapes import Polygons, polygon_box
from cityforge.labeling.formats.values import UnusableError, name, number, shown, whole
from cityforge.labeling.formats.yolo_names import find_names, read_names
from cityforge.labeling.formats.yolo_write import write

__all__ = ["looks_like_yolo", "read", "write"]


def read(path: Path, *, polygons: Polygons = "refuse") -> LabelFile:
    """Read a folder, or the folder of the data.yaml given.

    Raises:
        LabelError: no class names, no folder of images, or a label file that is not UTF-8.
    """
    source = find_names(path)
    classes = read_names(source)
    root = source.parent
    files = list(_files(root))
    images = [file for file in files if _is_in(file, "images") and is_picture(file)]
    labels = {file for file in files if _is_in(file, "labels") and file.suffix == ".txt"}
    if not images and not labels:
        do = "put images and labels into folders images and labels side by side"
        raise LabelError("images in a folder images", found="none", where=str(root), do=do)
    gather = Gather(root)
    lines = _Lines(classes, polygons)
    taken: set[PurePosixPath] = set()
    for image in images:
        with gather.row(str(image), str(image)):
            _read_image(gather, root, image, labels, taken, lines)
    for stray in sorted(labels - {label_of(image) for image in images}):
        gather.reject(str(stray), "label file with no image", str(stray))
    return gather.file(list(classes.values()))


def looks_like_yolo(folder: Path) -> bool:
    """Whether a folder names classes or has `images` and `labels` side by side."""
    if any((folder / file).is_file() for file in ("data.yaml", "data.yml")):
        return True
    parts = [folder, *sorted(part for part in folder.iterdir() if part.is_dir())]
    return any((part / "images").is_dir() and (part / "labels").is_dir() for part in parts)


def label_of(image: PurePosixPath) -> PurePosixPath:
    """The label file of an image: the last folder `images` becomes `labels`.

    >>> str(label_of(PurePosixPath("train/images/a.jpg")))
    'train/labels/a.txt'
    """
    parts = list(image.parts)
    last = max(index for index, part in enumerate(parts[:-1]) if part == "images")
    parts[last] = "labels"
    return PurePosixPath(without_image_suffix("/".join(parts)) + ".txt")


def _files(root: Path) -> Iterator[PurePosixPath]:
    """All files under the root, relative to it; linked folders once."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, onerror=_refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        relative = PurePosixPath(Path(folder).relative_to(root).as_posix())
        yield from (relative / file for file in sorted(files))


def _refuse(error: OSError) -> None:
    where = str(error.filename)
    raise LabelError("a folder to read", found=error.strerror or str(error), where=where)


def _is_in(file: PurePosixPath, folder: str) -> bool:
    return folder in file.parts[:-1]


def _read_image(
    gather: Gather,
    root: Path,
    image: PurePosixPath,
    labels: set[PurePosixPath],
    taken: set[PurePosixPath],
    lines: _Lines,
) -> None:
    said = name(str(image), "image name")
    label = label_of(image)
    if label in taken:
        raise UnusableError("another image has the same label file", str(label))
    taken.add(label)
    width, height = header_size(root / image)
    gather.image(LabelledImage(name=said, width=width, height=height, where=said))
    if label not in labels:
        return
    text = read_text(root / label, "a YOLO label file")
    for count, line in enumerate(text.split("\n"), start=1):
        where = f"{label} line {count}"
        if line.strip():
            with gather.row(where, said):
                cls, (x1, y1, x2, y2) = lines.parse(line)
                gather.box(
                    LabelledBox(
                        image=said,
                        cls=cls,
                        where=where,
                        x1=x1 * width,
                        y1=y1 * height,
                        x2=x2 * width,
                        y2=y2 * height,
                    )
                )


@dataclass(frozen=True)
class _Lines:
    """What the rows of one folder's label files mean."""

    classes: dict[int, str]
    polygons: Polygons

    def parse(self, line: str) -> tuple[str, tuple[float, float, float, float]]:
        """Class and edges (xyxy, fractions of the image) of one row."""
        columns = line.split()
        index = whole(columns[0], "class")
        if index not in self.classes:
            raise UnusableError(f"class {index} of {len(self.classes)}", line.strip())
        numbers = [number(text, f"column {at}") for at, text in enumerate(columns[1:], start=2)]
        if len(numbers) < 4:
            raise UnusableError("row has fewer than 5 columns", line.strip())
        if len(numbers) % 2:
            found = f"{len(numbers)} in {shown(line.strip())}"
            raise UnusableError("odd count of coordinates", found)
        edges = self._edges(numbers)
        for edge in edges:
            number(edge, "an edge")
        return self.classes[index], edges

    def _edges(self, numbers: list[float]) -> tuple[float, float, float, float]:
        if len(numbers) > 4:
            points = list(zip(numbers[0::2], numbers[1::2], strict=True))
            return polygon_box(points, self.polygons)
        cx, cy, width, height = numbers
        return cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
