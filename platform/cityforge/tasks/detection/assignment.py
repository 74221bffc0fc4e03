"""Which cells learn which object: task-aligned assignment, and the losses that follow.

Feng et al. 2021, "TOOD: Task-aligned One-stage Object Detection", sections 3.2 and 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import complete_box_iou_loss

CANDIDATES = 10  # cells an object may claim
SCORE_POWER = 0.5
OVERLAP_POWER = 4.0
NEAR_STRIDES = 1.5  # a cell this near an object's centre may learn it, however small it is
TINY = 1e-9


def pair_overlap(one: Tensor, other: Tensor) -> Tensor:
    """IoU of (N, M, 4) with (N, A, 4) xyxy, (N, M, A)."""
    upper = torch.maximum(one[:, :, None, :2], other[:, None, :, :2])
    lower = torch.minimum(one[:, :, None, 2:], other[:, None, :, 2:])
    inside = (lower - upper).clamp_(min=0).prod(-1)
    area_one = (one[..., 2:] - one[..., :2]).prod(-1)
    area_other = (other[..., 2:] - other[..., :2]).clamp(min=0).prod(-1)
    return inside / (area_one[:, :, None] + area_other[:, None, :] - inside + TINY)


@torch.no_grad()
def assign(
    scores: Tensor, boxes: Tensor, points: Tensor, truth: Tensor, classes: Tensor, real: Tensor
) -> tuple[Tensor, Tensor]:
    """Give each cell the object that it should learn.

    Args:
        scores: (N, A, C) probabilities.
        boxes: (N, A, 4) xyxy as predicted.
        points: (A, 3) x, y, stride.
        truth: (N, M, 4) xyxy, padded.
        classes: (N, M) class indices, padded.
        real: (N, M) bool, False for padding.

    Returns:
        (N, A) index of the object within its picture, -1 for background; and (N, A) the
        score to learn, 0 to 1.
    """
    centre = (truth[..., :2] + truth[..., 2:]) / 2
    x, y, stride = points.unbind(-1)
    inside = (
        (x > truth[..., 0:1])
        & (x < truth[..., 2:3])
        & (y > truth[..., 1:2])
        & (y < truth[..., 3:4])
    )  # (N, M, A)
    reach = stride * NEAR_STRIDES
    near = ((x - centre[..., 0:1]).abs() < reach) & ((y - centre[..., 1:2]).abs() < reach)
    small = ((truth[..., 2:] - truth[..., :2]).amin(-1, keepdim=True)) < 2 * stride
    allowed = (inside | (near & small)) & real[..., None]
    overlap = pair_overlap(truth, boxes)
    index = classes.clamp(min=0)[:, :, None].expand(-1, -1, scores.shape[1])
    score = scores.transpose(1, 2).gather(1, index)  # (N, M, A)
    alignment = (score + TINY).pow(SCORE_POWER) * overlap.pow(OVERLAP_POWER) * allowed
    # Where nothing overlaps yet, the nearest cells start to learn.
    distance = (x - centre[..., 0:1]).abs() + (y - centre[..., 1:2]).abs()
    alignment = alignment + allowed * TINY / (1 + distance / stride)
    count = min(CANDIDATES, alignment.shape[-1])
    best = alignment.topk(count, -1)
    chosen = torch.zeros_like(alignment, dtype=torch.bool).scatter_(-1, best.indices, True)
    chosen &= allowed
    claimed = torch.where(chosen, overlap + TINY, torch.zeros_like(overlap))
    strongest, owner = claimed.max(1)  # a cell that several claim goes to its best overlap
    owner = torch.where(strongest > 0, owner, -1)
    mine = chosen & (
        torch.arange(truth.shape[1], device=truth.device)[None, :, None] == owner[:, None]
    )
    alignment = alignment * mine
    overlap = overlap * mine
    peak = alignment.amax(-1, keepdim=True)
    reachable = overlap.amax(-1, keepdim=True)
    target = (alignment / (peak + TINY) * reachable).amax(1)
    return owner, target


def losses(
    logits: Tensor, boxes: Tensor, points: Tensor, truth: Tensor, classes: Tensor, real: Tensor
) -> tuple[Tensor, Tensor]:
    """Score loss and box loss of a batch; shapes as in `assign`, `logits` (N, A, C).

    The score loss is a cross entropy weighted by how wrong the score is (Zhang et al. 2021,
    "VarifocalNet", without its asymmetry); the box loss is CIoU (Zheng et al. 2020).
    """
    scores = logits.detach().float().sigmoid()
    owner, target = assign(scores, boxes.detach(), points, truth, classes, real)
    positive = owner >= 0
    picture, cell = positive.nonzero(as_tuple=True)
    object_index = owner[positive]
    wanted = torch.zeros_like(scores)
    wanted[picture, cell, classes[picture, object_index]] = target[positive]
    total = wanted.sum().clamp(min=1.0)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        logits.float(), wanted, reduction="none"
    )
    weight = torch.where(
        wanted > 0, torch.maximum(wanted, (wanted - scores).abs()), 0.75 * scores.pow(2)
    )
    score_loss = (entropy * weight).sum() / total
    each = complete_box_iou_loss(boxes[positive], truth[picture, object_index], reduction="none")
    box_loss = (each * target[positive]).sum() / total
    return score_loss, box_loss
