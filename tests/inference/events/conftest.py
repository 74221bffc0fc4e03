"""Moments drawn by hand: boxes of 10×10 pixels by track, class and bottom centre."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from cityforge.inference.events.moment import Moment, Weak

SIDE = 10.0
Seen = tuple[int, str, float, float]  # track (0: none), class, x and y of the bottom centre


@pytest.fixture
def moment() -> Callable[..., Moment]:
    def make(
        at_s: float,
        seen: Sequence[Seen] = (),
        kmh: Sequence[float] = (),
        weak: Sequence[tuple[str, float, float, float]] = (),  # class, score, x, y
        **changes: Any,
    ) -> Moment:
        return Moment(
            at_s,
            np.array([each[0] for each in seen], np.int64),
            [each[1] for each in seen],
            np.full(len(seen), 0.8),
            boxes([(x, y) for _, _, x, y in seen]),
            np.array(kmh) if kmh else np.full(len(seen), np.nan),
            Weak(
                [each[0] for each in weak],
                np.array([each[1] for each in weak]),
                boxes([(x, y) for _, _, x, y in weak]),
            ),
            **changes,
        )

    return make


def boxes(feet: Sequence[tuple[float, float]]) -> Any:
    """(N, 4) boxes of 10×10 pixels that stand on these points."""
    rows = [(x - SIDE / 2, y - SIDE, x + SIDE / 2, y) for x, y in feet]
    return np.array(rows).reshape(-1, 4)


@pytest.fixture
def told() -> Callable[..., list[Any]]:
    """Feed a watch moments, then end: (start, end, tracks, going on) of each event."""

    def tell(watch: Any, moments: Sequence[Moment]) -> list[Any]:
        happened = [each for one in moments for each in watch.look(one)] + watch.end()
        return [(h.start_s, h.end_s, h.tracks, h.going_on) for h in happened]

    return tell
