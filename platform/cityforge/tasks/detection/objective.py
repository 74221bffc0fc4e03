"""What detection learns, and how good it has become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.assignment import losses
from cityforge.tasks.detection.decode import decode_boxes
from cityforge.tasks.detection.metrics import coco_metrics
from cityforge.tasks.detection.network import boxes_of

# How raw output becomes boxes while training; what is served is `evaluate` in params.yaml.
SCORE_FLOOR, OVERLAP, MAX_BOXES = 0.01, 0.6, 100


class DetectionObjective:
    """Score and box loss; mAP by COCO's protocol in pixels of the network's input."""

    def __init__(self, classes: Sequence[str], loss: Mapping[str, float]) -> None:
        self.classes = list(classes)
        self.box_weight = float(loss["box_weight"])
        self._forget()

    def _forget(self) -> None:
        self._found: list[Boxes] = []
        self._truth: list[Boxes] = []
        self._frames = 0

    def losses(self, network: Any, batch: Any) -> dict[str, Tensor]:
        if hasattr(network, "losses"):  # a network that brings its own, as detection/large
            found: dict[str, Tensor] = network.losses(batch, self.box_weight)
            return found
        logits, distances, points = network.raw(batch.pictures)
        boxes = boxes_of(points, distances)
        score, box = losses(logits, boxes, points, batch.truth, batch.classes, batch.real)
        return {"loss": score + self.box_weight * box, "score_loss": score, "box_loss": box}

    def observe(self, network: Any, batch: Any) -> None:
        scores, boxes = network(batch.pictures)
        height, width = batch.pictures.shape[1:3]
        for row in range(len(scores)):
            xyxy, score, cls = decode_boxes(
                scores[row].float().cpu().numpy(),
                boxes[row].float().cpu().numpy(),
                scale=1.0,
                width=width,
                height=height,
                score_floor=SCORE_FLOOR,
                overlap=OVERLAP,
                max_boxes=MAX_BOXES,
            )
            frame = np.full(len(xyxy), self._frames, np.int64)
            self._found.append(Boxes(frame, cls, xyxy, score))
            real = batch.real[row].cpu().numpy()
            truth = batch.truth[row].cpu().numpy()[real]
            kinds = batch.classes[row].cpu().numpy()[real]
            of_frame = np.full(len(truth), self._frames, np.int64)
            self._truth.append(Boxes(of_frame, kinds, truth, np.ones(len(truth), np.float32)))
            self._frames += 1

    def figures(self) -> dict[str, float]:
        truth, found, frames = _joined(self._truth), _joined(self._found), self._frames
        self._forget()
        if not frames:
            return {}
        measured = coco_metrics(truth, found, frames, self.classes)
        return {
            "score": measured.map50,
            "map50": measured.map50,
            "map50_95": measured.map50_95,
        }


def _joined(boxes: list[Boxes]) -> Boxes:
    if not boxes:
        return Boxes.empty()
    return Boxes(
        np.concatenate([each.frame for each in boxes]),
        np.concatenate([each.cls for each in boxes]),
        np.concatenate([each.xyxy for each in boxes]),
        np.concatenate([each.score for each in boxes]),
    )
