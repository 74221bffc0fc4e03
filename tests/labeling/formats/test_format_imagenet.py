"""ImageNet-style folders: layouts, names no folder can have, and torchvision's own reader."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from cityforge.errors import LabelError, ServiceError
from cityforge.labeling.formats import imagenet
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage


def picture(path: Path, size: tuple[int, int] = (20, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(path)


def jpeg(name: str) -> bytes:
    """A picture whose width tells its name."""
    stream = io.BytesIO()
    Image.new("L", (10 + len(name), 10)).save(stream, "jpeg")
    return stream.getvalue()


def label(image: str, cls: str) -> LabelledBox:
    return LabelledBox(
        image=image, cls=cls, x1=0, y1=0, x2=0, y2=0, where="", task="classification"
    )


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["car/1.jpg", "bus/1.jpg"], [("bus/1.jpg", "bus"), ("car/1.jpg", "car")]),
        (["train/car/1.jpg", "val/汽车/1.png"],
         [("train/car/1.jpg", "car"), ("val/汽车/1.png", "汽车")]),
        (["car/day/1.JPG"], [("car/day/1.JPG", "car")]),
        (["train/1.jpg", "other/1.jpg"], [("other/1.jpg", "other"), ("train/1.jpg", "train")]),
    ],
)  # fmt: skip
def test_layouts(tmp_path: Path, files: list[str], found: list[tuple[str, str]]) -> None:
    for file in files:
        picture(tmp_path / file)
    labels = imagenet.read(tmp_path)
    assert [(box.image, box.cls) for box in labels.boxes] == found
    assert {(box.task, box.x1, box.y1, box.x2, box.y2) for box in labels.boxes} == {
        ("classification", 0, 0, 0, 0)
    }
    assert [(i.name, i.width, i.height) for i in labels.images] == [(n, 20, 10) for n, _ in found]
    assert labels.rejected == []


def test_what_is_no_picture_in_a_class_is_listed(tmp_path: Path) -> None:
    picture(tmp_path / "car" / "1.jpg")
    picture(tmp_path / "loose.jpg")
    (tmp_path / "car" / "notes.txt").write_text("x")
    (tmp_path / "car" / "broken.jpg").write_text("x")
    labels = imagenet.read(tmp_path)
    assert {row.where: row.reason for row in labels.rejected} == {
        "car/broken.jpg": "image cannot be opened",
        "car/notes.txt": "no image",
        "loose.jpg": "an image in no class folder",
    }
    assert len(labels.boxes) == 1


def test_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="a folder of class folders"):
        imagenet.read(tmp_path)
    with pytest.raises(LabelError, match="No such file"):
        imagenet.read(tmp_path / "none")


@pytest.mark.parametrize(
    ("files", "known"),
    [
        (["car/1.jpg"], True),
        (["train/car/1.jpg", "test/car/2.jpg"], True),
        (["images/1.jpg"], False),
        (["a/images/1.jpg"], False),
        (["a/notes.txt"], False),
    ],
)
def test_folder_is_recognised(tmp_path: Path, files: list[str], known: bool) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_bytes(jpeg("x"))
    assert imagenet.looks_like_imagenet(tmp_path) is known


CLASSES = ["汽车", "a/b", "../up", "=1+1", "<script>'\"", "train", ".", "a_b", "with\nline"]


def hostile() -> LabelFile:
    names = [f"{index}/../../帧 {index}.jpg" for index in range(len(CLASSES))]
    images = [LabelledImage(name=name) for name in [*names, "none.jpg", "no suffix"]]
    boxes = [label(name, cls) for name, cls in zip(names, CLASSES, strict=True)]
    boxes += [label(names[0], "a/b"), label("no suffix", "汽车")]
    return LabelFile(source="x", images=images, boxes=boxes, classes=["nowhere"])


def test_labels_come_back_and_stay_inside(tmp_path: Path) -> None:
    labels = hostile()
    target = tmp_path / "deep" / "target"
    files = imagenet.write(labels, target, images=jpeg)
    written = {file for file in tmp_path.rglob("*") if file.is_file()}
    assert written == set(files)
    assert len(written) == len(labels.boxes) + 2
    assert all(file.resolve().is_relative_to(target.resolve()) for file in files)
    assert imagenet.looks_like_imagenet(target)
    back = imagenet.read(target)
    assert back.rejected == []
    assert {(box.image, box.cls) for box in back.boxes} == {
        (box.image, box.cls) for box in labels.boxes
    }
    assert len(back.boxes) == len(labels.boxes) == 11
    assert {image.name for image in back.images} == {image.name for image in labels.images}
    assert back.classes == ["nowhere", *CLASSES]
    assert all(image.width == 10 + len(image.name) for image in back.images if image.width)


def test_torchvision_reads_what_is_written(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    labels = hostile()
    imagenet.write(labels, tmp_path / "to", images=jpeg)
    folder = ImageFolder(str(tmp_path / "to"))
    assert len(folder) == len(labels.boxes)
    assert len(folder.classes) == len(CLASSES)
    assert {"汽车", "a_b", "train"} < set(folder.classes)


def test_pictures_put_there_later_are_read_by_their_folder(tmp_path: Path) -> None:
    imagenet.write(hostile(), tmp_path, images=jpeg)
    (folder,) = [each for each in tmp_path.iterdir() if each.name.startswith("a_b-")]
    picture(folder / "new.jpg")
    new = [box.cls for box in imagenet.read(tmp_path).boxes if box.image.endswith("new.jpg")]
    assert new == ["a/b"]


def test_picture_that_is_gone_is_listed(tmp_path: Path) -> None:
    files = imagenet.write(hostile(), tmp_path, images=jpeg)
    files[0].unlink()
    labels = imagenet.read(tmp_path)
    assert [row.reason for row in labels.rejected] == ["image cannot be opened"]
    assert len(labels.boxes) == len(hostile().boxes) - 1


def test_without_pictures_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="the pictures to put into the class folders"):
        imagenet.write(hostile(), tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_boxes_and_points_are_refused(tmp_path: Path) -> None:
    box = LabelledBox(image="a.jpg", cls="car", x1=0, y1=0, x2=1, y2=1, where="")
    labels = LabelFile(source="x", images=[LabelledImage(name="a.jpg")], boxes=[box])
    with pytest.raises(LabelError, match="ImageNet folders can hold"):
        imagenet.write(labels, tmp_path / "to", images=jpeg)


def test_two_images_for_one_file_and_strays_are_refused(tmp_path: Path) -> None:
    images = [LabelledImage(name=name) for name in ("a", "a.jpg")]
    boxes = [label("a", "car"), label("a.jpg", "car")]
    with pytest.raises(LabelError, match="one file for each image"):
        imagenet.write(LabelFile(source="x", images=images, boxes=boxes), tmp_path, images=jpeg)
    picture(tmp_path / "old" / "1.jpg")
    with pytest.raises(LabelError, match="without other files"):
        imagenet.write(hostile(), tmp_path, images=jpeg)


def test_disk_that_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="a place to write images"):
        imagenet.write(hostile(), tmp_path / "file" / "to", images=jpeg)


def test_broken_table_is_refused(tmp_path: Path) -> None:
    imagenet.write(hostile(), tmp_path, images=jpeg)
    (tmp_path / "labels.csv").write_text("a,b\n")
    with pytest.raises(LabelError, match="the columns file, image, class"):
        imagenet.read(tmp_path)


def test_path_out_of_the_folder_in_the_table_is_not_followed(tmp_path: Path) -> None:
    picture(tmp_path / "secret.jpg")
    imagenet.write(hostile(), tmp_path / "to", images=jpeg)
    with (tmp_path / "to" / "labels.csv").open("a") as table:
        table.write("../secret.jpg,x.jpg,car\r\n")
    assert [row.reason for row in imagenet.read(tmp_path / "to").rejected] == [
        "image cannot be opened"
    ]
