"""OpenImages CSV: boxes as fractions of the image, classes by a machine id (MID).

Tables are known by their first row: boxes (with `XMin`), labels of whole images (without), class
descriptions, and sizes. OpenImages itself states no sizes: they come from the writer's own
`image-sizes.csv` (ImageID, FileName, Width, Height, Footage, Pts), else from the image file beside
the tables that ends in the ImageID. A confidence below 1 is a machine's guess and 0 says that
the class is absent: both are listed, not taken. URLs in any table are not read.

Points, annotators, tracks and times are not part of the format; points are refused, the others
not written. Cells that a spreadsheet would run as formulas are made inert (see `csv_cells`).

Datumaro's reader is not used: it needs OpenImages' own file names and image lists, drops boxes
of images it cannot find with a log line, and names classes by MID; label-studio-sdk has none.
"""

from __future__ import annotations

from pathlib import Path

from cityforge.errors import LabelError
from cityforge.labeling.formats.gather import Gather
from cityforge.labeling.formats.open_images_files import Images, Table, tables_of
from cityforge.labeling.formats.open_images_write import write
from cityforge.labeling.formats.rows import LabelFile, LabelledBox
from cityforge.labeling.formats.values import UnusableError, name, number

__all__ = ["looks_like_open_images", "read", "write"]

_LABELS = ("boxes", "image labels")


def read(path: Path) -> LabelFile:
    """Read a folder of tables (or its folder `annotations`), or one table and those beside it.

    Raises:
        LabelError: no table of boxes or labels, a table that is no CSV, or in no known encoding.
    """
    root = path if path.is_dir() else path.parent
    tables = list(tables_of(path))
    if not any(table.kind in _LABELS for table in tables):
        kinds = ", ".join(f"{table.file.name} ({table.kind})" for table in tables[:5])
        raise LabelError(
            "an OpenImages table with ImageID and LabelName in its first row",
            found=kinds or "no .csv file",
            where=str(path),
            do="name the table of boxes or labels",
        )
    gather = Gather(path)
    classes = _classes(gather, tables)
    images = Images(gather, root, tables)
    for table in tables:
        if table.kind in _LABELS:
            _read_labels(gather, table, images, classes)
        elif table.kind == "another table":
            gather.reject(table.where, "no boxes, labels, classes or sizes", table.first_row)
    return gather.file(None if classes is None else list(classes.values()))


def looks_like_open_images(path: Path) -> bool:
    """Whether a file, or one of a folder's, is a table of boxes or labels."""
    try:
        return any(table.kind in _LABELS for table in tables_of(path))
    except LabelError:
        return False


def _classes(gather: Gather, tables: list[Table]) -> dict[str, str] | None:
    """Class by MID, or none where no table describes the classes."""
    described = [table for table in tables if table.kind == "class descriptions"]
    classes: dict[str, str] = {}
    for table in described:
        for where, row in table.rows():
            with gather.row(where):
                mid = name(row["LabelName"], "LabelName")
                cls = name(row["DisplayName"], "DisplayName")
                if classes.setdefault(mid, cls) != cls:
                    raise UnusableError("LabelName is there already, for another class", mid)
    return classes if described else None


def _read_labels(
    gather: Gather, table: Table, images: Images, classes: dict[str, str] | None
) -> None:
    for where, row in table.rows():
        with gather.row(where):
            image = images.named(name(row["ImageID"], "ImageID"), where)
            with gather.row(where, image):
                gather.box(_label(row, table.kind, image, images, classes, where))


def _label(
    row: dict[str, str],
    kind: str,
    image: str,
    images: Images,
    classes: dict[str, str] | None,
    where: str,
) -> LabelledBox:
    mid = name(row["LabelName"], "LabelName")
    if classes is not None and mid not in classes:
        raise UnusableError("LabelName of no class description", mid)
    cls = mid if classes is None else classes[mid]
    confidence = number(row["Confidence"], "Confidence") if row.get("Confidence") else 1.0
    if confidence < 1:
        reason = "a class that is said to be absent" if confidence == 0 else "a guess, no label"
        raise UnusableError(f"confidence below 1: {reason}", row["Confidence"])
    if kind == "image labels":
        return LabelledBox(
            image=image, cls=cls, x1=0, y1=0, x2=0, y2=0, where=where, task="classification"
        )
    if row.get("IsGroupOf", "0").strip() == "1":
        raise UnusableError("a group of objects, not one object", cls)
    edges = [number(row[key], key) for key in ("XMin", "YMin", "XMax", "YMax")]
    width, height = images.size(image)
    x1, x2 = (number(edge * width, "an edge in pixels") for edge in edges[0::2])
    y1, y2 = (number(edge * height, "an edge in pixels") for edge in edges[1::2])
    return LabelledBox(image=image, cls=cls, x1=x1, y1=y1, x2=x2, y2=y2, where=where)
