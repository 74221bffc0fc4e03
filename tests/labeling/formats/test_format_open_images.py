"""OpenImages CSV: its own tables, other tools' tables, and every kind of rejected row."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from cityforge.errors import LabelError
from cityforge.labeling.formats import open_images
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage

BOXES = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,"
    "IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
)
ROW = "0001,xclick,/m/0k4j,1,0.1,0.5,0.2,0.8,0,1,0,0,0\n"
CLASSES = "/m/0k4j,Car\n/m/01g317,Person\n"
LABELS = "ImageID,Source,LabelName,Confidence\n"


def make(folder: Path, **tables: str) -> Path:
    for file, text in tables.items():
        (folder / f"{file.replace('_', '-')}.csv").write_text(text, encoding="utf-8")
    path = folder / "train" / "0001.jpg"
    path.parent.mkdir(exist_ok=True)
    Image.new("L", (200, 100)).save(path)
    return folder


def test_tables_as_open_images_publishes_them(tmp_path: Path) -> None:
    labels = open_images.read(
        make(
            tmp_path,
            train_annotations_bbox=BOXES + ROW,
            train_annotations_human_imagelabels=LABELS + "0001,verification,/m/01g317,1\n",
            class_descriptions_boxable=CLASSES,
        )
    )
    box, label = labels.boxes
    assert (box.cls, label.cls, label.task) == ("Car", "Person", "classification")
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((20, 20, 100, 80), abs=1e-9)
    assert [(i.name, i.width, i.height) for i in labels.images] == [("train/0001.jpg", 200, 100)]
    assert (labels.classes, labels.rejected) == (["Car", "Person"], [])
    assert box.where == "train-annotations-bbox.csv line 2"


@pytest.mark.parametrize("header", ["", "LabelName,DisplayName\n"])
def test_class_descriptions_with_and_without_header(tmp_path: Path, header: str) -> None:
    make(tmp_path, boxes=BOXES + ROW, oidv6_class_descriptions=header + CLASSES)
    assert open_images.read(tmp_path).boxes[0].cls == "Car"


def test_one_file_and_what_lies_beside_it(tmp_path: Path) -> None:
    make(tmp_path, one=BOXES + ROW, two=BOXES + ROW, class_descriptions=CLASSES)
    labels = open_images.read(tmp_path / "one.csv")
    assert [(box.cls, box.image) for box in labels.boxes] == [("Car", "train/0001.jpg")]


def test_without_descriptions_the_label_is_the_class(tmp_path: Path) -> None:
    make(tmp_path, boxes=BOXES + ROW.replace("/m/0k4j", "汽车"))
    assert open_images.read(tmp_path).boxes[0].cls == "汽车"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ROW.replace("/m/0k4j", "/m/none"), "of no class description"),
        (ROW.replace("0.1", "left"), "XMin is no number"),
        (ROW.replace("0.1", "nan"), "XMin is no number"),
        (ROW.replace("0.5", "1e999"), "XMax is not finite"),
        (ROW.replace(",0,1,0,", ",0,1,1,"), "a group of objects"),
        (ROW.replace(",1,0.1", ",0.7,0.1"), "a guess, no label"),
        (ROW.replace(",1,0.1", ",0,0.1"), "said to be absent"),
        (ROW.replace("0001", "0002"), "size of the image is not known"),
        (ROW.replace("0001", " "), "ImageID is missing"),
        ("0001,xclick\n", "LabelName is missing"),
    ],
)
def test_unusable_row_is_rejected(tmp_path: Path, row: str, reason: str) -> None:
    labels = open_images.read(make(tmp_path, boxes=BOXES + ROW + row, class_descriptions=CLASSES))
    (rejected,) = labels.rejected
    assert len(labels.boxes) == 1
    assert reason in rejected.reason
    assert rejected.where == "boxes.csv line 3"


def test_tables_of_other_kinds_are_listed(tmp_path: Path) -> None:
    masks = "MaskPath,ImageID,LabelName,BoxID\na.png,0001,/m/0k4j,x\n"
    images = "ImageID,Subset,OriginalURL\n0001,train,http://127.0.0.1:9/a.jpg\n"
    labels = open_images.read(make(tmp_path, boxes=BOXES + ROW, masks=masks, images=images))
    assert [row.where for row in labels.rejected] == ["images.csv", "masks.csv"]


def test_two_files_of_one_id_give_no_size(tmp_path: Path) -> None:
    make(tmp_path, boxes=BOXES + ROW)
    Image.new("L", (20, 10)).save(tmp_path / "0001.png")
    assert "not known" in open_images.read(tmp_path).rejected[0].reason


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "ImageID;LabelName\n1;2\n"])
def test_folder_without_labels_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert not open_images.looks_like_open_images(tmp_path)
    with pytest.raises(LabelError, match=r"a\.csv \(another table\)"):
        open_images.read(tmp_path)
    with pytest.raises(LabelError, match="found nothing"):
        open_images.read(tmp_path / "none.csv")


NAMES = ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "\tx", "'=1", "a;=1", 'a"b', "<script>", "../x"]


def hostile() -> LabelFile:
    images = [LabelledImage(name=f"{name}.jpg", width=200, height=100) for name in NAMES]
    boxes = [
        LabelledBox(image=image.name, cls=cls, x1=-1.5, y1=2.25, x2=30.125, y2=99, where="")
        for image, cls in zip(images, NAMES, strict=True)
    ]
    return LabelFile(source="x", images=images, boxes=boxes, classes=["unused"])


def test_hostile_names_are_inert_and_come_back(tmp_path: Path) -> None:
    labels = hostile()
    target = tmp_path / "deep" / "target"
    files = open_images.write(labels, target)
    assert {file.parent for file in files} == {target}
    cells = [cell for file in files for row in csv.reader(file.open(newline="")) for cell in row]
    numbers = [cell for cell in cells if cell.replace(".", "").replace("-", "").isdigit()]
    risky = [cell for cell in cells if cell not in numbers and cell[:1] in tuple("=+-@\t")]
    assert len(cells) > 100
    assert risky == [""] * len(risky)
    assert open_images.looks_like_open_images(target)
    back = open_images.read(target)
    assert [image.name for image in back.images] == [image.name for image in labels.images]
    assert [(box.image, box.cls) for box in back.boxes] == [
        (box.image, box.cls) for box in labels.boxes
    ]
    assert (back.classes, back.rejected) == (["unused", *NAMES], [])
    edges = [(box.x1, box.y1, box.x2, box.y2) for box in back.boxes]
    assert edges == [pytest.approx((-1.5, 2.25, 30.125, 99), abs=1e-9)] * len(NAMES)


def test_film_moment_and_unlabelled_image_are_kept(tmp_path: Path) -> None:
    image = LabelledImage(name="a.jpg", footage="街.mp4", pts_s=1.5)
    open_images.write(LabelFile(source="x", images=[image]), tmp_path)
    (back,) = open_images.read(tmp_path).images
    assert (back.name, back.footage, back.pts_s, back.width) == ("a.jpg", "街.mp4", 1.5, None)


@pytest.mark.parametrize(
    ("task", "names", "words"),
    [
        ("density", ["a.jpg"], "OpenImages can hold.*1 of density"),
        ("detection", ["a.jpg", "a.png"], "one ImageID for each image"),
        ("detection", ["a.jpg"], "width and height"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, task: str, names: list[str], words: str
) -> None:
    box = LabelledBox(image="a.jpg", cls="a", x1=1, y1=1, x2=1, y2=1, where="", task=task)  # type: ignore[arg-type]
    images = [LabelledImage(name=name) for name in names]
    with pytest.raises(LabelError, match=words):
        open_images.write(LabelFile(source="x", images=images, boxes=[box]), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_other_tables_in_the_folder_are_refused(tmp_path: Path) -> None:
    open_images.write(hostile(), tmp_path)
    open_images.write(hostile(), tmp_path)
    (tmp_path / "old.csv").write_text("")
    with pytest.raises(LabelError, match=r"old\.csv"):
        open_images.write(hostile(), tmp_path)
