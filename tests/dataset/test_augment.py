"""Boxes follow their pixels through every change of a picture."""

from __future__ import annotations

import numpy as np
import pytest

from cityforge.dataset.augment import LEAST_SIDE_PX, Sample, flip, place, recolour
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
                assert box[2] - box[0] == pytest.approx(40 * scale, abs=1e-3)
    assert len(errors) > 10
    # Made smaller, an edge falls between the points looked at; on average it must not.
    assert np.abs(errors).max() < 0.35
    assert np.abs(np.mean(errors, axis=0)).max() < 0.12


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


def test_recolouring_leaves_the_boxes_and_changes_the_pixels() -> None:
    before = painted(2)
    grey = Sample(before.image // 2 + 60, before.xyxy, before.cls)
    after = recolour(grey, np.random.default_rng(3))
    assert (after.xyxy == grey.xyxy).all()
    assert (after.cls == grey.cls).all()
    assert after.image.dtype == np.uint8
    assert np.abs(after.image.astype(int) - grey.image).mean() > 3
    assert (after.image == recolour(grey, np.random.default_rng(3)).image).all()


def test_a_picture_without_boxes_stays_one() -> None:
    none = Sample(np.zeros((40, 50, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, int))
    rng = np.random.default_rng(0)
    for picks, scales in (([none], [1.0]), ([none] * 4, [1.0] * 4)):
        sample = flip(place(picks, WIDTH, HEIGHT, scales, rng))
        assert sample.xyxy.shape == (0, 4)
        assert sample.cls.shape == (0,)
