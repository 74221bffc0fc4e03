"""COCO detection JSON: ids, boxes, and every kind of rejected row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cityforge.errors import LabelError
from cityforge.labeling.formats import coco
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage

IMAGE = {"id": 1, "file_name": "街.jpg", "width": 200, "height": 100}
CATEGORY = {"id": 3, "name": "汽车"}
ANNOTATION = {"id": 5, "image_id": 1, "category_id": 3, "bbox": [10, 20, 30, 40]}


def read(folder: Path, polygons: Any = "refuse", **changes: Any) -> LabelFile:
    document = {"images": [IMAGE], "categories": [CATEGORY], "annotations": [ANNOTATION]}
    file = folder / "labels.json"
    file.write_text(json.dumps(document | changes), encoding="utf-8")
    return coco.read(file, polygons=polygons)


def test_box_and_image_are_read(tmp_path: Path) -> None:
    labels = read(tmp_path)
    (box,), (image,) = labels.boxes, labels.images
    assert (box.image, box.cls) == ("街.jpg", "汽车")
    assert (box.x1, box.y1, box.x2, box.y2) == (10, 20, 40, 60)
    assert (image.name, image.width, image.height) == ("街.jpg", 200, 100)
    assert (box.where, labels.rejected) == ("labels.json annotation 5", [])


def test_image_without_annotation_is_a_negative(tmp_path: Path) -> None:
    labels = read(tmp_path, annotations=[])
    assert (len(labels.images), labels.boxes, labels.rejected) == (1, [], [])


@pytest.mark.parametrize(
    ("change", "edges"),
    [
        ({"bbox": ["10", " 20.5 ", "3e1", 40]}, (10, 20.5, 40, 60.5)),
        ({"image_id": "1", "category_id": 3.0}, (10, 20, 40, 60)),
        ({"bbox": [-10, -20, 0, 0]}, (-10, -20, -10, -20)),  # geometry is judged later
        ({"bbox": [190, 20, 30, -4]}, (190, 20, 220, 16)),
        ({"iscrowd": 0}, (10, 20, 40, 60)),
    ],
)
def test_usable_annotation(
    tmp_path: Path, change: dict[str, Any], edges: tuple[float, ...]
) -> None:
    (box,) = read(tmp_path, annotations=[ANNOTATION | change]).boxes
    assert (box.x1, box.y1, box.x2, box.y2) == edges


@pytest.mark.parametrize(
    ("change", "reason", "image"),
    [
        ({"image_id": 9}, "image_id of no usable image", None),
        ({"image_id": None}, "image_id is no number", None),
        ({"category_id": 9}, "category_id of no usable category", "街.jpg"),
        ({"iscrowd": 1}, "a crowd region", "街.jpg"),
        ({"iscrowd": "1"}, "a crowd region", "街.jpg"),
        ({"bbox": [1, 2, 3]}, "not 4 numbers", "街.jpg"),
        ({"bbox": None}, "bbox is missing", "街.jpg"),
        ({"bbox": [1, 2, 3, "4px"]}, "bbox height is no number", "街.jpg"),
        ({"bbox": [1, 2, 3, "٤"]}, "bbox height is no number", "街.jpg"),
        ({"bbox": [1, 2, 3, True]}, "bbox height is no number", "街.jpg"),
        ({"bbox": [float("nan"), 2, 3, 4]}, "bbox x is not finite", "街.jpg"),
        ({"bbox": [1, float("inf"), 3, 4]}, "bbox y is not finite", "街.jpg"),
        ({"bbox": [1, 2, 10**400, 4]}, "bbox width is too large", "街.jpg"),
        ({"bbox": [1e308, 2, 1e308, 4]}, "bbox right edge is not finite", "街.jpg"),
        ({"track_id": {}}, "track_id is no number", "街.jpg"),
    ],
)
def test_unusable_annotation_is_rejected(
    tmp_path: Path, change: dict[str, Any], reason: str, image: str | None
) -> None:
    labels = read(tmp_path, annotations=[ANNOTATION | change, ANNOTATION])
    (rejected,) = labels.rejected
    assert len(labels.boxes) == 1
    assert rejected.where == "labels.json annotation 5"
    assert reason in rejected.reason
    assert rejected.image == image


TRIANGLE = [10, 20, 40, 20, 25, 60]


@pytest.mark.parametrize(
    ("segmentation", "edges"),
    [([TRIANGLE], (10, 20, 40, 60)), ([TRIANGLE, [0, 0, 5, 0, 5, "90"]], (0, 0, 40, 90))],
)
@pytest.mark.parametrize("bbox", [None, []])
def test_segmentation_without_a_box(
    tmp_path: Path, bbox: Any, segmentation: Any, edges: tuple[float, ...]
) -> None:
    row = ANNOTATION | {"bbox": bbox, "segmentation": segmentation}
    (refused,) = read(tmp_path, annotations=[row]).rejected
    assert "a polygon, not a box" in refused.reason
    assert refused.image == "街.jpg"
    (box,) = read(tmp_path, "box", annotations=[row]).boxes
    assert (box.x1, box.y1, box.x2, box.y2) == edges


def test_box_beside_a_segmentation_is_the_box(tmp_path: Path) -> None:
    (box,) = read(tmp_path, annotations=[ANNOTATION | {"segmentation": [TRIANGLE]}]).boxes
    assert (box.x1, box.y1, box.x2, box.y2) == (10, 20, 40, 60)


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ({"counts": "abc", "size": [100, 200]}, "a mask with no bbox"),
        ([[1, 2, 3, 4]], "fewer than 3 points"),
        ([[1, 2, 3, 4, 5]], "odd count"),
        ([[1, 2, 3, 4, 5, "x"]], "segmentation is no number"),
        ("text", "segmentation is missing or no list"),
        ([], "bbox is missing"),
    ],
)
def test_unusable_segmentation_is_rejected(tmp_path: Path, segmentation: Any, reason: str) -> None:
    row = ANNOTATION | {"bbox": None, "segmentation": segmentation}
    (rejected,) = read(tmp_path, "box", annotations=[row]).rejected
    assert reason in rejected.reason


@pytest.mark.parametrize("task", ["density", "classification"])
def test_points_and_classes_are_not_written(tmp_path: Path, task: Any) -> None:
    box = LabelledBox(image="a.jpg", cls="car", x1=0, y1=0, x2=0, y2=0, where="", task=task)
    labels = LabelFile(source="x", images=[LabelledImage(name="a.jpg")], boxes=[box])
    with pytest.raises(LabelError, match=f"COCO can hold.*1 of {task}"):
        coco.write(labels, tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    ("part", "row", "reason"),
    [
        ("images", IMAGE | {"file_name": "b.jpg"}, "image id is there already"),
        ("images", IMAGE | {"id": 2}, "image is there already, in labels.json image 1"),
        ("images", {"id": 2}, "file_name is missing"),
        ("images", {"id": 2, "file_name": "\ud800.jpg"}, "half a character"),
        ("images", {"file_name": "b.jpg"}, "image id is no number"),
        ("images", {"id": 2, "file_name": "b.jpg", "width": 1.5}, "width is no whole number"),
        ("images", {"id": 2, "file_name": "b.jpg", "height": -1}, "height is below zero"),
        ("images", 7, "image is missing or no object"),
        ("categories", CATEGORY | {"name": "b"}, "category id is there already"),
        ("categories", {"id": 4}, "category name is missing"),
        ("annotations", [], "annotation is missing or no object"),
    ],
)
def test_unusable_row_is_rejected(tmp_path: Path, part: str, row: Any, reason: str) -> None:
    usable = {"images": IMAGE, "categories": CATEGORY, "annotations": ANNOTATION}[part]
    labels = read(tmp_path, **{part: [usable, row]})
    assert [reason in rejected.reason for rejected in labels.rejected] == [True]
    assert (len(labels.images), len(labels.boxes), len(labels.classes)) == (1, 1, 1)


@pytest.mark.parametrize("pixels", [None, 0, "", "0"])
def test_size_not_stated(tmp_path: Path, pixels: Any) -> None:
    assert read(tmp_path, images=[IMAGE | {"width": pixels}]).images[0].width is None


def test_category_that_is_only_a_supercategory_is_fine(tmp_path: Path) -> None:
    rows = [{"id": 0, "name": "vehicle", "supercategory": "none"}, CATEGORY,
            {"id": 8, "supercategory": "thing"}]  # fmt: skip
    labels = read(tmp_path, categories=rows)
    assert (labels.classes, labels.rejected) == (["vehicle", "汽车", "thing"], [])


def test_long_ids_stay_apart(tmp_path: Path) -> None:
    images = [IMAGE | {"id": f"9007199254740993{n}", "file_name": f"{n}.jpg"} for n in range(3)]
    assert len(read(tmp_path, images=images, annotations=[]).images) == 3


@pytest.mark.parametrize("text", ["[]", "3", '{"images": [], "annotations": []}'])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(LabelError, match="expected a COCO file"):
        coco.read(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"images": [', ["the end of the file", "line 1"]),
        (b'{"images":\n [}', ["line 2 column 3"]),
        (b'{"a": "\xff"}', ["UTF-8", "0xff", "byte 7"]),
        (b"[" * 100_000, ["valid JSON"]),
    ],
)
def test_broken_file_is_refused_with_its_spot(
    tmp_path: Path, content: bytes, words: list[str]
) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(LabelError) as caught:
        coco.read(tmp_path / "a.json")
    assert [word for word in words if word not in str(caught.value)] == []


def test_missing_file_and_ambiguous_folder(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="found nothing"):
        coco.read(tmp_path / "none.json")
    with pytest.raises(LabelError, match="one JSON file"):
        coco.read(tmp_path)


def test_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    text = json.dumps({"images": [], "annotations": [], "categories": []})
    (tmp_path / "a.json").write_text(text, encoding="utf-8-sig")
    assert coco.read(tmp_path / "a.json").images == []


def test_written_file_has_plain_text_and_track(tmp_path: Path) -> None:
    image = LabelledImage(name="街.jpg", footage="f.mp4", pts_s=1.5)
    box = LabelledBox(image="街.jpg", cls="汽车", x1=1, y1=2, x2=4, y2=6, where="", track_id="t")
    coco.write(LabelFile(source="x", images=[image], boxes=[box]), tmp_path / "new" / "a.json")
    text = (tmp_path / "new" / "a.json").read_text(encoding="utf-8")
    assert "汽车" in text
    row = json.loads(text)["annotations"][0]
    assert (row["bbox"], row["area"], row["id"]) == ([1, 2, 3, 4], 12, 1)
    back = coco.read(tmp_path / "new" / "a.json")
    assert back.boxes[0].track_id == "t"
    assert (back.images[0].footage, back.images[0].pts_s, back.images[0].width) == (
        "f.mp4",
        1.5,
        None,
    )


@pytest.mark.parametrize(
    ("images", "x1", "words"),
    [(["a.jpg", "a.jpg"], 0.0, "each image once"), (["b.jpg"], 0.0, "every box on a listed"),
     (["a.jpg"], float("nan"), "finite")],
)  # fmt: skip
def test_contradicting_labels_are_not_written(
    tmp_path: Path, images: list[str], x1: float, words: str
) -> None:
    box = LabelledBox(image="a.jpg", cls="car", x1=x1, y1=0, x2=1, y2=1, where="")
    labels = LabelFile(source="x", images=[LabelledImage(name=n) for n in images], boxes=[box])
    with pytest.raises(LabelError, match=words):
        coco.write(labels, tmp_path / "a.json")


def test_half_a_character_is_not_written(tmp_path: Path) -> None:
    labels = LabelFile(source="x", images=[LabelledImage(name="\ud800.jpg")])
    with pytest.raises(LabelError, match="half a character"):
        coco.write(labels, tmp_path / "a.json")
