"""What the client sends, how often, and what it makes of the answers of a real peer."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import io
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cityforge_client
import pytest
from cityforge_client import (
    AlreadyTold,
    AsyncClient,
    BadAnswer,
    BadInput,
    Box,
    CityforgeClientError,
    Client,
    NotAllowed,
    OutOfTime,
    TooManyRequests,
    Unavailable,
    UnknownRequest,
    Unreachable,
)

BOX = {"class_name": "汽车", "score": 0.9, "x1": 8.0, "y1": 6.0, "x2": 40.0, "y2": 30.0}
NAMED = {"model": "tiny", "version": 3, "digest": "d" * 64, "request_id": "r"}
SENT = {"name": "a.jpg", "width": 64, "height": 48, "outside": []}
PREDICTION = json.dumps({**NAMED, "pictures": [{**SENT, "boxes": [BOX]}], "later": 1})
Ask = Callable[[Any], Any]


def waiting(peer: Any, ask: Ask, **options: Any) -> Any:
    with Client(peer.address, **options) as client:
        return ask(client)


def awaited(peer: Any, ask: Ask, **options: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient(peer.address, **options) as client:
            return await ask(client)

    return asyncio.run(run())


both = pytest.mark.parametrize("through", [waiting, awaited])


@both
def test_pictures_go_as_files_and_come_back_as_boxes(
    peer: Any, through: Any, tmp_path: Path
) -> None:
    (tmp_path / "北门.jpg").write_bytes(b"one")
    (tmp_path / "open.png").write_bytes(b"three")
    peer.will(200, PREDICTION)
    with (tmp_path / "open.png").open("rb") as third:
        sources = (tmp_path / "北门.jpg", b"two", third, io.BytesIO(b"four"))
        found = through(peer, lambda c: c.predict(*sources, camera="北门"), token="cf_x")
    path, headers, body = peer.asked[0]
    assert path == "/predict?camera=%E5%8C%97%E9%97%A8"
    assert headers["Authorization"] == "Bearer cf_x"
    assert body.count(b'name="images"') == 4
    for name, data in {"北门.jpg": "one", "picture 2": "two", "open.png": "three"}.items():
        assert f'filename="{name}"'.encode() in body
        assert f"\r\n\r\n{data}\r\n".encode() in body
    assert b"\r\n\r\nfour\r\n" in body
    assert found.pictures[0].boxes == (Box(**BOX),)
    assert (found.model, found.version, found.request_id) == ("tiny", 3, "r")
    assert (found.pictures[0].classes, found.raw["later"]) == (None, 1)


@both
def test_a_clip_goes_with_its_scene(peer: Any, through: Any, tmp_path: Path) -> None:
    event = {
        "kind": "line_count", "rule": "in", "start_s": 1.0, "end_s": 1.2, "tracks": [7],
        "class_name": "car", "zone": "线", "direction": "forward", "value": None,
        "going_on": False, "confidence": 0.8, "evidence": [{"at_s": 1.0, "jpeg": "anBn"}],
    }  # fmt: skip
    clip = {
        "name": "a.mp4", "width": 64, "height": 48, "seconds": 2.0, "frames": 10, "damaged": 0,
        "cut": "",
    }  # fmt: skip
    frame = {"at_s": 0.2, "boxes": [{**BOX, "track": None}], "classes": None, "counts": None}
    answer = {
        **NAMED, "clip": clip, "frames": [frame], "tracks": [], "events": [event],
        "totals": [], "skipped": [{"rule": "post", "why": "no zone"}], "outside": [],
    }  # fmt: skip
    (tmp_path / "a.mp4").write_bytes(b"film")
    (tmp_path / "scene.json").write_text('{"width": 64, "height": 48}')
    for scene in ({"width": 64, "height": 48}, tmp_path / "scene.json"):
        peer.will(200, json.dumps(answer))
        found = through(
            peer, lambda c, scene=scene: c.analyze(tmp_path / "a.mp4", scene, fps=2, evidence=0)
        )
        path, _, body = peer.asked.pop()
        assert path == "/analyze?fps=2&evidence=0"
        assert b'name="scene"\r\n\r\n{"width": 64, "height": 48}\r\n' in body
        assert b'name="clip"; filename="a.mp4"' in body and b"\r\n\r\nfilm\r\n" in body
    assert found.events[0].evidence[0].picture == b"jpg"
    assert found.events[0].tracks == (7,)
    assert found.clip.frames == 10
    assert found.skipped[0].why == "no zone"
    assert found.frames[0].boxes[0].track is None


@both
def test_feedback_names_the_boxes_that_would_have_been_right(peer: Any, through: Any) -> None:
    peer.will(200, '{"request_id": "r", "stored": true}')
    boxes = [Box(**BOX), {**BOX, "class_name": "bus"}]
    assert through(peer, lambda c: c.feedback("r", False, boxes, "missed", 1)).stored
    sent = json.loads(peer.asked[0][2])
    edges = {"x1": 8.0, "y1": 6.0, "x2": 40.0, "y2": 30.0}
    assert sent == {
        "request_id": "r", "right": False, "note": "missed", "picture": 1,
        "boxes": [{"class_name": name, **edges} for name in ("汽车", "bus")],
    }  # fmt: skip


@both
def test_a_full_endpoint_is_asked_again_after_the_time_it_says(peer: Any, through: Any) -> None:
    peer.will(503, Retry_After="1")
    peer.will(429, Retry_After="0")
    peer.will(200, PREDICTION)
    begun = time.monotonic()
    assert through(peer, lambda c: c.predict(b"x")).version == 3
    assert 1.0 <= time.monotonic() - begun < 4.0
    assert [body.count(b"\r\n\r\nx\r\n") for _, _, body in peer.asked] == [1, 1, 1]


@both
def test_an_open_file_is_sent_whole_each_time(peer: Any, through: Any) -> None:
    peer.will(503, Retry_After="0")
    peer.will(200, PREDICTION)
    through(peer, lambda c: c.predict(io.BytesIO(b"whole")))
    assert [b"\r\n\r\nwhole\r\n" in body for _, _, body in peer.asked] == [True, True]


REFUSALS = [
    (400, BadInput), (401, NotAllowed), (403, NotAllowed), (404, UnknownRequest),
    (408, OutOfTime), (409, AlreadyTold), (413, BadInput), (422, BadInput),
    (429, TooManyRequests), (500, BadAnswer), (502, Unavailable), (503, Unavailable),
    (504, OutOfTime), (302, BadAnswer),
]  # fmt: skip


@both
@pytest.mark.parametrize(("status", "kind"), REFUSALS)
def test_a_refusal_is_told_in_the_words_of_the_endpoint(
    peer: Any, through: Any, status: int, kind: type[CityforgeClientError]
) -> None:
    body = json.dumps({"error": "expected a picture, found 两", "request_id": "abc"})
    peer.will(status, body, Retry_After="7")
    with pytest.raises(kind) as caught:
        through(peer, lambda c: c.predict(b"x"), retries=0)
    found = caught.value
    assert type(found) is kind
    assert str(found) == f"{status}: expected a picture, found 两 (request abc)"
    assert (found.status, found.request_id, found.retry_after) == (status, "abc", 7)


@both
def test_feedback_that_was_perhaps_stored_is_not_told_twice(peer: Any, through: Any) -> None:
    peer.will(504, "<h1>Gateway\n timeout</h1>")
    with pytest.raises(OutOfTime, match="504: <h1>Gateway timeout</h1>"):
        through(peer, lambda c: c.feedback("r", True))
    peer.answers.append(None)
    with pytest.raises(Unreachable):
        through(peer, lambda c: c.feedback("r", True))
    assert len(peer.asked) == 2


@both
def test_a_cut_connection_is_asked_again(peer: Any, through: Any) -> None:
    peer.answers.append(None)
    peer.will(200, PREDICTION)
    assert through(peer, lambda c: c.predict(b"x")).model == "tiny"


@both
def test_nobody_at_the_address_is_waited_for(peer: Any, through: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        peer.address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="expected an endpoint, found"):
        through(peer, lambda c: c.info(), retries=2)
    assert 0.375 <= time.monotonic() - begun < 6  # 0.125 to 0.25, and 0.25 to 0.5
    assert through(peer, lambda c: c.ready()) is False


@both
def test_an_endpoint_that_says_nothing_is_given_up(through: Any) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        at = type("At", (), {"address": f"http://127.0.0.1:{silent.getsockname()[1]}"})
        with pytest.raises(OutOfTime, match="found none, at /info"):
            through(at, lambda c: c.info(), timeout=0.2)


@both
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<html>", "expected JSON, found '<html>', at /predict"),
        ("[1]", r"expected Prediction as a JSON object, found \[1\]"),
        ("{}", "expected the keys of Prediction"),
    ],
)
def test_an_answer_of_another_server_is_refused(
    peer: Any, through: Any, body: str, said: str
) -> None:
    peer.will(200, body)
    with pytest.raises(BadAnswer, match=said):
        through(peer, lambda c: c.predict(b"x"))


@both
def test_ready_says_what_the_endpoint_says(peer: Any, through: Any) -> None:
    peer.will(200)
    assert through(peer, lambda c: c.ready()) is True
    peer.will(503, Retry_After="1")
    assert through(peer, lambda c: c.ready()) is False
    peer.will(401, '{"error": "no token"}')
    with pytest.raises(NotAllowed, match="no token"):
        through(peer, lambda c: c.ready())


def test_what_cannot_be_asked_is_refused_before_it_is_sent(peer: Any) -> None:
    client = Client(peer.address)
    with pytest.raises(BadInput, match="found none"):
        client.predict()
    with pytest.raises(BadInput, match="found one without y2"):
        client.feedback("r", False, [{"class_name": "car", "x1": 0, "y1": 0, "x2": 1}])
    with pytest.raises(FileNotFoundError):
        client.predict("nowhere.jpg")
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe, pytest.raises(BadInput, match="found a pipe"):
        client.analyze(pipe)
    for address in ("127.0.0.1:3000", "ftp://x", "http://x:port", "http://"):
        with pytest.raises(BadInput, match="expected an address"):
            Client(address)
    for token in ("", "two words", "cf_\n", "令牌"):
        with pytest.raises(BadInput, match="expected a token"):
            Client(peer.address, token)
    assert peer.asked == []
    client.close()


def test_a_token_is_not_shown() -> None:
    client = Client("http://127.0.0.1:3000", "cf_secret")
    assert repr(client) == "Client('http://127.0.0.1:3000')"
    client.close()


def test_the_client_reads_as_python_3_9_and_needs_httpx_only() -> None:
    folder = Path(cityforge_client.__file__).parent
    files = sorted(folder.glob("*.py"))
    imported = set()
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imported |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
    assert len(files) == 7
    known = {"__future__", "cityforge_client", "httpx"}
    assert imported - known <= sys.stdlib_module_names


def test_examples_in_the_code_are_right() -> None:
    found = doctest.testmod(cityforge_client.answers)
    assert (found.failed, found.attempted) == (0, 1)


def test_both_clients_have_the_same_questions() -> None:
    names = ("__init__", "predict", "analyze", "info", "feedback", "ready")
    for name in names:
        one, other = (inspect.signature(getattr(kind, name)) for kind in (Client, AsyncClient))
        assert str(one) == str(other), name
