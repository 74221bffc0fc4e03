"""What an endpoint tells Prometheus, and what it makes of a fault that nobody foresaw."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Any

from cityforge.endpoint.refusal import problem
from cityforge.endpoint.request_log import RequestLog

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
ROUTES = frozenset(
    {"/predict", "/analyze", "/feedback", "/info", "/", "/metrics", "/livez", "/readyz", "/healthz"}
)
GONE = 499  # the caller left before the answer

logger = logging.getLogger(__name__)


class Figures:
    """Counters and gauges of one endpoint, by prometheus_client."""

    def __init__(self) -> None:
        import prometheus_client as metrics  # BentoML has said where its processes meet

        self._requests = metrics.Counter(
            "cityforge_requests_total", "Answers, by route and status", ["route", "status"]
        )
        self._seconds = metrics.Histogram(
            "cityforge_request_seconds", "Time to answer", ["route"], buckets=SECONDS
        )
        self.pictures = metrics.Counter("cityforge_pictures_total", "Pictures answered")
        self.outside = metrics.Counter(
            "cityforge_outside_total", "Pictures and clips marked as out of the envelope"
        )
        self._gauges = {
            name: metrics.Gauge(f"cityforge_{name}", text, ["pool"], multiprocess_mode="livesum")
            for name, text in (
                ("waiting", "Jobs in the queue"),
                ("alive", "Compute processes that can answer"),
                ("restarts", "Compute processes that were replaced"),
            )
        }
        self._known: dict[tuple[str, int], Any] = {}
        self._timed: dict[str, Any] = {}
        self._all = [self._requests, self._seconds, self.pictures, self.outside]
        self._all += self._gauges.values()

    def forget(self) -> None:
        """Leave the process's registry, which knows each figure once."""
        from prometheus_client import REGISTRY

        for each in self._all:
            REGISTRY.unregister(each)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (route, status)
        counter = self._known.get(key)
        if counter is None:
            counter = self._known[key] = self._requests.labels(route, str(status))
            self._timed.setdefault(route, self._seconds.labels(route))
        counter.inc()
        self._timed[route].observe(seconds)

    def pool(self, name: str, **values: int) -> None:
        """Set the gauges of a pool."""
        for each, value in values.items():
            self._gauges[each].labels(name).set(value)


class Observed:
    """ASGI middleware: counts every answer; every refusal is a `schema.Problem`, and logged.

    Feedback is logged, too; what a model answered is in the log of answers already.
    """

    def __init__(self, app: Any, figures: Figures, log: RequestLog | None = None) -> None:
        self._app, self._figures = app, figures
        self._log = log or RequestLog(None)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        answer = _Answer(send)
        await self._answer(scope, receive, answer)
        route = scope["path"] if scope["path"] in ROUTES else "other"
        status, seconds = answer.status or GONE, time.perf_counter() - begun
        self._figures.answered(route, status, seconds)
        if status >= 400 or route == "/feedback":
            self._log.note(scope, answer.request_id, route, status, seconds)

    async def _answer(self, scope: Any, receive: Any, answer: _Answer) -> None:
        try:
            await self._app(scope, receive, answer.send)
        except asyncio.CancelledError:  # the server ends, and waits no longer
            if answer.status:
                raise
            text = "expected an answer, found an endpoint that ends"
            await problem(503, text, answer.named())(scope, receive, answer.send)
        except Exception:  # whatever it is: the caller gets an answer, and it is counted
            number = answer.named()
            logger.exception("request %s to %s failed", number, scope["path"])
            if not answer.status:
                text = "expected an answer, found a fault of ours"
                await problem(500, text, number)(scope, receive, answer.send)


class _Answer:
    """Passes an answer on; a refusal that is no JSON becomes one."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self.status = 0
        self.request_id = ""
        self._instead: bytes | None = None

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.request_id = _id_in(message["headers"]) or self.request_id
            if self.status >= 400 and not _is_json(message["headers"]):
                message = self._as_problem(message)
        elif self._instead is not None and message["type"] == "http.response.body":
            body, self._instead = self._instead, b""
            message = {**message, "body": body}
        await self._send(message)

    def named(self) -> str:
        """The request's id; it gets one where nothing gave it one."""
        self.request_id = self.request_id or secrets.token_hex(16)
        return self.request_id

    def _as_problem(self, message: Any) -> Any:
        import http

        known = {each.value for each in http.HTTPStatus}
        phrase = http.HTTPStatus(self.status).phrase.lower() if self.status in known else "refused"
        told = problem(self.status, f"expected another request, found {phrase}", self.named())
        self._instead = bytes(told.body)
        kept = [
            (name, value)
            for name, value in message["headers"]
            if name.lower() not in (b"content-type", b"content-length", b"x-request-id")
        ]
        return {**message, "headers": [*kept, *told.raw_headers]}


def _id_in(headers: Any) -> str:
    for name, value in headers:
        if name.lower() == b"x-request-id":
            return str(value.decode("latin-1"))
    return ""


def _is_json(headers: Any) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"application/json")
        for name, value in headers
    )
