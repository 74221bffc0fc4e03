"""The part that every network begins with: a timm backbone behind one normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Mean and deviation of ImageNet, which timm's weights expect (units: 0 to 255).
MEAN = (123.675, 116.28, 103.53)
DEVIATION = (58.395, 57.12, 57.375)


def backbone_of(name: str, levels: Sequence[int]) -> nn.Module:
    """A timm backbone from scratch that gives the features of these levels (0 is stride 2).

    `feature_info.channels()` says how wide each level is, `feature_info.reduction()` its stride.
    """
    import timm

    made: nn.Module = timm.create_model(
        name, pretrained=False, features_only=True, out_indices=tuple(levels)
    )
    return made


class Normalise(nn.Module):
    """(N, H, W, 3) uint8 RGB to (N, 3, H, W) float32, channels_last without a copy."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer(
            "deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False
        )

    def forward(self, pictures: Tensor) -> Tensor:
        return (pictures.permute(0, 3, 1, 2).float() - self.mean) / self.deviation


def block(inward: int, outward: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution, normalised, with ReLU."""
    return nn.Sequential(
        nn.Conv2d(inward, outward, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outward),
        nn.ReLU(inplace=True),
    )
