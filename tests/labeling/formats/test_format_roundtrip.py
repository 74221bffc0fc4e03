"""Random labels written and read back are the same, in every format."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from cityforge.labeling.formats import open_images, registry, studio, studio_min
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage

CLASSES = ["汽车", "<script>alert('x')</script>", 'a "b" & c', "a/b: - #d", "true", "1"]
TARGETS = {"studio": "labels.json", "coco": "labels.json", "voc": "folder", "yolo": "folder"}


def random_labels(seed: int, count: int = 30) -> LabelFile:
    """Images in parts, every fifth without a box; boxes also across the image's border."""
    dice = random.Random(seed)
    labels = LabelFile(source="random", classes=CLASSES)
    for index in range(count):
        part = dice.choice(["train", "valid", "街 道"])
        name = f"{part}/images/帧'\"<&>% {index}.jpg"
        image = LabelledImage(name=name, width=dice.randint(1, 4000), height=dice.randint(1, 4000))
        labels.images.append(image)
        for _ in range(0 if index % 5 == 0 else dice.randint(1, 6)):
            labels.boxes.append(random_box(dice, image))
    return labels


def random_box(dice: random.Random, image: LabelledImage) -> LabelledBox:
    assert image.width is not None
    assert image.height is not None
    x1, y1 = dice.uniform(-50, image.width), dice.uniform(-50, image.height)
    x2, y2 = x1 + dice.choice([0, dice.uniform(0, 900)]), y1 + dice.uniform(-1, 900)
    cls = dice.choice(CLASSES)
    return LabelledBox(image=image.name, cls=cls, x1=x1, y1=y1, x2=x2, y2=y2, where="")


def boxes_by_image(labels: LabelFile) -> dict[str, list[tuple[str, float, float, float, float]]]:
    grouped = defaultdict(list)
    for box in labels.boxes:
        grouped[box.image].append((box.cls, box.x1, box.y1, box.x2, box.y2))
    return dict(grouped)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("format_name", list(TARGETS))
def test_labels_survive_writing_and_reading(tmp_path: Path, format_name: str, seed: int) -> None:
    labels = random_labels(seed)
    target = tmp_path / TARGETS[format_name]
    if format_name == "yolo":  # sizes stand in the image files only
        for image in labels.images:
            path = target / image.name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (image.width or 0, image.height or 0)).save(path)
    files = registry.write(labels, target, format_name)
    assert all(file.is_file() for file in files)
    assert registry.detect(target) == format_name
    back = registry.read(target)

    assert back.rejected == []
    stated = sorted((i.name, i.width, i.height) for i in labels.images)
    assert sorted((i.name, i.width, i.height) for i in back.images) == stated
    expected, found = boxes_by_image(labels), boxes_by_image(back)
    assert len(back.boxes) == len(labels.boxes) > 50
    assert found.keys() == expected.keys()
    for image_name, rows in expected.items():
        assert [row[0] for row in found[image_name]] == [row[0] for row in rows]
        for row, row_found in zip(rows, found[image_name], strict=True):
            assert row_found[1:] == pytest.approx(row[1:], abs=1e-3, rel=0)


def with_classes_and_points(seed: int, points: bool) -> LabelFile:
    """Random labels, some as classes of the whole image and, where asked, some as points."""
    dice = random.Random(seed)
    labels = random_labels(seed)
    boxes = [*labels.boxes]
    for box in boxes:
        kind = dice.choice(["detection", "classification", "density"])
        if kind == "classification":
            flat = replace(box, x1=0, y1=0, x2=0, y2=0, task="classification")
            labels.boxes[labels.boxes.index(box)] = flat
        elif kind == "density" and points:
            flat = replace(box, x2=box.x1, y2=box.y1, task="density")
            labels.boxes[labels.boxes.index(box)] = flat
    return labels


def rows_of(labels: LabelFile) -> list[tuple[object, ...]]:
    """Every label to a thousandth of a pixel, in an order of its own."""
    return sorted(
        (b.image, b.task, b.cls, *(round(edge, 3) + 0.0 for edge in (b.x1, b.y1, b.x2, b.y2)))
        for b in labels.boxes
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("form", [studio, studio_min, open_images])
def test_boxes_points_and_classes_survive(tmp_path: Path, form: ModuleType, seed: int) -> None:
    labels = with_classes_and_points(seed, points=form is not open_images)
    kinds = {box.task for box in labels.boxes}
    assert len(kinds) == (2 if form is open_images else 3)
    target = tmp_path / ("folder" if form is open_images else "labels.json")
    assert all(file.is_file() for file in form.write(labels, target))
    back = form.read(target)
    assert back.rejected == []
    stated = sorted((i.name, i.width, i.height) for i in labels.images)
    assert sorted((i.name, i.width, i.height) for i in back.images) == stated
    assert len(back.boxes) == len(labels.boxes) > 50
    for found, row in zip(rows_of(back), rows_of(labels), strict=True):
        assert found[:3] == row[:3]
        assert found[3:] == pytest.approx(row[3:], abs=1.5e-3, rel=0)
