"""Who may ask an endpoint what: every request is judged here before a byte of its body is read."""

from __future__ import annotations

import base64
import json
import math
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cityforge.endpoint.routes import ADMIN, PAGES, place_of
from cityforge.endpoint.token_file import is_well_formed
from cityforge.endpoint.tokens import Caller, Tokens

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

Pairs = Iterable[tuple[bytes, bytes]]

MOST_HEADERS, MOST_HEADER_BYTES = 100, 32 << 10
MOST_CREDENTIALS = 512  # bytes of the header Authorization
ASKED = frozenset({b"host", b"origin", b"sec-fetch-site", b"authorization"})
OWN_SITES = frozenset({b"same-origin", b"same-site", b"none"})
LOCAL = ("127.0.0.1", "localhost", "[::1]")
HOST = re.compile(rb"(\[[0-9a-f:.]{2,45}\]|[^:\[\]]{1,253})(?::[0-9]{1,5})?")
REALM = 'realm="cityforge"'
BEARER = (b"www-authenticate", f"Bearer {REALM}".encode())
BASIC = (b"www-authenticate", f'Basic {REALM}, charset="UTF-8"'.encode())


class Refusal(NamedTuple):
    """Why a request goes no further."""

    status: int
    error: str
    headers: Sequence[tuple[bytes, bytes]] = ()
    caller: str = ""  # whose token it was


class Buckets:
    """How often each token may call: `rate` a second, `burst` at once.

    The generic cell rate algorithm (ITU-T I.371): one moment a token, the one at which its
    next request would come in time at an even pace.
    """

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def wait(self, caller: Caller, now: float) -> float:
        """Take one request; or seconds to wait, then nothing is taken."""
        due = max(self._due.get(caller.sha256, 0.0), now)
        early = due - now - (caller.burst - 1) / caller.rate
        if early > 1e-9:
            return early
        self._due[caller.sha256] = due + 1 / caller.rate
        return 0.0


class Guard:
    """ASGI middleware: host, origin, token, scope and rate, in this order; it denies by default.

    Args:
        tokens: who may call; None: nobody may.
        open_to_all: no token is asked for; host and origin are looked at all the same.
        hosts: names without a port that the endpoint is called by, besides this machine's own.
        on_refusal: told the route (a path of `ROUTES`, a folder, or "other") and the status.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: Tokens | None,
        open_to_all: bool,
        hosts: Iterable[str] = (),
        on_refusal: Callable[[str, int], None] | None = None,
    ) -> None:
        self.app = app
        self._tokens = tokens
        self._open = open_to_all
        self._hosts = frozenset(_host(each) for each in (*LOCAL, *hosts) if each.strip())
        self._on_refusal = on_refusal
        self._buckets = Buckets()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self.app(scope, receive, send)
            return
        if kind != "http":
            self._tell("other", 403)
            await send({"type": "websocket.close", "code": 1008})
            return
        route, methods = place_of(scope["path"])
        judged = self._judge(scope, route, methods)
        if isinstance(judged, Refusal):
            self._tell(route, judged.status)
            scope.setdefault("state", {})["caller"] = judged.caller
            await _refuse(judged, send)
            return
        scope.setdefault("state", {})["caller"] = judged
        await self.app(scope, receive, send)

    def _judge(self, scope: Scope, route: str, methods: dict[str, frozenset[str]]) -> str | Refusal:
        """The caller's name, empty where anyone may call; or why it goes no further."""
        asked = _asked(scope["headers"])
        if asked is None:
            most = f"{MOST_HEADERS} headers, {MOST_HEADER_BYTES >> 10} KiB"
            return Refusal(413, f"expected at most {most}, found more")
        foreign = self._foreign(asked)
        if foreign:
            return Refusal(403, foreign)
        if self._open:
            return ""
        secret = _secret(asked.get(b"authorization", b""))
        caller = self._tokens.caller(secret) if self._tokens and secret else None
        if caller is None:
            return _unknown(secret, route)
        needed = methods.get(scope["method"], ADMIN)
        if caller.scopes.isdisjoint(needed):
            return _out_of_scope(caller, needed)
        wait = self._buckets.wait(caller, time.monotonic())
        return _too_often(caller, wait) if wait else caller.name

    def _foreign(self, asked: dict[bytes, bytes]) -> str:
        """Why a browser may have been led here by another site; empty when it was not.

        The name it calls (DNS rebinding), the page it was on, what it says itself
        (Fetch Metadata).
        """
        host = asked.get(b"host", b"").lower()
        named = HOST.fullmatch(host)
        if named is None or named[1] not in self._hosts:
            return "expected a Host that this endpoint is called by, found another"
        origin = asked.get(b"origin")
        if origin is not None:
            scheme, _, place = origin.lower().partition(b"://")
            if scheme not in (b"http", b"https") or place != host:
                return "expected no Origin or that of this endpoint, found another"
        if asked.get(b"sec-fetch-site", b"none") not in OWN_SITES:
            return "expected a request of this site, found one that another site made"
        return ""

    def _tell(self, route: str, status: int) -> None:
        if self._on_refusal is not None:
            self._on_refusal(route, status)


def _asked(headers: Pairs) -> dict[bytes, bytes] | None:
    """The headers that are looked at; one sent twice is joined, and then fits nothing.

    None when there are too many.
    """
    found: dict[bytes, bytes] = {}
    count = size = 0
    for name, value in headers:
        count += 1
        size += len(name) + len(value)
        if name in ASKED:
            found[name] = found[name] + b"," + value if name in found else value
    return None if count > MOST_HEADERS or size > MOST_HEADER_BYTES else found


def _host(name: str) -> bytes:
    """A name as the header Host has it: small, an IPv6 address in brackets."""
    text = name.strip().lower()
    return (f"[{text}]" if ":" in text and not text.startswith("[") else text).encode()


def _secret(credentials: bytes) -> str:
    """The token of a header Authorization: Bearer's, or Basic's password; empty for none."""
    if len(credentials) > MOST_CREDENTIALS:
        return "?"
    scheme, _, rest = credentials.partition(b" ")
    if scheme.lower() == b"bearer":
        return rest.strip().decode("latin-1")
    if scheme.lower() != b"basic":
        return ""
    try:
        pair = base64.b64decode(rest.strip(), validate=True)
    except ValueError:
        return "?"
    return pair.partition(b":")[2].decode("latin-1")


def _unknown(secret: str, route: str) -> Refusal:
    """Refused for want of a token; where a person's browser asks, it may ask for a password."""
    if not secret:
        said = "expected a token, found none: send the header Authorization: Bearer TOKEN"
    elif not is_well_formed(secret):
        said = "expected a token as it was made, found one with a slip: copy it again"
    else:
        said = "expected a token in force, found one that is unknown, revoked or expired"
    return Refusal(401, said, (BEARER, BASIC) if route in PAGES else (BEARER,))


def _out_of_scope(caller: Caller, needed: frozenset[str]) -> Refusal:
    has, wants = ", ".join(sorted(caller.scopes)), " or ".join(sorted(needed))
    said = f"expected a token with the scope {wants}, found one with {has}"
    return Refusal(403, said, caller=caller.name)


def _too_often(caller: Caller, wait: float) -> Refusal:
    said = f"expected at most {caller.rate:g} requests a second of this token, found more"
    return Refusal(429, said, ((b"retry-after", str(math.ceil(wait)).encode()),), caller.name)


async def _refuse(refusal: Refusal, send: Send) -> None:
    number = secrets.token_hex(16)
    body = json.dumps({"error": refusal.error, "request_id": number}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-request-id", number.encode()),
        *refusal.headers,
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
