"""What may stand between us and a server: passes requests on, and spoils the answers it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

Spoil = Callable[[str], str | bytes | None]  # of a path: what happens to it, or None


@dataclass
class Between:
    """A server in front of another; `spoil` says what happens to a request by its path."""

    url: str
    behind: str
    spoil: Spoil = lambda path: None
    asked: list[str] = field(default_factory=list)


@contextmanager
def between(behind: str) -> Iterator[Between]:
    """Spoils an answer as `spoil` says: "500", "cut" (in half), or other bytes in its place."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.asked.append(self.path)
            how = server.spoil(self.path)
            kept = {k: v for k, v in self.headers.items() if k.lower() in ("authorization",)}
            answer = httpx.get(behind + self.path, headers=kept, timeout=120)
            body = how if isinstance(how, bytes) else answer.content
            self.send_response(500 if how == "500" else answer.status_code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if how == "cut" else body)
            self.close_connection = how == "cut"

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Between(f"http://127.0.0.1:{listening.server_port}", behind)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
