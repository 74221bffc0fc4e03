"""What classification learns, and how good it has become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cityforge.tasks.classification.metrics import classification_metrics


class ClassificationObjective:
    """Cross entropy for one class a frame, a sigmoid for each class where there may be several.

    Where one class is asked for, a frame of none teaches nothing. A frame of two, such as a
    mosaic of several frames, teaches each in equal parts (Yun et al. 2019, "CutMix") and is
    left out of the figures.
    """

    def __init__(self, classes: Sequence[str], loss: Mapping[str, Any]) -> None:
        self.classes = list(classes)
        self.several_labels = bool(loss["several_labels"])
        self.label_smoothing = float(loss["label_smoothing"])
        self._forget()

    def _forget(self) -> None:
        self._truth: list[Any] = []  # (n, C) bool
        self._scores: list[Any] = []  # (n, C) float32

    def losses(self, network: Any, batch: Any) -> dict[str, Tensor]:
        logits = network.raw(batch.pictures).float()
        truth = truth_of(batch, len(self.classes))
        if self.several_labels:
            smooth = self.label_smoothing
            target = truth * (1 - smooth) + smooth / 2
            return {"loss": functional.binary_cross_entropy_with_logits(logits, target)}
        count = truth.sum(1, keepdim=True)
        each = functional.cross_entropy(
            logits,
            truth / count.clamp(min=1),
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        known = (count[:, 0] > 0).to(each.dtype)
        return {"loss": (each * known).sum() / known.sum().clamp(min=1)}

    def observe(self, network: Any, batch: Any) -> None:
        (scores,) = network(batch.pictures)
        truth = truth_of(batch, len(self.classes)) > 0
        if not self.several_labels:
            one = truth.sum(1) == 1
            truth, scores = truth[one], scores[one]
        self._truth.append(truth.cpu().numpy())
        self._scores.append(scores.float().cpu().numpy())

    def figures(self) -> dict[str, float]:
        empty = np.zeros((0, len(self.classes)), np.float32)
        truth = np.concatenate([empty.astype(bool), *self._truth])
        scores = np.concatenate([empty, *self._scores])
        self._forget()
        found = classification_metrics(truth, scores, several_labels=self.several_labels)
        score = found.map if self.several_labels else found.accuracy
        return {"score": score, "accuracy": found.accuracy, "f1": found.f1, "map": found.map}


def truth_of(batch: Any, class_count: int) -> Tensor:
    """(N, C) float: 1 for each class that a frame of the batch has."""
    truth = torch.zeros(len(batch.classes), class_count, device=batch.classes.device)
    # A padded entry says class 0 and must not unset it: the larger of the two stands.
    return truth.scatter_reduce(1, batch.classes, batch.real.float(), "amax")
