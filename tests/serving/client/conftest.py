"""The client as it is installed, and a peer of HTTP that answers as a test says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "serving/client"))


@dataclass
class Peer:
    """Answers one after the other: status, headers, body; none: the connection is cut."""

    address: str
    answers: list[tuple[int, dict[str, str], str] | None] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def will(self, status: int, body: str = "{}", **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append((status, named, body))


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A real server of HTTP on this machine."""
    found = Peer("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *said: object) -> None:
            return

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.asked.append((self.path, dict(self.headers.items()), body))
            self._answer()

        def do_GET(self) -> None:
            found.asked.append((self.path, dict(self.headers.items()), b""))
            self._answer()

        def _answer(self) -> None:
            answer = found.answers.pop(0)
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()
