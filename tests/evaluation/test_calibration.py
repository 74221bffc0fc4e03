"""Calibration errors are those of torchmetrics, and of cases by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from cityforge.evaluation.calibration import box_calibration, calibration, class_calibration
from cityforge.tasks.boxes import Boxes


def at(*scores: float) -> np.ndarray:
    return np.array(scores)


@pytest.mark.parametrize(
    ("scores", "right", "ece", "answers"),
    [
        (at(0.95, 0.95), [True, True], 0.05, [2]),
        (at(0.95, 0.95), [True, False], 0.45, [2]),
        (at(0.1, 0.2, 0.3), [False] * 3, 0.2, [1, 1, 1]),  # an upper edge is of its bin
        (at(0.0, 0.05, 1.0), [False, False, True], (0.05 / 2 * 2) / 3, [2, 1]),
        (at(0.62, 0.68), [True, False], 0.15, [2]),  # what lies in one bin is averaged first
    ],
)
def test_cases_by_hand(scores, right, ece, answers):
    found = calibration(scores, np.array(right))
    assert found.ece == pytest.approx(ece, abs=1e-6)
    assert [row.answers for row in found.bins] == answers


def test_without_an_answer_there_is_nothing_to_calibrate():
    assert calibration(np.zeros(0), np.zeros(0, bool)) is None


@pytest.mark.parametrize("seed", range(4))
def test_error_is_that_of_torchmetrics(seed):
    rng = np.random.default_rng(seed)
    classes = rng.dirichlet([0.7] * 4, 300)
    truth = rng.integers(0, 4, 300)
    expected = multiclass_calibration_error(
        torch.as_tensor(classes), torch.as_tensor(truth), 4, n_bins=10, norm="l1"
    )
    assert class_calibration(np.eye(4, dtype=bool)[truth], classes).ece == pytest.approx(
        float(expected), abs=1e-6
    )
    scores = rng.random(200)
    right = rng.random(200) < scores**2
    expected = binary_calibration_error(
        torch.as_tensor(scores), torch.as_tensor(right).int(), n_bins=10, norm="l1"
    )
    assert calibration(scores, right).ece == pytest.approx(float(expected), abs=1e-6)


def test_of_boxes_those_that_are_reported_and_their_precision():
    a, b = [0.0, 0, 10, 10], [50.0, 0, 60, 10]
    one = np.zeros(1, np.int64)
    truth = Boxes(one, one, np.array([a]), np.ones(1, np.float32))
    none = np.zeros(4, np.int64)
    found = Boxes(none, none, np.array([a, a, b, b]), np.array([0.95, 0.75, 0.75, 0.2], np.float32))
    rows = [(r.score, r.right, r.answers) for r in box_calibration(truth, found, 0.5).bins]
    assert rows == [(0.75, 0.0, 2), (0.95, 1.0, 1)]
