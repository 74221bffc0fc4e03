"""Losses and figures of classification, held against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cityforge.dataset.loader import Batch
from cityforge.tasks.classification.objective import ClassificationObjective, truth_of

CLASSES = ["打架", "no_fight", "queue"]


def batch(*classes: list[int]) -> Batch:
    """A batch whose frames have these classes; padded as the loader pads it."""
    most = max(1, *map(len, classes))
    indices = torch.zeros(len(classes), most, dtype=torch.long)
    real = torch.zeros(len(classes), most, dtype=torch.bool)
    for row, found in enumerate(classes):
        indices[row, : len(found)] = torch.tensor(found, dtype=torch.long)
        real[row, : len(found)] = True
    count = len(classes)
    pictures = torch.zeros(count, 8, 8, 3, dtype=torch.uint8)
    return Batch(pictures, torch.zeros(count, most, 4), indices, real, torch.arange(count))


class Saying:
    """A network that gives the same logits whatever it sees."""

    def __init__(self, logits: list[list[float]], several_labels: bool = False) -> None:
        self.logits = torch.tensor(logits, requires_grad=True)
        self.several_labels = several_labels

    def raw(self, pictures: Tensor) -> Tensor:
        return self.logits

    def __call__(self, pictures: Tensor) -> tuple[Tensor]:
        logits = self.logits.detach()
        return (logits.sigmoid() if self.several_labels else logits.softmax(1),)


def objective(several_labels: bool = False, smoothing: float = 0.0) -> ClassificationObjective:
    loss = {"several_labels": several_labels, "label_smoothing": smoothing}
    return ClassificationObjective(CLASSES, loss)


LOGITS = [[2.0, -1.0, 0.5], [0.1, 0.2, 0.3]]


def test_a_padded_entry_unsets_no_class() -> None:
    found = truth_of(batch([0], [1, 2], [], [2, 2]), 3)
    assert found.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_one_label_is_cross_entropy(smoothing: float) -> None:
    found = objective(smoothing=smoothing).losses(Saying(LOGITS), batch([0], [2]))["loss"]
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(LOGITS), torch.tensor([0, 2]), label_smoothing=smoothing
    )
    assert float(found.detach()) == pytest.approx(float(expected))


def test_a_frame_without_a_class_teaches_nothing_where_there_is_one() -> None:
    network = Saying(LOGITS)
    loss = objective().losses(network, batch([0], []))["loss"]
    alone = objective().losses(Saying(LOGITS[:1]), batch([0]))["loss"]
    assert float(loss.detach()) == pytest.approx(float(alone.detach()))
    loss.backward()
    assert network.logits.grad is not None
    assert network.logits.grad[1].abs().sum() == 0
    none = objective().losses(Saying(LOGITS), batch([], []))["loss"]
    assert float(none.detach()) == 0.0


def test_a_mosaic_teaches_its_classes_in_equal_parts() -> None:
    found = objective().losses(Saying(LOGITS[:1]), batch([0, 2, 2]))["loss"]
    log = torch.tensor(LOGITS[0]).log_softmax(0)
    assert float(found.detach()) == pytest.approx(float(-(log[0] + log[2]) / 2))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_several_labels_are_a_sigmoid_each(smoothing: float) -> None:
    found = objective(True, smoothing).losses(Saying(LOGITS), batch([0, 2], []))["loss"]
    target = torch.tensor([[1.0, 0, 1], [0, 0, 0]]) * (1 - smoothing) + smoothing / 2
    chance = torch.tensor(LOGITS).sigmoid()
    expected = -(target * chance.log() + (1 - target) * (1 - chance).log()).mean()
    assert float(found.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_figures_of_one_label() -> None:
    watched = objective()
    said = [[5.0, 0, 0], [0, 5.0, 0], [0, 5.0, 0], [0, 0, 5.0], [0, 0, 5.0]]
    truth = ([0], [1], [2], [], [0, 1])  # the last two are no single class
    watched.observe(Saying(said[:2]), batch(*truth[:2]))
    watched.observe(Saying(said[2:]), batch(*truth[2:]))
    found = watched.figures()
    assert set(found) == {"score", "accuracy", "f1", "map"}
    assert found["score"] == found["accuracy"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert np.isnan(watched.figures()["score"])  # forgotten


def test_figures_of_several_labels_count_frames_of_none() -> None:
    watched = objective(several_labels=True)
    said = [[9.0, 9, -9], [-9, -9, -9], [9, -9, -9]]
    watched.observe(Saying(said, True), batch([0, 1], [], []))
    found = watched.figures()
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["score"] == found["map"] == pytest.approx((1 / 2 + 1) / 2)


def test_a_network_learns_from_scratch_in_few_steps() -> None:
    from cityforge.tasks.classification.network import build

    torch.manual_seed(0)
    network = build("classification/small", 3, several_labels=False)
    aim: Any = objective()
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    shown = batch(*([each % 3] for each in range(9)))
    pictures = torch.randint(0, 60, (9, 64, 64, 3), dtype=torch.uint8)
    for row in range(9):
        pictures[row, :, :, row % 3] += 120
    shown = Batch(pictures, shown.truth, shown.classes, shown.real, shown.frame)
    losses = []
    for _ in range(12):
        loss = aim.losses(network, shown)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(np.log(3), abs=0.1)
    assert losses[-1] < 0.2 * losses[0]
