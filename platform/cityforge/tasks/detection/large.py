"""`detection/large`: RF-DETR's network and loss behind this package's own tensors.

Robinson et al. 2025, "RF-DETR: Neural Architecture Search for Real-Time Detection
Transformers"; the library `rfdetr` (Apache-2.0) is the optional extra `large`.
Its sides are multiples of 32 pixels, as `data.input_width` and `data.input_height` are.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

import torch
from torch import Tensor, nn

from cityforge.errors import ServiceError
from cityforge.tasks.backbone import Normalise
from cityforge.tasks.kinds import LARGE

# Named instead of published weights, so that the library fetches none.
NO_WEIGHTS = "none"


def build_large(class_count: int) -> LargeDetector:
    """The network from scratch; a site gives it weights by `train.weights`.

    Raises:
        ServiceError: the extra `large` is not installed.
    """
    try:
        from rfdetr.config import RFDETRLargeConfig, TrainConfig
        from rfdetr.models import build_criterion_from_config, build_model_from_config
    except ImportError as error:
        raise ServiceError(
            f"the library rfdetr for {LARGE}", found=str(error), where="this environment",
            do="pip install 'cityforge[large]', or name detection/small in the card",
        ) from error  # fmt: skip
    logging.getLogger("rf-detr").setLevel(logging.ERROR)
    # The library counts one class more than it is told.
    model = RFDETRLargeConfig(
        pretrain_weights=NO_WEIGHTS, num_classes=class_count - 1, device="cpu"
    )
    trained = TrainConfig(dataset_dir=".", output_dir=".")
    criterion, _ = build_criterion_from_config(model, trained)
    return LargeDetector(build_model_from_config(model, trained), criterion)


class LargeDetector(nn.Module):
    """(N, H, W, 3) uint8 RGB in; (N, Q, C) scores and (N, Q, 4) xyxy in input pixels out."""

    def __init__(self, detr: Any, criterion: Any) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.detr = detr
        self.criterion = criterion

    @property
    def backbone(self) -> nn.Module:
        """The DINOv2 encoder and its projector."""
        found: nn.Module = self.detr.backbone
        return found

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Scores are probabilities, 0 to 1."""
        found = self.raw(pictures)
        height, width = pictures.shape[1:3]
        boxes = _in_pixels(found["pred_boxes"].float(), height, width)
        return found["pred_logits"].float().sigmoid(), boxes

    def raw(self, pictures: Tensor) -> dict[str, Any]:
        """`pred_logits` (N, Q, C), `pred_boxes` (N, Q, 4) cx cy w h as shares of the input.

        In training with those of each decoder layer, and with more queries.
        """
        from rfdetr.utilities.tensors import NestedTensor

        x = self.normalise(pictures)
        whole = torch.zeros_like(x[:, 0], dtype=torch.bool)  # no pixel of it is padding
        found: dict[str, Any] = self.detr(NestedTensor(x, whole))
        return found

    def for_export(self, height: int, width: int) -> nn.Module:
        """A copy for one input size, in operations that ONNX has."""
        return _Exported(copy.deepcopy(self), height, width).eval()

    def losses(self, batch: Any, box_weight: float) -> dict[str, Tensor]:
        """The library's own loss, summed over its decoder layers; see `Objective.losses`.

        Args:
            box_weight: the boxes' share against the library's own; 1 is as its authors have it.
        """
        found = self.raw(batch.pictures)
        with torch.autocast(batch.pictures.device.type, enabled=False):
            parts = self.criterion(_in_float(found), self._targets(batch))
        weighted = {name: w * parts[name] for name, w in self.criterion.weight_dict.items()}
        score = torch.stack([v for n, v in weighted.items() if n.startswith("loss_ce")]).sum()
        box = torch.stack([v for n, v in weighted.items() if not n.startswith("loss_ce")]).sum()
        return {"loss": score + box_weight * box, "score_loss": score, "box_loss": box}

    def _targets(self, batch: Any) -> list[dict[str, Tensor]]:
        height, width = batch.pictures.shape[1:3]
        size = torch.tensor([width, height, width, height], device=batch.truth.device)
        targets = []
        for truth, classes, real in zip(batch.truth, batch.classes, batch.real, strict=True):
            corners = (truth[real].float() / size).clamp(0, 1)
            upper, lower = corners[:, :2], corners[:, 2:]
            boxes = torch.cat(((upper + lower) / 2, lower - upper), -1)
            targets.append({"labels": classes[real].long(), "boxes": boxes})
        return targets


class _Exported(nn.Module):
    """The library's own export graph behind the same tensors."""

    def __init__(self, network: LargeDetector, height: int, width: int) -> None:
        super().__init__()
        self.normalise = network.normalise
        self.detr = network.detr
        self.size = (height, width)
        self.detr.backbone[0].encoder.shape = self.size
        self.detr.export()

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        found = self.detr(self.normalise(pictures))  # of the last decoder layer
        boxes, logits = (each[-1] if each.ndim == 4 else each for each in found)
        return logits.float().sigmoid(), _in_pixels(boxes.float(), *self.size)


def _in_pixels(boxes: Tensor, height: int, width: int) -> Tensor:
    """(N, Q, 4) cx cy w h as shares of the input to xyxy in its pixels."""
    size = torch.tensor([width, height, width, height], device=boxes.device)
    centre, sides = boxes[..., :2], boxes[..., 2:]
    return torch.cat((centre - sides / 2, centre + sides / 2), -1) * size


def _in_float(found: Any) -> Any:
    if isinstance(found, Tensor):
        return found.float()
    if isinstance(found, dict):
        return {name: _in_float(each) for name, each in found.items()}
    return [_in_float(each) for each in found]
