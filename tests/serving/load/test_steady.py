"""Memory of an endpoint stays where it was."""

from __future__ import annotations

import pytest
from sent_pictures import quick
from served_process import Running
from serving_load import closed, upload

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.alone]


def test_memory_stays_where_it_was(endpoint: Running) -> None:
    requests = [upload(endpoint.address, [quick()] * each) for each in (1, 1, 1, 4)]
    closed(endpoint.address, requests, 4, count=700)
    early = endpoint.rss()
    seen = closed(endpoint.address, requests, 4, count=3000)
    assert seen.counts() == {200: 3000}
    assert endpoint.rss() < 1.1 * early
