"""CVAT for images: every shape, bad input, and what both of CVAT's formats refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cityforge.errors import LabelError
from cityforge.labeling.formats import cvat_image, cvat_video
from cityforge.labeling.formats.cvat import kind_of
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage

EDGES = 'xtl="1.5" ytl="2" xbr="30.25" ybr="40"'
INSIDE = '<attribute name="a">b</attribute>'
BOX = f'<box label="汽车" occluded="1" {EDGES} z_order="0" source="manual">{INSIDE}</box>'
VIDEO = '<annotations><meta/><track id="1" label="car"></track></annotations>'
HEAD = 'id="3" name="街.jpg" width="64" height="48"'


def image_file(
    folder: Path, *shapes: str, head: str = 'id="3" name="街.jpg" width="64" height="48"'
) -> Path:
    path = folder / "annotations.xml"
    path.write_text(
        "<annotations><version>1.1</version><meta><task><mode>annotation</mode><labels>"
        "<label><name>汽车</name></label><label><name>bus</name></label>"
        "<label><name>knee</name><parent>汽车</parent></label></labels></task></meta>"
        f"<image {head}>{''.join(shapes)}</image></annotations>",
        encoding="utf-8",
    )
    return path


def test_image_file_is_read_as_it_stands(tmp_path: Path) -> None:
    labels = cvat_image.read(image_file(tmp_path, BOX))
    (found,) = labels.boxes
    assert (found.x1, found.y1, found.x2, found.y2) == (1.5, 2, 30.25, 40)
    assert (found.image, found.cls, found.origin, found.track_id) == (
        "街.jpg",
        "汽车",
        "human",
        None,
    )
    assert found.where == "annotations.xml image 3 box no. 1"
    (image,) = labels.images
    assert (image.width, image.height, labels.classes) == (64, 48, ["汽车", "bus"])


def test_tags_are_classes_and_every_point_is_a_label(tmp_path: Path) -> None:
    shapes = '<tag label="bus"/>', '<points label="汽车" points="1.5,2;3,4"/>'
    labels = cvat_image.read(image_file(tmp_path, *shapes))
    assert [(b.task, b.cls, b.x1, b.y1, b.x2, b.y2) for b in labels.boxes] == [
        ("classification", "bus", 0, 0, 0, 0),
        ("density", "汽车", 1.5, 2, 1.5, 2),
        ("density", "汽车", 3, 4, 3, 4),
    ]


POLYGON = '<polygon label="汽车" points="1,5;9,2;4,8"/>'


def test_polygon_is_refused_or_becomes_a_box(tmp_path: Path) -> None:
    path = image_file(tmp_path, POLYGON)
    refused = cvat_image.read(path)
    assert (refused.boxes, refused.rejected[0].image) == ([], "街.jpg")
    assert "polygons: box" in refused.rejected[0].reason
    (found,) = cvat_image.read(path, polygons="box").boxes
    assert (found.x1, found.y1, found.x2, found.y2) == (1, 2, 9, 8)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (BOX.replace('label="汽车"', ""), "label is missing"),
        (BOX.replace("30.25", "nan"), "xbr is no number"),
        (BOX.replace("30.25", "1e999"), "xbr is not finite"),
        (BOX.replace("30.25", "inf"), "xbr is no number"),
        (BOX.replace('xbr="30.25"', ""), "xbr is no number"),
        (BOX.replace("z_order", 'rotation="12.5" z_order'), "rotated"),
        ('<ellipse label="汽车" cx="1" cy="1" rx="2" ry="2"/>', "a ellipse; only boxes"),
        ('<mask label="汽车" rle="1" left="0" top="0" width="1" height="1"/>', "a mask"),
        ('<points label="汽车" points="1.5"/>', "not written x,y"),
        ('<points label="汽车" points=""/>', "not written x,y"),
        ('<box label="汽车"/>', "xtl is no number"),
    ],
)  # fmt: skip
def test_unusable_shape_is_rejected(tmp_path: Path, shape: str, reason: str) -> None:
    labels = cvat_image.read(image_file(tmp_path, BOX, shape))
    (rejected,) = labels.rejected
    assert (len(labels.boxes), rejected.image) == (1, "街.jpg")
    assert reason in rejected.reason


@pytest.mark.parametrize("tilted", ['rotation="0"', 'rotation="0.00"'])
def test_upright_rotation_and_boxes_of_no_size_are_kept(tmp_path: Path, tilted: str) -> None:
    shape = f'<box label="bus" xtl="5" ytl="5" xbr="5" ybr="5" {tilted}/>'
    labels = cvat_image.read(image_file(tmp_path, shape))
    assert (len(labels.boxes), labels.rejected) == (1, [])


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ('id="1"', "name is missing"),
        ('name=" "', "name is missing"),
        ('name="a.jpg" width="x"', "width is no number"),
    ],
)
def test_unusable_image_is_rejected(tmp_path: Path, head: str, reason: str) -> None:
    labels = cvat_image.read(image_file(tmp_path, BOX, head=head))
    assert (labels.images, labels.boxes) == ([], [])
    assert [reason in rejected.reason for rejected in labels.rejected] == [True]


def test_image_without_size_is_kept(tmp_path: Path) -> None:
    labels = cvat_image.read(image_file(tmp_path, BOX, head='name="a.jpg"'))
    assert [(i.width, i.height) for i in labels.images] == [(None, None)]
    assert len(labels.boxes) == 1


BOMB = '<!DOCTYPE a [<!ENTITY x "xxxx"><!ENTITY y "&x;&x;">]><annotations>&y;</annotations>'


@pytest.mark.parametrize("reader", [cvat_image.read, cvat_video.read])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BOMB.encode(), ["DOCTYPE"]),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations/>', ["DOCTYPE"]),
        (b"<annotations>\n<image>", ["valid XML", "line 2"]),
        (b"", ["valid XML", "no element"]),
        (b"<annotations>\xff</annotations>", ["UTF-8", "0xff", "byte 13"]),
        (b"<annotation/>", ["<annotations>", "<annotation>"]),
        (b"<annotations><skeletons/></annotations>", ["<annotations>", "<skeletons>"]),
    ],
)
def test_broken_file_is_refused(
    tmp_path: Path, reader: Callable[[Path], LabelFile], content: bytes, words: list[str]
) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(content)
    with pytest.raises(LabelError) as caught:
        reader(path)
    assert [word for word in words if word not in str(caught.value)] == []


def test_missing_file_empty_folder_and_the_other_format(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="found nothing"):
        cvat_image.read(tmp_path / "a.xml")
    with pytest.raises(LabelError, match=r"no \.xml file"):
        cvat_video.read(tmp_path)
    with pytest.raises(LabelError, match="cvat_image"):
        cvat_video.read(image_file(tmp_path))
    with pytest.raises(LabelError, match="cvat_video"):
        (tmp_path / "b.xml").write_text(VIDEO)
        cvat_image.read(tmp_path / "b.xml")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_file_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    path = image_file(tmp_path, BOX)
    text = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>' + path.read_text()
    path.write_bytes(text.encode(encoding))
    assert [b.cls for b in cvat_image.read(path).boxes] == ["汽车"]


def test_kind_is_found_from_the_start_of_a_file(tmp_path: Path) -> None:
    assert kind_of(image_file(tmp_path)) == "cvat_image"
    other = tmp_path / "other.xml"
    other.write_text(VIDEO)
    assert kind_of(other) == "cvat_video"
    other.write_text("<annotation><filename>a.jpg</filename></annotation>")
    assert kind_of(other) is None
    for mode, kind in (("interpolation", "cvat_video"), ("annotation", "cvat_image")):
        other.write_text(f"<annotations><meta><mode>{mode}</mode></meta></annotations>")
        assert kind_of(other) == kind


@pytest.mark.parametrize("seed", range(3))
def test_images_survive_writing_and_reading(
    tmp_path: Path, film_labels: Callable[..., LabelFile],
    assert_same: Callable[[LabelFile, LabelFile], None], seed: int,
) -> None:  # fmt: skip
    labels = film_labels(seed)
    still = LabelledImage(name="../../x.jpg", width=None, height=None)
    labels.images.append(still)
    point, whole = (
        LabelledBox(image=still.name, cls="汽车", x1=x, y1=y, x2=x, y2=y, where="", task=task)
        for x, y, task in ((3.25, 4.125, "density"), (0, 0, "classification"))
    )
    labels.boxes.extend([point, whole])
    files = cvat_image.write(labels, tmp_path)
    assert files == [tmp_path / "annotations.xml"]
    assert "<script>" not in files[0].read_text()
    assert_same(cvat_image.read(tmp_path), labels)
    assert cvat_image.read(tmp_path).classes == labels.classes


@pytest.mark.parametrize("cls", ["a\x00b", " a", "", "\ud800", "\uffff"])
def test_class_that_xml_would_change_is_not_written(tmp_path: Path, cls: str) -> None:
    image = LabelledImage(name="a.jpg")
    box = LabelledBox(image="a.jpg", cls=cls, x1=0, y1=0, x2=1, y2=1, where="")
    with pytest.raises(LabelError, match="keeps as it is"):
        cvat_image.write(LabelFile(source="x", images=[image], boxes=[box]), tmp_path)
