"""A small anchor-free detector: timm backbone, feature pyramid, one decoupled head a level.

Tensors in, tensors out, and exportable: the picture's normalisation and the way from
distances to boxes are part of the network, so nothing around it can get them wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cityforge.tasks.backbone import Normalise, backbone_of, block

# Share of cells that hold an object at first, so that the first loss is small
# (Lin et al. 2017, "Focal Loss for Dense Object Detection", section 4.1).
PRIOR = 0.01


@dataclass(frozen=True)
class Blueprint:
    """What a network's name in the card stands for."""

    backbone: str
    channels: int
    tower: int  # convolutions of each head before its output


# nano is made for training on processors: a picture of 320 px costs it a fifth of what
# YOLO11n costs there.
BLUEPRINTS = {
    "detection/nano": Blueprint("mobilenetv4_conv_small_050", 64, 1),
    "detection/small": Blueprint("mobilenetv4_conv_small", 64, 1),
    "detection/medium": Blueprint("mobilenetv4_conv_medium", 96, 2),
}


def build(name: str, class_count: int) -> Detector:
    """The network that a card calls `name`, from scratch."""
    return Detector(BLUEPRINTS[name], class_count)


class Detector(nn.Module):
    """(N, H, W, 3) uint8 RGB in; (N, A, C) scores and (N, A, 4) xyxy in input pixels out."""

    strides = (8, 16, 32)

    def __init__(self, blueprint: Blueprint, class_count: int) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.backbone = backbone_of(blueprint.backbone, (2, 3, 4))
        widths: list[int] = self.backbone.feature_info.channels()  # type: ignore[union-attr,operator]
        width = blueprint.channels
        self.lateral = nn.ModuleList(block(each, width, 1) for each in widths)
        self.downward = nn.ModuleList(block(width, width, 3) for _ in widths[:-1])
        self.upward = nn.ModuleList(block(width, width, 3, stride=2) for _ in widths[:-1])
        self.heads = nn.ModuleList(_Head(width, blueprint.tower, class_count) for _ in widths)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Scores are probabilities, 0 to 1."""
        logits, distances, points = self.raw(pictures)
        return logits.float().sigmoid(), boxes_of(points, distances)

    def raw(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, A, C) logits, (N, A, 4) left top right bottom, (A, 3) x y stride; in pixels."""
        x = self.normalise(pictures)
        logits, distances, points = [], [], []
        for level, feature in enumerate(self._pyramid(self.backbone(x))):
            stride = self.strides[level]
            scores, sides = self.heads[level](feature)
            logits.append(scores.flatten(2).transpose(1, 2))
            distances.append(sides.flatten(2).transpose(1, 2).float() * stride)
            points.append(_points(feature.shape[2], feature.shape[3], stride, feature.device))
        return torch.cat(logits, 1), torch.cat(distances, 1), torch.cat(points)

    def _pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Down from coarse to fine, and up again (Liu et al. 2018, "Path Aggregation Network")."""
        levels = [lateral(each) for lateral, each in zip(self.lateral, features, strict=True)]
        for i in range(len(levels) - 2, -1, -1):
            coarse = nn.functional.interpolate(levels[i + 1], scale_factor=2.0, mode="nearest")
            levels[i] = self.downward[i](levels[i] + coarse)
        for i in range(len(levels) - 1):
            levels[i + 1] = levels[i + 1] + self.upward[i](levels[i])
        return levels


class _Head(nn.Module):
    """One level's class scores and box sides, each behind a tower of its own."""

    def __init__(self, width: int, tower: int, class_count: int) -> None:
        super().__init__()
        self.score_tower = nn.Sequential(*(block(width, width, 3) for _ in range(tower)))
        self.side_tower = nn.Sequential(*(block(width, width, 3) for _ in range(tower)))
        self.score = nn.Conv2d(width, class_count, 1)
        self.side = nn.Conv2d(width, 4, 1)
        nn.init.constant_(self.score.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]
        nn.init.constant_(self.side.bias, 2.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.score(self.score_tower(x))
        return scores, nn.functional.softplus(self.side(self.side_tower(x)).float())


def boxes_of(points: Tensor, distances: Tensor) -> Tensor:
    """(A, 3) points and (N, A, 4) distances to (N, A, 4) xyxy."""
    centre = points[None, :, :2]
    return torch.cat((centre - distances[..., :2], centre + distances[..., 2:]), -1)


def _points(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """(height*width, 3): x, y of each cell's centre in input pixels, and its stride."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    centres = torch.stack((x, y), -1).reshape(-1, 2).float() * stride + stride / 2
    return torch.cat((centres, torch.full_like(centres[:, :1], stride)), 1)
