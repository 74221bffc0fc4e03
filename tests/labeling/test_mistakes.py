"""Labels that a model contradicts, each kind on one small frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from cityforge.labeling.mistakes import Boxes, likely_mistakes

CLASSES = ["car", "bus"]
HERE, THERE = (10, 10, 50, 30), (100, 100, 160, 140)
Row = tuple[tuple[int, int, int, int], int, float]


def boxes(rows: Sequence[Row]) -> Boxes:
    return Boxes(
        xyxy=np.array([row[0] for row in rows], float).reshape(-1, 4),
        cls=np.array([row[1] for row in rows], int),
        score=np.array([row[2] for row in rows], float),
    )


@pytest.mark.parametrize(
    ("labels", "finds", "weight", "reason"),
    [
        ([(HERE, 0, 1)], [(HERE, 0, 0.9)], 0.1, "nothing found there"),
        ([], [(HERE, 0, 0.9)], 0.9, "'car' found, not labelled, at 10,10 to 50,30"),
        ([(HERE, 0, 1)], [(HERE, 1, 0.8)], 0.8, "labelled 'car', looks like 'bus'"),
        ([(HERE, 0, 1)], [(HERE, 1, 0.8), (HERE, 0, 0.5)], 0.4, "looks like 'bus'"),
        ([(HERE, 0, 1)], [(THERE, 0, 0.3)], 1.0, "labelled 'car', nothing found there"),
        ([(HERE, 0, 1)], [(HERE, 0, 0.9), (THERE, 1, 0.7)], 0.7, "'bus' found, not labelled"),
    ],
)
def test_kinds(labels: list[Row], finds: list[Row], weight: float, reason: str) -> None:
    found = likely_mistakes([("f", boxes(labels), boxes(finds))], CLASSES, floor=0)
    assert [each.weight for each in found] == [pytest.approx(weight)]
    assert reason in found[0].reason


def test_the_strongest_come_first_and_weak_ones_not_at_all() -> None:
    frames = [
        (name, boxes([]), boxes([(HERE, 0, score)]))
        for name, score in (("d", 0.6), ("a", 0.9), ("c", 0.6), ("b", 0.2))
    ]
    found = likely_mistakes(frames, CLASSES, floor=0.5)
    assert [each.frame_id for each in found] == ["a", "c", "d"]


def test_a_frame_without_labels_and_finds_is_no_mistake() -> None:
    assert likely_mistakes([("f", boxes([]), boxes([]))], CLASSES, floor=0) == []


def test_swapped_labels_are_found_among_right_ones() -> None:
    dice = np.random.default_rng(3)
    frames, swapped = [], set()
    for number in range(200):
        cls = int(dice.integers(2))
        label = 1 - cls if number % 10 == 0 else cls
        swapped |= {f"{number:03d}"} if label != cls else set()
        score = float(dice.uniform(0.5, 0.95))
        frames.append((f"{number:03d}", boxes([(HERE, label, 1)]), boxes([(HERE, cls, score)])))
    found = [each.frame_id for each in likely_mistakes(frames, CLASSES, floor=0.5)]
    assert set(found[:20]) == swapped
