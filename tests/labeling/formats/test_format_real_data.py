"""Published datasets: as many images and boxes as an independent count of the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from cityforge.labeling.formats import open_images, registry, studio_min
from cityforge.labeling.formats.rows import LabelFile

pytestmark = pytest.mark.real


def lines_with_text(folder: Path) -> int:
    rows = [file.read_bytes().split(b"\n") for file in folder.glob("*/labels/*.txt")]
    return sum(1 for lines in rows for line in lines if line.strip())


def boxes_by_name(labels: LabelFile) -> list[tuple[object, ...]]:
    return sorted(
        (b.image, b.cls, *(round(edge, 3) + 0.0 for edge in (b.x1, b.y1, b.x2, b.y2)))
        for b in labels.boxes
    )


@pytest.mark.parametrize(
    ("part", "images", "boxes"), [("street_garbage", 550, 1484), ("highway", 420, 910)]
)
def test_yolo_dataset(real_data: Callable[[str], Path], part: str, images: int, boxes: int) -> None:
    folder = real_data(part)
    labels = registry.read(folder)
    files = {f.relative_to(folder).as_posix() for f in folder.glob("*/images/*.jpg")}
    assert {image.name for image in labels.images} == files
    assert (len(files), lines_with_text(folder)) == (images, boxes)
    assert (len(labels.images), len(labels.boxes), labels.rejected) == (images, boxes, [])
    with_boxes = {box.image for box in labels.boxes}
    filled = {f.stem for f in folder.glob("*/labels/*.txt") if f.stat().st_size}
    assert {Path(name).stem for name in with_boxes} == filled
    assert all(box.x1 >= -1 and box.y1 >= -1 for box in labels.boxes)


@pytest.mark.parametrize(("part", "images"), [("train", 85), ("valid", 24), ("test", 12)])
def test_coco_dataset(real_data: Callable[[str], Path], part: str, images: int) -> None:
    folder = real_data("drone_person") / part
    rows = json.loads((folder / "_annotations.coco.json").read_text(encoding="utf-8"))
    labels = registry.read(folder)
    assert {image.name for image in labels.images} == {f.name for f in folder.glob("*.jpg")}
    assert len(labels.images) == len(rows["images"]) == images
    assert len(labels.boxes) == len(rows["annotations"])
    assert labels.rejected == []
    assert {box.cls for box in labels.boxes} == {"person"}
    area = sum(row["bbox"][2] * row["bbox"][3] for row in rows["annotations"])
    found = sum((box.x2 - box.x1) * (box.y2 - box.y1) for box in labels.boxes)
    assert found == pytest.approx(area)


@pytest.mark.parametrize("format_name", ["studio", "coco", "voc"])
def test_real_labels_in_another_format(
    real_data: Callable[[str], Path], tmp_path: Path, format_name: str
) -> None:
    labels = registry.read(real_data("highway"))
    target = tmp_path / ("folder" if format_name == "voc" else "labels.json")
    registry.write(labels, target, format_name)
    back = registry.read(target)
    assert {i.name for i in back.images} == {i.name for i in labels.images}
    assert boxes_by_name(back) == boxes_by_name(labels)


@pytest.mark.parametrize("form", [studio_min, open_images])
@pytest.mark.parametrize(
    ("part", "images", "boxes"),
    [
        ("street_garbage", 550, 1484),
        ("highway", 420, 910),
        ("drone_person/train", 85, 100),
    ],
)
def test_real_labels_in_other_tools_tables(
    real_data: Callable[[str], Path],
    tmp_path: Path,
    form: ModuleType,
    part: str,
    images: int,
    boxes: int,
) -> None:
    labels = registry.read(real_data(part))
    target = tmp_path / ("folder" if form is open_images else "labels.json")
    form.write(labels, target)
    back = form.read(target)
    assert (len(back.images), len(back.boxes), back.rejected) == (images, boxes, [])
    assert {(i.name, i.width, i.height) for i in back.images} == {
        (i.name, i.width, i.height) for i in labels.images
    }
    assert boxes_by_name(back) == boxes_by_name(labels)
