"""Figures of classes agree with scikit-learn, and with what can be counted by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cityforge.errors import DataError
from cityforge.tasks.classification.metrics import (
    answers,
    average_precision,
    best_thresholds,
    class_rates,
    classification_metrics,
    confusion,
)
from cityforge.tasks.classification.weighted import WeightedClasses

CASES = 40


def case(seed: int, several_labels: bool) -> tuple[Any, Any]:
    """Truth (N, C) bool and scores (N, C); with many equals, and classes nobody has."""
    rng = np.random.default_rng(seed)
    frames, classes = int(rng.integers(1, 60)), int(rng.integers(2, 6))
    scores = rng.random((frames, classes)).round(int(rng.integers(1, 4)))
    if several_labels:
        return rng.random((frames, classes)) < rng.random(classes), scores
    most = int(rng.integers(1, classes + 1))  # classes beyond it are nobody's
    return np.eye(classes, dtype=bool)[rng.integers(0, most, frames)], scores


@pytest.mark.parametrize("several_labels", [False, True])
def test_average_precision_is_that_of_scikit_learn(several_labels: bool) -> None:
    from sklearn.metrics import average_precision_score

    compared = 0
    for seed in range(CASES):
        truth, scores = case(seed, several_labels)
        found = average_precision(truth, scores)
        for k in range(truth.shape[1]):
            if truth[:, k].any():
                expected = average_precision_score(truth[:, k], scores[:, k])
                assert found[k] == pytest.approx(expected, abs=1e-6)
                compared += 1
            else:
                assert math.isnan(found[k])
    assert compared > 2 * CASES - CASES // 2


@pytest.mark.parametrize("several_labels", [False, True])
def test_rates_are_those_of_scikit_learn(several_labels: bool) -> None:
    from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

    for seed in range(CASES):
        truth, scores = case(seed, several_labels)
        answered = answers(scores, several_labels=several_labels, thresholds=0.5)
        found = classification_metrics(truth, scores, several_labels=several_labels)
        precision, recall, f1, support = precision_recall_fscore_support(
            truth, answered, average=None, zero_division=np.nan
        )
        assert found.per_class.precision == pytest.approx(precision, abs=1e-6, nan_ok=True)
        assert found.per_class.recall == pytest.approx(recall, abs=1e-6, nan_ok=True)
        assert found.per_class.f1 == pytest.approx(f1, abs=1e-6, nan_ok=True)
        assert found.per_class.truth.tolist() == support.tolist()
        assert found.accuracy == pytest.approx(accuracy_score(truth, answered), abs=1e-6)
        if truth.any() or answered.any():
            macro = f1_score(truth, answered, average="macro", zero_division=np.nan)
            assert found.f1 == pytest.approx(macro, abs=1e-6)


def test_figures_over_all_labels_are_those_of_scikit_learn_and_torchmetrics() -> None:
    import torch
    from sklearn.metrics import f1_score, hamming_loss
    from torchmetrics.functional.classification import (
        multilabel_average_precision,
        multilabel_f1_score,
        multilabel_hamming_distance,
    )

    compared = 0
    for seed in range(CASES):
        truth, scores = case(seed, several_labels=True)
        found = classification_metrics(truth, scores, several_labels=True, thresholds=0.45)
        answered, count = scores >= 0.45, truth.shape[1]
        assert found.hamming_loss == pytest.approx(hamming_loss(truth, answered), abs=1e-6)
        torch_truth = torch.as_tensor(truth).int()
        given = torch.as_tensor(answered).int()
        apart = multilabel_hamming_distance(given, torch_truth, count)
        assert found.hamming_loss == pytest.approx(float(apart), abs=1e-6)
        if truth.any() or answered.any():
            micro = f1_score(truth, answered, average="micro")
            assert found.f1_micro == pytest.approx(micro, abs=1e-6)
            again = multilabel_f1_score(given, torch_truth, count, average="micro")
            assert found.f1_micro == pytest.approx(float(again), abs=1e-6)
        if truth.any(0).all():
            both = torch.as_tensor(scores), torch_truth
            mean = multilabel_average_precision(*both, count, average="macro")
            assert found.map == pytest.approx(float(mean), abs=1e-6)
            compared += 1
    assert compared > CASES // 3


def test_micro_f1_weighs_labels_and_macro_f1_classes() -> None:
    # the first class 3 of 3 right, the second missed once: 2·3 / (3 + 4), and (1 + 0) / 2
    truth = np.array([[1, 0], [1, 0], [1, 1]], bool)
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])
    found = classification_metrics(truth, scores, several_labels=True)
    assert (found.f1_micro, found.f1) == (pytest.approx(6 / 7), 0.5)
    assert (found.accuracy, found.hamming_loss) == (pytest.approx(2 / 3), pytest.approx(1 / 6))


@pytest.mark.parametrize("several_labels", [False, True])
def test_weighted_figures_are_those_of_repeated_frames(several_labels: bool) -> None:
    for seed in range(10):
        truth, scores = case(seed, several_labels)
        answered = answers(scores, several_labels=several_labels, thresholds=0.5)
        draws = np.random.default_rng(seed).multinomial(
            len(truth), [1 / len(truth)] * len(truth), 3
        )
        figures = WeightedClasses(truth, scores, answered).figures(draws)
        for row, times in enumerate(draws):
            again = np.repeat(truth, times, axis=0), np.repeat(scores, times, axis=0)
            expected = classification_metrics(*again, several_labels=several_labels)
            for name in ("accuracy", "f1", "f1_micro", "hamming_loss", "map"):
                own = figures[name][row]
                assert own == pytest.approx(getattr(expected, name), abs=1e-9, nan_ok=True), name


def test_confusion_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import confusion_matrix

    rng = np.random.default_rng(3)
    truth, answered = rng.integers(0, 4, (2, 50))
    expected = confusion_matrix(truth, answered, labels=range(5))
    assert confusion(truth, answered, 5).tolist() == expected.tolist()
    assert confusion(np.array([0]), np.array([2]), 3)[0, 2] == 1  # truth in rows


@pytest.mark.parametrize(
    ("truth", "scores", "expected"),
    [
        ([1, 0, 1], [0.9, 0.8, 0.7], (1 + 2 / 3) / 2),
        ([1, 0, 1], [0.5, 0.5, 0.5], 2 / 3),  # equals are one step
        ([0, 0], [0.1, 0.2], math.nan),
        ([1, 1], [0.1, 0.2], 1.0),
    ],
)
def test_average_precision_by_hand(truth: list[int], scores: list[float], expected: float) -> None:
    found = average_precision(np.array(truth, bool)[:, None], np.array(scores)[:, None])
    assert found[0] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("truth", "scores", "expected"),
    [
        ([1, 1, 0, 0], [0.9, 0.8, 0.4, 0.1], 0.6),  # midway
        ([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], 0.4),
        ([1, 1], [0.9, 0.8], 0.8),  # nothing is left out
        ([0, 0], [0.9, 0.8], 0.5),  # nothing to choose it by
        ([1, 0, 0, 0, 1], [0.9, 0.8, 0.7, 0.6, 0.5], 0.85),  # 2/3 against 4/7
    ],
)
def test_threshold_of_highest_f1(truth: list[int], scores: list[float], expected: float) -> None:
    found = best_thresholds(np.array(truth, bool)[:, None], np.array(scores)[:, None])
    assert found.tolist() == pytest.approx([expected])


def test_no_threshold_does_better_than_the_best() -> None:
    for seed in range(CASES):
        truth, scores = case(seed, several_labels=True)
        best = best_thresholds(truth, scores)
        got = class_rates(truth, answers(scores, several_labels=True, thresholds=best)).f1
        for at in np.linspace(0, 1.05, 43):
            other = class_rates(truth, answers(scores, several_labels=True, thresholds=at)).f1
            known = truth.any(0)
            assert (got[known] >= other[known] - 1e-12).all()


def test_figures_of_no_frame_are_unknown() -> None:
    none = np.zeros((0, 3))
    found = classification_metrics(none.astype(bool), none, several_labels=False)
    figures = (found.accuracy, found.f1, found.f1_micro, found.hamming_loss, found.map)
    assert all(math.isnan(each) for each in figures)


def test_truth_and_scores_of_different_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="one shape"):
        average_precision(np.zeros((2, 3), bool), np.zeros((2, 4)))
