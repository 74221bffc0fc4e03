"""Feedback: said once of what was answered here, stored before it is thanked for."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cityforge.endpoint import feedback_route
from cityforge.endpoint.feedback import FILE, FeedbackRow, FeedbackStore
from cityforge.endpoint.feedback_route import MOST_BODY, router
from cityforge.endpoint.schema import CorrectedBox
from cityforge.inference.request_ids import RequestIds
from cityforge.inference.served import Served, open_served

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

from signed_site import signed_site

BOX = {"class_name": "汽车", "x1": 1, "y1": 2, "x2": 30.5, "y2": 40}


@pytest.fixture(scope="module")
def served(make_package: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("site")
    return open_served(None, signed_site(make_package, folder).release(3))


@pytest.fixture
def endpoint(served: Served, tmp_path: Path) -> SimpleNamespace:
    """What the route needs of a running endpoint, without its processes."""
    return SimpleNamespace(
        feedback=FeedbackStore(tmp_path / "feedback"),
        ids=RequestIds(b"k" * 32),
        exchange=SimpleNamespace(now=served),
    )


@pytest.fixture
def client(endpoint: SimpleNamespace) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(router)
    app.state.endpoint = endpoint
    with TestClient(app) as found:
        yield found


@pytest.fixture
def made(endpoint: SimpleNamespace, served: Served) -> str:
    """The id of an answer."""
    return str(endpoint.ids.new(served.digest))


def refused(answer: httpx.Response, status: int) -> str:
    """The line of a refusal, held against `schema.Problem`."""
    assert answer.status_code == status
    content = answer.json()
    assert set(content) == {"error", "request_id"}
    assert content["request_id"] == answer.headers["X-Request-Id"] != ""
    assert "\n" not in content["error"]
    assert ("Retry-After" in answer.headers) == (status == 503)
    return str(content["error"])


def test_feedback_is_stored_and_thanked_for(
    client: TestClient, endpoint: SimpleNamespace, made: str
) -> None:
    said = {"request_id": made, "right": False, "picture": 2, "boxes": [BOX], "note": "是公交车"}
    answer = client.post("/feedback", json=said)
    assert (answer.status_code, answer.json()) == (200, {"request_id": made, "stored": True})
    assert answer.headers["X-Request-Id"] != made
    (found,) = endpoint.feedback.rows("tiny")
    assert found == FeedbackRow(
        made, 2, False, [CorrectedBox.model_validate(BOX)], "是公交车", "", found.at, "tiny", 3
    )
    assert endpoint.feedback.rows("other") == []


def test_what_was_not_said_is_told_from_nothing_there(
    client: TestClient, endpoint: SimpleNamespace, made: str
) -> None:
    client.post("/feedback", json={"request_id": made, "right": False, "boxes": []})
    client.post("/feedback", json={"request_id": made, "right": True, "picture": 1})
    assert [each.boxes for each in endpoint.feedback.rows("tiny")] == [[], None]


def test_feedback_twice_is_refused(
    client: TestClient, endpoint: SimpleNamespace, made: str
) -> None:
    said = {"request_id": made, "right": True}
    assert client.post("/feedback", json=said).status_code == 200
    for again in (said, {**said, "right": False}):
        error = refused(client.post("/feedback", json=again), 409)
        assert f"found some already, in {made}, picture 0" in error
    assert client.post("/feedback", json={**said, "picture": 1}).status_code == 200
    assert [each.right for each in endpoint.feedback.rows("tiny")] == [True, True]


def test_an_id_that_was_never_made_is_refused(
    client: TestClient, endpoint: SimpleNamespace, served: Served, made: str
) -> None:
    other = "e" if made[-1] != "e" else "f"
    for never in ("", "x", made[:-1] + other, RequestIds(None).new(served.digest)):
        answer = client.post("/feedback", json={"request_id": never, "right": True})
        assert "an answer of this endpoint" in refused(answer, 404)
    assert endpoint.feedback.rows("tiny") == []


def test_the_answer_of_another_version_is_known_by_its_digest(
    client: TestClient, endpoint: SimpleNamespace
) -> None:
    older = endpoint.ids.new("f" * 64)
    assert client.post("/feedback", json={"request_id": older, "right": True}).status_code == 200
    (found,) = endpoint.feedback.rows("tiny")
    assert (found.version, found.request_id[:16]) == (0, "f" * 16)


def test_boxes_of_another_version_may_be_of_classes_that_this_one_lacks(
    client: TestClient, endpoint: SimpleNamespace
) -> None:
    said = {"request_id": endpoint.ids.new("f" * 64), "right": False}
    lorry = {**BOX, "class_name": "lorry"}
    upside_down = client.post("/feedback", json={**said, "boxes": [{**lorry, "y1": 41}]})
    assert "expected x1 < x2 and y1 < y2" in refused(upside_down, 422)
    assert client.post("/feedback", json={**said, "boxes": [lorry]}).status_code == 200
    (found,) = endpoint.feedback.rows("tiny")
    assert [each.class_name for each in found.boxes] == ["lorry"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"boxes": [{**BOX, "class_name": "bas"}]}, "found 'bas', in boxes.0: did you mean 'bus'?"),
        ({"boxes": [BOX, {**BOX, "x2": 1}]}, "expected x1 < x2 and y1 < y2, found 1, 2, 1, 40"),
        ({"boxes": [{**BOX, "y1": 41}]}, "found 1, 41, 30.5, 40, in boxes.0"),
        ({"boxes": [{**BOX, "x1": -1}]}, "in boxes.0.x1"),
        ({"boxes": [{**BOX, "x2": 1e9}]}, "in boxes.0.x2"),
        ({"boxes": [{**BOX, "extra": 1}]}, "in boxes.0.extra"),
        ({"boxes": [BOX] * 1001}, "at most 1000 items"),
        ({"boxes": {}}, "valid array"),
        ({"right": True, "boxes": [BOX]}, "boxes only where the answer was wrong"),
        ({"right": None}, "in right"),
        ({"picture": -1}, "in picture"),
        ({"picture": 1001}, "in picture"),
        ({"picture": 10**400}, "in picture"),
        ({"note": "x" * 2001}, "in note"),
        ({"unknown": 1}, "in unknown"),
        ({"request_id": None}, "in request_id"),
        ({"request_id": "x" * 201}, "in request_id"),
    ],
)
def test_what_is_not_as_described_is_refused(
    client: TestClient, endpoint: SimpleNamespace, made: str, change: dict[str, Any], said: str
) -> None:
    content = {"request_id": made, "right": False, **change}
    assert said in refused(client.post("/feedback", json=content), 422)
    assert endpoint.feedback.rows("tiny") == []


NUMBER = '{"request_id": "ID", "right": false, "boxes": [{"class_name": "bus", "x1": 0, "y1": 0,' \
         ' "y2": 9, "x2": %s}]}'  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        "", "{", "[]", "null", "NaN", '"text"', "\x00", '{"request_id": "ID"}',
        NUMBER % "NaN", NUMBER % "Infinity", NUMBER % "-Infinity", NUMBER % "1e999",
        NUMBER % '"nan"', "[" * 250_000, '{"a":' * 50_000, "[" * 120_000 + "]" * 120_000,
        '{"request_id": "ID", "right": false, "note": "\\ud800"}',
        b'{"request_id": "ID", "right": false, "note": "\xff"}',
    ],
    ids=range(18),
)  # fmt: skip
def test_a_body_that_is_no_feedback_is_refused(
    client: TestClient, endpoint: SimpleNamespace, made: str, body: str | bytes
) -> None:
    data = body if isinstance(body, bytes) else body.encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = client.post("/feedback", content=data.replace(b"ID", made.encode()), headers=headers)
    refused(answer, 422)
    assert endpoint.feedback.rows("tiny") == []


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data; boundary=x"])
def test_only_json_is_taken(client: TestClient, made: str, kind: str) -> None:
    body = json.dumps({"request_id": made, "right": True})
    answer = client.post("/feedback", content=body, headers={"Content-Type": kind})
    assert "expected application/json" in refused(answer, 422)


def test_a_body_over_the_limit_is_refused(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    long = refused(client.post("/feedback", content=b" " * (MOST_BODY + 1), headers=headers), 413)
    assert long == "expected at most 256 KiB of feedback, found more"
    fits = b" " * (MOST_BODY - 2) + b"{}"
    refused(client.post("/feedback", content=fits, headers=headers), 422)


@pytest.mark.parametrize(("pause_s", "status", "most"), [(0.0, 413, 5), (0.08, 408, 4)])
def test_an_endless_body_is_not_read_to_its_end(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, pause_s: float, status: int, most: int
) -> None:
    monkeypatch.setattr(feedback_route, "BODY_S", 0.2)
    given, sent = [], []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause_s)
        given.append(1)
        return {"type": "http.request", "body": b" " * 65_536, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/feedback", "raw_path": b"/feedback",
        "query_string": b"", "headers": [(b"content-type", b"application/json")], "state": {},
    }  # fmt: skip
    asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == status
    assert len(given) <= most


def test_who_said_it_is_stored(client: TestClient, endpoint: SimpleNamespace, made: str) -> None:
    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["caller"] = "值班室"
        await client.app(scope, receive, send)

    TestClient(guarded).post("/feedback", json={"request_id": made, "right": True})
    assert [each.caller for each in endpoint.feedback.rows("tiny")] == ["值班室"]


def test_a_locked_database_is_busy_not_broken(
    client: TestClient, endpoint: SimpleNamespace, made: str, tmp_path: Path
) -> None:
    said = {"request_id": made, "right": True}
    client.post("/feedback", json={**said, "picture": 1})
    with closing(sqlite3.connect(tmp_path / "feedback" / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "database is locked" in refused(client.post("/feedback", json=said), 503)
        other.execute("ROLLBACK")
    assert client.post("/feedback", json=said).status_code == 200


@pytest.mark.parametrize("broken", ["no database", "a folder", "a file for a folder", "none"])
def test_a_store_that_cannot_be_written_is_said(
    client: TestClient, endpoint: SimpleNamespace, made: str, tmp_path: Path, broken: str
) -> None:
    folder = tmp_path / "feedback"
    if broken == "a file for a folder":
        folder.write_text("x")
    elif broken == "none":
        endpoint.feedback = FeedbackStore(None)
    else:
        folder.mkdir()
        path = folder / FILE
        path.mkdir() if broken == "a folder" else path.write_bytes(b"no database" * 500)
    refused(client.post("/feedback", json={"request_id": made, "right": True}), 503)


def test_the_description_says_what_is_taken(client: TestClient) -> None:
    from pydantic import TypeAdapter

    from cityforge.endpoint.schema import Feedback

    described = client.get("/openapi.json").json()["paths"]["/feedback"]["post"]
    content = described["requestBody"]["content"]["application/json"]
    Feedback.model_validate(content["example"])
    assert set(content["schema"]["properties"]) == set(Feedback.model_fields)
    assert "$ref" not in json.dumps(content["schema"])
    assert set(described["responses"]) >= {"200", "404", "409", "413", "422", "503"}
    assert TypeAdapter(dict[str, Any]).validate_python(content["schema"])["required"] == [
        "request_id", "right",
    ]  # fmt: skip
