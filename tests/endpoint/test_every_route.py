"""Every route of the very service, each method: refused to strangers, other scopes, other sites."""

from __future__ import annotations

import asyncio
import os
import runpy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from cityforge.endpoint.routes import ADMIN, FOLDERS, ROUTES, place_of
from cityforge.endpoint.token_file import SCOPES, new_token

SERVICE = Path(__file__).parents[2] / "serving" / "service.py"
METHODS = (
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW",
)  # fmt: skip
UNKNOWN = ("/nowhere", "/predict/", "/%2Fpredict", "/page/%2e%2e/metrics", "/%00%ff")
BASE = "http://127.0.0.1:3000"


@dataclass(frozen=True)
class Service:
    """The service as BentoML runs it, and a token for each scope, and one for all."""

    app: Any  # what the server calls
    inner: Any  # the FastAPI app in it
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`serving/service.py` itself; no model is loaded, since nothing gets so far."""
    from uvicorn.protocols.http import auto

    path = tmp_path_factory.mktemp("site") / "tokens.json"
    often = {"rate": 1e5, "burst": 100_000, "days": 1}
    tokens = {each: new_token(path, each, [each], **often)[1] for each in SCOPES}  # type: ignore[arg-type]
    tokens["all"] = new_token(path, "all", SCOPES, **often)[1]  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch, figures_set_aside():
        for name in [each for each in os.environ if each.startswith("CITYFORGE_")]:
            patch.delenv(name)
        patch.setenv("CITYFORGE_TOKENS", str(path))
        # The service replaces it for the whole process, guard included: later tests serve, too.
        patch.setattr(auto, "AutoHTTPProtocol", auto.AutoHTTPProtocol)
        loaded = runpy.run_path(str(SERVICE))
        yield Service(loaded["Endpoint"].to_asgi(), loaded["app"], tokens)


class figures_set_aside:  # noqa: N801
    """Prometheus takes a figure once in a process: those of another load wait meanwhile."""

    def __enter__(self) -> None:
        self.others = self._take()

    def __exit__(self, *_: object) -> None:
        from prometheus_client import REGISTRY

        self._take()
        for each in self.others:
            REGISTRY.register(each)

    def _take(self) -> list[Any]:
        from prometheus_client import REGISTRY

        named = dict(REGISTRY._collector_to_names)
        found = [each for each, names in named.items() if any("cityforge" in n for n in names)]
        for each in found:
            REGISTRY.unregister(each)
        return found


def routes_of(routes: Iterable[Any], prefix: str = "") -> Iterator[str]:
    """A path for every route, also of what is mounted or included; an unknown kind is an error."""
    from starlette.routing import Mount, Route, WebSocketRoute

    for route in routes:
        if hasattr(route, "effective_candidates"):  # FastAPI's included router
            yield from routes_of(route.effective_candidates(), prefix)
        elif isinstance(route, Mount):
            inner = prefix + route.path
            found = getattr(route.app, "routes", None)
            yield from routes_of(found, inner) if found is not None else iter([f"{inner}/any"])
        elif isinstance(route, Route | WebSocketRoute) or hasattr(route, "original_route"):
            yield prefix + filled(route.path)
        else:
            raise AssertionError(f"a kind of route that is not known here: {route!r}")


def filled(path: str) -> str:
    """A path with its parameters filled in."""
    return "/".join("any" if each.startswith("{") else each for each in path.split("/"))


@dataclass
class Seen:
    """What was asked, and what was not refused as it must be."""

    asked: int = 0
    faults: list[str] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.faults = []


def ask_all(app: Any, tokens: dict[str, str], paths: Iterable[str]) -> Seen:
    """Ask every path by every method as those who may not."""
    seen = Seen()

    async def ask_each() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            for path in paths:
                for method in METHODS:
                    await _ask(client, method, path, tokens, seen)

    asyncio.run(ask_each())
    return seen


async def _ask(
    client: httpx.AsyncClient, method: str, path: str, tokens: dict[str, str], seen: Seen
) -> None:
    needed = place_of(unquote(path))[1].get(method, ADMIN)
    others = [each for each in SCOPES if each not in needed]
    assert others, f"{method} {path} refuses no scope"
    every = {"Authorization": f"Bearer {tokens['all']}"}
    strangers = [("nobody", {}, 401), ("a stranger", {"Authorization": "Bearer cf_x"}, 401)]
    strangers += [(each, {"Authorization": f"Bearer {tokens[each]}"}, 403) for each in others]
    strangers += [
        ("a foreign Host", {**every, "Host": "evil.example"}, 403),
        ("a foreign Origin", {**every, "Origin": "http://evil.example"}, 403),
        ("no Origin at all", {**every, "Origin": "null"}, 403),
        ("another site", {**every, "Sec-Fetch-Site": "cross-site"}, 403),
    ]
    for who, headers, expected in strangers:
        answer = await client.request(method, path, headers=headers, content=b"x" * 100)
        seen.asked += 1
        if answer.status_code != expected or not is_problem(answer, method):
            seen.faults.append(f"{method} {path} by {who}: {answer.status_code}")


def is_problem(answer: httpx.Response, method: str) -> bool:
    """Whether a refusal is as they must be, its id in it; HEAD has the header alone."""
    told = answer.headers.get("x-request-id", "")
    if method == "HEAD":
        return bool(told)
    found = answer.json()
    return list(found) == ["error", "request_id"] and found["request_id"] == told


def test_every_route_and_method_is_refused_to_those_who_may_not(service: Service) -> None:
    paths = sorted(set(routes_of(service.app.routes)))
    assert {"/predict", "/analyze", "/feedback", "/info", "/", "/page/any", "/metrics", "/docs",
            "/livez", "/readyz", "/healthz", "/docs.json", "/openapi.json", "/schema.json",
            "/static_content/any"} <= set(paths)  # fmt: skip
    seen = ask_all(service.app, service.tokens, [*paths, *UNKNOWN])
    assert seen.faults == []
    assert seen.asked >= (len(paths) + len(UNKNOWN)) * len(METHODS) * 7


def test_every_route_is_named_in_the_table(service: Service) -> None:
    paths = set(routes_of(service.app.routes))
    assert [each for each in sorted(paths) if place_of(each)[0] == "other"] == []
    unused = [each for each in ROUTES if each not in paths]
    unused += [each for each in FOLDERS if not any(path.startswith(each) for path in paths)]
    assert unused == []


def test_an_admin_gets_the_apps_own_refusal_of_what_is_unknown(service: Service) -> None:
    async def statuses() -> list[int]:
        transport = httpx.ASGITransport(service.app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {service.tokens['admin']}"}
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            asked = [("GET", "/nowhere"), ("GET", "/predict"), ("BREW", "/livez")]
            return [
                (await client.request(method, path, headers=headers)).status_code
                for method, path in asked
            ]

    assert asyncio.run(statuses()) == [404, 405, 405]


def test_a_new_route_is_denied_and_seen_by_these_tests(service: Service) -> None:
    async def leak() -> str:
        return "everything"

    before = list(service.inner.router.routes)
    service.inner.add_api_route("/leak", leak, methods=["GET"])
    try:
        assert "/leak" in routes_of(service.app.routes)
        assert place_of("/leak")[0] == "other"  # so the test of the table fails until it is named
        assert ask_all(service.app, service.tokens, ["/leak"]).faults == []

        async def by_admin() -> httpx.Response:
            headers = {"Authorization": f"Bearer {service.tokens['admin']}"}
            transport = httpx.ASGITransport(service.app)
            async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
                return await client.get("/leak", headers=headers)

        assert asyncio.run(by_admin()).json() == "everything"
    finally:
        service.inner.router.routes[:] = before


def test_without_the_guard_these_tests_would_fail(service: Service) -> None:
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def leak(_: object) -> JSONResponse:
        return JSONResponse({"error": "", "request_id": ""}, headers={"x-request-id": ""})

    seen = ask_all(Starlette(routes=[Route("/leak", leak)]), service.tokens, ["/leak"])
    assert "GET /leak by nobody: 200" in seen.faults
    assert "GET /leak by a foreign Host: 200" in seen.faults
