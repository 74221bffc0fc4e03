"""The way in: the short way answers as the long one does, and every answer is counted once."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prometheus_client import REGISTRY
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

from signed_site import signed_site

from cityforge.endpoint.app import create_app
from cityforge.endpoint.entrance import Entrance, Inside, _is_plain_predict
from cityforge.endpoint.jobs import Fatal, Faulty, Job, fail
from cityforge.endpoint.observed import GONE, Figures
from cityforge.endpoint.refusal import Refusal
from cityforge.endpoint.request_log import RequestLog
from cityforge.endpoint.running import CLIPS_QUEUED, Running
from cityforge.endpoint.surroundings import Surroundings
from cityforge.endpoint.token_file import new_token
from cityforge.endpoint.tokens import Tokens

HOST = b"127.0.0.1"


@pytest.fixture(scope="module")
def figures() -> Iterator[Figures]:
    """Figures of this module; Prometheus takes each once in a process, so others wait."""
    others = _take()
    yield Figures()
    _take()
    for each in others:
        REGISTRY.register(each)


def _take() -> list[Any]:
    named = dict(REGISTRY._collector_to_names)
    found = [each for each, names in named.items() if any("cityforge" in n for n in names)]
    for each in found:
        REGISTRY.unregister(each)
    return found


@pytest.fixture(scope="module")
def running(
    make_package: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, figures: Figures
) -> Running:
    site = signed_site(make_package, tmp_path_factory.mktemp("site"))
    return Running(Surroundings(compute=1), site.release(1), figures)


@pytest.fixture(scope="module")
def client(running: Running, figures: Figures) -> Iterator[TestClient]:
    """The routes behind an entrance, and behind the one inside, as BentoML has them."""
    app = create_app()
    app.state.endpoint = running
    entrance = Entrance(figures, None, True, (), lambda: running)
    with TestClient(entrance.before(Inside(app, entrance)), base_url="http://127.0.0.1") as found:
        yield found


def counts() -> dict[tuple[str, str], float]:
    """Answers by route and status, as Prometheus is told them."""
    return {
        (each.labels["route"], each.labels["status"]): each.value
        for family in REGISTRY.collect()
        for each in family.samples
        if each.name == "cityforge_requests_total"
    }


def timed() -> float:
    """How many answers were timed."""
    return sum(
        each.value
        for family in REGISTRY.collect()
        for each in family.samples
        if each.name == "cityforge_request_seconds_count"
    )


def counted_since(before: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    now = counts()
    return {key: now[key] - before.get(key, 0) for key in now if now[key] != before.get(key, 0)}


def picture() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("method", "path", "query", "short"),
    [
        ("POST", "/predict", b"", True),
        ("POST", "/predict", b"camera=north", True),
        ("POST", "/predict", b"camera=%E5%8C%97", True),
        ("POST", "/predict", b"camera=", False),
        ("POST", "/predict", b"camera=a&camera=b", False),
        ("POST", "/predict", b"camera=" + b"x" * 200, False),
        ("POST", "/predict", b"map=true", False),
        ("POST", "/predict", b"unknown=1", False),
        ("GET", "/predict", b"", False),
        ("HEAD", "/predict", b"", False),
        ("POST", "/predict/", b"", False),
        ("POST", "/analyze", b"", False),
    ],
)
def test_only_a_plain_question_goes_the_short_way(
    method: str, path: str, query: bytes, short: bool
) -> None:
    scope = {"type": "http", "method": method, "path": path, "query_string": query}
    assert _is_plain_predict(scope) is short


PICTURES = [("images", ("1.png", picture(), "image/png")), ("images", ("2.png", picture()))]


@pytest.mark.parametrize(
    ("query", "files", "status"),
    [
        ("", PICTURES, 200),
        ("", [("images", ("bad.png", b"no picture"))], 400),
        ("", [("other", ("1.png", picture()))], 422),
        ("camera=nobody", PICTURES, 422),
    ],
)
def test_the_short_way_answers_as_the_long_one(
    client: TestClient, query: str, files: Any, status: int
) -> None:
    before = counts()
    times = timed()
    short = client.post(f"/predict?{query}", files=files)
    long = client.post(f"/predict?map=false&{query}", files=files)
    assert (short.status_code, long.status_code) == (status, status)
    for each in (short, long):
        assert each.headers["x-request-id"] == each.json()["request_id"]
        assert each.headers["content-type"] == "application/json"
    told = [{**each.json(), "request_id": ""} for each in (short, long)]
    assert told[0] == told[1]
    assert counted_since(before) == {("/predict", str(status)): 2}
    assert timed() == times + 2


def test_every_answer_is_counted_once(client: TestClient) -> None:
    before = counts()
    asked = [
        ("GET", "/info", {}, 200), ("GET", "/nowhere/1", {}, 404), ("GET", "/nowhere/2", {}, 404),
        ("DELETE", "/predict", {}, 405), ("GET", "/info", {"Host": "elsewhere"}, 403),
        ("POST", "/predict", {"Content-Type": "text/plain"}, 422), ("HEAD", "/info", {}, 405),
    ]  # fmt: skip
    for method, path, headers, status in asked:
        found = client.request(method, path, headers=headers)
        assert found.status_code == status
        assert found.headers["content-type"] == "application/json"
        assert status == 200 or "x-request-id" in found.headers
    assert counted_since(before) == {
        ("/info", "200"): 1, ("/info", "403"): 1, ("/info", "405"): 1, ("other", "404"): 2,
        ("/predict", "405"): 1, ("/predict", "422"): 1,
    }  # fmt: skip


async def _fails(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("a secret of ours")


async def _is_ended(scope: Any, receive: Any, send: Any) -> None:
    """As by a server that ends, and waited as long as it does."""
    raise asyncio.CancelledError


async def _fails_in_the_middle(scope: Any, receive: Any, send: Any) -> None:
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]}
    await send(head)
    raise ValueError("a secret of ours")


async def _says_nothing(scope: Any, receive: Any, send: Any) -> None:
    return


async def _streams(scope: Any, receive: Any, send: Any) -> None:
    await StreamingResponse(iter([b"one", b"two"]), 503)(scope, receive, send)


@pytest.mark.parametrize(
    ("app", "status", "counted", "body"),
    [
        (Response(b"as it was"), 200, "200", b"as it was"),
        (PlainTextResponse("text", 404), 404, "404", b'"error"'),
        (_streams, 503, "503", b'"error"'),
        (_fails, 500, "500", b'"error"'),
        (_is_ended, 503, "503", b"found an endpoint that ends"),
        (_fails_in_the_middle, 200, "200", b""),
        (_says_nothing, None, str(GONE), b""),
    ],
)
def test_every_refusal_is_json_whatever_it_was(
    figures: Figures, app: Any, status: int | None, counted: str, body: bytes
) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(10)
        return {"type": "http.disconnect"}

    entrance = Entrance(figures, None, True, (), lambda: None)  # type: ignore[arg-type, return-value]
    scope = {
        "type": "http", "method": "GET", "path": "/info", "query_string": b"",
        "headers": [(b"host", HOST)], "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    before = counts()
    asyncio.run(entrance.before(Inside(app, entrance))(scope, receive, send))
    assert counted_since(before) == {("/info", counted): 1}
    assert [each["status"] for each in sent if "status" in each] == ([status] if status else [])
    told = b"".join(each.get("body", b"") for each in sent)
    assert body in told
    assert b"secret" not in told
    if status and status >= 400:
        headers = dict(sent[0]["headers"])
        assert headers[b"content-type"] == b"application/json"
        assert int(headers[b"content-length"]) == len(told)
        assert len(headers[b"x-request-id"]) == 32
        assert json.loads(told)["request_id"].encode() == headers[b"x-request-id"]


def test_who_enters_inside_is_checked_there(figures: Figures) -> None:
    """Without the bounded protocol, as `bentoml serve` of another version might start it."""
    entrance = Entrance(figures, None, False, (), lambda: None)  # type: ignore[arg-type, return-value]
    client = TestClient(Inside(PlainTextResponse("open"), entrance), base_url="http://127.0.0.1")
    before = counts()
    assert client.get("/info").status_code == 401
    assert counted_since(before) == {("/info", "401"): 1}


def test_a_fault_is_logged_with_the_id_that_the_caller_has(
    figures: Figures, caplog: pytest.LogCaptureFixture
) -> None:
    entrance = Entrance(figures, None, True, (), lambda: None)  # type: ignore[arg-type, return-value]
    client = TestClient(entrance.before(_fails), base_url="http://127.0.0.1")
    found = client.get("/info")
    assert found.status_code == 500
    (record,) = [each for each in caplog.records if each.name.startswith("cityforge")]
    assert f"request {found.headers['x-request-id']} to /info" in record.getMessage()
    assert "a secret of ours" in str(record.exc_info)


def test_every_refusal_is_in_the_log(running: Running, figures: Figures, tmp_path: Path) -> None:
    secret = new_token(tmp_path / "t", "desk", ["predict"], rate=100, burst=100, days=1)[1]
    app = create_app()
    app.state.endpoint = running
    log = RequestLog(tmp_path)
    entrance = Entrance(figures, Tokens(tmp_path / "t"), False, (), lambda: running, log)
    client = TestClient(entrance.before(app), base_url="http://127.0.0.1")
    asked = [
        ("POST", "/predict", 401, ""), ("POST", "/feedback", 403, "desk"),
        ("GET", "/nowhere/secret", 403, "desk"), ("POST", "/predict", 422, "desk"),
        ("POST", "/analyze", 422, "desk"), ("GET", "/info", 200, "desk"),
    ]  # fmt: skip
    ids = []
    for method, path, status, caller in asked:
        headers = {"Authorization": f"Bearer {secret}"} if caller else {}
        found = client.request(method, path, headers=headers, content=b"12345")
        assert found.status_code == status, path
        ids.append(found.headers.get("x-request-id"))
    (day,) = (tmp_path / "requests").iterdir()
    rows = [json.loads(line) for line in day.read_text().splitlines()]
    assert [(each["status"], each["caller"]) for each in rows] == [each[2:] for each in asked[:-1]]
    assert [each["request_id"] for each in rows] == ids[:-1]
    assert {each["bytes"] for each in rows} == {5}
    assert [each["route"] for each in rows][1:3] == ["/feedback", "other"]


def test_clips_that_are_received_or_read_are_bounded(client: TestClient, running: Running) -> None:
    films = {"clip": ("x.mp4", b"no film")}
    with ExitStack() as taken:
        for _ in range(CLIPS_QUEUED + running.clips.size):
            taken.enter_context(running.clip_place())
        full = client.post("/analyze", files=films)
        assert (full.status_code, full.headers["retry-after"]) == (503, "1")
        assert full.json()["error"] == "expected room for a clip, found 5 in hand"
    assert client.post("/analyze", files=films).status_code == 400
    assert running.clips_held == 0


def test_an_endpoint_is_ready_when_it_can_answer(
    client: TestClient, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert running.can_answer()
    with monkeypatch.context() as patch:
        patch.setattr(running.exchange, "now", replace(running.exchange.now, barred="withdrawn"))
        assert not running.can_answer()
    with monkeypatch.context() as patch:
        patch.setattr(running.pictures._all[0], "ready", False)
        assert not running.can_answer()
    assert running.can_answer()


def test_a_fault_of_ours_is_not_told_as_one_of_the_picture(running: Running) -> None:
    async def outcome(error: Exception) -> Refusal:
        loop = asyncio.get_running_loop()
        job = Job("digest", {"name": "a.png"}, b"", loop.create_future(), loop.time())
        fail([job], error)
        with pytest.raises(Refusal) as refusal:
            await running.outcome(job, 5)
        return refusal.value

    assert asyncio.run(outcome(Faulty("no memory"))).status == 503
    ended = asyncio.run(outcome(Fatal("it ended 3 processes")))
    assert (ended.status, "in a.png" in str(ended)) == (400, True)


def nameless() -> int:
    """Open files that have no name any more, as clips are kept."""
    held = [each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return sum(each.name.endswith("(deleted)") for each in held)


def test_a_clip_of_a_caller_leaves_no_file_open(client: TestClient, running: Running) -> None:
    before = nameless()
    films = {"clip": ("x.mp4", b"no film")}
    for data, status in [({}, 400), ({"scene": "{"}, 422)]:
        found = client.post("/analyze", files=films, data=data)
        assert found.status_code == status, found.text
    assert client.post("/analyze", files={"scene": ("x", b"{}")}).status_code == 422
    assert nameless() <= before
    assert running.intake.held == 0
    assert not running.clips.waiting
