"""The label formats by name, and which one a file or folder is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cityforge.errors import LabelError, NameUnknown
from cityforge.labeling.formats import (
    clips,
    coco,
    cvat,
    cvat_image,
    cvat_video,
    imagenet,
    labelme,
    mot,
    open_images,
    studio,
    studio_min,
    voc,
    yolo,
)
from cityforge.labeling.formats.files import first_sign, only_json, read_json, read_text
from cityforge.labeling.formats.json_list import json_list
from cityforge.labeling.formats.rows import LabelFile
from cityforge.labeling.formats.shapes import Polygons


@dataclass(frozen=True, kw_only=True)
class Format:
    """A label format: how it is read and written."""

    name: str
    description: str
    reader: Callable[..., LabelFile]
    writer: Callable[..., list[Path]]
    has_polygons: bool = False  # its reader is told what to do with them


FORMATS: dict[str, Format] = {
    known.name: known
    for known in (
        Format(
            name="studio",
            description="Label Studio JSON: tasks with annotations",
            reader=studio.read,
            writer=studio.write,
            has_polygons=True,
        ),
        Format(
            name="studio_min",
            description="Label Studio JSON-MIN: a record for each annotation",
            reader=studio_min.read,
            writer=studio_min.write,
            has_polygons=True,
        ),
        Format(
            name="coco",
            description="COCO detection JSON: one file for all images",
            reader=coco.read,
            writer=coco.write,
            has_polygons=True,
        ),
        Format(
            name="voc",
            description="Pascal VOC: a folder with one XML file per image",
            reader=voc.read,
            writer=voc.write,
        ),
        Format(
            name="yolo",
            description="YOLO: data.yaml, images/ and labels/*.txt",
            reader=yolo.read,
            writer=yolo.write,
            has_polygons=True,
        ),
        Format(
            name="cvat_image",
            description="CVAT for images 1.1: one XML file",
            reader=cvat_image.read,
            writer=cvat_image.write,
            has_polygons=True,
        ),
        Format(
            name="cvat_video",
            description="CVAT for video 1.1: an XML file a film, with tracks",
            reader=cvat_video.read,
            writer=cvat_video.write,
            has_polygons=True,
        ),
        Format(
            name="labelme",
            description="LabelMe: a folder with one JSON file per image",
            reader=labelme.read,
            writer=labelme.write,
            has_polygons=True,
        ),
        Format(
            name="open_images",
            description="OpenImages CSV: boxes, labels of images, class descriptions",
            reader=open_images.read,
            writer=open_images.write,
        ),
        Format(
            name="imagenet",
            description="ImageNet-style folders: one of images for each class",
            reader=imagenet.read,
            writer=imagenet.write,
        ),
        Format(
            name="mot",
            description="MOTChallenge text: a folder a film, with gt/gt.txt",
            reader=mot.read,
            writer=mot.write,
        ),
        Format(
            name="clips",
            description="Classes of whole clips: a folder of clips for each class, or a CSV "
            "file,class",
            reader=clips.read,
            writer=clips.write,
        ),
    )
}


def read(path: Path, format_name: str | None = None, *, polygons: Polygons = "refuse") -> LabelFile:
    """Read labels; without a format's name the format is found by looking.

    Raises:
        NameUnknown: no format of this name.
        LabelError: the file cannot be read.
    """
    known = find(detect(path) if format_name is None else format_name)
    return known.reader(path, polygons=polygons) if known.has_polygons else known.reader(path)


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
    start = first_sign(path, "a label file")
    if start == "<":
        return _detect_xml(path)
    if start in ("{", "["):
        return _detect_json(path)
    if path.suffix.lower() == ".csv" and open_images.looks_like_open_images(path):
        return "open_images"
    if path.suffix.lower() == ".csv" and clips.looks_like_clips(path):
        return "clips"
    if mot.looks_like_mot(path):
        return "mot"
    raise _unknown("another kind of file", path)


def _detect_folder(folder: Path) -> str:
    if yolo.looks_like_yolo(folder):
        return "yolo"
    if open_images.looks_like_open_images(folder):
        return "open_images"
    if mot.looks_like_mot(folder):
        return "mot"
    xml = next(folder.rglob("*.xml"), None)
    if xml:
        return _detect_xml(xml)
    if labelme.looks_like_labelme(folder):
        return "labelme"
    if next(folder.glob("*.json"), None):
        return _detect_json(only_json(folder))
    if imagenet.looks_like_imagenet(folder):
        return "imagenet"
    if clips.looks_like_clips(folder):
        return "clips"
    raise _unknown("no label file", folder)


def _detect_xml(path: Path) -> str:
    kind = cvat.kind_of(path)
    if kind:
        return kind
    root = voc.parse_xml(path)
    if root.tag != "annotation":
        raise _unknown(f"XML with the root <{root.tag}>", path)
    return "voc"


def _detect_json(path: Path) -> str:
    if first_sign(path, "a label file") == "[":
        return _detect_list(path)
    document = read_json(path)
    if coco.is_coco(document):
        return "coco"
    if labelme.is_labelme(document):
        return "labelme"
    raise _unknown("JSON of another kind", path)


def _detect_list(path: Path) -> str:
    row: object = None
    for row in json_list(path, "a list of tasks"):  # the first of a known kind decides
        if studio.is_task(row):
            return "studio"
        if studio_min.is_record(row):
            return "studio_min"
    if row is None:
        return "studio"  # an export of no task
    raise _unknown("JSON of another kind", path)


def _unknown(found: str, path: Path) -> LabelError:
    known = "; ".join(f"{form.name} ({form.description})" for form in FORMATS.values())
    return LabelError(
        f"labels in a known format: {known}",
        found=found,
        where=str(path),
        do="convert them to one of these",
    )
