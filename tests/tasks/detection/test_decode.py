"""Raw output to boxes, held against torchvision's non-maximum suppression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms

from cityforge.tasks.detection.decode import MOST_CANDIDATES, decode_boxes, suppress

PLAIN = {
    "scale": 1.0, "width": 640, "height": 480, "score_floor": 0.1, "overlap": 0.5,
    "max_boxes": 100,
}  # fmt: skip
Answer = tuple[np.ndarray, np.ndarray, np.ndarray]


def decoded(scores: Any, boxes: Any, **changes: Any) -> Answer:
    return decode_boxes(
        np.array(scores, np.float32), np.array(boxes, np.float32), **{**PLAIN, **changes}
    )


def random_boxes(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 200, (count, 2))
    boxes = np.concatenate((corner, corner + rng.uniform(5, 120, (count, 2))), 1)
    return boxes.astype(np.float32), rng.permutation(count * 3).reshape(count, 3) / (count * 3.0)


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.7, 0.95])
def test_the_boxes_kept_are_those_of_torchvision(overlap: float) -> None:
    kept = 0
    for seed in range(10):
        boxes, scores = random_boxes(seed, 80)
        floor = 0.2
        cell, cls = np.nonzero(scores > floor)
        strength = torch.tensor(scores[cell, cls], dtype=torch.float32)
        expected = batched_nms(torch.tensor(boxes[cell]), strength, torch.tensor(cls), overlap)
        xyxy, score, kinds = decoded(
            scores, boxes, overlap=overlap, score_floor=floor, max_boxes=1000
        )
        assert xyxy.tolist() == boxes[cell][expected].tolist()
        assert kinds.tolist() == cls[expected].tolist()
        assert score.tolist() == pytest.approx(strength[expected].tolist())
        kept += len(xyxy)
    assert kept > 100


def test_boxes_of_different_classes_do_not_suppress_each_other() -> None:
    xyxy, score, cls = decoded([[0.9, 0.8], [0.7, 0.2]], [[0, 0, 10, 10], [0, 0, 10, 10]])
    assert cls.tolist() == [0, 1]
    assert score.tolist() == pytest.approx([0.9, 0.8])
    assert xyxy.tolist() == [[0, 0, 10, 10]] * 2


def test_boxes_go_back_to_the_picture_and_are_cut_at_its_edges() -> None:
    boxes = [[10, 20, 30, 40], [-8, -8, 20, 20], [300, 200, 400, 300]]
    xyxy, _, _ = decoded([[0.9], [0.8], [0.7]], boxes, scale=0.5, width=640, height=480)
    assert xyxy.tolist() == [[20, 40, 60, 80], [0, 0, 40, 40], [600, 400, 640, 480]]
    assert xyxy.dtype == np.float32


def test_a_box_outside_the_picture_is_no_answer() -> None:
    boxes = [[700, 10, 720, 30], [-20, -20, 0, 0], [5, 5, 9, 9], [4, 4, 4, 8]]
    xyxy, _, _ = decoded([[0.9], [0.8], [0.7], [0.6]], boxes)
    assert xyxy.tolist() == [[5, 5, 9, 9]]


def test_only_so_many_of_the_strongest_are_answered() -> None:
    boxes = [[20 * n, 0, 20 * n + 10, 10] for n in range(30)]
    scores = [[0.3 + 0.02 * n] for n in range(30)]
    xyxy, score, _ = decoded(scores, boxes, max_boxes=3)
    assert xyxy[:, 0].tolist() == [580, 560, 540]
    assert (np.diff(score) < 0).all()


def test_a_score_at_the_floor_is_no_candidate() -> None:
    boxes = [[0, 0, 10, 10], [50, 0, 60, 10]]
    xyxy, _, _ = decoded([[0.25], [0.25001]], boxes, score_floor=0.25)
    assert xyxy.tolist() == [[50, 0, 60, 10]]


def test_nothing_above_the_floor_is_an_empty_answer() -> None:
    xyxy, score, cls = decoded(np.zeros((5, 2)), np.zeros((5, 4)))
    assert (xyxy.shape, score.shape, cls.shape) == ((0, 4), (0,), (0,))


def test_scores_that_are_no_number_are_no_candidates() -> None:
    xyxy, _, _ = decoded([[float("nan")], [0.5]], [[0, 0, 10, 10], [50, 0, 60, 10]])
    assert xyxy.tolist() == [[50, 0, 60, 10]]


def test_ties_are_broken_by_class_then_cell() -> None:
    boxes = [[20 * n, 0, 20 * n + 10, 10] for n in range(4)]
    xyxy, _, cls = decoded(np.full((4, 2), 0.5), boxes)
    assert cls.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert xyxy[:, 0].tolist() == [0, 20, 40, 60] * 2


def test_ties_among_too_many_candidates_are_broken_alike() -> None:
    count = MOST_CANDIDATES + 500
    side = np.arange(count) * 4
    boxes = np.stack((side, side * 0, side + 3, side * 0 + 3), 1)
    scores = np.full((count, 1), 0.5)
    scores[-7:] = 0.9
    changes = {"width": 10**6, "max_boxes": MOST_CANDIDATES}
    xyxy, score, _ = decoded(scores, boxes, **changes)
    assert (score > 0.8).sum() == 7
    expected = [*range(count - 7, count), *range(MOST_CANDIDATES - 7)]
    assert (xyxy[:, 0] / 4).astype(int).tolist() == expected


def test_an_overlap_of_exactly_the_limit_is_kept() -> None:
    # IoU with the first: 0.5; 0.49 (but 0.98 with the second); none
    xyxy = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4.9], [20, 0, 30, 10]])
    assert suppress(xyxy, np.zeros(4, int), 0.5, 10).tolist() == [0, 1, 3]
