"""The label formats by name, and which one a file or folder is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cityforge.errors import LabelError, NameUnknown
from cityforge.labeling.formats import coco, studio, voc, yolo
from cityforge.labeling.formats.files import only_json, read_json, read_text
from cityforge.labeling.formats.rows import LabelFile


@dataclass(frozen=True, kw_only=True)
class Format:
    """A label format: how it is read and written."""

    name: str
    description: str
    reader: Callable[[Path], LabelFile]
    writer: Callable[[LabelFile, Path], list[Path]]


def _format(
    name: str,
    description: str,
    reader: Callable[[Path], LabelFile],
    writer: Callable[[LabelFile, Path], list[Path]],
) -> Format:
    return Format(name=name, description=description, reader=reader, writer=writer)


FORMATS: dict[str, Format] = {
    known.name: known
    for known in (
        _format("studio", "Label Studio JSON: tasks with annotations", studio.read, studio.write),
        _format("coco", "COCO detection JSON: one file for all images", coco.read, coco.write),
        _format("voc", "Pascal VOC: a folder with one XML file per image", voc.read, voc.write),
        _format("yolo", "YOLO: data.yaml, images/ and labels/*.txt", yolo.read, yolo.write),
    )
}


def read(path: Path, format_name: str | None = None) -> LabelFile:
    """Read labels; without a format's name the format is found by looking.

    Raises:
        NameUnknown: no format of this name.
        LabelError: the file cannot be read.
    """
    known = find(detect(path) if format_name is None else format_name)
    return known.reader(path)


def write(labels: LabelFile, path: Path, format_name: str) -> list[Path]:
    """Write labels and return the files written; rejected rows are not in them.

    Raises:
        NameUnknown: no format of this name.
        LabelError: the format cannot hold these labels.
        ServiceError: the disk refuses.
    """
    return find(format_name).writer(labels, path)


def find(format_name: str) -> Format:
    """The format of a name.

    Raises:
        NameUnknown: there is none.
    """
    if format_name not in FORMATS:
        raise NameUnknown("a label format", format_name, FORMATS)
    return FORMATS[format_name]


def detect(path: Path) -> str:
    """Find the format of a file or folder by looking into it.

    Raises:
        LabelError: it is missing, broken, or in none of the known formats.
    """
    if path.is_dir():
        return _detect_folder(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        read_text(path, "a data.yaml")
        return "yolo"
    start = read_text(path, "a label file").lstrip()[:1]
    if start == "<":
        return _detect_xml(path)
    if start in ("{", "["):
        return _detect_json(path)
    raise _unknown("another kind of file", path)


def _detect_folder(folder: Path) -> str:
    if yolo.looks_like_yolo(folder):
        return "yolo"
    if next(folder.rglob("*.xml"), None):
        return "voc"
    if next(folder.glob("*.json"), None):
        return _detect_json(only_json(folder))
    raise _unknown("no label file", folder)


def _detect_xml(path: Path) -> str:
    root = voc.parse_xml(path)
    if root.tag != "annotation":
        raise _unknown(f"XML with the root <{root.tag}>", path)
    return "voc"


def _detect_json(path: Path) -> str:
    document = read_json(path)
    if coco.is_coco(document):
        return "coco"
    if studio.is_studio(document):
        return "studio"
    raise _unknown("JSON of another kind", path)


def _unknown(found: str, path: Path) -> LabelError:
    known = "; ".join(f"{form.name} ({form.description})" for form in FORMATS.values())
    return LabelError(
        f"labels in a known format: {known}",
        found=found,
        where=str(path),
        do="convert them to one of these",
    )
