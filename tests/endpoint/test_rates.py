"""How often a token may call, against a bucket reckoned in the plain way."""

from __future__ import annotations

import random

import pytest

from cityforge.endpoint.guard import Buckets
from cityforge.endpoint.tokens import Caller


@pytest.mark.parametrize(("rate", "burst"), [(20.0, 40), (0.5, 1), (3.0, 7), (1000.0, 2)])
def test_rates_are_those_of_a_bucket_that_fills_evenly(rate: float, burst: int) -> None:
    caller = Caller("a", frozenset(), rate, burst, 0.0, "ab")
    buckets, draw = Buckets(), random.Random(7)
    tokens, before, now, taken = float(burst), 100.0, 100.0, 0
    for _ in range(3000):
        now += draw.expovariate(rate * draw.choice([0.5, 5, 50]))
        tokens, before = min(burst, tokens + (now - before) * rate), now
        wait = buckets.wait(caller, now)
        if abs(tokens - 1) > 1e-6:  # a draw between the two ways to reckon
            assert (wait == 0) == (tokens >= 1)
        if wait == 0:
            tokens, taken = tokens - 1, taken + 1
        else:
            assert wait == pytest.approx((1 - tokens) / rate, abs=1e-6)
    assert 0 < taken < 3000
    assert taken <= burst + (now - 100) * rate + 1
