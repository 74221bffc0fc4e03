"""LabelMe JSON: every shape, names and paths, flags, and every kind of rejected row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cityforge.errors import LabelError
from cityforge.labeling.formats import labelme
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage

Row = dict[str, object]


def shape(kind: str | None, *points: object, **more: object) -> Row:
    return {"label": "汽车", "shape_type": kind, "points": list(points), "group_id": None} | more


def read(folder: Path, *shapes: object, polygons: str = "refuse", **more: object) -> LabelFile:
    document = {
        "version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": "街.jpg",
        "imageData": None, "imageHeight": 48, "imageWidth": 64,
    }  # fmt: skip
    (folder / "a.json").write_text(json.dumps(document | more), encoding="utf-8")
    return labelme.read(folder, polygons=polygons)  # type: ignore[arg-type]


RECTANGLE = shape("rectangle", [9, 20.5], [1.5, 2])


@pytest.mark.parametrize(
    ("row", "task", "edges"),
    [
        (RECTANGLE, "detection", (1.5, 2, 9, 20.5)),
        (shape("rectangle", ["1", "2.5"], ["3", "4"]), "detection", (1, 2.5, 3, 4)),
        (shape("rectangle", [1, 2], [3, 2], [3, 5], [1, 5]), "detection", (1, 2, 3, 5)),
        (shape("rectangle", [1, 2], [1, 2]), "detection", (1, 2, 1, 2)),
        (shape("point", [3.5, 4]), "density", (3.5, 4, 3.5, 4)),
        (shape("polygon", [1, 5], [9, 2], [4, 8]), "detection", (1, 2, 9, 8)),
        (shape(None, [1, 5], [9, 2], [4, 8]), "detection", (1, 2, 9, 8)),
        (shape("circle", [10, 10], [13, 14]), "detection", (5, 5, 15, 15)),
    ],
)
def test_shape_becomes_a_label(
    tmp_path: Path, row: Row, task: str, edges: tuple[float, ...]
) -> None:
    labels = read(tmp_path, row, polygons="box")
    (box,) = labels.boxes
    assert (box.task, (box.x1, box.y1, box.x2, box.y2)) == (task, edges)
    assert (box.image, box.cls, box.where) == ("街.jpg", "汽车", "a.json shape 1")
    assert (labels.images[0].width, labels.images[0].height, labels.rejected) == (64, 48, [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (shape("polygon", [1, 5], [9, 2], [4, 8]), "a polygon, not a box"),
        (shape("circle", [1, 5], [9, 2]), "a circle, not a box"),
        (shape("circle", [1, 5]), "a centre and a point"),
        (shape("line", [1, 5], [9, 2]), "another shape"),
        (shape("mask", [1, 5], [9, 2]), "another shape"),
        (shape("rectangle", [1, 5], [4, 8], [9, 2], [6, 0]), "rotated"),
        (shape("rectangle", [1, 5], [4, 8], [9, 2]), "2 or 4 corners"),
        (shape("rectangle", [1, 5], [4]), "not 2 numbers"),
        (shape("rectangle", [1, 5], [float("nan"), 8]), "x is not finite"),
        (shape("rectangle", [1, 5], [4, float("inf")]), "y is not finite"),
        (shape("rectangle", [1, 5], [4, "8,0"]), "y is no number"),
        (shape("rectangle", [1, 5], [4, True]), "y is no number"),
        (shape("rectangle"), "no points"),
        (shape("rectangle", [1, 5], [4, 8], label=""), "label is missing"),
        (shape("rectangle", [1, 5], [4, 8], label=7), "label is missing"),
        ("no shape", "no object"),
    ],
)
def test_unusable_shape_is_rejected(tmp_path: Path, row: object, reason: str) -> None:
    labels = read(tmp_path, RECTANGLE, row)
    (rejected,) = labels.rejected
    assert (len(labels.boxes), rejected.where, rejected.image) == (1, "a.json shape 2", "街.jpg")
    assert reason in rejected.reason


def test_parts_of_one_object_are_rejected(tmp_path: Path) -> None:
    parts = [{**RECTANGLE, "group_id": key} for key in (1, 1, 2, None, None)]
    labels = read(tmp_path, *parts)
    assert [row.where for row in labels.rejected] == ["a.json shape 1", "a.json shape 2"]
    assert len(labels.boxes) == 3


def test_flags_are_classes_of_the_image(tmp_path: Path) -> None:
    labels = read(tmp_path, flags={"雨": True, "fog": False, "snow": "yes"})
    assert [(b.cls, b.task) for b in labels.boxes] == [("雨", "classification")]
    assert labels.classes == ["雨", "fog", "snow"]
    assert labels.rejected[0].reason == "flag is neither true nor false"


@pytest.mark.parametrize(
    ("file", "path", "name"),
    [
        ("a.json", "a.jpg", "a.jpg"),
        ("ann/a.json", "..\\imgs\\a.jpg", "imgs/a.jpg"),
        ("ann/a.json", "../imgs/a.jpg", "imgs/a.jpg"),
        ("ann/a.json", "a.jpg", "ann/a.jpg"),
        ("a.json", "../../x.jpg", "../../x.jpg"),
        ("ann/a.json", "/etc/passwd.jpg", "/etc/passwd.jpg"),
    ],
)
def test_image_is_named_from_the_folder(tmp_path: Path, file: str, path: str, name: str) -> None:
    target = tmp_path / file
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"shapes": [], "imagePath": path}))
    assert [image.name for image in labelme.read(tmp_path).images] == [name]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"imagePath": None}, "imagePath is missing"),
        ({"imageWidth": "wide"}, "imageWidth is no number"),
        ({"imageHeight": -1}, "imageHeight is below zero"),
        ({"shapes": {}}, "shapes is missing or no list"),
    ],
)
def test_unusable_image_is_rejected(tmp_path: Path, more: Row, reason: str) -> None:
    labels = read(tmp_path, RECTANGLE, **more)
    assert (labels.images, labels.boxes) == ([], [])
    assert [reason in row.reason for row in labels.rejected] == [True]


def test_image_without_size_is_kept_and_one_named_twice_is_rejected(tmp_path: Path) -> None:
    read(tmp_path, RECTANGLE, imageWidth=None, imageHeight=None)
    (tmp_path / "b.json").write_text((tmp_path / "a.json").read_text())
    (tmp_path / "c.json").write_text("[]")
    labels = labelme.read(tmp_path)
    assert [(image.width, image.height) for image in labels.images] == [(None, None)]
    assert [row.where for row in labels.rejected] == ["b.json", "c.json"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"shapes": [', "valid JSON"),
        (b"[]", "LabelMe file"),
        (b'{"shapes": []}', "LabelMe file"),
        ('{"shapes": [], "imagePath": "街.jpg"}'.encode("gb18030"), "UTF-8"),
    ],
)
def test_broken_file_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(LabelError, match=words):
        labelme.read(tmp_path / "a.json")


def test_folder_is_known_by_its_first_file(tmp_path: Path) -> None:
    assert not labelme.looks_like_labelme(tmp_path)
    with pytest.raises(LabelError, match=r"no \.json file"):
        labelme.read(tmp_path)
    read(tmp_path)
    assert labelme.looks_like_labelme(tmp_path)
    (tmp_path / "a.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert not labelme.looks_like_labelme(tmp_path)


@pytest.mark.parametrize("seed", range(3))
def test_labels_survive_writing_and_reading(
    tmp_path: Path, film_labels: Callable[..., LabelFile],
    assert_same: Callable[[LabelFile, LabelFile], None], seed: int,
) -> None:  # fmt: skip
    labels = film_labels(seed)
    still = LabelledImage(name="../../x.jpg")
    labels.images.append(still)
    point, whole = (
        LabelledBox(image=still.name, cls=cls, x1=x, y1=y, x2=x, y2=y, where="", task=task)
        for cls, x, y, task in (("1", 3.25, 4.125, "density"), ("雨", 0, 0, "classification"))
    )
    labels.boxes.extend([point, whole])
    target = tmp_path / "out"
    files = labelme.write(labels, target)
    assert len(files) == len(labels.images)
    assert all(file.resolve().is_relative_to(target) for file in files)
    assert labelme.looks_like_labelme(target)
    assert_same(labelme.read(target), labels)
    shown = [json.loads(file.read_text())["imagePath"] for file in files]
    assert [name for name in shown if "/" in name] == []


def one(*boxes: LabelledBox) -> LabelFile:
    return LabelFile(source="x", images=[LabelledImage(name="a.jpg")], boxes=list(boxes))


def box(**changes: object) -> LabelledBox:
    plain: dict[str, object] = {"image": "a.jpg", "cls": "car", "where": ""}
    edges = {"x1": 0.0, "y1": 0.0, "x2": 0.0, "y2": 0.0}
    return LabelledBox(**plain | edges | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (one(box(x1=5.0)), "corners have no order"),
        (one(box(y1=5.0)), "corners have no order"),
        (one(box(y1=float("nan"))), "finite"),
        (one(*[box(task="classification")] * 2), "class of an image once"),
        (one(box(task="classification", track_id="1")), "without a track"),
    ],
)
def test_what_labelme_cannot_hold_is_refused(tmp_path: Path, labels: LabelFile, words: str) -> None:
    with pytest.raises(LabelError, match=words):
        labelme.write(labels, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_labels_of_an_earlier_write_are_not_mixed_in(tmp_path: Path) -> None:
    labelme.write(one(box()), tmp_path)
    labelme.write(one(), tmp_path)
    other = LabelFile(source="x", images=[LabelledImage(name="b.jpg")])
    with pytest.raises(LabelError, match="empty folder"):
        labelme.write(other, tmp_path)
