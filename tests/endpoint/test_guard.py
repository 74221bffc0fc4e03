"""The guard: what goes on and what is refused, before a byte of the body is read."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from cityforge.endpoint.guard import Guard
from cityforge.endpoint.routes import FOLDERS, ROUTES
from cityforge.endpoint.token_file import new_secret, new_token
from cityforge.endpoint.tokens import Tokens

HOST = b"127.0.0.1:3000"
Headers = Iterable[tuple[bytes, bytes]]


class Asked:
    """One request through a guard, and what came of it."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.passed: dict[str, Any] | None = None  # the scope that the app got

    @property
    def status(self) -> int:
        """Of the refusal; 200 when the app got it."""
        return 200 if self.passed is not None else int(self.sent[0]["status"])

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.sent[0]["headers"])

    def header(self, name: bytes) -> list[str]:
        return [value.decode() for each, value in self.headers if each == name]

    @property
    def problem(self) -> dict[str, str]:
        return dict(json.loads(self.sent[1]["body"]))


def ask(
    guard: Guard, method: str = "POST", path: str = "/predict", headers: Headers = (),
    kind: str = "http",
) -> Asked:  # fmt: skip
    """Ask as a server does; reading the body, which only the app may, is an error."""
    asked = Asked()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.passed = scope

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        asked.sent.append(message)

    scope = {"type": kind, "method": method, "path": path, "headers": list(headers), "state": {}}
    guard.app = app
    asyncio.run(guard(scope, receive, send))
    return asked


def from_host(*more: tuple[bytes, bytes], host: bytes = HOST) -> list[tuple[bytes, bytes]]:
    return [(b"host", host), *more]


def bearer(secret: str) -> tuple[bytes, bytes]:
    return (b"authorization", b"Bearer " + secret.encode())


