"""Detection metrics against cases counted by hand and a second implementation of COCO's rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drawn_boxes import boxes, random_boxes

from cityforge.errors import DataError
from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.curves import confusion, frame_errors, pr_curves, rates
from cityforge.tasks.detection.metrics import best_threshold, coco_metrics, match

A, B, C = (0, 0, 100, 100), (200, 0, 300, 100), (0, 200, 100, 300)  # large, far from each other


def iou_of(a: np.ndarray, b: np.ndarray) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(w, 0.0) * max(h, 0.0)
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def reference_hits(truth: Boxes, found: Boxes, cls: int, iou: float) -> tuple[list[bool], int]:
    """The slow way: one detection after the other, at most 100 a frame; sorted by score."""
    hits: list[tuple[float, bool]] = []
    for frame in np.unique(np.concatenate([truth.frame, found.frame])):
        t = truth.xyxy[(truth.frame == frame) & (truth.cls == cls)]
        mask = (found.frame == frame) & (found.cls == cls)
        d, s = found.xyxy[mask], found.score[mask]
        taken: set[int] = set()
        for j in np.argsort(-s, kind="mergesort")[:100]:
            best, best_iou = -1, iou
            for i in range(len(t)):
                overlap = iou_of(d[j], t[i])
                if i not in taken and overlap >= best_iou:
                    best, best_iou = i, overlap
            taken |= {best} - {-1}
            hits.append((float(s[j]), best >= 0))
    hits.sort(key=lambda pair: -pair[0])
    return [hit for _, hit in hits], int((truth.cls == cls).sum())


def reference_ap(truth: Boxes, found: Boxes, cls: int, iou: float) -> float:
    """101-point interpolated average precision; nan without truth."""
    hits, total = reference_hits(truth, found, cls, iou)
    if not total:
        return math.nan
    points, correct = [], 0
    for n, hit in enumerate(hits, start=1):
        correct += hit
        points.append((correct / total, correct / n))
    levels = [max([p for r, p in points if r >= level], default=0.0) for level in LEVELS]
    return sum(levels) / len(levels)


LEVELS = np.linspace(0, 1, 101)


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        # each truth found exactly
        ([(0, 0, A, 1), (1, 0, B, 1)], [(0, 0, A, 0.9), (1, 0, B, 0.8)], 1.0),
        # one of two: precision 1 at the 51 recall levels up to 0.5
        ([(0, 0, A, 1), (0, 0, B, 1)], [(0, 0, A, 0.9)], 51 / 101),
        # the second box on one truth is a false alarm and comes first among the rest
        (
            [(0, 0, A, 1), (0, 0, B, 1)],
            [(0, 0, A, 0.9), (0, 0, A, 0.8), (0, 0, B, 0.7)],
            (51 + 50 * 2 / 3) / 101,
        ),
        # overlap of exactly 0.5 counts
        ([(0, 0, A, 1)], [(0, 0, (0, 0, 100, 50), 0.9)], 1.0),
        # a hair less does not
        ([(0, 0, A, 1)], [(0, 0, (0, 0, 100, 49.9), 0.9)], 0.0),
        # the right place in the wrong frame
        ([(0, 0, A, 1)], [(1, 0, A, 0.9)], 0.0),
        # nothing found
        ([(0, 0, A, 1)], [], 0.0),
        # nothing to find
        ([], [(0, 0, A, 0.9)], math.nan),
        ([], [], math.nan),
    ],
)
def test_average_precision_at_half_overlap_counted_by_hand(truth, found, expected):
    truth, found = boxes(*truth), boxes(*found)
    metrics = coco_metrics(truth, found, 2, ["car"])
    assert metrics.map50 == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert metrics.per_class_ap50["car"] == pytest.approx(expected, abs=1e-9, nan_ok=True)
    curve = pr_curves(truth, found, 1)[0]
    assert curve.mean() == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_a_class_without_truth_is_nan_and_left_out_of_the_mean():
    metrics = coco_metrics(
        boxes((0, 0, A, 1)), boxes((0, 0, A, 0.9), (0, 1, B, 0.9)), 1, ["car", "bus"]
    )
    assert metrics.map50 == pytest.approx(1.0)
    assert math.isnan(metrics.per_class_ap50["bus"])
    assert math.isnan(metrics.per_class_ap["bus"])


def test_sizes_without_boxes_are_nan():
    metrics = coco_metrics(boxes((0, 0, A, 1)), boxes((0, 0, A, 0.9)), 1, ["car"])
    assert metrics.map_large == pytest.approx(1.0)
    assert math.isnan(metrics.map_small)
    assert math.isnan(metrics.map_medium)


def test_recall_at_100_is_the_mean_over_the_ten_overlaps():
    # IoU 0.72 passes 0.50 to 0.70, five of the ten
    metrics = coco_metrics(boxes((0, 0, A, 1)), boxes((0, 0, (0, 0, 100, 72), 0.9)), 1, ["car"])
    assert metrics.ar100 == pytest.approx(0.5)
    assert metrics.map50_95 == pytest.approx(0.5)
    assert metrics.map75 == pytest.approx(0.0)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_a_second_implementation(seed, ties):
    truth, found = random_boxes(seed, frames=25, classes=3, ties=ties)
    names = ["a", "b", "c"]
    metrics = coco_metrics(truth, found, 25, names)
    table = np.array(
        [[reference_ap(truth, found, k, 0.5 + 0.05 * step) for k in range(3)] for step in range(10)]
    )
    assert 0.05 < table.mean() < 0.95  # the case is neither trivial nor hopeless
    assert metrics.map50_95 == pytest.approx(table.mean(), abs=1e-6)
    assert metrics.map50 == pytest.approx(table[0].mean(), abs=1e-6)
    assert metrics.map75 == pytest.approx(table[5].mean(), abs=1e-6)
    assert list(metrics.per_class_ap50.values()) == pytest.approx(table[0].tolist(), abs=1e-6)
    assert list(metrics.per_class_ap.values()) == pytest.approx(
        table.mean(axis=0).tolist(), abs=1e-6
    )
    assert pr_curves(truth, found, 3).mean(axis=1) == pytest.approx(table[0], abs=1e-6)


@pytest.mark.parametrize("by_class", [False, True])
def test_matching_agrees_with_one_box_after_the_other(by_class):
    truth, found = random_boxes(7, frames=40, classes=3, ties=False)
    pairs = match(truth, found, 0.5, by_class=by_class)
    one = np.zeros(len(truth), np.int64), np.zeros(len(found), np.int64)
    t_cls, f_cls = (truth.cls, found.cls) if by_class else one
    slow_truth = Boxes(truth.frame, t_cls, truth.xyxy, truth.score)
    slow_found = Boxes(found.frame, f_cls, found.xyxy, found.score)
    for k in range(3 if by_class else 1):
        hits, _ = reference_hits(slow_truth, slow_found, k, 0.5)
        rows = np.flatnonzero(f_cls == k)
        order = rows[np.argsort(-found.score[rows], kind="stable")]
        assert (pairs.truth_of[order] >= 0).tolist() == hits
    hit = np.flatnonzero(pairs.truth_of >= 0)
    assert len(hit) > 50
    assert pairs.found_of[pairs.truth_of[hit]].tolist() == hit.tolist()
    assert (pairs.iou[hit] >= 0.5).all()


def test_a_detection_takes_the_truth_it_covers_best():
    near = (10, 0, 110, 100)
    pairs = match(boxes((0, 0, A, 1), (0, 0, near, 1)), boxes((0, 0, near, 0.9), (0, 0, A, 0.8)))
    assert pairs.truth_of.tolist() == [1, 0]
    assert pairs.iou.tolist() == [1.0, 1.0]


def test_threshold_leaves_out_the_false_alarms():
    truth = boxes((0, 0, A, 1), (0, 0, B, 1))
    found = boxes((0, 0, A, 0.9), (0, 0, B, 0.6), (0, 0, C, 0.4), (0, 0, (0, 400, 9, 409), 0.2))
    assert best_threshold(truth, found, 1) == pytest.approx(0.5)


def test_threshold_weighs_each_class_the_same_however_many_boxes_it_has():
    # class 1 has one box, found at 0.3; class 0 has three, with false alarms at 0.4
    truth = boxes((0, 0, A, 1), (1, 0, A, 1), (2, 0, A, 1), (0, 1, B, 1))
    found = boxes(
        (0, 0, A, 0.9), (1, 0, A, 0.9), (2, 0, A, 0.9), (0, 0, C, 0.4), (1, 0, C, 0.4),
        (2, 0, C, 0.4), (0, 1, B, 0.3),
    )  # fmt: skip
    # at 0.9: (1 + 0) / 2; at 0.3: (6/9 + 1) / 2
    assert best_threshold(truth, found, 2) == pytest.approx(0.3)


def test_threshold_without_anything_to_choose_by_is_one_half():
    assert best_threshold(Boxes.empty(), boxes((0, 0, A, 0.9)), 1) == 0.5
    assert best_threshold(boxes((0, 0, A, 1)), Boxes.empty(), 1) == 0.5


def test_rates_at_a_threshold_include_scores_equal_to_it():
    truth = boxes((0, 0, A, 1), (0, 0, B, 1))
    found = boxes((0, 0, A, 0.7), (0, 0, C, 0.7), (0, 0, B, 0.2))
    result = rates(truth, found, 2, [0.7, 0.1, 0.8])
    assert result.precision[0] == pytest.approx([1 / 2, 2 / 3, math.nan], nan_ok=True)
    assert result.recall[0] == pytest.approx([1 / 2, 1, 0])
    assert result.f1[0] == pytest.approx([1 / 2, 4 / 5, 0])
    assert np.isnan(result.f1[1]).all()


def test_confusion_counts_swaps_misses_and_false_alarms():
    truth = boxes((0, 0, A, 1), (0, 1, B, 1), (1, 1, C, 1))
    found = boxes((0, 1, A, 0.9), (0, 1, B, 0.8), (1, 0, A, 0.7), (1, 1, C, 0.1))
    assert confusion(truth, found, 2, 0.5).tolist() == [
        [0, 1, 0],  # a car called a bus
        [0, 1, 1],  # a bus found, a bus missed: its detection is below the threshold
        [1, 0, 0],  # a car where nothing is
    ]


def test_frame_errors_weigh_a_sure_false_alarm_as_a_miss():
    truth = boxes((0, 0, A, 1), (1, 0, A, 1))
    found = boxes((0, 0, A, 0.9), (1, 0, C, 0.75), (1, 0, A, 0.2))
    result = frame_errors(truth, found, 3, 0.5)
    assert result.correct.tolist() == [1, 0, 0]
    assert result.missed.tolist() == [0, 1, 0]
    assert result.false_alarms.tolist() == [0, 1, 0]
    assert result.error.tolist() == [0, 1.75, 0]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ((5, 0, A, 1), "frame index from 0 to 1, found 5, in truth, box 0"),
        ((0, 3, A, 1), "class index from 0 to 0, found 3, in truth, box 0"),
    ],
)
def test_a_box_of_an_unknown_frame_or_class_is_refused(bad, words):
    with pytest.raises(DataError, match=words):
        coco_metrics(boxes(bad), Boxes.empty(), 2, ["car"])


def test_nothing_is_printed(capfd):
    truth, found = random_boxes(1, frames=3, classes=2, ties=False)
    coco_metrics(truth, found, 3, ["a", "b"])
    assert capfd.readouterr() == ("", "")


def test_boxes_of_a_frame_and_arrays_that_do_not_fit():
    both = boxes((0, 0, A, 0.5), (1, 1, B, 0.6))
    assert both.of_frame(1).cls.tolist() == [1]
    assert both.area().tolist() == [10000, 10000]
    with pytest.raises(DataError, match=r"'score' of shape \(2,\), found shape \(1,\)"):
        Boxes(both.frame, both.cls, both.xyxy, both.score[:1])
