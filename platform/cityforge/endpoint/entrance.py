"""The one way in: every request is counted and checked here, and /predict goes a short way.

BentoML's and FastAPI's own layers take about as long as decoding a picture does. The entrance
stands before them, and pictures go from it straight to `predicting`; all else goes on through
BentoML. It stands inside of BentoML, too, for a server that is started in another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from cityforge.endpoint.guard import Guard
from cityforge.endpoint.observed import Figures, Observed
from cityforge.endpoint.predicting import predict
from cityforge.endpoint.request_log import RequestLog
from cityforge.endpoint.running import Running
from cityforge.endpoint.tokens import Tokens

PASSED, ONWARD = "cityforge.passed", "cityforge.onward"  # keys of an ASGI scope


class Entrance:
    """Counts and logs (`Observed`), then checks (`Guard`), then lets through.

    Args:
        running: what answers, once it runs.
        log: of what is refused.
    """

    def __init__(
        self,
        figures: Figures,
        tokens: Tokens | None,
        open_to_all: bool,
        hosts: Iterable[str],
        running: Callable[[], Running],
        log: RequestLog | None = None,
    ) -> None:
        guard = Guard(_onward, tokens=tokens, open_to_all=open_to_all, hosts=hosts)
        self._chain = Observed(guard, figures, log)
        self._running = running

    def before(self, app: Any) -> Any:
        """An ASGI app that enters here, and goes on to `app` or the short way."""

        async def entered(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await app(scope, receive, send)
                return
            scope[PASSED] = True
            scope[ONWARD] = self._quick if _is_plain_predict(scope) else app
            await self._chain(scope, receive, send)

        return entered

    async def _quick(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.requests import Request

        camera = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("camera")
        request = Request(scope, receive, send)
        response = await predict(request, self._running(), False, camera or None)
        await response(scope, receive, send)


class Inside:
    """ASGI middleware of the service: a request that did not come through the entrance does now."""

    def __init__(self, app: Any, entrance: Entrance) -> None:
        self._app, self._entered = app, entrance.before(app)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on what passed already."""
        app = self._app if scope.get(PASSED) else self._entered
        await app(scope, receive, send)


async def _onward(scope: Any, receive: Any, send: Any) -> None:
    await scope[ONWARD](scope, receive, send)


def _is_plain_predict(scope: Any) -> bool:
    """POST /predict with no option or only a short camera's name: the rest FastAPI reads."""
    if scope["type"] != "http" or scope["path"] != "/predict" or scope["method"] != "POST":
        return False
    query = scope["query_string"]
    return not query or (
        query.startswith(b"camera=") and len(query) < 200 and b"&" not in query and len(query) > 7
    )
