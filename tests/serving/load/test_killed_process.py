"""kill -9 under load: only what was in the process's hands may fail, and it is back in seconds."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sent_pictures import quick, refuse_another_answer, slow
from served_process import Running, lives, running, wait_until_it_answers
from serving_load import under_load, upload
from signed_site import signed_site

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.alone]
UNDER_WAY = 8
# 5 s of a machine that does nothing else; a test's machine does.
BACK_S = 15.0


def wait_for(what: Callable[[], bool], seconds: float) -> float:
    """Seconds until something holds."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() < begun + seconds, "it did not happen in time"
        time.sleep(0.05)  # nothing tells: looked at again
    return time.monotonic() - begun


def test_a_compute_process_that_is_killed_costs_no_answer(endpoint: Running) -> None:
    requests = [upload(endpoint.address, [quick()])]
    before = {each.pid for each in endpoint.compute()}
    with under_load(endpoint.address, requests, UNDER_WAY) as (load, found):
        wait_for(lambda: len(load.rows) > 100, 20)
        for each in endpoint.compute():
            each.send_signal(signal.SIGKILL)

        def all_are_new() -> bool:
            now = {each.pid for each in endpoint.compute()}
            return len(now) == len(before) and not now & before

        wait_for(all_are_new, BACK_S)
        killed = len(load.rows)
        wait_for(lambda: len(load.rows) > killed + 200, BACK_S)
    assert found[0].counts() == {200: len(found[0].status)}
    assert len(found[0].status) > 300
    refuse_another_answer(endpoint.address)


def test_one_that_is_killed_again_and_again_is_replaced_each_time(endpoint: Running) -> None:
    for _ in range(4):
        pid = endpoint.compute()[0].pid
        endpoint.compute()[0].send_signal(signal.SIGKILL)
        wait_for(lambda pid=pid: pid not in {each.pid for each in endpoint.compute()}, BACK_S)
        refuse_another_answer(endpoint.address)


def test_a_front_that_is_killed_comes_back(endpoint: Running) -> None:
    requests = [upload(endpoint.address, [quick()])]
    front, orphans = endpoint.front(), endpoint.compute()
    with under_load(endpoint.address, requests, UNDER_WAY) as (load, found):
        wait_for(lambda: len(load.rows) > 100, 20)
        front.send_signal(signal.SIGKILL)
        killed = time.perf_counter()
        wait_until_it_answers(endpoint, BACK_S)
        back = time.perf_counter()
        wait_for(lambda: load.rows[-1][0] > back, BACK_S)
    seen = found[0]
    lost = seen.status != 200
    # Each connection may lose what it had under way, or what it sent to a socket nobody read yet.
    assert lost.sum() <= 2 * UNDER_WAY
    assert (seen.status[lost] == 0).all()
    assert (seen.sent[lost] < back).all()
    assert (seen.done[lost] > killed - 1).all()
    wait_for(lambda: not any(map(lives, orphans)), 5)
    refuse_another_answer(endpoint.address)


def test_what_is_in_hand_is_finished_before_it_ends(
    make_package: Callable[..., Path], tmp_path: Path
) -> None:
    site = signed_site(make_package, tmp_path)
    with running(site, site.release(1)) as endpoint:
        requests = [upload(endpoint.address, [slow()] * 8)]
        with under_load(endpoint.address, requests, 2) as (load, found):
            wait_for(lambda: len(load.rows) >= 2, 20)
            family = endpoint.family()
            load.ended = True  # what is under way is the last
            endpoint.process.send_signal(signal.SIGTERM)
        assert found[0].counts() == {200: len(found[0].status)}
        assert endpoint.process.wait(40) == 0
        wait_for(lambda: not any(map(lives, family)), 5)
