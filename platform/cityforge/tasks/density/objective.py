"""What density learns, and how well it counts.

Each object becomes a Gaussian of the map whose sum is one, so the map's sum is the count
(Lempitsky and Zisserman 2010, "Learning To Count Objects in Images"). The map is learnt by its
squared error (Zhang et al. 2016, "Single-Image Crowd Counting via Multi-Column Convolutional
Neural Network", equation 3), the count by its absolute error beside it (Wang et al. 2020,
"Distribution Matching for Crowd Counting", section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cityforge.tasks.density.decode import decode_counts
from cityforge.tasks.density.metrics import count_metrics, score_of
from cityforge.tasks.density.network import density_of

# Every cell counts while training; what is served is `evaluate` in params.yaml.
SCORE_FLOOR = 0.0


class DensityObjective:
    """Map and count loss; errors of the count over the pictures of a validation.

    Both losses are divided by the objects of the batch: neither the input's size nor the
    batch changes their scale, and crowded pictures weigh as much as their people.
    """

    def __init__(self, classes: Sequence[str], loss: Mapping[str, float]) -> None:
        self.classes = list(classes)
        self.spread_px = float(loss["spread_px"])
        self.count_weight = float(loss["count_weight"])
        self._forget()

    def _forget(self) -> None:
        self._found: list[NDArray[Any]] = []
        self._truth: list[NDArray[Any]] = []

    def losses(self, network: Any, batch: Any) -> dict[str, Tensor]:
        density = density_of(network.raw(batch.pictures))
        wanted = self._target(batch, density)
        objects = wanted.sum().clamp(min=1.0)
        map_loss = ((density - wanted) ** 2).sum() / objects
        apart = (density.sum((2, 3)) - wanted.sum((2, 3))).abs()
        count_loss = apart.sum() / objects
        loss = map_loss + self.count_weight * count_loss
        return {"loss": loss, "map_loss": map_loss, "count_loss": count_loss}

    def _target(self, batch: Any, density: Tensor) -> Tensor:
        size = (batch.pictures.shape[1], batch.pictures.shape[2])
        cells = (density.shape[2], density.shape[3])
        return target_map(
            batch.truth, batch.classes, batch.real, len(self.classes), size, cells, self.spread_px
        )

    def observe(self, network: Any, batch: Any) -> None:
        density = network(batch.pictures)[0].float().cpu().numpy()
        classes, real = batch.classes.cpu().numpy(), batch.real.cpu().numpy()
        for row in range(len(density)):
            self._found.append(decode_counts(density[row], score_floor=SCORE_FLOOR))
            self._truth.append(
                np.bincount(classes[row][real[row]], minlength=len(self.classes)).astype(np.float64)
            )

    def figures(self) -> dict[str, float]:
        truth, found = self._truth, self._found
        self._forget()
        if not truth:
            return {}
        measured = count_metrics(np.stack(truth), np.stack(found), self.classes)
        return {
            "score": score_of(measured.relative_mae),
            "mae": measured.mae,
            "rmse": measured.rmse,
            "relative_mae": measured.relative_mae,
        }


def target_map(
    truth: Tensor,
    classes: Tensor,
    real: Tensor,
    class_count: int,
    size: tuple[int, int],
    cells: tuple[int, int],
    spread_px: float,
) -> Tensor:
    """(N, C, h, w): the share of each object's Gaussian in each cell, summed over objects.

    What a Gaussian would lose over the edges of the input is given to its part inside.

    Args:
        truth: (N, M, 4) xyxy, pixels of the input; an object stands at its centre.
        classes: (N, M) class indices.
        real: (N, M) bool, false where the batch was padded.
        size: height and width of the input, pixels.
        cells: height and width of the map.
        spread_px: deviation of the Gaussian, pixels of the input.
    """
    x = (truth[..., 0] + truth[..., 2]) / 2
    y = (truth[..., 1] + truth[..., 3]) / 2
    down = _shares(y, size[0], cells[0], spread_px)  # (N, M, h)
    across = _shares(x, size[1], cells[1], spread_px)  # (N, M, w)
    kinds = torch.arange(class_count, device=truth.device)
    of_class = (classes[:, None] == kinds[None, :, None]) & real[:, None]  # (N, C, M)
    weighed = of_class[..., None].to(down.dtype) * down[:, None]  # (N, C, M, h)
    return torch.matmul(weighed.transpose(2, 3), across[:, None])


def _shares(centre: Tensor, length: int, cells: int, spread_px: float) -> Tensor:
    """(N, M, cells): how much of a Gaussian about `centre` (N, M) lies in each cell; sums to 1.

    A centre beyond the edge stands on it.
    """
    edges = torch.linspace(0, length, cells + 1, device=centre.device, dtype=torch.float64)
    inside = centre.double().clamp(0, length)
    below = torch.special.ndtr((edges - inside[..., None]) / spread_px)
    share = below.diff(dim=-1)
    whole: Tensor = share / share.sum(-1, keepdim=True)
    return whole.float()
