"""Errors of counts against scikit-learn's and against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from cityforge.errors import DataError
from cityforge.tasks.density.metrics import count_metrics
from cityforge.tasks.density.weighted import WeightedCounts


def test_a_case_by_hand() -> None:
    truth = np.array([[10, 0], [20, 2]])
    found = np.array([[13.0, 1.0], [19.0, 2.0]])
    measured = count_metrics(truth, found, ["人", "bicycle"])
    assert measured.mae == pytest.approx((3 + 1 + 1 + 0) / 4)
    assert measured.rmse == pytest.approx(math.sqrt((9 + 1 + 1 + 0) / 4))
    assert measured.bias == pytest.approx((3 + 1 - 1 + 0) / 4)
    assert measured.mean_count == pytest.approx(8.0)
    assert measured.relative_mae == pytest.approx(1.25 / 8)
    people = measured.per_class["人"]
    assert (people.mae, people.bias, people.mean_count) == (2.0, 1.0, 15.0)
    assert measured.r2 == pytest.approx(1 - 11 / (4 + 64 + 144 + 36))
    assert people.relative_mae == pytest.approx(2 / 15)
    assert measured.per_class["bicycle"].mae == 0.5
    assert people.per_class == {}


@pytest.mark.parametrize("seed", range(3))
def test_as_scikit_learn_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 300, (17, 2))
    found = truth + rng.normal(0, 20, truth.shape)
    measured = count_metrics(truth, found, ["a", "b"])
    assert measured.mae == pytest.approx(mean_absolute_error(truth.ravel(), found.ravel()))
    assert measured.rmse == pytest.approx(root_mean_squared_error(truth.ravel(), found.ravel()))
    assert measured.r2 == pytest.approx(r2_score(truth.ravel(), found.ravel()), abs=1e-9)
    for number, name in enumerate(("a", "b")):
        own = measured.per_class[name]
        assert own.mae == pytest.approx(mean_absolute_error(truth[:, number], found[:, number]))
        assert own.rmse == pytest.approx(
            root_mean_squared_error(truth[:, number], found[:, number])
        )


@pytest.mark.parametrize(("frames", "mae"), [(0, math.nan), (2, 1.0)])
def test_nothing_to_count_has_no_relative_error(frames: int, mae: float) -> None:
    measured = count_metrics(np.zeros((frames, 1)), np.ones((frames, 1)), ["a"])
    assert measured.mae == pytest.approx(mae, nan_ok=True)
    assert math.isnan(measured.relative_mae)
    assert math.isnan(measured.r2)


@pytest.mark.parametrize("seed", range(3))
def test_weighted_errors_are_those_of_repeated_frames(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 9, (12, 2))
    found = truth + rng.normal(0, 2, truth.shape)
    weights = np.vstack([rng.multinomial(12, [1 / 12] * 12, 4), [0] * 12, [3] + [0] * 11])
    weighted = WeightedCounts(truth, found)
    figures = weighted.figures(weights)
    for row, times in enumerate(weights):
        again = np.repeat(truth, times, axis=0), np.repeat(found, times, axis=0)
        expected = count_metrics(*again, ["a", "b"])
        for name, values in figures.items():
            own = getattr(expected, name)
            assert values[row] == pytest.approx(own, abs=1e-9, nan_ok=True), name
        assert weighted.mae(weights)[row] == pytest.approx(expected.mae, nan_ok=True)


@pytest.mark.parametrize("shape", [(2, 2), (3, 1)])
def test_counts_of_other_frames_or_classes_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=r"2 frames and 1 classes, found truth \(2, 1\)"):
        count_metrics(np.zeros((2, 1)), np.zeros(shape), ["a"])
