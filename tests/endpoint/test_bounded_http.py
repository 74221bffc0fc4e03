"""A real uvicorn with the bounded protocol, spoken to over raw sockets."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http import auto

from cityforge.endpoint import bounded_http

HEAD_S, REST_S, READ_S = 0.4, 0.5, 1
KEPT_S = 2  # uvicorn's patience with an idle connection
OK = re.compile(rb"HTTP/1\.1 (\d\d\d) ")


async def app(scope: Any, receive: Any, send: Any) -> None:
    """`/read` reads the body, `/early` does not, `/slow` takes a while, `/big` says much."""
    path, size = scope["path"], 0
    if path == "/slow":
        await asyncio.sleep(2 * HEAD_S)
    while path == "/read":
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b"x" * 20_000_000 if path == "/big" else f"{path} {size}".encode()
    head = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True)
class Server:
    port: int
    uvicorn: uvicorn.Server

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20)

    def connections(self) -> int:
        return len(self.uvicorn.server_state.connections)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"HEAD_S": HEAD_S, "REST_S": REST_S, "READ_S": READ_S}.items():
            patch.setattr(bounded_http, name, value)
        patch.setattr(auto, "AutoHTTPProtocol", auto.AutoHTTPProtocol)
        bounded_http.bound_http(lambda found: found)
        config = uvicorn.Config(
            app, lifespan="off", log_level="critical", timeout_keep_alive=KEPT_S, ws="none"
        )
        served = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            thread = threading.Thread(target=served.run, kwargs={"sockets": [listening]})
            thread.start()
            yield Server(port, served)
            served.should_exit = True
            thread.join(10)
    assert not thread.is_alive()


def said(connection: socket.socket, seconds: float = 10.0) -> tuple[bytes, float]:
    """All that comes until the other side ends, and how long that took."""
    begun, found = time.monotonic(), b""
    connection.settimeout(seconds)
    while True:
        try:
            piece = connection.recv(1 << 20)
        except ConnectionResetError:
            piece = b""
        if not piece:
            return found, time.monotonic() - begun
        found += piece


def statuses(found: bytes) -> list[int]:
    return [int(each) for each in OK.findall(found)]


def ask(path: str, *lines: str, method: str = "POST", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: x", *lines, "", ""]).encode()


BYE = "Connection: close"
ANSWERED: dict[str, tuple[bytes, list[bytes]]] = {
    "one": (ask("/read", "Content-Length: 3", BYE) + b"abc", [b"/read 3"]),
    "no body": (ask("/read", BYE, method="GET"), [b"/read 0"]),
    "HTTP/1.0 ends": (ask("/read", version="1.0"), [b"/read 0"]),
    "empty lines first": (b"\r\n\r\n" + ask("/read", BYE), [b"/read 0"]),
    "in chunks": (
        ask("/read", "Transfer-Encoding: chunked", BYE) + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        [b"/read 5"],
    ),
    "three in a row": (
        ask("/slow") + ask("/read", "Content-Length: 2") + b"ab" + ask("/early", BYE),
        [b"/slow 0", b"/read 2", b"/early 0"],
    ),
    "a large body": (
        ask("/read", "Content-Length: 3000000", BYE) + b"x" * 3_000_000, [b"/read 3000000"],
    ),
    "a body that nobody read, then another request": (
        ask("/early", "Content-Length: 300000") + b"x" * 300_000 + ask("/read", BYE),
        [b"/early 0", b"/read 0"],
    ),
    "an answer slower than a head may be": (ask("/slow", BYE), [b"/slow 0"]),
    "a websocket that nobody has": (
        ask("/read", "Upgrade: websocket", "Connection: upgrade, close", method="GET"), [b"/read 0"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ANSWERED)
def test_http_as_it_should_be_is_answered(server: Server, what: str) -> None:
    sent, right = ANSWERED[what]
    with server.connect() as connection:
        connection.sendall(sent)
        found, _ = said(connection)
    assert statuses(found) == [200] * len(right)
    for each in right:
        assert each in found


LONG = "x" * 70_000
REFUSED: dict[str, tuple[list[bytes], int]] = {
    "no HTTP": ([b"hello\r\n\r\n"], 400),
    "TLS": ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], 400),
    "two lengths": ([ask("/read", "Content-Length: 1", "Content-Length: 2")], 400),
    "a length and chunks": (
        [ask("/read", "Content-Length: 1", "Transfer-Encoding: chunked")], 400,
    ),
    "a path that is none": ([ask("http://[::1")], 400),
    "a long line at once": ([f"POST /{LONG}".encode()], 431),
    "a long line in pieces": ([b"POST /", *[b"x" * 2000] * 33], 431),
    "headers without end": ([ask("/read")[:-2], *[b"A: bcdefgh\r\n" * 300] * 19], 431),
    "headers without end after a request": (
        [ask("/early"), b"", ask("/read")[:-2], *[b"A: bcdefgh\r\n" * 300] * 19], 431,
    ),
    "half a head": ([ask("/read")[:-3]], 408),
    "half a head after a request": ([ask("/early"), b"", ask("/read")[:-3]], 408),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.alone
def test_what_is_no_head_is_refused_as_json(server: Server, what: str) -> None:
    pieces, status = REFUSED[what]
    with server.connect() as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.005 if piece else 0.1)  # a packet of its own; b"": the answer comes first
        found, seconds = said(connection)
    before = [200] if b"" in pieces else []
    assert statuses(found) == [*before, status]
    head, _, body = found.rpartition(b"\r\n\r\n")
    told = json.loads(body)
    assert set(told) == {"error", "request_id"}
    assert told["error"].startswith("expected ")
    assert f"x-request-id: {told['request_id']}".encode() in head
    assert b"content-type: application/json\r\n" in head
    assert seconds < HEAD_S + 1


SILENT: dict[str, tuple[list[bytes], list[int]]] = {
    "nothing is said": ([], []),
    "nothing but an empty line": ([b"\r\n"], []),
    "an empty line after an answer": ([ask("/early"), b"", b"\r\n"], [200]),
    "empty lines for ever": ([ask("/early"), b"", *[b"\r\n"] * 100], [200]),
    "a body for ever that nobody reads": (
        [ask("/early", "Content-Length: 1000000"), b"", *[b"x"] * 100], [200],
    ),
    "chunks for ever that nobody reads": (
        [ask("/early", "Transfer-Encoding: chunked"), b"", *[b"1\r\nx\r\n"] * 100], [200],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SILENT)
@pytest.mark.alone
def test_who_keeps_a_connection_for_nothing_loses_it(server: Server, what: str) -> None:
    pieces, right = SILENT[what]
    begun = time.monotonic()
    with server.connect() as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.05)  # each piece a packet of its own
        except OSError:
            pass  # it is closed
        found, _ = said(connection)
    assert statuses(found) == right or not found  # a reset may lose what was not read
    assert time.monotonic() - begun < max(HEAD_S, REST_S) + 1


def test_an_idle_connection_is_kept_and_used_again(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(ask("/early"))
        assert statuses(connection.recv(1000)) == [200]
        for _ in range(2):
            time.sleep(0.6 * HEAD_S)  # idle, which no clock counts
            connection.sendall(ask("/early")[:10])
            time.sleep(0.6 * HEAD_S)  # together it takes longer than a head may
            connection.sendall(ask("/early")[10:])
            assert statuses(connection.recv(1000)) == [200]
        time.sleep(1.5 * HEAD_S)  # idle for longer than a head may take
        connection.sendall(ask("/early", BYE))
        assert statuses(said(connection)[0]) == [200]


def test_the_rest_of_a_body_is_not_taken_for_a_head(server: Server) -> None:
    whole = ask("/read", BYE)
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(ask("/early", "Content-Length: 200000") + b"x" * 200_000 + whole[:9])
            time.sleep(0.1)  # two packets
            connection.sendall(whole[9:].replace(b"close", b"keep-alive"))
            time.sleep(0.1)  # the answer comes before the next request
        connection.sendall(ask("/early", BYE))
        assert statuses(said(connection)[0]) == [200] * 7


def test_a_slow_body_is_the_affair_of_who_reads_it(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(ask("/read", "Content-Length: 20", BYE))
        for _ in range(20):
            connection.sendall(b"x")
            time.sleep(2 * REST_S / 20)  # a slow body, within its time
        assert b"/read 20" in said(connection)[0]


def test_a_head_is_not_late_while_nobody_reads_it(server: Server) -> None:
    with server.connect() as connection:
        whole = ask("/read", BYE)
        connection.sendall(ask("/slow") + ask("/slow") + whole[:10])
        time.sleep(1.5 * HEAD_S)  # the first answer is not there yet, and nothing is read
        connection.sendall(whole[10:])
        assert statuses(said(connection)[0]) == [200] * 3


@pytest.mark.parametrize(("path", "goes_on"), [("/read", True), ("/early", False)])
def test_who_asks_whether_to_go_on_is_told(server: Server, path: str, goes_on: bool) -> None:
    with server.connect() as connection:
        connection.sendall(ask(path, "Content-Length: 3", "Expect: 100-continue", BYE))
        first = connection.recv(1000)
        assert first.startswith(b"HTTP/1.1 100" if goes_on else b"HTTP/1.1 200")
        if goes_on:
            connection.sendall(b"abc")
            assert b"/read 3" in said(connection)[0]


def test_an_answer_that_nobody_reads_is_given_up(server: Server) -> None:
    deaf = [server.connect() for _ in range(3)]
    try:
        for each in deaf:
            each.sendall(ask("/big"))
        until = time.monotonic() + 10
        while not server.connections() and time.monotonic() < until:
            time.sleep(0.05)  # between two counts
        while server.connections() and time.monotonic() < until:
            time.sleep(0.05)
        assert server.connections() == 0
    finally:
        for each in deaf:
            each.close()


def test_an_answer_that_is_read_slowly_is_read(server: Server) -> None:
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.sendall(ask("/big", BYE))
        size, begun = 0, time.monotonic()
        while piece := connection.recv(100_000):
            size += len(piece)
            if time.monotonic() - begun < 2 * READ_S:
                time.sleep(0.1)  # a reader slower than the answer
        assert size > 20_000_000
