"""Intervals against scipy's bootstrap and the theory of a mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from cityforge.evaluation.bootstrap import changes, draws, ends, intervals, once, slice_figure


class Mean:
    """The mean of one number a frame, as a figure."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def main(self, weights: np.ndarray) -> np.ndarray:
        total = weights.sum(1).astype(float)
        out = np.full(len(weights), np.nan)
        return np.divide(weights @ self.values, total, out=out, where=total > 0)

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": self.main(weights)}


def alone(count: int) -> list[str]:
    return [f"film-{i}" for i in range(count)]


def test_the_interval_of_a_mean_is_that_of_scipy_and_of_theory():
    values = np.random.default_rng(3).normal(5, 2, 400)
    found = intervals(Mean(values), alone(400), 4000)["mean"]
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    error = values.std() / math.sqrt(400)
    assert found.low == pytest.approx(expected.low, abs=0.1 * error)
    assert found.high == pytest.approx(expected.high, abs=0.1 * error)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)


def test_frames_of_one_film_are_drawn_together():
    groups = [f"film-{i // 10}" for i in range(200)]
    counts = draws(groups, 50)
    assert (counts.sum(1) == 200).all()
    assert (counts.reshape(50, 20, 10) == counts[:, ::10, None]).all()
    # Frames of a film are alike: ten of them say no more than one, and the interval shows it.
    values = np.repeat(np.random.default_rng(0).normal(0, 1, 20), 10)
    of_films = intervals(Mean(values), groups, 2000)["mean"]
    of_frames = intervals(Mean(values), alone(200), 2000)["mean"]
    ratio = (of_films.high - of_films.low) / (of_frames.high - of_frames.low)
    assert ratio == pytest.approx(math.sqrt(10), rel=0.15)


@pytest.mark.parametrize(("films", "together"), [(8, True), (7, False)])
def test_fewer_than_eight_films_are_drawn_frame_by_frame(films, together):
    groups = [f"film-{i % films}" for i in range(56)]
    counts = draws(groups, 20)
    first = counts[:, np.array(groups) == "film-0"]
    assert bool((first == first[:, :1]).all()) is together


def test_draws_are_the_same_each_time_and_stay_among_the_rows():
    rows = np.arange(30) % 3 == 0
    counts = draws(alone(30), 25, rows)
    assert (counts == draws(alone(30), 25, rows)).all()
    assert (counts.sum(1) == 10).all()
    assert not counts[:, ~rows].any()
    assert draws([], 5).shape == (5, 0)
    assert once(3).tolist() == [[1, 1, 1]]


def test_nine_of_ten_intervals_hold_the_truth():
    held = 0
    for seed in range(60):
        values = np.random.default_rng(seed).exponential(1.0, 60)
        found = intervals(Mean(values), alone(60), 300)["mean"]
        held += found.low <= 1.0 <= found.high
    assert 51 <= held < 60  # 95 % promised; a percentile interval of a skewed mean keeps a bit less


def test_slice_with_few_and_without_resamples():
    values, rows = np.arange(6.0), np.array([False, False, True, True, False, False])
    given = {"few": 3, "count": 2}
    found = slice_figure(Mean(values).main, rows, alone(6), resamples=200, **given)
    assert (found.value, found.low, found.high, found.few, found.count) == (2.5, 2.0, 3.0, True, 2)
    bare = slice_figure(Mean(values).main, rows, alone(6), resamples=0, few=2, count=2)
    assert (bare.value, bare.few) == (2.5, False)
    assert math.isnan(bare.low)
    nothing = slice_figure(Mean(values).main, rows & False, alone(6), resamples=9, few=1, count=0)
    assert math.isnan(nothing.value)
    assert math.isnan(nothing.high)


def test_ends_leave_out_what_could_not_be_measured():
    assert ends(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
    assert all(math.isnan(each) for each in ends(np.array([np.nan])))


def test_a_pair_is_told_apart_where_two_intervals_are_not():
    rng = np.random.default_rng(1)
    champion = rng.normal(0, 3, 300)
    this = champion + rng.normal(0.2, 0.5, 300)  # a little better on most frames
    mine, theirs = (intervals(Mean(v), alone(300), 1000)["mean"] for v in (this, champion))
    assert mine.low < theirs.high
    change = changes(Mean(this), Mean(champion), alone(300), 1000)["mean"]
    assert change.difference == pytest.approx((this - champion).mean(), abs=1e-6)
    error = (this - champion).std() / math.sqrt(300)
    assert change.low == pytest.approx(change.difference - 1.96 * error, abs=0.2 * error)
    assert change.low > 0
    same = changes(Mean(this), Mean(this), alone(300), 50)["mean"]
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    assert changes(Mean(this), Mean(this), alone(300), 0)["mean"].low is None
