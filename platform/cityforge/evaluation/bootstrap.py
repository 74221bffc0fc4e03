"""How sure a figure is: 95 % percentile intervals by the bootstrap, and of the difference of two.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 and 16.
Frames of one footage are not independent, so whole groups of frames are drawn with replacement
(chapter 8.5); with fewer than 8 groups their draws would say too little, and single frames are
drawn. That understates how much the figure would move on other footage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cityforge.evaluation.proof import Change, Interval

SEED = 0
FEWEST_GROUPS = 8
ENDS = (2.5, 97.5)  # percent of the resamples

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
# Figures of each resample, (R,), from how often it draws each frame, (R, F).
Figures = Callable[[Ints], dict[str, Floats]]


@dataclass(frozen=True)
class SliceFigure:
    """The task's main figure on a part of the frames; nan where it could not be measured."""

    value: float
    low: float
    high: float
    few: bool
    count: int  # boxes of detection, frames of the other tasks


def draws(groups: Sequence[str], resamples: int, rows: Bools | None = None) -> Ints:
    """How often each resample draws each frame, (R, F).

    Args:
        groups: (F) of each frame, such as its footage.
        rows: (F,) the only frames to draw from.

    >>> draws(["a", "a", "b"], 400)[:, 2].max()
    np.int64(3)
    """
    rows = np.ones(len(groups), np.bool_) if rows is None else rows
    at = np.flatnonzero(rows)
    group = np.unique(np.asarray(groups, np.str_)[at], return_inverse=True)[1]
    if len(np.unique(group)) < FEWEST_GROUPS:
        group = np.arange(len(at))
    counts = np.zeros((resamples, len(groups)), np.int64)
    counts[:, at] = _drawn_groups(int(group.max(initial=-1)) + 1, resamples)[:, group]
    return counts


def _drawn_groups(count: int, resamples: int) -> Ints:
    """How often each resample draws each of `count` groups, (R, G): `count` draws each."""
    drawn = np.random.default_rng(SEED).integers(0, max(count, 1), (resamples, count))
    cells = drawn + np.arange(resamples)[:, None] * count
    return np.bincount(cells.ravel(), minlength=resamples * count).reshape(resamples, count)


def once(frame_count: int) -> Ints:
    """The weights of the frames as they are, (1, F)."""
    return np.ones((1, frame_count), np.int64)


def ends(values: Floats) -> tuple[float, float]:
    """Lower and upper end of the resamples' figures, (R,); nan where none could be measured."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, ENDS)
    return float(low), float(high)


def intervals(figures: Figures, groups: Sequence[str], resamples: int) -> dict[str, Interval]:
    """The interval of each figure over all frames; none without resamples."""
    if not resamples:
        return {}
    found = figures(draws(groups, resamples))
    return {name: _interval(values) for name, values in found.items()}


def _interval(values: Floats) -> Interval:
    low, high = ends(values)
    return Interval(low=low, high=high)


def slice_figure(
    main: Callable[[Ints], Floats],
    rows: Bools,
    groups: Sequence[str],
    *,
    resamples: int,
    few: int,
    count: int,
) -> SliceFigure:
    """The main figure of the frames `rows`, (F,), with its interval.

    Args:
        main: the figure of each resample, (R,), from its weights, (R, F).
        few: a `count` under it is too few.
    """
    value = float(main(rows[None].astype(np.int64))[0])
    low, high = ends(main(draws(groups, resamples, rows)) if resamples else np.zeros(0))
    return SliceFigure(value, low, high, count < few, count)


def changes(
    this: Figures, champion: Figures, groups: Sequence[str], resamples: int
) -> dict[str, Change]:
    """Each figure of this version less the champion's, both on the same resamples."""
    weights = np.vstack([once(len(groups)), draws(groups, resamples)])
    mine, theirs = this(weights), champion(weights)
    return {name: _change(values, theirs[name]) for name, values in mine.items()}


def _change(this: Floats, champion: Floats) -> Change:
    apart = this - champion
    low, high = ends(apart[1:])
    return Change(champion=champion[0], this=this[0], difference=apart[0], low=low, high=high)
