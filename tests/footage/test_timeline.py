"""A live stream's times never run back, and a moment of it has a true time of day."""

from __future__ import annotations

from datetime import UTC

import pytest

from cityforge.footage.timeline import Timeline, WallClock


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        # pts, dts, arrival in ms after the first; expected pts, dts, jumped
        pytest.param(
            [(900, 900, 0), (940, 940, 40), (980, 980, 80)],
            [(0, 0, False), (40, 40, False), (80, 80, False)],
            id="even",
        ),
        pytest.param(
            [(80, 0, 0), (200, 40, 40), (120, 80, 80), (160, 120, 120)],
            [(80, 0, False), (200, 40, False), (120, 80, False), (160, 120, False)],
            id="pictures shown in another order",
        ),
        pytest.param(
            [(80, None, 0), (200, None, 40), (120, 80, 80), (160, 120, 120)],
            [(0, 0, False), (120, 0, False), (40, 0, False), (80, 40, False)],
            id="dts missing at the start",
        ),
        pytest.param(
            [(None, None, 0), (5040, 5040, 1), (None, None, 2), (5120, 5120, 3)],
            [(0, 0, False), (40, 40, False), (80, 80, False), (120, 120, False)],
            id="times missing",
        ),
        pytest.param(
            [(0, 0, 0), (40, 40, 40), (30, 30, 80), (80, 80, 120)],
            [(0, 0, False), (40, 40, False), (40, 40, False), (80, 80, False)],
            id="a packet out of order",
        ),
        pytest.param(
            [(5000, 5000, 0), (5040, 5040, 40), (1000, 1000, 90), (1040, 1040, 130)],
            [(0, 0, False), (40, 40, False), (90, 90, True), (130, 130, False)],
            id="back",
        ),
        pytest.param(
            [(0, 0, 0), (40, 40, 40), (90_000, 90_000, 80), (90_040, 90_040, 120)],
            [(0, 0, False), (40, 40, False), (80, 80, True), (120, 120, False)],
            id="far ahead",
        ),
        pytest.param(
            [(0, 0, 0), (9000, 9000, 9000)],
            [(0, 0, False), (9000, 9000, False)],
            id="a gap",
        ),
    ],
)
def test_times_are_repaired(
    stamps: list[tuple[int | None, int | None, int]], expected: list[tuple[int, int, bool]]
) -> None:
    timeline = Timeline()
    placed = [timeline.place(None, pts, dts, 40, 1e9 + at / 1000) for pts, dts, at in stamps]
    assert [(each.pts, each.dts, each.jumped) for each in placed] == expected


def test_made_up_times_are_not_believed() -> None:
    timeline = Timeline(trusted=False)
    placed = [timeline.place(None, n * 40, n * 40, 40, 1e9 + n / 10) for n in range(4)]
    assert [each.pts for each in placed] == [0, 100, 200, 300]


def test_clock_takes_the_least_delay_and_forgets() -> None:
    clock = WallClock()
    for n in range(1000):  # the camera's clock is slow: 1 s in 1000
        clock.meet(n * 1000, 1e9 + n * 1.001 + (5.0 if n == 997 else 0.0))
    assert clock.at(999_000).timestamp() == pytest.approx(1e9 + 999.999, abs=0.3)
    assert clock.at(999_000).tzinfo == UTC
