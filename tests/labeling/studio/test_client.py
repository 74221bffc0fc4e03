"""The client against a real server: both kinds of token, and each way in which it can fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from cityforge.errors import ServiceError
from cityforge.labeling.studio.client import NotThere, Studio

WRONG = "deadbeef" * 5


def failure(studio: Studio, path: str = "api/projects") -> str:
    with studio, pytest.raises(ServiceError) as caught:
        studio.get(path)
    line = str(caught.value)
    assert "\n" not in line
    assert WRONG not in line
    return line


@pytest.mark.services
def test_both_kinds_of_token_are_let_in(label_studio: Any) -> None:
    with Studio(label_studio.url, SecretStr(label_studio.token)) as studio:
        assert studio.get("api/projects")["results"] == []
        allow = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True}
        studio.ask("api/jwt/settings", allow)
        personal = studio.make("api/token/", {})["token"]
    with Studio(label_studio.url, SecretStr(personal)) as studio:
        assert studio.get("api/projects")["results"] == []


@pytest.mark.services
def test_wrong_token_is_one_line_that_does_not_show_it(label_studio: Any) -> None:
    line = failure(Studio(label_studio.url, SecretStr(WRONG), patience_s=1))
    assert "expected a token that Label Studio accepts, found 401" in line
    assert "CITYFORGE_LABEL_STUDIO_TOKEN" in line


@pytest.mark.services
def test_what_is_gone_is_told_apart(label_studio: Any) -> None:
    with Studio(label_studio.url, SecretStr(label_studio.token)) as studio:
        with pytest.raises(NotThere, match="api/projects/999999"):
            studio.get("api/projects/999999")
        studio.remove("api/projects/999999")  # gone is gone


def test_server_that_is_down_is_one_line(unused_port: Callable[[], int]) -> None:
    begun = time.monotonic()
    line = failure(Studio(f"http://127.0.0.1:{unused_port()}", SecretStr(WRONG), patience_s=0.5))
    assert "expected Label Studio to answer, found ConnectError" in line
    assert "cityforge label start" in line
    assert time.monotonic() - begun < 5


class Failing:
    """A server that answers 500 or 302 so many times, and then well."""

    def __init__(self, status: int, times: int) -> None:
        asked = self.asked = list[str]()

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.command)
                bad = len(asked) <= times
                self.send_response(status if bad else 200)
                self.send_header("Location", "http://elsewhere.example/")
                body = b"oh no" if bad else b'{"ok": 1}'
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Failing:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_a_question_is_asked_again_while_the_server_fails() -> None:
    with Failing(500, 2) as bad, Studio(bad.url, SecretStr(WRONG), patience_s=20) as studio:
        assert studio.get("x") == {"ok": 1}
        assert len(bad.asked) == 3


def test_what_makes_something_new_is_said_once() -> None:
    with Failing(500, 1) as bad, Studio(bad.url, SecretStr(WRONG), patience_s=20) as studio:
        with pytest.raises(ServiceError, match="found 500: oh no"):
            studio.make("x", {})
        assert bad.asked == ["POST"]


def test_a_refusal_is_not_asked_again() -> None:
    with Failing(400, 9) as bad:
        assert "found 400: oh no" in failure(Studio(bad.url, SecretStr(WRONG), patience_s=20))
        assert len(bad.asked) == 1


def test_a_token_does_not_follow_to_another_host() -> None:
    with Failing(302, 9) as bad:
        line = failure(Studio(bad.url, SecretStr(WRONG), patience_s=20))
        assert "found 302, moved to http://elsewhere.example/" in line
        assert len(bad.asked) == 1
