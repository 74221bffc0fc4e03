"""Counted with weights, the figures are COCO's on the frames repeated as often."""

from __future__ import annotations

import time

import numpy as np
import pytest
from drawn_boxes import boxes, random_boxes, repeated

from cityforge.tasks.detection.curves import rates
from cityforge.tasks.detection.metrics import coco_metrics
from cityforge.tasks.detection.weighted import WeightedDetections

FRAMES, CLASSES = 15, 3
NAMES = ["a", "b", "c"]
OF_COCO = ("map50", "map50_95", "map75", "ar100")
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}
A, B = (0, 0, 100, 100), (200, 0, 300, 100)


def drawn(seed: int, resamples: int) -> np.ndarray:
    """The frames once each, then draws with replacement."""
    draws = np.random.default_rng(seed).multinomial(FRAMES, [1 / FRAMES] * FRAMES, resamples - 1)
    return np.vstack([np.ones((1, FRAMES), np.int64), draws])


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_repeated_frames(seed):
    truth, found = random_boxes(seed, FRAMES, CLASSES, ties=False)
    weights = drawn(seed, 4)
    figures = WeightedDetections.of(truth, found, FRAMES, CLASSES, threshold=0.4).figures(weights)
    for row, times in enumerate(weights):
        again = repeated(truth, times), repeated(found, times)
        expected = coco_metrics(*again, int(times.sum()), NAMES)
        for name in OF_COCO:
            assert figures[name][row] == pytest.approx(getattr(expected, name), abs=1e-9), name
        at = rates(*again, CLASSES, 0.4)
        precision = at.correct.sum() / at.found.sum()
        assert figures["precision"][row] == pytest.approx(precision, abs=1e-12)
        assert figures["recall"][row] == pytest.approx(at.correct.sum() / at.truth.sum())
        both = at.found.sum() + at.truth.sum()
        assert figures["f1"][row] == pytest.approx(2 * at.correct.sum() / both)


@pytest.mark.parametrize("size", SIZES)
def test_boxes_of_one_size_are_those_of_coco(size):
    for seed in range(3):
        truth, found = random_boxes(seed, FRAMES, CLASSES, ties=False)
        weights = drawn(seed, 3)
        pairs = WeightedDetections.of(truth, found, FRAMES, CLASSES, ious=(0.5,), area=SIZES[size])
        own = pairs.map50(weights)
        for row, times in enumerate(weights):
            again = repeated(truth, times), repeated(found, times)
            expected = coco_metrics(*again, int(times.sum()), NAMES)
            name = f"map50_{size}"
            assert own[row] == pytest.approx(getattr(expected, name), abs=1e-9, nan_ok=True)


def test_a_truth_of_another_size_is_taken_last():
    # 32 × 30 is small, 32 × 34 medium; the detection covers the medium one best, and both by half
    truth = boxes((0, 0, (0, 0, 32, 30), 1), (0, 0, (0, 0, 32, 34), 1))
    found = boxes((0, 0, (0, 0, 32, 34), 0.9))
    expected = coco_metrics(truth, found, 1, ["car"])
    assert (expected.map50_small, expected.map50_medium) == (1.0, 1.0)
    for size in ("small", "medium"):
        pairs = WeightedDetections.of(truth, found, 1, 1, ious=(0.5,), area=SIZES[size])
        assert pairs.map50(np.ones((1, 1), np.int64)).tolist() == [1.0]


def test_ties_across_frames_and_more_than_a_hundred_of_one_frame():
    truth, found = random_boxes(2, FRAMES, CLASSES, ties=True)
    whole = WeightedDetections.of(truth, found, FRAMES, CLASSES)
    expected = coco_metrics(truth, found, FRAMES, NAMES)
    own = whole.figures(np.ones((1, FRAMES), np.int64))
    assert own["map50_95"][0] == pytest.approx(expected.map50_95, abs=1e-9)
    crowded = random_boxes(5, 2, 1, ties=False, each=180)
    own = WeightedDetections.of(*crowded, 2, 1).figures(np.ones((1, 2), np.int64))
    assert own["ar100"][0] == pytest.approx(coco_metrics(*crowded, 2, ["a"]).ar100, abs=1e-9)


def test_a_part_of_the_frames_is_measured_as_if_there_were_no_others():
    truth, found = random_boxes(3, FRAMES, CLASSES, ties=False)
    rows = np.arange(FRAMES) % 3 == 1
    pairs = WeightedDetections.of(truth, found, FRAMES, CLASSES)
    own = pairs.within(rows).map50(rows[None].astype(np.int64))
    expected = coco_metrics(
        truth.where(rows[truth.frame]), found.where(rows[found.frame]), 15, NAMES
    )
    assert own[0] == pytest.approx(expected.map50, abs=1e-9)
    assert pairs.map50(rows[None].astype(np.int64))[0] == pytest.approx(own[0], abs=1e-12)


def test_a_resample_without_truth_is_nan_and_one_without_a_class_leaves_it_out():
    truth = boxes((0, 0, A, 1), (1, 1, B, 1))
    found = boxes((0, 0, A, 0.9), (2, 1, B, 0.8))
    pairs = WeightedDetections.of(truth, found, 3, 3)
    figures = pairs.figures(np.array([[0, 0, 2], [1, 0, 1], [1, 1, 0], [0, 0, 0]]))
    assert figures["map50"] == pytest.approx([np.nan, 1.0, 0.5, np.nan], nan_ok=True)
    assert figures["precision"] == pytest.approx([0.0, 0.5, 1.0, np.nan], nan_ok=True)
    assert figures["recall"] == pytest.approx([np.nan, 1.0, 0.5, np.nan], nan_ok=True)


def test_parts_of_the_resamples_give_the_same(monkeypatch):
    truth, found = random_boxes(1, FRAMES, CLASSES, ties=False)
    pairs, weights = WeightedDetections.of(truth, found, FRAMES, CLASSES), drawn(1, 9)
    at_once = pairs.figures(weights)["map50_95"]
    monkeypatch.setattr("cityforge.tasks.detection.weighted.CELLS", 40)
    assert pairs.figures(weights)["map50_95"].tolist() == at_once.tolist()


def test_four_hundred_resamples_of_a_thousand_frames_take_seconds():
    truth, found = random_boxes(1, 1000, 5, ties=False, each=10)
    weights = np.random.default_rng(0).multinomial(1000, [1 / 1000] * 1000, size=400)
    assert len(found) > 10_000
    begun = time.process_time()
    WeightedDetections.of(truth, found, 1000, 5).figures(weights)
    assert time.process_time() - begun < 10  # 1.3 s on an idle core
