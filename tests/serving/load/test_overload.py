"""More than an endpoint can do: what does not fit is refused at once, and counted."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sent_pictures import refuse_another_answer, slow
from served_process import Running
from serving_limits import ACCEPTED_TIMES, NORMAL_IN_S
from serving_load import closed, paced, upload

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.alone]
# What is promised, times what a test's machine that does other things, too, is allowed.
ACCEPTED = 4 * ACCEPTED_TIMES
NORMAL_AFTER_S = 4 * NORMAL_IN_S


def test_a_flood_is_refused_politely_and_all_of_it_is_counted(endpoint: Running) -> None:
    requests = [upload(endpoint.address, [slow()])]
    quiet = closed(endpoint.address, requests, 16, count=60)
    capacity = quiet.rate()
    before = endpoint.counted()
    seen = paced(endpoint.address, requests, 10 * capacity, 5.0)
    told_by_itself = Counter(endpoint.counted()) - Counter(before)
    after = paced(endpoint.address, requests, max(1.0, capacity / 4), NORMAL_AFTER_S + 2)
    told = Counter(seen.counts())
    assert set(told) <= {200, 503, 504}, told
    assert told.total() == len(seen.status) > 45 * capacity
    assert told[503] > told[200]
    # What it can do it still does: refusing does not starve what was taken.
    assert told[200] > 0.25 * 5 * capacity
    assert +told_by_itself == told
    assert (seen.retry[seen.status == 503] >= 1).all()
    assert seen.ms(503, 50, since="sent") < 500
    assert seen.ms(200, 99) < ACCEPTED * quiet.ms(200, 99)
    late = after.meant > after.meant.min() + NORMAL_AFTER_S
    assert late.any()
    assert set(after.status[late]) == {200}
    assert np.median((after.done - after.meant)[late]) < quiet.ms(200, 99) / 1000
    refuse_another_answer(endpoint.address, 2)


def test_one_picture_too_many_costs_the_whole_request_nothing_else(endpoint: Running) -> None:
    requests = [upload(endpoint.address, [slow()] * 32)]
    seen = closed(endpoint.address, requests, 6, count=12)
    assert set(seen.counts()) <= {200, 503}
    assert seen.counts()[200] >= 1
    refuse_another_answer(endpoint.address)
