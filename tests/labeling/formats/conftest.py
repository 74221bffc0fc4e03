"""Random labels of films, and what of labels has to come back from a file."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage

FILM_CLASSES = ["汽车", "<script>alert('x')</script>", 'a "b" & c', "a/b: - #d", "1"]
FILM_NAMES = ["北门/a'\"<&>%.mp4", "../../etc/passwd.mp4", "/abs/b.mp4"]
TRACKS = ["1", "7", "人-3", "<b>&'\"", "= 1+1"]

Facts = tuple[list[tuple[object, ...]], dict[tuple[object, ...], tuple[float, ...]]]


@pytest.fixture
def film_labels() -> Callable[..., LabelFile]:
    """Three films with tracks that pause; every fifth frame empty, boxes across the border."""

    def make(seed: int, plain_tracks: bool = False, step: float = 0.04) -> LabelFile:
        dice = random.Random(seed)
        labels = LabelFile(source="random", classes=list(FILM_CLASSES))
        for film in FILM_NAMES:
            pixels = dice.randint(1, 4000), dice.randint(1, 4000)
            for number in sorted(dice.sample(range(60), 25)):
                name = f"{film}/帧'\"<&>% {number}.jpg"
                image = LabelledImage(
                    name=name, width=pixels[0], height=pixels[1],
                    footage=film, pts_s=number * step,
                )  # fmt: skip
                labels.images.append(image)
                tracks = [str(9 + n) for n in range(5)] if plain_tracks else TRACKS
                count = 0 if number % 5 == 0 else dice.randint(1, 4)
                for track in dice.sample(tracks, count):
                    x1, y1 = dice.uniform(-50, pixels[0]), dice.uniform(-50, pixels[1])
                    x2 = x1 + dice.choice([0, dice.uniform(0, 900)])
                    y2 = y1 + dice.uniform(0, 900)
                    labels.boxes.append(
                        LabelledBox(
                            image=name, cls=dice.choice(FILM_CLASSES), x1=x1, y1=y1, x2=x2, y2=y2,
                            where="", track_id=track, origin=dice.choice(["human", "imported"]),
                        )
                    )  # fmt: skip
        return labels

    return make


@pytest.fixture
def facts() -> Callable[[LabelFile], Facts]:
    """What has to come back: images with size and moment, and every label by all but its place."""

    def of(labels: LabelFile) -> Facts:
        images = sorted(
            (i.name, i.width, i.height, i.footage, None if i.pts_s is None else round(i.pts_s, 9))
            for i in labels.images
        )
        boxes: dict[tuple[object, ...], tuple[float, ...]] = {}
        for box in labels.boxes:
            key = (box.image, box.cls, box.track_id, box.task)
            copies = sum(1 for known in boxes if known[:4] == key)
            boxes[(*key, copies)] = (box.x1, box.y1, box.x2, box.y2)
        return images, boxes

    return of


@pytest.fixture
def assert_same(facts: Callable[[LabelFile], Facts]) -> Callable[[LabelFile, LabelFile], None]:
    """The same images, and the same labels to 0.001 px; no row refused."""

    def check(found: LabelFile, expected: LabelFile) -> None:
        assert found.rejected == []
        images, boxes = facts(expected)
        found_images, found_boxes = facts(found)
        assert found_images == images
        assert found_boxes.keys() == boxes.keys()
        assert len(found.boxes) == len(expected.boxes) > 0
        for key, edges in boxes.items():
            assert found_boxes[key] == pytest.approx(edges, abs=1e-3, rel=0), key

    return check
