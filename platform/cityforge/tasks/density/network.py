"""A small network that spreads objects over a map: timm backbone, light decoder to stride 8.

Tensors in, tensors out, and exportable. The map's values are objects a cell, so that its sum
is the count; they come out of a softplus, as a sigmoid would cap a cell at one object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cityforge.tasks.backbone import Normalise, backbone_of, block

# Objects a cell before anything is learnt, so that the first counts are of the right order.
PRIOR = 0.05


@dataclass(frozen=True)
class Blueprint:
    """What a network's name in the card stands for."""

    backbone: str
    channels: int
    tower: int  # convolutions of the decoder before its output


BLUEPRINTS = {
    "density/small": Blueprint("mobilenetv4_conv_small", 64, 2),
}


def build(name: str, class_count: int) -> DensityNetwork:
    """The network that a card calls `name`, from scratch."""
    return DensityNetwork(BLUEPRINTS[name], class_count)


class DensityNetwork(nn.Module):
    """(N, H, W, 3) uint8 RGB in; a tuple of (N, C, H/8, W/8) objects a cell out."""

    def __init__(self, blueprint: Blueprint, class_count: int) -> None:
        super().__init__()
        self.normalise = Normalise()
        backbone: Any = backbone_of(blueprint.backbone, (2, 3))
        self.backbone = backbone
        fine, coarse = backbone.feature_info.channels()
        width = blueprint.channels
        self.fine = block(fine, width, 1)
        self.coarse = block(coarse, width, 1)
        self.tower = nn.Sequential(*(block(width, width, 3) for _ in range(blueprint.tower)))
        self.density = nn.Conv2d(width, class_count, 1)
        nn.init.constant_(self.density.bias, math.log(math.expm1(PRIOR)))  # type: ignore[arg-type]

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        """The map, 0 and above."""
        return (density_of(self.raw(pictures)),)

    def raw(self, pictures: Tensor) -> Tensor:
        """(N, C, H/8, W/8), before the softplus."""
        fine, coarse = self.backbone(self.normalise(pictures))
        coarse = nn.functional.interpolate(self.coarse(coarse), scale_factor=2.0, mode="nearest")
        made: Tensor = self.density(self.tower(self.fine(fine) + coarse))
        return made


def density_of(raw: Tensor) -> Tensor:
    """Objects a cell, float32, of what `raw` gives."""
    return torch.nn.functional.softplus(raw.float())
