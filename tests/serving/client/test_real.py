"""The client against the real service: its answers, its refusals, its rates."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from cityforge_client import (
    AlreadyTold,
    AsyncClient,
    BadInput,
    Client,
    NotAllowed,
    Prediction,
    TooManyRequests,
    UnknownRequest,
)
from running_endpoint import running_endpoint
from signed_site import signed_site

from cityforge.endpoint.schema import About, Analysis
from cityforge.endpoint.token_file import new_token


@dataclass
class Place:
    address: str
    tokens: Path

    def token(self, name: str, *scopes: str, rate: float = 1000, burst: int = 1000) -> str:
        return new_token(self.tokens, name, scopes, rate=rate, burst=burst, days=1)[1]

    def client(self, name: str, *scopes: str, **options: Any) -> Client:
        return Client(self.address, self.token(name, *scopes), **options)


@pytest.fixture(scope="module")
def place(
    make_package: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("client")
    rules = [{"name": "停", "kind": "stopped", "seconds": 1.0}]
    release = signed_site(make_package, folder).release(1, events=rules)
    tokens = folder / "tokens.json"
    new_token(tokens, "first", ["predict"], rate=1, burst=1, days=1)
    named = {"tokens": str(tokens), "feedback": str(folder / "feedback")}
    with running_endpoint(release, **named) as address:
        yield Place(address, tokens)


def settled() -> None:
    """Wait until the endpoint has looked at its tokens again: twice a second."""
    time.sleep(0.7)  # longer than between two looks


def test_what_it_reads_is_what_was_answered(
    place: Place, make_picture: Callable[..., Path], make_film: Callable[..., Path], tmp_path: Path
) -> None:
    picture = make_picture(tmp_path / "一.jpg")
    film = make_film(tmp_path / "a.mp4", greys=[90] * 20)
    with place.client("reader", "predict", "feedback") as client:
        settled()
        answer = client.predict(picture, picture.read_bytes())
        assert [each.name for each in answer.pictures] == ["一.jpg", "picture 2"]
        box = answer.pictures[1].boxes[0]
        found = (box.class_name, box.score, box.x1, box.y1, box.x2, box.y2)
        assert found == ("汽车", pytest.approx(0.9), 8, 6, 40, 30)
        about = client.info()
        assert set(about.raw) == set(About.model_fields)
        assert (about.model, about.classes) == (answer.model, ("汽车", "bus"))
        with film.open("rb") as opened:
            analysis = client.analyze(opened)
        assert set(analysis.raw) == set(Analysis.model_fields)
        assert analysis.clip.name == "a.mp4"
        assert [each.rule for each in analysis.events] == ["停"]
        assert analysis.events[0].evidence[0].picture[:2] == b"\xff\xd8"
        assert analysis.frames[-1].boxes[0].track == analysis.tracks[0].id == 1
        assert client.ready()
        assert client.feedback(answer.request_id, False, [box], "nothing there").stored
        assert client.feedback(answer.request_id, True, picture=1).stored


def test_refusals_are_the_endpoint_s_own(
    place: Place, make_picture: Callable[..., Path], make_film: Callable[..., Path], tmp_path: Path
) -> None:
    picture, film = make_picture(tmp_path / "a.jpg"), make_film(tmp_path / "a.mp4")
    with place.client("asker", "predict", "feedback") as client:
        settled()
        answer = client.predict(picture)
        client.feedback(answer.request_id, True)
        with pytest.raises(AlreadyTold) as told:
            client.feedback(answer.request_id, True)
        assert told.value.status == 409
        assert told.value.request_id
        with pytest.raises(UnknownRequest):
            client.feedback("0" * 16 + "-" + "0" * 32, True)
        with pytest.raises(BadInput, match="torn"):
            client.predict(torn_file(tmp_path, picture.read_bytes()))
        with pytest.raises(BadInput, match="camera"):
            client.predict(picture, camera="北门")
        with pytest.raises(BadInput, match="zone 'z'"):
            zones = {"z": [[0, 0], [9, 0], [9, 99]]}
            client.analyze(film, {"width": 64, "height": 48, "zones": zones})
    with Client(place.address, "cf_wrong") as stranger, pytest.raises(NotAllowed, match="401"):
        stranger.predict(picture)
    with (
        place.client("looker", "admin") as looker,
        pytest.raises(NotAllowed, match=r"403: .*scope"),
    ):
        settled()
        looker.predict(picture)


def torn_file(folder: Path, data: bytes) -> Path:
    (folder / "torn.jpg").write_bytes(data[:300])
    return folder / "torn.jpg"


def test_a_rate_is_waited_for(
    place: Place, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    picture = make_picture(tmp_path / "a.jpg").read_bytes()
    token = place.token("slow", "predict", rate=1, burst=2)
    settled()

    async def ask() -> list[Prediction]:
        async with AsyncClient(place.address, token, retries=9) as client:
            return await asyncio.gather(*(client.predict(picture) for _ in range(4)))

    begun = time.monotonic()
    answers = asyncio.run(ask())
    assert len({each.request_id for each in answers}) == 4
    assert time.monotonic() - begun > 1.0  # two at once, then one a second
    with Client(place.address, token, retries=0) as client, pytest.raises(TooManyRequests) as over:
        for _ in range(4):
            client.predict(picture)
    assert over.value.retry_after is not None and over.value.retry_after >= 1
