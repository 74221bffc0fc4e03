"""JSON-MIN: records as a server of Label Studio exports them, and what cannot be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cityforge.errors import LabelError
from cityforge.labeling.formats import studio_min
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage

SIZE = {"original_width": 200, "original_height": 100}
BOX = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["car"]}
POINT = {"x": 5, "y": 20, "width": 0.5, "keypointlabels": ["head"]}
POLYGON = {"points": [[10, 10], [50, 10], [30, 60]], "closed": True, "polygonlabels": ["car"]}
END = {
    "annotator": 1,
    "annotation_id": 12,
    "created_at": "2026-11-22T19:00:11.419031Z",
    "updated_at": "2026-11-22T19:00:11.419071Z",
    "lead_time": 3.5,
}


def record(controls: dict[str, Any], *, task: int = 7, image: str = "a.jpg", **end: Any) -> Any:
    data = {"image": f"/data/local-files/?d={image}", "frame_id": "one"}
    return data | {"id": task} | controls | END | end


def read(folder: Path, *records: Any, **options: Any) -> LabelFile:
    file = folder / "labels.json"
    file.write_text(json.dumps(records), encoding="utf-8")
    return studio_min.read(file, **options)


def said(labels: LabelFile) -> list[tuple[Any, ...]]:
    return [(b.task, b.cls, b.x1, b.y1, b.x2, b.y2) for b in labels.boxes]


@pytest.mark.parametrize(
    ("controls", "rows"),
    [
        ({"label": [BOX | SIZE]}, [("detection", "car", 20, 20, 80, 60)]),
        ({"any name": [POINT | SIZE]}, [("density", "head", 10, 20, 10, 20)]),
        ({"class": "wet"}, [("classification", "wet", 0, 0, 0, 0)]),
        ({"class": {"choices": ["wet", "dry"]}}, [("classification", "wet", 0, 0, 0, 0),
                                                  ("classification", "dry", 0, 0, 0, 0)]),
        ({"class": ["wet", {"choices": ["dry", "old"]}]},
         [("classification", cls, 0, 0, 0, 0) for cls in ("wet", "dry", "old")]),
        ({}, []),
        ({"label": []}, []),
    ],
)  # fmt: skip
def test_controls_of_an_export(
    tmp_path: Path, controls: dict[str, Any], rows: list[tuple[Any, ...]]
) -> None:
    labels = read(tmp_path, record(controls))
    assert said(labels) == [pytest.approx(row) for row in rows]
    assert ([image.name for image in labels.images], labels.rejected) == (["a.jpg"], [])


def test_who_and_when(tmp_path: Path) -> None:
    (box,) = read(tmp_path, record({"label": [BOX | SIZE]})).boxes
    assert (box.annotator, box.annotation_id, box.lead_time_s) == ("1", "12", 3.5)
    assert box.updated_at == datetime(2026, 11, 22, 19, 0, 11, 419071, tzinfo=UTC)
    assert box.where == "labels.json task 7 annotation 12 label 1"


def test_polygon_is_refused_or_becomes_its_box(tmp_path: Path) -> None:
    row = record({"poly": [POLYGON | SIZE]})
    refused = read(tmp_path, row)
    assert (refused.boxes, len(refused.rejected)) == ([], 1)
    assert refused.rejected[0].image == "a.jpg"
    assert "polygon" in refused.rejected[0].reason
    taken = read(tmp_path, row, polygons="box")
    assert said(taken) == [pytest.approx(("detection", "car", 20, 10, 100, 60))]


def test_two_annotations_of_a_task_share_its_image(tmp_path: Path) -> None:
    rows = [record({"label": [BOX | SIZE]}, annotation_id=key, annotator=key) for key in (2, 1)]
    labels = read(tmp_path, *rows)
    assert [box.annotation_id for box in labels.boxes] == ["2", "1"]
    assert (len(labels.images), labels.rejected) == (1, [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (record({}, annotation_id=None), "not labelled yet"),
        (record({"label": [BOX | SIZE | {"rotation": 10}]}, task=8), "rotated"),
        (record({"label": [BOX]}, task=8), "size of the original image is missing"),
        (record({"label": [BOX | SIZE | {"x": "1,5"}]}, task=8), "x is no number"),
        (record({"label": [BOX | SIZE | {"rectanglelabels": ["a", "b"]}]}, task=8), "more than"),
        (record({"class": {"choices": []}}, task=8), "no class was chosen"),
        (record({"class": [{"choices": ["wet"], "x": 1, "y": 1}]}, task=8), "of one region"),
        (record({"brush": [{"format": "rle", "brushlabels": ["car"]}]}, task=8), "no labelled"),
        (record({"number": 7}, task=8), "result is missing or no object"),
        (record({}, task=8, updated_at="today"), "no ISO time"),
        (record({"label": [BOX | SIZE]}, task=8, image="b.jpg"), "in another task"),
        ({"image": "a.jpg", "id": 8, "annotation_id": 3}, "no id or annotator"),
        (dict(sorted(record({"class": "wet"}, task=8).items())), "order of an export"),
        ({"text": "x", "id": 8} | END, "data names no image"),
        (3, "record is missing or no object"),
    ],
)
def test_what_cannot_be_used_is_listed(tmp_path: Path, row: Any, reason: str) -> None:
    good = record({"label": [BOX | SIZE]}, task=1, image="b.jpg")
    labels = read(tmp_path, good, row)
    assert [reason in each.reason for each in labels.rejected] == [True]
    assert len(labels.boxes) == 1
    assert labels.rejected[0].where.startswith("labels.json ")


@pytest.mark.parametrize("text", ["{}", "3", '[{"id": 1, "data": {"image": "a.jpg"}}]', "[1"])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(LabelError, match=r"JSON"):
        studio_min.read(tmp_path / "a.json")


def test_written_record_has_the_order_of_an_export(tmp_path: Path) -> None:
    image = LabelledImage(name="街/a b.jpg", width=200, height=100, footage="f", pts_s=2.0)
    mark = {"image": image.name, "where": "", "annotator": "a@b.c", "annotation_id": "9"}
    labels = LabelFile(
        source="x",
        images=[image, LabelledImage(name="none.jpg")],
        boxes=[
            LabelledBox(cls="<script>", x1=20, y1=20, x2=80, y2=60, track_id="t", **mark),
            LabelledBox(cls="=1+1", x1=10, y1=5, x2=10, y2=5, task="density", **mark),
            LabelledBox(cls="wet", x1=0, y1=0, x2=0, y2=0, task="classification", **mark),
        ],
    )
    (file,) = studio_min.write(labels, tmp_path / "a.json")
    rows = json.loads(file.read_text(encoding="utf-8"))
    keys = list(rows[0])
    assert keys[keys.index("id") :] == ["id", "label", "point", "class", *END]
    assert (rows[0]["class"], rows[0]["annotator"], rows[1]["label"]) == ("wet", "a@b.c", [])
    back = studio_min.read(file)
    assert said(back) == [pytest.approx(row) for row in said(labels)]
    assert [box.annotator for box in back.boxes] == ["a@b.c"] * 3
    assert (back.boxes[0].track_id, back.images[0].footage, back.images[0].pts_s) == ("t", "f", 2)
    assert [each.name for each in back.images] == ["街/a b.jpg", "none.jpg"]
    assert back.rejected == []
