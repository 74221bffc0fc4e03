"""A small classifier of whole frames: timm backbone, one pooled vector, one linear layer.

The last step, from logits to probabilities, is part of the network, so nothing around it
has to know whether a frame may have several classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from cityforge.tasks.backbone import Normalise, backbone_of

LAST_LEVEL = 4  # stride 32


@dataclass(frozen=True)
class Blueprint:
    """What a network's name in the card stands for."""

    backbone: str
    dropout: float  # share of the pooled vector that is left out while training


# Of the small backbones the quickest to train on two cores: a step of 16 pictures of 224x128
# in bfloat16 takes 0.14 s; resnet10t takes 0.44 s, resnet18 0.65 s, resnet14t 0.72 s.
BLUEPRINTS = {"classification/small": Blueprint("mobilenetv4_conv_small", 0.2)}


def build(name: str, class_count: int, *, several_labels: bool) -> Classifier:
    """The network that a card calls `name`, from scratch."""
    return Classifier(BLUEPRINTS[name], class_count, several_labels=several_labels)


class Classifier(nn.Module):
    """(N, H, W, 3) uint8 RGB in; (N, C) probabilities out.

    The classes of a frame share a sum of 1; with `several_labels` each stands for itself.
    """

    def __init__(self, blueprint: Blueprint, class_count: int, *, several_labels: bool) -> None:
        super().__init__()
        self.several_labels = several_labels
        self.normalise = Normalise()
        backbone: Any = backbone_of(blueprint.backbone, (LAST_LEVEL,))
        self.backbone: nn.Module = backbone
        self.dropout = nn.Dropout(blueprint.dropout)
        self.head = nn.Linear(backbone.feature_info.channels()[-1], class_count)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        logits = self.raw(pictures).float()
        return (logits.sigmoid() if self.several_labels else logits.softmax(1),)

    def raw(self, pictures: Tensor) -> Tensor:
        """(N, C) logits."""
        feature = self.backbone(self.normalise(pictures))[-1]  # (N, F, H/32, W/32)
        logits: Tensor = self.head(self.dropout(feature.mean((2, 3))))
        return logits
