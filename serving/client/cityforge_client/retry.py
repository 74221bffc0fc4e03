"""How long to wait before asking again, and when to give up.

Asked again is only what is safe: a connection that was never made, 429 and 503 (nothing was
done), and of a question that changes nothing also 502, 504 and a connection that broke.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Union

import httpx

Outcome = Union[httpx.Response, httpx.RequestError]
NOTHING_DONE = (429, 503)
PERHAPS_DONE = (502, 504)
FIRST_S, LONGEST_S = 0.25, 8.0  # of the waits nobody asked for


@dataclass(frozen=True)
class Patience:
    """At most `retries` more attempts, none begun later than `budget` seconds after the first."""

    retries: int
    budget: float


class Waits:
    """The waits of one call; `clock` in seconds, `draw` gives a share of 0 to 1."""

    def __init__(
        self,
        patience: Patience,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._patience = patience
        self._clock, self._draw = clock, draw
        self._begun = clock()
        self._done = 0

    def after(self, outcome: Outcome, repeatable: bool) -> float | None:
        """Seconds to wait before the next attempt; none: this outcome is the last.

        A wait that the endpoint asks for is kept, and lengthened by up to a tenth so that callers
        that were refused together do not come back together.
        """
        if self._done >= self._patience.retries or not may_be_asked_again(outcome, repeatable):
            return None
        asked = retry_after(outcome) if isinstance(outcome, httpx.Response) else None
        wait = self._own_wait() if asked is None else asked * (1 + 0.1 * self._draw())
        self._done += 1
        used = self._clock() - self._begun
        return None if used + wait > self._patience.budget else wait

    def _own_wait(self) -> float:
        """Doubled each time, less a random half ("equal jitter")."""
        full = float(min(LONGEST_S, FIRST_S * 2**self._done))
        return full * (0.5 + 0.5 * self._draw())


def may_be_asked_again(outcome: Outcome, repeatable: bool) -> bool:
    """Whether another attempt can neither do harm nor be known to fail."""
    if isinstance(outcome, httpx.Response):
        return outcome.status_code in NOTHING_DONE or (
            repeatable and outcome.status_code in PERHAPS_DONE
        )
    if isinstance(outcome, (httpx.ConnectError, httpx.ConnectTimeout)):
        return not refused_certificate(outcome)
    broken = isinstance(outcome, (httpx.NetworkError, httpx.RemoteProtocolError))
    return repeatable and broken


def refused_certificate(error: BaseException | None) -> bool:
    """Whether a certificate was the cause; it will not be a better one in a second."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def retry_after(answer: httpx.Response) -> float | None:
    """Seconds of the header Retry-After (RFC 9110, 10.2.3): a number, or a date less now.

    "Now" is by the answer's own header Date where it has one, as two clocks may differ.
    """
    value = answer.headers.get("retry-after", "").strip()
    if value.isdigit() and value.isascii():
        return float(value)
    until = moment(value)
    if until is None:
        return None
    now = moment(answer.headers.get("date", "")) or datetime.now(timezone.utc)
    return max(0.0, (until - now).total_seconds())


def moment(text: str) -> datetime | None:
    """A date of HTTP; none where it is none."""
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
