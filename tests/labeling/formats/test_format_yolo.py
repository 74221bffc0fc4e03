"""YOLO folders: layouts, class names, polygons, and every kind of rejected row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cityforge.errors import LabelError
from cityforge.labeling.formats import yolo
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage

NAMES = "nc: 2\nnames: [汽车, bus]\n"


def picture(path: Path, size: tuple[int, int] = (200, 100)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(path)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def read(folder: Path, lines: str, names: str = NAMES, **options: Any) -> LabelFile:
    text(folder / "data.yaml", names)
    picture(folder / "images" / "a.jpg")
    text(folder / "labels" / "a.txt", lines)
    return yolo.read(folder, **options)


@pytest.mark.parametrize(
    ("line", "edges"),
    [
        ("0 0.5 0.5 0.5 0.5", (50, 25, 150, 75)),
        ("0.0 .5 +5e-1 0.5 0.5\r", (50, 25, 150, 75)),
        ("0 0 0 0.5 0.5", (-50, -25, 50, 25)),  # geometry is judged later
        ("0 0.5 0.5 0 -0.5", (100, 75, 100, 25)),
        ("0 0.1 0.2 0.9 0.3 0.5 0.8", (20, 20, 180, 80)),  # a polygon's bounding box
        ("0 0.1 0.2 0.9 0.2 0.9 0.8 0.1 0.8", (20, 20, 180, 80)),
    ],
)
def test_row_becomes_a_box(tmp_path: Path, line: str, edges: tuple[float, ...]) -> None:
    labels = read(tmp_path, f"\n{line}\n", polygons="box")
    (box,) = labels.boxes
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx(edges, abs=1e-9)
    assert (box.image, box.cls, box.where) == ("images/a.jpg", "汽车", "labels/a.txt line 2")
    assert (labels.images[0].width, labels.images[0].height) == (200, 100)
    assert labels.classes == ["汽车", "bus"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("17 0.5 0.5 0.5 0.5", "class 17 of 2"),
        ("-1 0.5 0.5 0.5 0.5", "class -1 of 2"),
        ("car 0.5 0.5 0.5 0.5", "class is no number"),
        ("0.5 0.5 0.5 0.5 0.5", "class is no whole number"),
        ("0", "fewer than 5 columns"),
        ("0 0.5 0.5 0.5", "fewer than 5 columns"),
        ("0 0.5 0.5 0.5 0.5 0.9", "odd count of coordinates"),
        ("0 0.5 0.5 0.5 0.5 0.5 0.5 0.9", "odd count of coordinates"),
        ("0 0.5 nan 0.5 0.5", "column 3 is no number"),
        ("0 0.5 1e999 0.5 0.5", "column 3 is not finite"),
        ("0 0,5 0.5 0.5 0.5", "column 2 is no number"),
    ],
)
def test_unusable_row_is_rejected(tmp_path: Path, line: str, reason: str) -> None:
    labels = read(tmp_path, f"1 0.5 0.5 0.5 0.5\n{line}")
    (rejected,) = labels.rejected
    assert len(labels.boxes) == 1
    assert (rejected.where, rejected.image) == ("labels/a.txt line 2", "images/a.jpg")
    assert reason in rejected.reason


@pytest.mark.parametrize("corners", ["0.1 0.2 0.9 0.3 0.5 0.8", "0.1 0.2 0.9 0.2 0.9 0.8 0.1 0.8"])
def test_polygon_is_refused_unless_boxes_are_wanted(tmp_path: Path, corners: str) -> None:
    labels = read(tmp_path, f"0 0.5 0.5 0.5 0.5\n1 {corners}")
    (rejected,) = labels.rejected
    assert (len(labels.boxes), rejected.image) == (1, "images/a.jpg")
    assert "a polygon, not a box" in rejected.reason
    taken = read(tmp_path, f"0 0.5 0.5 0.5 0.5\n1 {corners}", polygons="box")
    assert ([box.cls for box in taken.boxes], taken.rejected) == (["汽车", "bus"], [])


def test_class_beyond_the_names_is_rejected(tmp_path: Path) -> None:
    names = "nc: 3\nnames: [car, bus, truck]"
    labels = read(tmp_path, "2 0.5 0.5 1 1\n17 0.5 0.5 1 1\n3 0.5 0.5 1 1", names)
    assert [box.cls for box in labels.boxes] == ["truck"]
    assert [row.reason for row in labels.rejected] == ["class 17 of 3", "class 3 of 3"]
    assert [row.where for row in labels.rejected] == ["labels/a.txt line 2", "labels/a.txt line 3"]


@pytest.mark.parametrize("file", ["data.yaml", "labels/a.txt"])
def test_file_in_another_encoding_is_named(tmp_path: Path, file: str) -> None:
    read(tmp_path, "0 0.5 0.5 1 1")
    (tmp_path / file).write_bytes("names: [汽车, 公交车, 行人]\n".encode("gb18030"))
    with pytest.raises(LabelError, match="GB18030"):
        yolo.read(tmp_path)


@pytest.mark.parametrize("task", ["density", "classification"])
def test_points_and_classes_are_not_written(tmp_path: Path, task: Any) -> None:
    box = LabelledBox(image="a.jpg", cls="car", x1=0, y1=0, x2=0, y2=0, where="", task=task)
    image = LabelledImage(name="a.jpg", width=10, height=10)
    with pytest.raises(LabelError, match=f"YOLO can hold.*1 of {task}"):
        yolo.write(LabelFile(source="x", images=[image], boxes=[box]), tmp_path / "to")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/a.jpg", "labels/a.txt"),
        ("train/images/a.JPG", "train/labels/a.txt"),
        ("images/val/a.b.png", "labels/val/a.b.txt"),
        ("test/images/街/a.webp", "test/labels/街/a.txt"),
    ],
)
def test_layouts(tmp_path: Path, image: str, label: str) -> None:
    text(tmp_path / "data.yaml", NAMES)
    picture(tmp_path / image)
    text(tmp_path / label, "1 0.5 0.5 1 1")
    for path in (tmp_path, tmp_path / "data.yaml"):
        labels = yolo.read(path)
        assert [box.image for box in labels.boxes] == [image]
        assert labels.rejected == []


def test_missing_or_empty_label_file_is_a_negative(tmp_path: Path) -> None:
    read(tmp_path, "")
    picture(tmp_path / "images" / "b.jpg")
    labels = yolo.read(tmp_path)
    assert [image.name for image in labels.images] == ["images/a.jpg", "images/b.jpg"]
    assert (labels.boxes, labels.rejected) == ([], [])


def test_files_that_do_not_pair_are_rejected(tmp_path: Path) -> None:
    read(tmp_path, "")
    text(tmp_path / "labels" / "stray.txt", "0 0.5 0.5 1 1")
    text(tmp_path / "images" / "broken.jpg", "no image")
    picture(tmp_path / "images" / "a.png")
    reasons = {row.where: row.reason for row in yolo.read(tmp_path).rejected}
    assert reasons == {
        "labels/stray.txt": "label file with no image",
        "images/broken.jpg": "image cannot be opened",
        "images/a.png": "another image has the same label file",
    }


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("names: {0: car, 2: bus}", ["car", "bus"]),
        ("names: ['on', 1.0, null, no]", ["on", "1.0", "null", "no"]),
        ("nc: '1'\nnames:\n- <script>'\"/", ["<script>'\"/"]),
    ],
)
def test_class_names_are_kept_as_text(tmp_path: Path, names: str, classes: list[str]) -> None:
    assert read(tmp_path, "", names).classes == classes


def test_gap_between_class_indices_is_no_class(tmp_path: Path) -> None:
    labels = read(tmp_path, "1 0.5 0.5 1 1\n2 0.5 0.5 1 1", "names: {0: car, 2: bus}")
    assert [box.cls for box in labels.boxes] == ["bus"]
    assert labels.rejected[0].reason == "class 1 of 2"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("nc: 3\nnames: [a, b]", "nc is not the count of 2 names"),
        ("nc: 3", "no names"),
        ("names: []", "no name"),
        ("names: [a, a]", "one name twice"),
        ("names: [a, [b]]", "class name"),
        ("names: {x: a}", "class index"),
        ("- a", "no mapping"),
        ("names: [a\nnc: {", "line 2"),
        ("names: [\x00]", "valid YAML"),
        ("[" * 5000, "valid YAML"),
    ],
)
def test_unusable_names_are_refused(tmp_path: Path, names: str, words: str) -> None:
    with pytest.raises(LabelError, match=words):
        read(tmp_path, "", names)


def test_classes_txt_stands_in_for_data_yaml(tmp_path: Path) -> None:
    read(tmp_path, "1 0.5 0.5 1 1")
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(LabelError, match=r"data\.yaml with class names"):
        yolo.read(tmp_path)
    text(tmp_path / "classes.txt", "car\nbus\n")
    assert yolo.read(tmp_path).boxes[0].cls == "bus"


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="found nothing"):
        yolo.read(tmp_path / "data.yaml")
    text(tmp_path / "data.yaml", NAMES)
    with pytest.raises(LabelError, match="images in a folder"):
        yolo.read(tmp_path)
    read(tmp_path, "")
    (tmp_path / "labels" / "a.txt").write_bytes(b"0 \xff")
    with pytest.raises(LabelError, match="byte 2"):
        yolo.read(tmp_path)


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    read(tmp_path / "real", "1 0.5 0.5 1 1")
    (tmp_path / "real" / "images" / "again").symlink_to(tmp_path / "real", True)
    assert len(yolo.read(tmp_path / "real").images) == 1


@pytest.mark.parametrize(
    "name", ["../../out.jpg", "/etc/out.jpg", "a/../../out.jpg", "..", "x\\..\\y"]
)
def test_written_files_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    target = tmp_path / "deep" / "target"
    image = LabelledImage(name=name, width=10, height=10)
    files = yolo.write(LabelFile(source="x", images=[image], classes=["car"]), target)
    assert len(files) == 2
    assert all(file.resolve().is_relative_to(target.resolve()) for file in files)
    written = {file.resolve() for file in tmp_path.rglob("*") if file.is_file()}
    assert written == {file.resolve() for file in files}


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "labels").symlink_to(tmp_path, True)
    labels = LabelFile(source="x", images=[LabelledImage(name="a.jpg")])
    with pytest.raises(LabelError, match="a path inside"):
        yolo.write(labels, tmp_path / "target")


def test_images_are_copied_when_asked(tmp_path: Path) -> None:
    picture(tmp_path / "from" / "街.jpg")
    box = LabelledBox(image="街.jpg", cls="car", x1=1, y1=2, x2=3, y2=4, where="")
    image = LabelledImage(name="街.jpg", width=200, height=100)
    labels = LabelFile(source="x", images=[image], boxes=[box])
    yolo.write(labels, tmp_path / "to", images_from=tmp_path / "from")
    back = yolo.read(tmp_path / "to")
    assert [row.image for row in back.boxes] == ["images/街.jpg"]
    lost = LabelFile(source="x", images=[LabelledImage(name="../from/街.jpg")])
    with pytest.raises(LabelError, match="the image to copy"):
        yolo.write(lost, tmp_path / "to2", images_from=tmp_path / "to")