def basic(secret: str, user: str = "me") -> tuple[bytes, bytes]:
    return (b"authorization", b"Basic " + base64.b64encode(f"{user}:{secret}".encode()))


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A token for each scope alone, and where they are kept."""
    path = tmp_path_factory.mktemp("site") / "tokens.json"
    made = {
        each: new_token(path, f"of {each}", [each], rate=1e5, burst=100_000, days=1)[1]
        for each in ("predict", "feedback", "admin")
    }
    return {"path": str(path), **made}


@pytest.fixture
def guard(secrets: dict[str, str]) -> Guard:
    return Guard(None, tokens=Tokens(Path(secrets["path"])), open_to_all=False)  # type: ignore[arg-type]


MAY = [  # method, path, scopes that may
    ("POST", "/predict", {"predict"}),
    ("POST", "/analyze", {"predict"}),
    ("POST", "/feedback", {"feedback"}),
    ("GET", "/info", {"predict", "admin"}),
    ("GET", "/", {"predict", "admin"}),
    ("HEAD", "/", {"predict", "admin"}),
    ("GET", "/page/page.js", {"predict", "admin"}),
    ("GET", "/livez", {"predict", "admin"}),
    ("GET", "/readyz", {"predict", "admin"}),
    ("GET", "/healthz", {"predict", "admin"}),
    ("GET", "/docs", {"predict", "admin"}),
    ("GET", "/docs.json", {"predict", "admin"}),
    ("GET", "/openapi.json", {"predict", "admin"}),
    ("GET", "/static_content/swagger-ui.css", {"predict", "admin"}),
    ("GET", "/metrics", {"admin"}),
    ("GET", "/schema.json", {"admin"}),
    # What is not in the table.
    ("GET", "/predict", {"admin"}),
    ("OPTIONS", "/predict", {"admin"}),
    ("post", "/predict", {"admin"}),
    ("BREW", "/", {"admin"}),
    ("POST", "/predict/", {"admin"}),
    ("POST", "//predict", {"admin"}),
    ("POST", "/Predict", {"admin"}),
    ("POST", "/page/../predict", {"admin"}),
    ("GET", "/page", {"admin"}),
    ("GET", "", {"admin"}),
    ("GET", "/nowhere\x00\ud800", {"admin"}),
]


@pytest.mark.parametrize(("method", "path", "may"), MAY)
def test_a_route_takes_the_scopes_it_asks_for_and_no_other(
    guard: Guard, secrets: dict[str, str], method: str, path: str, may: set[str]
) -> None:
    for scope in ("predict", "feedback", "admin"):
        asked = ask(guard, method, path, from_host(bearer(secrets[scope])))
        assert asked.status == (200 if scope in may else 403), scope
        if asked.passed is not None:
            assert asked.passed["state"]["caller"] == f"of {scope}"
        else:
            assert f"found one with {scope}" in asked.problem["error"]
    assert ask(guard, method, path, from_host()).status == 401


def test_every_route_refuses_at_least_one_scope() -> None:
    tables = [*ROUTES.values(), *FOLDERS.values()]
    assert len(tables) >= 13
    for methods in tables:
        for scopes in methods.values():
            assert scopes
            assert scopes < {"predict", "feedback", "admin"}


def test_a_refusal_is_json_with_an_id_and_says_what_to_do(guard: Guard) -> None:
    asked = ask(guard, headers=from_host())
    assert asked.status == 401
    assert list(asked.problem) == ["error", "request_id"]
    assert asked.problem["error"].startswith("expected a token, found none: send the header")
    assert asked.header(b"x-request-id") == [asked.problem["request_id"]]
    assert asked.header(b"content-type") == ["application/json"]
    assert asked.header(b"content-length") == [str(len(asked.sent[1]["body"]))]
    assert len(asked.problem["request_id"]) == 32


@pytest.mark.parametrize(
    ("path", "schemes"),
    [
        ("/", ["Bearer", "Basic"]), ("/page/page.js", ["Bearer", "Basic"]),
        ("/predict", ["Bearer"]), ("/info", ["Bearer"]), ("/nowhere", ["Bearer"]),
    ],
)  # fmt: skip
def test_only_a_page_asks_a_browser_for_a_password(
    guard: Guard, path: str, schemes: list[str]
) -> None:
    asked = ask(guard, "GET", path, from_host())
    assert [each.split()[0] for each in asked.header(b"www-authenticate")] == schemes


def test_the_token_may_be_the_password_of_any_user(guard: Guard, secrets: dict[str, str]) -> None:
    for user in ("", "me", "王芳"):
        assert ask(guard, "GET", "/", from_host(basic(secrets["predict"], user))).status == 200
    assert ask(guard, "GET", "/", from_host(basic(new_secret()))).status == 401


def test_what_is_wrong_with_a_token_is_told_apart(guard: Guard, secrets: dict[str, str]) -> None:
    good = secrets["predict"]
    slip = good[:9] + ("a" if good[9] != "a" else "b") + good[10:]
    told = {
        each: ask(guard, headers=from_host(bearer(each))).problem["error"]
        for each in (slip, new_secret())
    }
    assert "with a slip" in told[slip]
    assert ["unknown, revoked or expired" in each for each in told.values()] == [False, True]


AUTHORIZATIONS = [
    b"", b"Bearer", b"Bearer ", b"bearer\t", b"Basic", b"Basic ", b"Basic !!!", b"Basic =",
    b"Basic " + base64.b64encode(b"no colon"), b"Basic " + base64.b64encode(b"\xff:\xfe\x00"),
    b"Digest realm", b"\xff\xfe\x00", b"Bearer \xe4\xbd\xa0", b"Bearer " + b"x" * 100_000,
    b"Bearer cf_" + b"A" * 49,
]  # fmt: skip


@pytest.mark.parametrize("value", AUTHORIZATIONS, ids=lambda value: repr(value[:24]))
def test_what_is_no_token_is_refused(guard: Guard, value: bytes) -> None:
    expected = 413 if len(value) > 50_000 else 401
    assert ask(guard, headers=from_host((b"authorization", value))).status == expected


def test_a_token_sent_twice_is_none(guard: Guard, secrets: dict[str, str]) -> None:
    twice = [bearer(secrets["predict"])] * 2
    assert ask(guard, headers=from_host(*twice)).status == 401


HOSTS = {
    b"127.0.0.1:3000": 200, b"127.0.0.1": 200, b"localhost:1": 200, b"LOCALHOST": 200,
    b"[::1]:3000": 200, b"forge.city:8443": 200, b"Forge.City": 200, b"[fe80::1]": 200,
    b"evil.example": 403, b"127.0.0.1.evil.example": 403, b"forge.city.": 403,
    b"xforge.city": 403, b"127.0.0.1:": 403, b"127.0.0.1:abc": 403, b"127.0.0.1:123456": 403,
    b"127.0.0.1@evil.example": 403, b"127.0.0.1,evil.example": 403, b"": 403, b"::1": 403,
    b"\xff\xfe": 403, b"localhost\n": 403, b"a" * 20_000: 403, b"*": 403,
}  # fmt: skip


@pytest.mark.parametrize("everyone", [False, True])
@pytest.mark.parametrize(("host", "status"), HOSTS.items(), ids=lambda value: repr(value)[:24])
def test_only_hosts_of_this_endpoint_are_answered(
    secrets: dict[str, str], host: bytes, status: int, everyone: bool
) -> None:
    names = ("Forge.city ", "", "fe80::1")
    tokens = Tokens(Path(secrets["path"]))
    guard = Guard(None, tokens=tokens, open_to_all=everyone, hosts=names)  # type: ignore[arg-type]
    assert ask(guard, headers=from_host(bearer(secrets["predict"]), host=host)).status == status


def test_no_host_and_two_hosts_are_refused(guard: Guard, secrets: dict[str, str]) -> None:
    token = bearer(secrets["predict"])
    assert ask(guard, headers=[token]).status == 403
    assert ask(guard, headers=from_host(token, (b"host", HOST))).status == 403


ORIGINS = {
    b"http://127.0.0.1:3000": 200, b"https://127.0.0.1:3000": 200, b"HTTP://127.0.0.1:3000": 200,
    b"http://127.0.0.1": 403, b"http://127.0.0.1:3001": 403, b"http://localhost:3000": 403,
    b"http://evil.example": 403, b"null": 403, b"": 403, b"127.0.0.1:3000": 403,
    b"file://127.0.0.1:3000": 403, b"http://127.0.0.1:3000/": 403, b"\xff": 403,
    b"http://127.0.0.1:3000,http://127.0.0.1:3000": 403,
}  # fmt: skip


@pytest.mark.parametrize("everyone", [False, True])
@pytest.mark.parametrize(("origin", "status"), ORIGINS.items(), ids=repr)
def test_another_sites_page_cannot_ask(
    secrets: dict[str, str], origin: bytes, status: int, everyone: bool
) -> None:
    guard = Guard(None, tokens=Tokens(Path(secrets["path"])), open_to_all=everyone)  # type: ignore[arg-type]
    headers = from_host(bearer(secrets["predict"]), (b"origin", origin))
    assert ask(guard, headers=headers).status == status


@pytest.mark.parametrize(
    ("value", "status"),
    [(b"same-origin", 200), (b"none", 200), (b"same-site", 200), (b"cross-site", 403), (b"?", 403)],
)
def test_a_browser_that_says_another_site_asks_is_believed(
    guard: Guard, secrets: dict[str, str], value: bytes, status: int
) -> None:
    headers = from_host(bearer(secrets["predict"]), (b"sec-fetch-site", value))
    assert ask(guard, headers=headers).status == status


def test_the_first_of_several_faults_is_told(guard: Guard, secrets: dict[str, str]) -> None:
    faults = [
        ((b"host", b"evil.example"), (b"host", HOST), 403, "Host"),
        ((b"origin", b"null"), (b"origin", b"http://" + HOST), 403, "Origin"),
        (bearer(new_secret()), bearer(secrets["feedback"]), 401, "in force"),
    ]
    for number, (wrong, _, status, said) in enumerate(faults):
        headers = [right for _, right, _, _ in faults[:number]] + [wrong]
        headers += [later for later, _, _, _ in faults[number + 1 :]]
        asked = ask(guard, headers=headers)
        assert (asked.status, said in asked.problem["error"]) == (status, True)
    assert ask(guard, headers=[right for _, right, _, _ in faults]).status == 403  # its scope


def test_open_to_all_asks_no_token_but_still_for_the_host() -> None:
    guard = Guard(None, tokens=None, open_to_all=True)  # type: ignore[arg-type]
    asked = ask(guard, "GET", "/metrics", from_host(bearer("anything")))
    assert asked.passed is not None
    assert asked.passed["state"]["caller"] == ""
    assert ask(guard, headers=from_host(host=b"evil.example")).status == 403


def test_without_tokens_nobody_may_call(tmp_path: Path) -> None:
    for tokens in (None, Tokens(None), Tokens(tmp_path / "none.json")):
        guard = Guard(None, tokens=tokens, open_to_all=False)  # type: ignore[arg-type]
        assert ask(guard, headers=from_host(bearer(new_secret()))).status == 401


@pytest.mark.parametrize(
    "more", [[(b"x", b"y" * 40_000)], [(b"x" * 40_000, b"")], [(b"x", b"")] * 101]
)
def test_too_many_headers_are_refused(
    guard: Guard, secrets: dict[str, str], more: list[tuple[bytes, bytes]]
) -> None:
    assert ask(guard, headers=from_host(bearer(secrets["predict"]), *more)).status == 413


def test_a_caller_over_its_rate_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    slow = new_token(path, "slow", ["predict"], rate=0.4, burst=3, days=1)[1]
    quick = new_token(path, "quick", ["predict"], rate=100.0, burst=40, days=1)[1]
    guard = Guard(None, tokens=Tokens(path), open_to_all=False)  # type: ignore[arg-type]
    found = [ask(guard, headers=from_host(bearer(slow))) for _ in range(5)]
    assert [each.status for each in found] == [200, 200, 200, 429, 429]
    assert found[3].header(b"retry-after") == ["3"]  # 2.5 s, in whole seconds
    assert "at most 0.4 requests a second" in found[3].problem["error"]
    assert ask(guard, headers=from_host(bearer(quick))).status == 200
    # A refusal for another reason takes nothing from the rate.
    fresh = Guard(None, tokens=Tokens(path), open_to_all=False)  # type: ignore[arg-type]
    for _ in range(5):
        assert ask(fresh, "GET", "/metrics", from_host(bearer(slow))).status == 403
    assert ask(fresh, headers=from_host(bearer(slow))).status == 200


def test_websockets_are_closed_before_they_are_accepted(
    guard: Guard, secrets: dict[str, str]
) -> None:
    asked = ask(guard, headers=from_host(bearer(secrets["admin"])), kind="websocket")
    assert asked.passed is None
    assert [each["type"] for each in asked.sent] == ["websocket.close"]
    assert ask(guard, kind="lifespan").passed is not None


def test_refusals_are_told_by_routes_of_a_bounded_set(secrets: dict[str, str]) -> None:
    told: list[tuple[str, int]] = []
    guard = Guard(
        None, tokens=Tokens(Path(secrets["path"])), open_to_all=False,  # type: ignore[arg-type]
        on_refusal=lambda route, status: told.append((route, status)),
    )  # fmt: skip
    for path in ("/predict", "/page/a", "/page/b", "/x", "/y\ud800"):
        ask(guard, "POST", path, from_host())
    ask(guard, headers=from_host(bearer(secrets["predict"])))
    ask(guard, headers=from_host(host=b"evil.example"))
    ask(guard, kind="websocket")
    assert told == [
        ("/predict", 401), ("/page/", 401), ("/page/", 401), ("other", 401), ("other", 401),
        ("/predict", 403), ("other", 403),
    ]  # fmt: skip


def test_no_header_makes_it_fail_or_lets_a_stranger_in(
    guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    draw, seen = random.Random(7), set()
    names = [b"host", b"origin", b"authorization", b"sec-fetch-site", b"", b"x"]
    parts = [b"Bearer ", b"Basic ", b"cf_", b"127.0.0.1", b"http://", b":", b"[", b"]", b",",
             b"\x00", b"\r\n", b"\xff", b"=" * 3, b"A" * 49, b" "]  # fmt: skip
    for number in range(1500):
        headers = from_host() if number % 2 else []
        for _ in range(draw.randrange(6)):
            value = b"".join(draw.choices(parts, k=draw.randrange(6)))
            headers.append((draw.choice(names), value + draw.randbytes(draw.randrange(9))))
        seen.add(ask(guard, headers=headers).status)
    assert seen == {401, 403}


def test_nothing_logs_a_token(
    guard: Guard, secrets: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    stranger = new_secret()
    with caplog.at_level(logging.DEBUG):
        for secret in (secrets["predict"], secrets["feedback"], stranger, stranger[:-1]):
            asked = ask(guard, headers=from_host(bearer(secret)))
            assert secret[:20] not in str(asked.sent)
    assert not [each for each in caplog.records if "cf_" in each.getMessage()]


def test_it_costs_less_than_30_microseconds(guard: Guard, secrets: dict[str, str]) -> None:
    async def app(*_: Any) -> None: ...

    more = [(b"x-%d" % number, b"y" * 40) for number in range(12)]
    headers = from_host(*more, bearer(secrets["predict"]))
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers}
    guard.app = app

    async def quickest() -> float:
        found = []
        for _ in range(25):
            begun = time.perf_counter()
            for _ in range(200):
                await guard(scope, app, app)  # type: ignore[arg-type]
            found.append((time.perf_counter() - begun) / 200)
        return min(found)

    assert asyncio.run(quickest()) < 30e-6
