"""What the benchmark calls met or SHORT, on streams whose numbers are known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from serving_limits import (
    Figure,
    at_least,
    at_most,
    exit_code,
    recovered,
    survived,
    table,
)
from serving_load import Seen

STEP_S = 0.02  # between two requests of a stream


def stream(ms: Sequence[float], status: Sequence[int] | None = None) -> Seen:
    """Requests that were sent when they were meant to go, one each STEP_S."""
    meant = 100 + STEP_S * np.arange(len(ms))
    done, found = meant + np.array(ms) / 1000, np.array(status or [200] * len(ms))
    return Seen(meant, meant, done, found, found * 0 - 1, [""] * len(ms), 100.0, 1.0, 0.1)


@pytest.mark.parametrize(
    ("figure", "verdict", "code"),
    [
        (at_least("rate", 0.85, "", 0.85, ""), "met", 0),
        (at_least("rate", 0.849, "", 0.85, ""), "SHORT", 1),
        (at_least("nothing measured", math.nan, "", 0.85, ""), "SHORT", 1),
        (at_most("time", 50.0, "", 50.0, ""), "met", 0),
        (at_most("time", 50.1, "", 50.0, ""), "SHORT", 1),
        (at_most("nothing measured", math.nan, "", 50.0, ""), "SHORT", 1),
        (Figure("nothing promised", "7"), "", 0),
    ],
    ids=lambda each: each.what if isinstance(each, Figure) else "",
)
def test_a_limit_is_met_or_short(figure: Figure, verdict: str, code: int) -> None:
    assert figure.verdict == verdict
    assert exit_code([Figure("before", "x"), figure, Figure("after", "x", "x", True)]) == code


def test_the_table_says_which_promise_is_short() -> None:
    rows = [Figure("rate", "7/s", "8/s", False), Figure("time", "3 ms", "5 ms", True)]
    assert table([*rows, Figure("the client", "9%")]).splitlines() == [
        "what        measured  promised",
        "rate        7/s       8/s       SHORT",
        "time        3 ms      5 ms      met",
        "the client  9%",
    ]


@pytest.mark.parametrize(
    ("ms", "status", "met"),
    [
        ([30] * 250, [200] * 250, True),
        ([900] * 100 + [30] * 150, [503] * 100 + [200] * 150, True),  # 2 s of it
        ([900] * 120 + [30] * 130, [200] * 250, False),  # 2.4 s
        ([30] * 250, [200] * 249 + [503], False),
        ([30] * 50, [200] * 50, False),  # nobody looked after 2 s
    ],
    ids=["at once", "in 2 s", "too late", "one refused", "ended early"],
)
def test_normal_again_is_looked_at_after_two_seconds(
    ms: list[float], status: list[int], met: bool
) -> None:
    assert recovered(stream(ms, status), stream([20] * 100)).met is met


@pytest.mark.parametrize(
    ("status", "lost_at", "back_s", "met"),
    [
        (200, 60, 1.0, True),
        (0, 60, 1.0, True),
        (0, 60, 5.5, False),
        (0, 60, math.nan, False),
        (503, 60, 1.0, False),
        (0, 180, 1.0, False),
    ],
    ids=["none lost", "its own", "late", "never", "refused", "one sent long after"],
)
def test_only_what_was_in_its_hands_may_fail(
    status: int, lost_at: int, back_s: float, met: bool
) -> None:
    """Killed after 50 of 250 requests."""
    found = [200] * 250
    found[lost_at] = status
    seen = stream([20] * 250, found)
    assert survived("kill -9", seen, 100 + 50 * STEP_S, back_s, 8).met is met


def test_more_than_its_hands_hold_is_short() -> None:
    seen = stream([20] * 250, [0 if 50 <= each < 60 else 200 for each in range(250)])
    assert survived("kill -9", seen, 100 + 50 * STEP_S, 1.0, 8).met is False
    assert survived("kill -9", seen, 100 + 50 * STEP_S, 1.0, 10).met is True
