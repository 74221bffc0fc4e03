"""Pascal VOC XML: one file per image, edges counted from pixel 1 and inclusive.

VOC's corner pixel is (1, 1), and `xmax` is the last pixel inside. The left edge of pixel 1 is
at 0.0 and its right edge at 1.0, so `x1 = xmin - 1` and `x2 = xmax`, and the same for y
(the VOC development kit's convention). Fractions are kept in both directions. Files of tools that
count from zero (label-studio-sdk's export does) give boxes one pixel further left and up here.

A file names only the image, classes and edges; annotators, tracks and times are not written.
label-studio-sdk's converter cuts edges to whole pixels and drops images without boxes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from cityforge.errors import LabelError
from cityforge.labeling.formats.files import label_paths, read_xml_text, refuse_strays, write_text
from cityforge.labeling.formats.gather import Gather, by_image, hold_only
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.formats.values import UnusableError, name, number, size

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Characters that XML 1.0 cannot hold, and the one it turns into a line feed.
_NOT_XML = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")


def read(path: Path) -> LabelFile:
    """Read one XML file, or all of a folder and its subfolders.

    Raises:
        LabelError: missing, no XML, with a DOCTYPE, or no VOC annotation.
    """
    gather = Gather(path)
    for file in _xml_files(path):
        where = file.relative_to(path).as_posix() if path.is_dir() else file.name
        root = parse_xml(file)
        if root.tag == "annotation":
            with gather.row(where):
                _read_image(gather, root, where)
        elif file == path:
            raise LabelError("a VOC <annotation>", found=f"<{root.tag}>", where=str(file))
        else:
            gather.reject(where, "no VOC annotation", f"<{root.tag}>")
    return gather.file()


def write(labels: LabelFile, path: Path) -> list[Path]:
    """Write a folder with one XML file per image, under the image's own subfolders.

    Raises:
        LabelError: a name that XML cannot hold, two images for one file, other XML there, or
            labels that are no boxes.
    """
    hold_only(labels, "VOC", "detection")
    pairs = by_image(labels)
    files = label_paths(path, [image.name for image, _ in pairs], ".xml")
    documents = [_document(image, boxes) for image, boxes in pairs]
    refuse_strays(path, "**/*.xml", set(files))
    return [write_text(file, text) for file, text in zip(files, documents, strict=True)]


def parse_xml(path: Path, kind: str = "a VOC XML file") -> Element:
    """Parse XML without entities: a DOCTYPE is refused.

    Raises:
        LabelError: missing, in an unknown encoding, no XML, or with a DOCTYPE.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    text = read_xml_text(path, kind)
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except ParseError as error:
        line, column = error.position
        do = "export it again; the file may be cut off"
        where = f"{path} line {line} column {column}"
        raise LabelError("valid XML", found=str(error), where=where, do=do) from None
    except DefusedXmlException as error:
        found = type(error).__name__
        do = "remove the DOCTYPE"
        raise LabelError("XML without a DOCTYPE", found=found, where=str(path), do=do) from None
    return root


def _xml_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob("*.xml"))
    if not files:
        raise LabelError("a folder of VOC XML files", found="no .xml file", where=str(path))
    return files


def _read_image(gather: Gather, root: Element, where: str) -> None:
    image = name((root.findtext("filename") or "").strip(), "filename")
    gather.image(
        LabelledImage(
            name=image,
            width=size((root.findtext("size/width") or "").strip(), "width"),
            height=size((root.findtext("size/height") or "").strip(), "height"),
            where=where,
        )
    )
    for count, row in enumerate(root.findall("object"), start=1):
        place_of_row = f"{where} object {count}"
        with gather.row(place_of_row, image):
            gather.box(_box(row, image, place_of_row))
        for part in row.findall("part"):
            found = part.findtext("name") or ""
            gather.reject(place_of_row, "a part of an object, not an object", found, image)


def _box(row: Element, image: str, where: str) -> LabelledBox:
    cls = name((row.findtext("name") or "").strip(), "class name")
    edges = row.find("bndbox")
    if edges is None:
        raise UnusableError("object has no bndbox", cls)
    left, top, right, bottom = (
        number(edges.findtext(key), key) for key in ("xmin", "ymin", "xmax", "ymax")
    )
    return LabelledBox(
        image=image, cls=cls, x1=left - 1, y1=top - 1, x2=right, y2=bottom, where=where
    )


def _document(image: LabelledImage, boxes: list[LabelledBox]) -> str:
    root = ElementTree.Element("annotation")
    _add(root, "filename", image.name)
    stated = ElementTree.SubElement(root, "size")
    for key, pixels in (("width", image.width), ("height", image.height)):
        if pixels is not None:
            _add(stated, key, str(pixels))
    for box in boxes:
        row = ElementTree.SubElement(root, "object")
        _add(row, "name", box.cls)
        bndbox = ElementTree.SubElement(row, "bndbox")
        edges = {"xmin": box.x1 + 1, "ymin": box.y1 + 1, "xmax": box.x2, "ymax": box.y2}
        for key, edge in edges.items():
            _add(bndbox, key, repr(float(edge)))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def _add(parent: Element, tag: str, text: str) -> None:
    if _NOT_XML.search(text) or text != text.strip() or not text:
        raise LabelError(
            "a name that VOC XML keeps as it is",
            found=repr(text),
            where=f"<{tag}>",
            do="rename it without control characters and outer spaces",
        )
    ElementTree.SubElement(parent, tag).text = text
