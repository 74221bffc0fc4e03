"""Boxes follow their pixels through every change of a picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cityforge.dataset.augment import (
    LEAST_SIDE_PX,
    LOOKS,
    Sample,
    change_looks,
    flip,
    place,
    recolour,
)
from cityforge.tasks.picture import GREY

COLOURS = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0]], np.uint8)
WIDTH, HEIGHT = 128, 96


def painted(number: int, xyxy: tuple[int, int, int, int] = (20, 15, 60, 45)) -> Sample:
    """One rectangle of the colour of its class on black."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    x1, y1, x2, y2 = xyxy
    image[y1:y2, x1:x2] = COLOURS[number]
    return Sample(image, np.array([xyxy], np.float32), np.array([number]))


def extent(image: np.ndarray, colour: np.ndarray) -> tuple[float, float, float, float]:
    """xyxy of where a colour is at least half there, to a part of a pixel, as edges are mixed."""
    other = 250 - colour.astype(float)
    amount = (image * (colour / 250)).sum(2) - (image * (other / 250)).sum(2)
    share = np.clip(amount / (colour.astype(float).sum()), 0, 1)
    share[np.abs(image.astype(int) - GREY).max(2) < 2] = 0
    across, down = share.max(0), share.max(1)
    x, y = np.flatnonzero(across > 0.02), np.flatnonzero(down > 0.02)
    centre_x = (across * (np.arange(len(across)) + 0.5)).sum() / across.sum()
    centre_y = (down * (np.arange(len(down)) + 0.5)).sum() / down.sum()
    assert len(x)
    assert len(y)
    half = across.sum() / 2, down.sum() / 2
    return centre_x - half[0], centre_y - half[1], centre_x + half[0], centre_y + half[1]


@pytest.mark.parametrize("scale", [0.5, 0.6, 0.8, 1.0, 1.3, 1.5, 2.0])
def test_a_placed_box_stands_on_its_pixels(scale: float) -> None:
    errors = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sample = place([painted(0)], WIDTH, HEIGHT, [scale], rng)
        assert sample.image.shape == (HEIGHT, WIDTH, 3)
        for box in sample.xyxy:
            whole = box[0] > 1 and box[1] > 1 and box[2] < WIDTH - 1 and box[3] < HEIGHT - 1
            if whole:
                errors.append(box - extent(sample.image, COLOURS[0]))
                # A picture is made larger by whole pixels.
                assert box[2] - box[0] == pytest.approx(40 * scale, rel=0.01)
    assert len(errors) > 10
    # Made smaller, an edge falls between the points looked at.
    assert np.abs(errors).max() < 0.35
    assert np.abs(np.mean(errors)) < 0.12


def test_four_pictures_keep_each_box_on_its_colour() -> None:
    checked: set[int] = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        samples = [painted(number) for number in range(4)]
        sample = place(samples, WIDTH, HEIGHT, [0.6, 0.8, 1.0, 1.2], rng)
        assert len(sample.xyxy) == len(sample.cls)
        for box, number in zip(sample.xyxy, sample.cls, strict=True):
            x, y = int((box[0] + box[2]) / 2), int((box[1] + box[3]) / 2)
            assert np.abs(sample.image[y, x].astype(int) - COLOURS[number]).max() < 30
            checked.add(int(number))
    assert checked == {0, 1, 2, 3}


def test_boxes_never_leave_the_canvas() -> None:
    boxes = 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        xyxy = [(int(a), int(b), int(a) + 30, int(b) + 25) for a, b in rng.integers(0, 70, (4, 2))]
        samples = [painted(number, each) for number, each in enumerate(xyxy)]
        count = 4 if seed % 2 else 1
        scales = rng.uniform(0.5, 2, count).tolist()
        sample = place(samples[:count], WIDTH, HEIGHT, scales, rng)
        assert sample.xyxy.dtype == np.float32
        assert (sample.xyxy >= 0).all()
        assert (sample.xyxy <= (WIDTH, HEIGHT, WIDTH, HEIGHT)).all()
        assert (sample.xyxy[:, 2:] - sample.xyxy[:, :2] >= LEAST_SIDE_PX).all()
        boxes += len(sample.xyxy)
    assert boxes > 50


def test_a_box_cut_to_a_sliver_is_left_out() -> None:
    class AtLeft(np.random.Generator):
        """Draws nothing but the highest number: the picture moves as far left as it can."""

        def uniform(self, low: float = 0, high: float = 1, size: object = None) -> float:
            return high

    rng = AtLeft(np.random.PCG64(0))
    slivers = [(0, 60, 70, 90), (60, 20, 100, 50), (100, 60, 127, 90)]
    sample = Sample(
        np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.array(slivers, np.float32), np.arange(3)
    )
    placed = place([sample], WIDTH, HEIGHT, [2.0], rng)  # shows x 64 to 128, y 48 to 96
    assert placed.cls.tolist() == [2]
    assert placed.xyxy[0].tolist() == [72, 24, 126, 84]


