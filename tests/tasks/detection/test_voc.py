"""PASCAL VOC's average precision on the worked example of Padilla et al., and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drawn_boxes import boxes, random_boxes

from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.voc import voc_ap, voc_hits

# Padilla, Netto and da Silva, "A Survey on Performance Metrics for Object-Detection Algorithms",
# 2020: seven pictures, 15 truths, 24 detections, IoU 0.3; x, y, width, height of its listing.
TRUTH = {
    0: [(25, 16, 38, 56), (129, 123, 41, 62)],
    1: [(123, 11, 43, 55), (38, 132, 59, 45)],
    2: [(16, 14, 35, 48), (123, 30, 49, 44), (99, 139, 47, 47)],
    3: [(53, 42, 40, 52), (154, 43, 31, 34)],
    4: [(59, 31, 44, 51), (48, 128, 34, 52)],
    5: [(36, 89, 52, 76), (62, 58, 44, 67)],
    6: [(28, 31, 55, 63), (58, 67, 50, 58)],
}
FOUND = {
    0: [(0.88, 5, 67, 31, 48), (0.70, 119, 111, 40, 67), (0.80, 124, 9, 49, 67)],
    1: [(0.71, 64, 111, 64, 58), (0.54, 26, 140, 60, 47), (0.74, 19, 18, 43, 35)],
    2: [
        (0.18, 109, 15, 77, 39), (0.67, 86, 63, 46, 45), (0.38, 160, 62, 36, 53),
        (0.91, 105, 131, 47, 47), (0.44, 18, 148, 40, 44),
    ],
    3: [
        (0.35, 83, 28, 28, 26), (0.78, 28, 68, 42, 67), (0.45, 87, 89, 25, 39),
        (0.14, 10, 155, 60, 26),
    ],
    4: [
        (0.62, 50, 38, 28, 46), (0.44, 95, 11, 53, 28), (0.95, 29, 131, 72, 29),
        (0.23, 29, 163, 72, 29),
    ],
    5: [(0.45, 43, 48, 74, 38), (0.84, 17, 155, 29, 35), (0.43, 95, 110, 25, 42)],
    6: [(0.48, 16, 20, 101, 88), (0.95, 33, 116, 37, 49)],
}  # fmt: skip
A, B, C = (0, 0, 100, 100), (200, 0, 300, 100), (0, 200, 100, 300)
NEAR_A = (0, 0, 100, 90)


def of_listing(listing: dict[int, list[tuple[float, ...]]]) -> Boxes:
    """In VOC's boxes the last pixel counts, so that they end one pixel further than it."""
    rows = []
    for frame, listed in listing.items():
        for row in listed:
            *score, x, y, w, h = row
            rows.append((frame, 0, (x, y, x + w + 1, y + h + 1), score[0] if score else 1.0))
    return boxes(*rows)


def test_the_example_of_padilla():
    truth, found = of_listing(TRUTH), of_listing(FOUND)
    assert (len(truth), len(found)) == (15, 24)
    assert voc_hits(truth, found, 0.3).sum() == 7
    # Hits stand at ranks 1, 3, 10, 12, 13, 14 and 23 of the paper's table.
    area = (1 + 2 / 3 + 4 * 6 / 14 + 7 / 23) / 15
    eleven = (1 + 2 / 3 + 3 * 6 / 14) / 11
    assert (round(area * 100, 2), round(eleven * 100, 2)) == (24.57, 26.84)  # printed: 24.56, 26.84
    assert voc_ap(truth, found, 1, 0.3)[0] == pytest.approx(area, abs=1e-6)
    assert voc_ap(truth, found, 1, 0.3, eleven_points=True)[0] == pytest.approx(eleven, abs=1e-6)


@pytest.mark.parametrize(
    ("truth", "found", "area", "eleven"),
    [
        ([(0, 0, A, 1)], [(0, 0, A, 0.9)], 1.0, 1.0),
        # one of two: recall 0 to 0.5 at precision 1
        ([(0, 0, A, 1), (0, 0, B, 1)], [(0, 0, A, 0.9)], 0.5, 6 / 11),
        # the second on one truth is a false alarm
        (
            [(0, 0, A, 1), (0, 0, B, 1)],
            [(0, 0, A, 0.9), (0, 0, A, 0.8), (0, 0, B, 0.7)],
            (1 + 2 / 3) / 2,
            (6 + 5 * 2 / 3) / 11,
        ),
        # unlike COCO: it covers A best, so the free truth near A stays unfound
        (
            [(0, 0, A, 1), (0, 0, NEAR_A, 1)],
            [(0, 0, A, 0.9), (0, 0, (0, 0, 100, 99), 0.8)],
            0.5,
            6 / 11,
        ),
        ([(0, 0, A, 1)], [(0, 0, (0, 0, 100, 50), 0.9)], 1.0, 1.0),  # exactly half
        ([(0, 0, A, 1)], [(1, 0, A, 0.9), (0, 1, A, 0.8)], 0.0, 0.0),  # other frame, other class
        ([(0, 0, A, 1)], [], 0.0, 0.0),
        ([], [(0, 0, A, 0.9)], math.nan, math.nan),
    ],
)
def test_cases_by_hand(truth, found, area, eleven):
    truth, found = boxes(*truth), boxes(*found)
    assert voc_ap(truth, found, 2)[0] == pytest.approx(area, abs=1e-9, nan_ok=True)
    other = voc_ap(truth, found, 2, eleven_points=True)
    assert other[0] == pytest.approx(eleven, abs=1e-9, nan_ok=True)
    assert math.isnan(other[1])


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_one_detection_after_the_other(seed):
    truth, found = random_boxes(seed, 20, 2, ties=bool(seed % 2))
    for k in range(2):
        hits = slow_hits(truth, found, k)
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        recall = np.cumsum(hits) / (truth.cls == k).sum()
        # The 2010 rule: at each recall that is newly reached, the highest precision from there on.
        area = sum(precision[i:].max() for i in np.flatnonzero(hits)) / (truth.cls == k).sum()
        eleven = [precision[recall >= t / 10].max(initial=0) for t in range(11)]
        assert 0.1 < area < 0.9
        assert voc_ap(truth, found, 2)[k] == pytest.approx(area, abs=1e-9)
        own = voc_ap(truth, found, 2, eleven_points=True)[k]
        assert own == pytest.approx(np.mean(eleven), abs=1e-9)


def slow_hits(truth: Boxes, found: Boxes, cls: int) -> np.ndarray:
    rows = np.flatnonzero(found.cls == cls)
    taken, hits = set(), []
    for row in rows[np.argsort(-found.score[rows], kind="stable")]:
        best, best_iou = -1, 0.0
        for i in np.flatnonzero((truth.frame == found.frame[row]) & (truth.cls == cls)):
            a, b = truth.xyxy[i], found.xyxy[row]
            w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            both = max(w, 0) * max(h, 0)
            iou = both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
            if iou > best_iou:
                best, best_iou = i, iou
        hits.append(best_iou >= 0.5 and best not in taken)
        if hits[-1]:
            taken.add(best)
    return np.array(hits)
