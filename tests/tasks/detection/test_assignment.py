"""Every object is learnt by some cell, padding by none, and a perfect answer costs nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from cityforge.tasks.detection.assignment import CANDIDATES, assign, losses, pair_overlap

SIZE = 128


def grid(*strides: int) -> Tensor:
    """(A, 3) x, y, stride of every cell of a picture of SIZE by SIZE."""
    levels = []
    for stride in strides or (8, 16, 32):
        middle = torch.arange(SIZE // stride) * float(stride) + stride / 2
        y, x = torch.meshgrid(middle, middle, indexing="ij")
        levels.append(torch.stack((x, y, torch.full_like(x, stride)), -1).reshape(-1, 3))
    return torch.cat(levels)


def untrained(points: Tensor, pictures: int = 1, classes: int = 2) -> tuple[Tensor, Tensor]:
    """Scores and boxes as a fresh network gives them: all alike, small boxes around each cell."""
    scores = torch.full((pictures, len(points), classes), 0.01)
    half = points[:, 2:] * 2
    boxes = torch.cat((points[:, :2] - half, points[:, :2] + half), -1)
    return scores, boxes[None].repeat(pictures, 1, 1)


def objects(*xyxy: tuple[float, float, float, float]) -> tuple[Tensor, Tensor, Tensor]:
    count = len(xyxy)
    return (
        torch.tensor([xyxy]).float(),
        torch.zeros(1, count, dtype=torch.long),
        torch.ones(1, count, dtype=torch.bool),
    )


def test_overlap_is_that_of_torchvision() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 100, (2, 40, 2))
    boxes = torch.tensor(np.concatenate((corner, corner + rng.uniform(1, 60, (2, 40, 2))), 2))
    one, other = boxes[:, :15], boxes[:, 15:]
    found = pair_overlap(one, other)
    assert found.shape == (2, 15, 25)
    for picture in range(2):
        torch.testing.assert_close(found[picture], box_iou(one[picture], other[picture]))
    assert (found > 0).sum() > 50


@pytest.mark.parametrize(
    "xyxy",
    [
        (10, 10, 118, 118),
        (40, 40, 64, 64),
        (61, 61, 63, 63),  # two pixels between cells
        (0, 0, 1, 1),
        (127, 127, 128, 128),
        (0, 60, 128, 61),  # a line
        (63.9, 0, 64.1, 128),
        (8, 8, 8.5, 8.5),
    ],
)
def test_an_object_of_any_size_is_learnt_by_a_cell(xyxy: tuple[float, ...]) -> None:
    points = grid()
    owner, target = assign(*untrained(points), points, *objects(xyxy))
    assert 1 <= int((owner == 0).sum()) <= CANDIDATES
    assert (target[owner < 0] == 0).all()
    assert ((target >= 0) & (target <= 1)).all()


def test_many_tiny_objects_each_have_a_cell() -> None:
    spots = [(x, y, x + 3, y + 3) for x in range(4, 124, 24) for y in range(4, 124, 24)]
    points = grid()
    owner, _ = assign(*untrained(points), points, *objects(*spots))
    assert set(owner.unique().tolist()) == {-1, *range(len(spots))}
    assert len(spots) == 25


def test_a_cell_that_two_claim_learns_the_box_it_fits_better() -> None:
    points = grid(8)
    scores, boxes = untrained(points)
    big, small = (0.0, 0.0, 128.0, 128.0), (48.0, 48.0, 72.0, 72.0)
    boxes[:] = torch.tensor(big)
    inside = (points[:, :2] > 48).all(1) & (points[:, :2] < 72).all(1)
    boxes[0, inside] = torch.tensor(small)
    owner, _ = assign(scores, boxes, points, *objects(big, small))
    assert (owner[0, inside] == 1).all()
    assert (owner == 0).any()


def test_padding_is_learnt_by_no_cell() -> None:
    points = grid()
    truth, classes, real = objects((20, 20, 60, 60), (0, 0, 0, 0), (30, 30, 90, 90))
    real[0, 1:] = False
    owner, _ = assign(*untrained(points), points, truth, classes, real)
    assert set(owner.unique().tolist()) == {-1, 0}


def test_an_empty_picture_is_background_everywhere() -> None:
    points = grid()
    scores, boxes = untrained(points, pictures=2)
    truth = torch.tensor([[[20.0, 20, 60, 60]], [[0.0, 0, 0, 0]]])
    real = torch.tensor([[True], [False]])
    owner, target = assign(scores, boxes, points, truth, torch.zeros(2, 1).long(), real)
    assert (owner[0] == 0).any()
    assert (owner[1] == -1).all()
    assert (target[1] == 0).all()


def perfect() -> tuple[Tensor, ...]:
    """Logits and boxes that say exactly what is there: two objects of nine cells each."""
    points = grid(8)
    truth = torch.tensor([[[8.0, 8, 32, 32], [64, 64, 88, 88]]])
    classes, real = torch.tensor([[1, 0]]), torch.ones(1, 2, dtype=torch.bool)
    logits = torch.full((1, len(points), 2), -20.0)
    boxes = untrained(points)[1]
    for index in range(2):
        box = truth[0, index]
        inside = (points[:, :2] > box[:2]).all(1) & (points[:, :2] < box[2:]).all(1)
        assert int(inside.sum()) == 9
        logits[0, inside, classes[0, index]] = 20
        boxes[0, inside] = box
    return logits, boxes, points, truth, classes, real


def test_a_perfect_answer_costs_nothing() -> None:
    logits, boxes, points, truth, classes, real = perfect()
    owner, target = assign(logits.sigmoid(), boxes, points, truth, classes, real)
    assert [int((owner == index).sum()) for index in (0, 1)] == [9, 9]
    assert target[owner >= 0].min() > 0.999
    score_loss, box_loss = losses(logits, boxes, points, truth, classes, real)
    assert score_loss < 1e-3
    assert box_loss < 1e-3


@pytest.mark.parametrize("fault", ["class", "place", "missed", "false alarm"])
def test_a_worse_answer_costs_more(fault: str) -> None:
    logits, boxes, points, truth, classes, real = perfect()
    if fault == "class":
        logits = logits.flip(-1)
    elif fault == "place":
        boxes = boxes + 6
    elif fault == "missed":
        logits[:, :, 0] = -20
    else:
        logits[0, -20:, 0] = 5
    score_loss, box_loss = losses(logits, boxes, points, truth, classes, real)
    assert score_loss + box_loss > 0.1


@pytest.mark.parametrize("empty", [False, True])
def test_losses_are_finite_and_their_gradient_flows(empty: bool) -> None:
    torch.manual_seed(0)
    points = grid()
    logits = torch.randn(2, len(points), 2, requires_grad=True)
    _, boxes = untrained(points, pictures=2)
    boxes = (boxes + torch.randn_like(boxes)).requires_grad_()
    truth = torch.tensor([[[20.0, 20, 60, 60], [3, 3, 5, 5]], [[70, 0, 128, 90], [0, 0, 0, 0]]])
    real = torch.tensor([[True, True], [True, False]]) & (not empty)
    score_loss, box_loss = losses(logits, boxes, points, truth, torch.ones(2, 2).long(), real)
    (score_loss + box_loss).backward()
    assert torch.isfinite(score_loss)
    assert torch.isfinite(box_loss)
    assert logits.grad is not None
    assert boxes.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(boxes.grad).all()
    assert logits.grad.abs().sum() > 0
    assert bool(boxes.grad.abs().sum() > 0) is not empty
    assert bool(box_loss > 0) is not empty


def test_a_step_along_the_gradient_lowers_the_loss() -> None:
    points = grid()
    truth, classes, real = objects((20, 20, 60, 60), (80, 80, 100, 110))
    logits = torch.full((1, len(points), 2), -4.0, requires_grad=True)
    boxes = untrained(points)[1].requires_grad_()
    optimiser = torch.optim.Adam([logits, boxes], lr=0.5)
    seen = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = sum(losses(logits, boxes, points, truth, classes, real))
        loss.backward()
        optimiser.step()
        seen.append(float(loss))
    assert seen[-1] < 0.2 * seen[0]
    owner, _ = assign(logits.sigmoid().detach(), boxes.detach(), points, truth, classes, real)
    best = [box_iou(truth[0, i : i + 1], boxes[0, owner[0] == i].detach()).max() for i in (0, 1)]
    assert min(best) > 0.8
