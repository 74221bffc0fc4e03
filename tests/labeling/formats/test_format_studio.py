"""Label Studio's export: names, percents, who drew it, and every kind of rejected row."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cityforge.errors import LabelError
from cityforge.labeling.formats import studio
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.formats.studio_image import plain_name


def region(**changes: Any) -> dict[str, Any]:
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["car"]}
    row = {
        "type": "rectanglelabels",
        "original_width": 200,
        "original_height": 100,
        "value": value | changes.pop("value", {}),
    }
    return row | changes


def task(*results: Any, data: Any = None, **annotation: Any) -> dict[str, Any]:
    row = {"id": 12, "result": list(results)} | annotation
    return {"id": 7, "data": data or {"image": "a.jpg"}, "annotations": [row]}


def read(folder: Path, *tasks: Any, **options: Any) -> LabelFile:
    file = folder / "labels.json"
    file.write_text(json.dumps(tasks), encoding="utf-8")
    return studio.read(file, **options)


def test_percent_becomes_pixels_of_the_original_image(tmp_path: Path) -> None:
    labels = read(tmp_path, task(region()))
    (box,) = labels.boxes
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((20, 20, 80, 60), abs=1e-9)
    assert (labels.images[0].width, labels.images[0].height) == (200, 100)
    assert box.where == "labels.json task 7 annotation 12 result 1"
    assert labels.classes == ["car"]


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("/data/local-files/?d=a%2Fb.jpg", "a/b.jpg"),
        ("/data/local-files/?d=x/%E8%A1%97/1.jpg", "x/街/1.jpg"),
        ("http://host:8080/data/local-files/?d=a%2Fb.jpg", "a/b.jpg"),
        ("/data/upload/3/abcd1234-name.jpg", "name.jpg"),
        ("/data/upload/3/abcd1234-my%20name.jpg", "my name.jpg"),
        ("/data/upload/3/notamark-name.jpg", "notamark-name.jpg"),
        ("https://host/frames/b%2Bc.jpg?x=1", "frames/b+c.jpg"),
        ("s3://bucket/train/1.jpg", "train/1.jpg"),
        ("plain/100%25.jpg", "plain/100%25.jpg"),
        ("http://[broken.jpg", "http://[broken.jpg"),
    ],
)
def test_image_name_is_decoded(reference: str, name: str) -> None:
    assert plain_name(reference) == name


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"image": "a.jpg", "other": "b.jpg"}, "a.jpg"),
        ({"text": "no", "photo": "/data/upload/1/00ff00ff-b.PNG"}, "b.PNG"),
        ({"$undefined$": "c.webp"}, "c.webp"),
    ],
)
def test_image_is_found_in_data(tmp_path: Path, data: dict[str, str], name: str) -> None:
    assert read(tmp_path, task(data=data)).images[0].name == name


def test_annotation_fields_are_kept(tmp_path: Path) -> None:
    data = {"image": "a.jpg", "footage": "街.mp4", "pts_s": "1.5"}
    labels = read(
        tmp_path,
        task(
            region(meta={"track_id": 4}),
            data=data,
            completed_by={"id": 1, "email": "a@b.c"},
            lead_time=3.5,
            updated_at="2026-01-02T03:04:05.000000Z",
        ),
    )
    (box,) = labels.boxes
    assert (labels.images[0].footage, labels.images[0].pts_s) == ("街.mp4", 1.5)
    assert (box.annotator, box.annotation_id, box.track_id) == ("a@b.c", "12", "4")
    assert box.lead_time_s == 3.5
    assert box.updated_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("annotation", "origin"),
    [
        ({}, "human"),
        ({"parent_prediction": None, "prediction": {}}, "human"),
        ({"parent_prediction": 3}, "assisted"),
        ({"prediction": {"id": 3}}, "assisted"),
        ({"prediction": 3}, "assisted"),
    ],
)
def test_origin_says_whether_a_prediction_helped(
    tmp_path: Path, annotation: dict[str, Any], origin: str
) -> None:
    assert read(tmp_path, task(region(), **annotation)).boxes[0].origin == origin


def test_annotator_is_a_number_too(tmp_path: Path) -> None:
    assert read(tmp_path, task(region(), completed_by=5)).boxes[0].annotator == "5"


def test_empty_result_is_an_image_with_nothing_in_it(tmp_path: Path) -> None:
    labels = read(tmp_path, task(data={"image": "a.jpg", "width": 9, "height": 8}))
    assert [(i.name, i.width, i.height) for i in labels.images] == [("a.jpg", 9, 8)]
    assert (labels.boxes, labels.rejected) == ([], [])


def test_two_annotations_share_their_image(tmp_path: Path) -> None:
    row = task(region())
    row["annotations"].append({"id": 13, "result": [region()]})
    labels = read(tmp_path, row)
    assert len(labels.images) == 1
    assert [box.annotation_id for box in labels.boxes] == ["12", "13"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (region(value={"rotation": 15}), "rotated"),
        (region(image_rotation=90), "rotated"),
        (region(type="brushlabels"), "no labelled rectangle"),
        (region(type=["rectanglelabels"]), "no labelled rectangle"),
        (region(value={"rectanglelabels": []}), "no class"),
        (region(value={"rectanglelabels": ["a", "b"]}), "more than one class"),
        (region(value={"rectanglelabels": [3]}), "class is missing"),
        (region(value={"x": "12,5"}), "x is no number"),
        (region(value={"x": float("nan")}), "x is not finite"),
        (region(value={"width": float("inf")}), "width is not finite"),
        (region(value={"height": None}), "height is no number"),
        (region(value={"height": True}), "height is no number"),
        (region(original_width=None), "size of the original image"),
        (region(original_height=-3), "below zero"),
        (region(meta={"track_id": []}), "track_id is no number"),
        (region() | {"value": 3}, "value is missing"),
        ("text", "result is missing"),
    ],
)
def test_unusable_region_is_rejected_with_its_image(tmp_path: Path, row: Any, reason: str) -> None:
    labels = read(tmp_path, task(row, region()))
    (rejected,) = labels.rejected
    assert len(labels.boxes) == 1
    assert rejected.where == "labels.json task 7 annotation 12 result 1"
    assert reason in rejected.reason
    assert rejected.image == "a.jpg"
    assert rejected.found


def result(kind: str, value: dict[str, Any], **changes: Any) -> dict[str, Any]:
    sizes = {} if kind == "choices" else {"original_width": 200, "original_height": 100}
    return {"type": kind, "from_name": "x", "to_name": "image", "value": value} | sizes | changes


POINT = {"x": 5, "y": 20, "width": 0.5, "keypointlabels": ["head"]}
POLYGON = {"points": [[10, 10], [50, 10], [30, 60]], "polygonlabels": ["car"]}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (result("keypointlabels", POINT), [("density", "head", 10, 20, 10, 20)]),
        (result("choices", {"choices": ["wet"]}), [("classification", "wet", 0, 0, 0, 0)]),
        (result("choices", {"choices": ["wet", "汽"]}),
         [("classification", "wet", 0, 0, 0, 0), ("classification", "汽", 0, 0, 0, 0)]),
        (result("polygonlabels", POLYGON), [("detection", "car", 20, 10, 100, 60)]),
    ],
)  # fmt: skip
def test_points_classes_and_polygons(
    tmp_path: Path, row: dict[str, Any], said: list[tuple[Any, ...]]
) -> None:
    labels = read(tmp_path, task(row, completed_by=3), polygons="box")
    found = [(b.task, b.cls, b.x1, b.y1, b.x2, b.y2) for b in labels.boxes]
    assert found == [pytest.approx(each) for each in said]
    assert {box.annotator for box in labels.boxes} == {"3"}
    assert labels.rejected == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (result("polygonlabels", POLYGON), "a polygon, not a box"),
        (result("polygonlabels", POLYGON | {"points": 3}), "points is missing"),
        (result("polygonlabels", POLYGON | {"points": [[1, 2, 3]]}), "corner has not 2 numbers"),
        (result("polygonlabels", POLYGON | {"points": [["a", 2]]}), "corner x is no number"),
        (result("polygonlabels", POLYGON | {"polygonlabels": []}), "no class on a polygon"),
        (result("keypointlabels", POINT | {"x": None}), "x is no number"),
        (result("keypointlabels", POINT, original_width=None), "size of the original image"),
        (result("keypointlabels", POINT, image_rotation=90), "rotated"),
        (result("keypointlabels", POINT | {"keypointlabels": ["a", "b"]}), "on one point"),
        (result("choices", {"choices": []}), "no class was chosen"),
        (result("choices", {"choices": [["a", "b"]]}), "class is missing or no text"),
        (result("choices", {"choices": ["wet"], "x": 1, "y": 2}), "a class of one region"),
        (result("choices", {"text": ["wet"]}), "choices is missing"),
    ],
)
def test_unusable_point_class_or_polygon_is_rejected(
    tmp_path: Path, row: dict[str, Any], reason: str
) -> None:
    labels = read(tmp_path, task(row, region()))
    (rejected,) = labels.rejected
    assert reason in rejected.reason
    assert (len(labels.boxes), rejected.image) == (1, "a.jpg")


def test_written_points_and_classes_stand_in_their_controls(tmp_path: Path) -> None:
    image = LabelledImage(name="a.jpg", width=200, height=100)
    mark = {"image": "a.jpg", "where": "", "annotation_id": "9", "origin": "human"}
    labels = LabelFile(
        source="x",
        images=[image],
        boxes=[
            LabelledBox(cls="wet", x1=0, y1=0, x2=0, y2=0, task="classification", **mark),
            LabelledBox(cls="head", x1=10, y1=5, x2=10, y2=5, task="density", **mark),
            LabelledBox(cls="dry", x1=0, y1=0, x2=0, y2=0, task="classification", **mark),
        ],
    )
    (file,) = studio.write(labels, tmp_path / "a.json")
    ((annotation,),) = [row["annotations"] for row in json.loads(file.read_text())]
    rows = {row["from_name"]: row for row in annotation["result"]}
    assert list(rows) == ["point", "class"]
    assert rows["point"]["type"] == "keypointlabels"
    assert rows["point"]["value"] == {"x": 5, "y": 5, "width": 0.5, "keypointlabels": ["head"]}
    assert rows["class"]["type"] == "choices"
    assert rows["class"]["value"] == {"choices": ["wet", "dry"]}
    found = {(b.task, b.cls, b.x1, b.x2, b.origin) for b in studio.read(file).boxes}
    assert found == {(b.task, b.cls, b.x1, b.x2, b.origin) for b in labels.boxes}


@pytest.mark.parametrize(
    ("task", "edges", "words"),
    [
        ("density", (1, 2, 3, 4), "a point with x1 = x2"),
        ("classification", (0, 0, 9, 9), "coordinates 0"),
    ],
)
def test_box_that_says_it_is_a_point_or_class_is_not_written(
    tmp_path: Path, task: Any, edges: tuple[float, ...], words: str
) -> None:
    x1, y1, x2, y2 = edges
    box = LabelledBox(image="a.jpg", cls="car", x1=x1, y1=y1, x2=x2, y2=y2, where="", task=task)
    image = LabelledImage(name="a.jpg", width=200, height=100)
    with pytest.raises(LabelError, match=words):
        studio.write(LabelFile(source="x", images=[image], boxes=[box]), tmp_path / "a.json")


@pytest.mark.parametrize(
    ("row", "reason", "images"),
    [
        ({"id": 7, "data": {"image": "a.jpg"}}, "not labelled yet", 1),
        ({"id": 7, "data": {"image": "a.jpg"}, "annotations": []}, "not labelled yet", 1),
        (task(region(), was_cancelled=True), "cancelled by the annotator", 1),
        (task(data={"text": "no image"}), "data names no image", 1),
        (task(data={"image": "b.jpg"}), "image is there already", 1),
        (task(data={"image": "a.jpg", "footage": 3}), "footage is missing", 1),
        ({"id": 7, "data": {"image": "a.jpg"}, "annotations": [{"id": 1}]}, "result is missing", 1),
        (task(region(), updated_at="yesterday"), "no ISO time", 2),
        (task(region(), lead_time="long"), "lead_time is no number", 2),
        (task(region(), completed_by=[1]), "completed_by is no number", 2),
        (3, "task is missing or no object", 1),
    ],
)
def test_unusable_task_is_rejected(tmp_path: Path, row: Any, reason: str, images: int) -> None:
    labels = read(tmp_path, task(region(), data={"image": "b.jpg"}), row)
    (rejected,) = labels.rejected
    assert reason in rejected.reason
    assert rejected.where.startswith("labels.json task ")
    assert (len(labels.images), len(labels.boxes)) == (images, 1)


def test_number_as_plain_text_is_a_number(tmp_path: Path) -> None:
    assert read(tmp_path, task(region(value={"x": " 10.0 "}))).boxes[0].x1 == pytest.approx(20)


@pytest.mark.parametrize("text", ["{}", '"x"', '[{"image": "a.jpg"}]'])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(LabelError, match="list of tasks"):
        studio.read(file)


def test_written_tasks_can_be_imported_and_are_stable(tmp_path: Path) -> None:
    image = LabelledImage(name="街/a b.jpg", width=200, height=100, footage="f", pts_s=2.0)
    box = LabelledBox(
        image=image.name, cls='<script>"', x1=20, y1=20, x2=80, y2=60, where="",
        annotator="a@b.c", annotation_id="9", track_id="t1", origin="assisted", lead_time_s=2.0,
        updated_at=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    labels = LabelFile(source="x", images=[image], boxes=[box, box])
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    studio.write(labels, first)
    studio.write(labels, second)
    assert first.read_bytes() == second.read_bytes()
    (row,) = json.loads(first.read_text(encoding="utf-8"))
    (annotation,) = row["annotations"]
    ids = [item["id"] for item in annotation["result"]]
    assert len(set(ids)) == 2
    # An account that the server does not know makes the whole import fail.
    assert "completed_by" not in annotation
    assert annotation["result"][0]["value"]["x"] == pytest.approx(10)
    assert annotation["result"][0]["original_width"] == 200
    back = studio.read(first)
    kept = ("annotator", "annotation_id", "track_id", "origin", "lead_time_s", "updated_at")
    for key in kept:
        assert getattr(back.boxes[0], key) == getattr(box, key), key
    assert (back.images[0].footage, back.images[0].pts_s) == ("f", 2.0)


def test_boxes_on_an_image_of_unknown_size_cannot_be_written(tmp_path: Path) -> None:
    image = LabelledImage(name="a.jpg")
    box = LabelledBox(image="a.jpg", cls="car", x1=0, y1=0, x2=1, y2=1, where="")
    with pytest.raises(LabelError, match="width and height"):
        studio.write(LabelFile(source="x", images=[image], boxes=[box]), tmp_path / "a.json")
