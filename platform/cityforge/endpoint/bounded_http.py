"""uvicorn's HTTP with bounds that it lacks: how large a head may be, how long each part may take.

httptools collects a head without end. `bound_http` puts the bounded protocol where uvicorn looks
for its own; BentoML starts uvicorn and leaves no setting for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
from collections.abc import Callable
from typing import Any

MOST_HEAD = 64 << 10  # bytes of request line and headers
HEAD_S = 10.0  # from the connection, or the head's first byte, to its end
REST_S = 15.0  # after an answer, for what is left of the request's body
READ_S = 60  # for the caller's machine to take something of what is sent to it


def bound_http(before: Callable[[Any], Any]) -> None:
    """Let uvicorn use the bounded protocol from now on.

    Args:
        before: makes of the served ASGI app the one that requests go to.
    """
    from uvicorn.protocols.http import auto
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class Bounded(HttpToolsProtocol):
        """Ends connections whose head is too large or too slow, or that nobody reads."""

        _in_head = False  # a part of a head has come
        _in_body = False
        _head_bytes = 0
        _clock: asyncio.TimerHandle | None = None

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.app = before(self.app)

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            _bound_reading(transport.get_extra_info("socket"))
            self._start_clock(HEAD_S)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_clock()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_head = True

        def on_headers_complete(self) -> None:
            self._in_head, self._in_body, self._head_bytes = False, True, 0
            self._stop_clock()
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_body = False
            super().on_message_complete()

        def data_received(self, data: bytes) -> None:
            cycle, in_body = self.cycle, self._in_body
            super().data_received(data)
            if self.transport.is_closing():
                return
            if self._in_head:
                if self.cycle is cycle and not in_body:  # else much of it may be no head
                    self._head_bytes += len(data)
                if self._head_bytes > MOST_HEAD:
                    self._refuse(431, f"expected a head of at most {MOST_HEAD} bytes, found more")
                else:
                    self._start_clock(HEAD_S)
            elif self.cycle is not None and self.cycle.response_complete:
                # uvicorn waits without end for the rest of a body, or after an empty line.
                self._start_clock(REST_S)

        def send_400_response(self, msg: str) -> None:
            self._refuse(400, "expected a request of HTTP/1.1, found something else")

        def _too_slow(self) -> None:
            self._clock = None
            if self.transport.is_closing():
                return
            if self.flow.read_paused:  # the rest may be here; it is we who do not read
                self._start_clock(HEAD_S)
            elif self._in_head:
                self._refuse(408, f"expected a whole head within {HEAD_S:.0f} s, found a part")
            else:
                self.transport.close()

        def _refuse(self, status: int, text: str) -> None:
            from uvicorn.protocols.http.httptools_impl import STATUS_LINE

            number = secrets.token_hex(16)
            body = json.dumps({"error": text, "request_id": number}).encode()
            self.transport.write(
                STATUS_LINE[status]
                + b"content-type: application/json\r\nconnection: close\r\nx-request-id: "
                + number.encode() + b"\r\ncontent-length: " + str(len(body)).encode()
                + b"\r\n\r\n" + body
            )  # fmt: skip
            self.transport.close()

        def _start_clock(self, seconds: float) -> None:
            if self._clock is None:
                self._clock = self.loop.call_later(seconds, self._too_slow)

        def _stop_clock(self) -> None:
            if self._clock:
                self._clock.cancel()
                self._clock = None

    auto.AutoHTTPProtocol = Bounded


def _bound_reading(connection: Any) -> None:
    """Have the system end a connection whose other side takes nothing (tcp(7))."""
    with contextlib.suppress(OSError, AttributeError):  # a Unix socket has no such option
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * READ_S)
