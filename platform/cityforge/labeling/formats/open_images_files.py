"""The tables and image files of an OpenImages folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from cityforge.labeling.formats.csv_cells import plain, read_rows
from cityforge.labeling.formats.files import without_image_suffix
from cityforge.labeling.formats.gather import Gather
from cityforge.labeling.formats.pictures import header_size, is_picture
from cityforge.labeling.formats.rows import LabelledImage
from cityforge.labeling.formats.values import UnusableError, name, number, size

CLASS_COLUMNS = ("LabelName", "DisplayName")
SIZE_COLUMNS = ("ImageID", "FileName", "Width", "Height", "Footage", "Pts")
LABEL_COLUMNS = ("ImageID", "Source", "LabelName", "Confidence")
EDGE_COLUMNS = ("XMin", "XMax", "YMin", "YMax")
BOX_COLUMNS = (
    *LABEL_COLUMNS, *EDGE_COLUMNS,
    "IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """One CSV file, known by its first row."""

    file: Path
    where: str
    kind: str
    columns: list[str]
    has_header: bool

    @property
    def first_row(self) -> str:
        """The first row for a message."""
        return ", ".join(self.columns)

    def rows(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Place and cells of each row; a row of another length has what is missing empty."""
        for count, (line, cells) in enumerate(read_rows(self.file, "an OpenImages table")):
            if count == 0 and self.has_header:
                continue
            filled = [plain(cell) for cell in cells] + [""] * len(self.columns)
            yield f"{self.where} line {line}", dict(zip(self.columns, filled, strict=False))


def tables_of(path: Path) -> Iterator[Table]:
    """The CSV files of a folder; of a file, itself and the classes and sizes beside it.

    Raises:
        LabelError: a file is missing, no CSV, or in an unknown encoding.
    """
    root = path if path.is_dir() else path.parent
    if not path.is_dir():
        yield _table(path, path.name)
    for file in sorted([*root.glob("*.csv"), *root.glob("annotations/*.csv")]):
        table = _table(file, file.relative_to(root).as_posix())
        if path.is_dir() or table.kind in ("class descriptions", "sizes"):
            yield table


class Images:
    """The images that the tables speak of, each added to the labels once."""

    def __init__(self, gather: Gather, root: Path, tables: list[Table]) -> None:
        self._gather = gather
        self._root = root
        self._names: dict[str, str] = {}
        self._sizes: dict[str, tuple[int | None, int | None]] = {}
        for table in tables:
            if table.kind == "sizes":
                for where, row in table.rows():
                    with gather.row(where):
                        self._add_stated(row, where)

    def named(self, image_id: str, where: str) -> str:
        """Name of the image of an id."""
        if image_id not in self._names:
            file = self._files.get(image_id)
            if file is None:
                self._add(image_id, LabelledImage(name=image_id, where=where))
            else:
                width, height = header_size(self._root / file)
                said = name(str(file), "image name")
                image = LabelledImage(name=said, width=width, height=height, where=where)
                self._add(image_id, image)
        return self._names[image_id]

    def size(self, image: str) -> tuple[int, int]:
        """Width and height of an image.

        Raises:
            UnusableError: no table states them and no image file has them.
        """
        width, height = self._sizes[image]
        if not width or not height:
            raise UnusableError("size of the image is not known; put the image beside", image)
        return width, height

    def _add_stated(self, row: dict[str, str], where: str) -> None:
        image_id = name(row["ImageID"], "ImageID")
        if image_id in self._names:
            raise UnusableError("ImageID is there already", image_id)
        footage, pts_s = row.get("Footage"), row.get("Pts")
        image = LabelledImage(
            name=name(row.get("FileName") or image_id, "FileName"),
            width=size(row["Width"], "Width"),
            height=size(row["Height"], "Height"),
            footage=footage or None,
            pts_s=number(pts_s, "Pts") if pts_s else None,
            where=where,
        )
        self._add(image_id, image)

    def _add(self, image_id: str, image: LabelledImage) -> None:
        self._gather.image(image)
        self._names[image_id] = image.name
        self._sizes[image.name] = (image.width, image.height)

    @cached_property
    def _files(self) -> dict[str, PurePosixPath | None]:
        """Image file by each ending of its path without suffix; none where two share it."""
        found: dict[str, PurePosixPath | None] = {}
        for file in sorted(self._root.rglob("*")):
            if is_picture(file) and file.is_file():
                relative = PurePosixPath(file.relative_to(self._root).as_posix())
                parts = without_image_suffix(str(relative)).split("/")
                for start in range(len(parts)):
                    ending = "/".join(parts[start:])
                    found[ending] = None if ending in found else relative
        return found


def _table(file: Path, where: str) -> Table:
    columns = next((cells for _, cells in read_rows(file, "an OpenImages table")), [])
    kind = _kind(columns)
    if kind == "another table" and len(columns) == 2 and "class-descriptions" in file.name:
        return Table(file, where, "class descriptions", list(CLASS_COLUMNS), False)
    return Table(file, where, kind, columns, True)


def _kind(columns: list[str]) -> str:
    known = set(columns)
    if known >= {"ImageID", "LabelName", *EDGE_COLUMNS}:
        return "boxes"
    if known >= {"ImageID", "LabelName"} and not known & {"MaskPath", "XMin"}:
        return "image labels"
    if known >= set(CLASS_COLUMNS):
        return "class descriptions"
    return "sizes" if known >= {"ImageID", "Width", "Height"} else "another table"
