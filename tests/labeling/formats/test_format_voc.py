"""Pascal VOC XML: the pixel convention, safe parsing, and every kind of rejected row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cityforge.errors import LabelError
from cityforge.labeling.formats import voc
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage

EDGES = "<xmin>1</xmin><ymin>11</ymin><xmax>40.5</xmax><ymax>60</ymax>"
OBJECT = f"<object><name> 汽车 </name><bndbox>{EDGES}</bndbox></object>"
SIZE = "<size><width>200</width><height>100</height></size>"


def read(
    folder: Path, *objects: str, head: str = f"<filename>街.jpg</filename>{SIZE}"
) -> LabelFile:
    text = f"<annotation>{head}{''.join(objects)}</annotation>"
    (folder / "a.xml").write_text(text, encoding="utf-8")
    return voc.read(folder)


def test_first_pixel_is_one_and_last_is_inside(tmp_path: Path) -> None:
    labels = read(tmp_path, OBJECT)
    (box,) = labels.boxes
    assert (box.x1, box.y1, box.x2, box.y2) == (0, 10, 40.5, 60)
    assert (box.image, box.cls, box.where) == ("街.jpg", "汽车", "a.xml object 1")
    assert (labels.images[0].width, labels.images[0].height) == (200, 100)


def test_whole_image_is_written_as_one_to_size(tmp_path: Path) -> None:
    image = LabelledImage(name="a.jpg", width=200, height=100)
    box = LabelledBox(image="a.jpg", cls="car", x1=0, y1=0, x2=200, y2=100, where="")
    (file,) = voc.write(LabelFile(source="x", images=[image], boxes=[box]), tmp_path)
    text = file.read_text()
    assert "<xmin>1.0</xmin>" in text
    assert "<xmax>200.0</xmax>" in text


def test_image_without_object_is_a_negative(tmp_path: Path) -> None:
    labels = read(tmp_path)
    assert (len(labels.images), labels.boxes, labels.rejected) == (1, [], [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"<object><bndbox>{EDGES}</bndbox></object>", "class name is missing"),
        ("<object><name>car</name></object>", "object has no bndbox"),
        (OBJECT.replace("40.5", "nan"), "xmax is no number"),
        (OBJECT.replace("40.5", "1e999"), "xmax is not finite"),
        (OBJECT.replace("40.5", ""), "xmax is no number"),
        (OBJECT.replace("<ymin>11</ymin>", ""), "ymin is no number"),
    ],
)
def test_unusable_object_is_rejected(tmp_path: Path, row: str, reason: str) -> None:
    labels = read(tmp_path, OBJECT, row)
    (rejected,) = labels.rejected
    assert len(labels.boxes) == 1
    assert (rejected.where, rejected.image) == ("a.xml object 2", "街.jpg")
    assert reason in rejected.reason


def test_part_of_an_object_is_rejected(tmp_path: Path) -> None:
    part = f"<part><name>head</name><bndbox>{EDGES}</bndbox></part></object>"
    labels = read(tmp_path, OBJECT.replace("</object>", part))
    assert (len(labels.boxes), labels.rejected[0].found) == (1, "head")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("", "filename is missing"),
        ("<filename> </filename>", "filename is missing"),
        ("<filename>a.jpg</filename><size><width>x</width></size>", "width is no number"),
    ],
)
def test_unusable_image_is_rejected(tmp_path: Path, head: str, reason: str) -> None:
    labels = read(tmp_path, OBJECT, head=head)
    assert (labels.images, labels.boxes) == ([], [])
    assert [reason in rejected.reason for rejected in labels.rejected] == [True]


def test_image_named_twice_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    read(tmp_path / "sub", OBJECT)
    labels = read(tmp_path, OBJECT)
    assert (len(labels.images), len(labels.boxes)) == (1, 1)
    assert labels.rejected[0].reason == "image is there already, in a.xml"


def test_other_xml_in_a_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "b.xml").write_text("<View/>")
    labels = read(tmp_path, OBJECT)
    assert [(row.where, row.found) for row in labels.rejected] == [("b.xml", "<View>")]


BOMB = '<!DOCTYPE a [<!ENTITY x "xxxx"><!ENTITY y "&x;&x;">]><annotation>&y;</annotation>'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BOMB.encode(), ["DOCTYPE"]),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', ["DOCTYPE"]),
        (b"<annotation>\n<object>", ["valid XML", "line 2"]),
        (b"<annotation>&x;</annotation>", ["valid XML", "entity"]),
        (b"", ["valid XML", "no element"]),
        (b"<annotation>\xff</annotation>", ["UTF-8", "0xff", "byte 12"]),
        (b"<View/>", ["<annotation>", "<View>"]),
    ],
)
def test_broken_file_is_refused(tmp_path: Path, content: bytes, words: list[str]) -> None:
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(LabelError) as caught:
        voc.read(tmp_path / "a.xml")
    assert [word for word in words if word not in str(caught.value)] == []


def test_missing_file_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="found nothing"):
        voc.read(tmp_path / "a.xml")
    with pytest.raises(LabelError, match=r"no \.xml file"):
        voc.read(tmp_path)


@pytest.mark.parametrize("cls", ["a\x00b", "a\rb", " a", "", "\ud800"])
def test_class_that_xml_would_change_is_not_written(tmp_path: Path, cls: str) -> None:
    image = LabelledImage(name="a.jpg")
    box = LabelledBox(image="a.jpg", cls=cls, x1=0, y1=0, x2=1, y2=1, where="")
    with pytest.raises(LabelError, match="keeps as it is"):
        voc.write(LabelFile(source="x", images=[image], boxes=[box]), tmp_path)


def test_two_images_for_one_file_are_not_written(tmp_path: Path) -> None:
    images = [LabelledImage(name="a.jpg"), LabelledImage(name="a.png")]
    with pytest.raises(LabelError, match="one label file for each image"):
        voc.write(LabelFile(source="x", images=images), tmp_path)


def test_labels_of_an_earlier_write_are_not_mixed_in(tmp_path: Path) -> None:
    first = LabelFile(source="x", images=[LabelledImage(name="a.jpg")])
    voc.write(first, tmp_path)
    voc.write(first, tmp_path)
    with pytest.raises(LabelError, match="empty folder"):
        voc.write(LabelFile(source="x", images=[LabelledImage(name="b.jpg")]), tmp_path)


@pytest.mark.parametrize("task", ["density", "classification"])
def test_points_and_classes_are_not_written(tmp_path: Path, task: Any) -> None:
    box = LabelledBox(image="a.jpg", cls="car", x1=0, y1=0, x2=0, y2=0, where="", task=task)
    labels = LabelFile(source="x", images=[LabelledImage(name="a.jpg")], boxes=[box])
    with pytest.raises(LabelError, match=f"VOC can hold.*1 of {task}"):
        voc.write(labels, tmp_path / "to")
    assert not (tmp_path / "to").exists()
