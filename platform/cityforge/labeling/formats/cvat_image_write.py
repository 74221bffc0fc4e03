"""Write CVAT for images 1.1, and the parts that CVAT for video is written with, too."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from cityforge.labeling.formats.cvat import ORIGINS
from cityforge.labeling.formats.files import refuse_strays, write_text
from cityforge.labeling.formats.gather import by_image, class_names
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.formats.xml_files import HEAD, kept_text

SHAPES = {"detection": "box", "density": "points", "classification": "tag"}


def write(labels: LabelFile, path: Path) -> list[Path]:
    """Write one XML file: the path itself, or `annotations.xml` in the folder.

    Raises:
        LabelError: a name that XML cannot hold, or other XML in the folder.
    """
    pairs = by_image(labels)
    is_file = path.suffix.lower() == ".xml"
    target = path if is_file else path / "annotations.xml"
    task = task_of(Path(labels.source).stem, "annotation", len(pairs), class_names(labels))
    rows = [_image(key, image, boxes) for key, (image, boxes) in enumerate(pairs)]
    text = document([meta_of(task), *rows])
    if not is_file:
        refuse_strays(path, "**/*.xml", {target})
    return [write_text(target, text)]


def document(rows: list[Element]) -> str:
    """The whole file, its rows indented under the root."""
    texts = []
    for row in rows:
        ElementTree.indent(row, level=1)
        texts.append(f"  {ElementTree.tostring(row, 'unicode')}\n")
    return f"{HEAD}<annotations>\n  <version>1.1</version>\n{''.join(texts)}</annotations>\n"


def task_of(title: str, mode: str, count: int, classes: list[str]) -> Element:
    """CVAT's description of a task; every class has the text attribute `track_id`."""
    task = Element("task")
    for tag, text in (("name", title.strip() or "labels"), ("size", str(count)), ("mode", mode)):
        add(task, tag, text)
    rows = SubElement(task, "labels")
    for cls in classes:
        row = SubElement(rows, "label")
        add(row, "name", cls)
        if mode == "annotation":
            attribute = SubElement(SubElement(row, "attributes"), "attribute")
            for tag, text in (("name", "track_id"), ("mutable", "False"), ("input_type", "text")):
                add(attribute, tag, text)
    return task


def meta_of(*parts: Element) -> Element:
    """The head of the file."""
    meta = Element("meta")
    meta.extend(parts)
    return meta


def add(parent: Element, tag: str, text: str) -> None:
    """Add a part with text."""
    SubElement(parent, tag).text = kept_text(text, f"<{tag}>")


def stated(values: dict[str, object]) -> dict[str, str]:
    """Values as attributes; those that are None are left out, floats stay exact."""
    known = {key: value for key, value in values.items() if value is not None}
    return {key: kept_text(str(value), f"attribute {key}") for key, value in known.items()}


def coordinates(box: LabelledBox) -> dict[str, str]:
    """Where a label is: edges of a box, a point, or nothing for the whole image."""
    if box.task == "classification":
        return {}
    if box.task == "density":
        return {"points": f"{float(box.x1)!r},{float(box.y1)!r}"}
    edges = {"xtl": box.x1, "ytl": box.y1, "xbr": box.x2, "ybr": box.y2}
    return {key: repr(float(edge)) for key, edge in edges.items()}


def _image(key: int, image: LabelledImage, boxes: list[LabelledBox]) -> Element:
    row = Element(
        "image",
        stated(
            {
                "id": key,
                "name": image.name,
                "width": image.width,
                "height": image.height,
                "footage": image.footage,
                "pts_s": image.pts_s,
            }
        ),
    )
    for box in boxes:
        _shape(row, box)
    return row


def _shape(image: Element, box: LabelledBox) -> None:
    said = stated({"label": box.cls, "source": ORIGINS.get(box.origin, "file")})
    if box.task != "classification":
        said |= {"occluded": "0", **coordinates(box), "z_order": "0"}
    shape = SubElement(image, SHAPES[box.task], said)
    if box.track_id is not None:
        attribute = SubElement(shape, "attribute", {"name": "track_id"})
        attribute.text = kept_text(box.track_id, "track_id")