def test_flipping_mirrors_picture_and_boxes() -> None:
    flipped = flip(painted(1, (10, 5, 50, 35)))
    assert flipped.xyxy.tolist() == [[78, 5, 118, 35]]
    assert (flipped.image[5:35, 78:118] == COLOURS[1]).all()
    assert flipped.image.sum() == painted(1, (10, 5, 50, 35)).image.sum()
    twice = flip(flipped)
    assert (twice.image == painted(1, (10, 5, 50, 35)).image).all()


def test_recolouring_changes_the_pixels_as_the_seed_says() -> None:
    grey = replace(painted(2), image=painted(2).image // 2 + 60)
    after = recolour(grey.image, np.random.default_rng(3))
    assert after.dtype == np.uint8
    assert np.abs(after.astype(int) - grey.image).mean() > 3
    assert (after == recolour(grey.image, np.random.default_rng(3))).all()


def test_a_picture_without_boxes_stays_one() -> None:
    none = Sample(np.zeros((40, 50, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, int))
    rng = np.random.default_rng(0)
    for picks, scales in (([none], [1.0]), ([none] * 4, [1.0] * 4)):
        sample = flip(place(picks, WIDTH, HEIGHT, scales, rng))
        assert sample.xyxy.shape == (0, 4)
        assert sample.cls.shape == (0,)


def dotted(points: list[tuple[int, int]], task: str = "density") -> Sample:
    """A red dot of 5 x 5 pixels around each point, on black."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for x, y in points:
        image[y - 2 : y + 3, x - 2 : x + 3] = COLOURS[0]
    middles = np.array(points, np.float32).reshape(-1, 2) + 0.5
    return Sample(image, np.tile(middles, 2), np.zeros(len(points), int), task)


POINTS = [(20, 15), (64, 48), (110, 80), (30, 70)]


@pytest.mark.parametrize("count", [1, 4])
def test_points_stay_on_their_dots_and_only_while_they_are_seen(count: int) -> None:
    kept = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scales = rng.uniform(0.7, 1.8, count).tolist()
        sample = flip(place([dotted(POINTS)] * count, WIDTH, HEIGHT, scales, rng))
        assert (sample.xyxy[:, :2] == sample.xyxy[:, 2:]).all()
        assert (sample.xyxy >= 0).all()
        assert (sample.xyxy < (WIDTH, HEIGHT, WIDTH, HEIGHT)).all()
        for x, y in sample.xyxy[:, :2].astype(int):
            assert sample.image[y, x, 0] > 90
        red = (sample.image[:, :, 0] > 200) & (sample.image[:, :, 1] < 60)
        # A dot cut in the middle by an edge is still counted, or is not any more.
        assert abs(red.sum() / (25 * np.mean(np.square(scales))) - len(sample.xyxy)) < 3.5
        kept += len(sample.xyxy)
    assert kept > 80


def test_of_boxes_a_point_is_nothing() -> None:
    rng = np.random.default_rng(0)
    placed = place([dotted(POINTS, "detection")], WIDTH, HEIGHT, [1.0], rng)
    assert len(placed.xyxy) == 0
    assert len(place([dotted(POINTS)], WIDTH, HEIGHT, [1.0], rng).xyxy) == len(POINTS)


def test_a_point_on_the_left_edge_is_within_the_picture_when_mirrored() -> None:
    edge = replace(dotted([]), xyxy=np.zeros((1, 4), np.float32), cls=np.zeros(1, int))
    assert WIDTH - 0.01 < flip(edge).xyxy[0, 0] < WIDTH


def test_the_classes_of_a_whole_picture_stay_however_it_is_placed() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    whole = Sample(image, np.zeros((2, 4), np.float32), np.array([1, 3]), "classification")
    for scale in (0.5, 1.0, 4.0):
        sample = flip(place([whole], WIDTH, HEIGHT, [scale], np.random.default_rng(1)))
        assert sample.cls.tolist() == [1, 3]
        assert not sample.xyxy.any()


@pytest.mark.parametrize("scale", [0.4, 0.9, 1.7])
def test_what_is_shown_is_where_there_is_no_margin(scale: float) -> None:
    white = Sample(np.full((60, 90, 3), 250, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0))
    for seed in range(10):
        sample = flip(place([white], WIDTH, HEIGHT, [scale], np.random.default_rng(seed)))
        assert (sample.view == 250).all()
        assert (sample.image == 250).all(2).sum() == sample.view[:, :, 0].size


@pytest.mark.parametrize("name", LOOKS)
def test_a_margin_stays_grey_and_boxes_stay_where_they_are(name: str) -> None:
    rng = np.random.default_rng(4)
    sample = place([painted(2)], WIDTH, HEIGHT, [0.5], rng)
    before = sample.image.copy()
    change_looks(sample, name, rng)
    left, top, right, bottom = sample.shown or (0, 0, 0, 0)
    changed = (sample.image != before).any(2)
    assert changed[top:bottom, left:right].any()
    changed[top:bottom, left:right] = False
    assert not changed.any()
    assert len(sample.xyxy) == 1
