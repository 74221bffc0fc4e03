"""When the client asks again, and how long it waits."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import httpx
import pytest
from cityforge_client.retry import Patience, Waits, may_be_asked_again, retry_after


def answer(status: int, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named)


def refused_by_certificate() -> httpx.ConnectError:
    error = httpx.ConnectError("x")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed")
    return error


@pytest.mark.parametrize(
    ("outcome", "again", "again_if_repeatable"),
    [
        (answer(200), False, False),
        (answer(400), False, False),
        (answer(401), False, False),
        (answer(409), False, False),
        (answer(429), True, True),
        (answer(500), False, False),
        (answer(502), False, True),
        (answer(503), True, True),
        (answer(504), False, True),
        (httpx.ConnectError("refused"), True, True),
        (httpx.ConnectTimeout("slow"), True, True),
        (httpx.ReadError("reset"), False, True),
        (httpx.RemoteProtocolError("closed"), False, True),
        (httpx.ReadTimeout("slow"), False, False),
        (refused_by_certificate(), False, False),
    ],
)
def test_only_what_is_safe_is_asked_again(
    outcome: httpx.Response | httpx.RequestError, again: bool, again_if_repeatable: bool
) -> None:
    assert may_be_asked_again(outcome, repeatable=False) is again
    assert may_be_asked_again(outcome, repeatable=True) is again_if_repeatable


DATE = "Mon, 23 Nov 2026 05:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "3"}, 3),
        ({"retry_after": " 0 "}, 0),
        ({"retry_after": "Mon, 23 Nov 2026 05:00:07 GMT", "date": DATE}, 7),
        ({"retry_after": "Monday, 23-Nov-26 05:00:07 GMT", "date": DATE}, 7),
        ({"retry_after": "Mon, 23 Nov 2026 04:59:00 GMT", "date": DATE}, 0),  # in the past
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-3"}, None),
        ({"retry_after": "٣"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    sent = {name: value.encode() for name, value in headers.items()}
    assert retry_after(answer(503, **sent)) == seconds


def waits(retries: int, budget: float, times: list[float], draw: Callable[[], float]) -> Waits:
    return Waits(Patience(retries, budget), clock=lambda: times[0], draw=draw)


def test_waits_are_doubled_and_at_most_eight_seconds() -> None:
    longest = waits(7, 1e9, [0.0], lambda: 1.0)
    assert [longest.after(answer(503), True) for _ in range(8)] == [
        0.25, 0.5, 1, 2, 4, 8, 8, None,
    ]  # fmt: skip
    shortest = waits(2, 1e9, [0.0], lambda: 0.0)
    assert [shortest.after(answer(503), True) for _ in range(3)] == [0.125, 0.25, None]


def test_an_asked_wait_is_never_shortened() -> None:
    assert waits(1, 99, [0.0], lambda: 0.0).after(answer(429, retry_after="10"), False) == 10
    assert waits(1, 99, [0.0], lambda: 1.0).after(answer(429, retry_after="10"), False) == 11


def test_no_attempt_begins_behind_the_budget() -> None:
    times = [100.0]
    found = waits(9, 30, times, lambda: 0.0)
    assert found.after(answer(503, retry_after="20"), True) == 20
    times[0] = 120.0
    assert found.after(answer(503, retry_after="11"), True) is None
    assert waits(9, 30, [0.0], lambda: 0.0).after(answer(503, retry_after="31"), True) is None
