"""What the endpoint answers by task: the very service, asked as a client asks it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from PIL import Image
from signed_site import Site
from starlette.testclient import TestClient

from cityforge.endpoint.app import create_app
from cityforge.endpoint.observed import Figures
from cityforge.endpoint.running import Running
from cityforge.endpoint.surroundings import Surroundings


@pytest.fixture(scope="module")
def figures() -> Iterator[Figures]:
    found = Figures()
    yield found
    found.forget()


@pytest.fixture
def serve(site: Site, figures: Figures) -> Iterator[Callable[..., TestClient]]:
    """A client of the routes over a release; compute processes and all."""
    with ExitStack() as opened:

        def make(task: str, **changes: object) -> TestClient:
            app = create_app()
            app.state.endpoint = Running(
                Surroundings(compute=1), site.release(3, task=task, **changes), figures
            )
            return opened.enter_context(TestClient(app))

        yield make


def sent(*levels: int, size: tuple[int, int] = (64, 48)) -> list[tuple[str, Any]]:
    files = []
    for number, level in enumerate(levels):
        stream = io.BytesIO()
        Image.new("RGB", size, (level,) * 3).save(stream, "PNG")
        files.append(("images", (f"{number}.png", stream.getvalue(), "image/png")))
    return files


def test_detection_answers_as_it_always_did(serve: Callable[..., TestClient]) -> None:
    answer = serve("detection").post("/predict?map=true", files=sent(0))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert list(found) == ["model", "version", "digest", "request_id", "pictures"]
    assert (found["model"], found["version"]) == ("tiny", 3)
    box = {"class_name": "汽车", "score": 0.9, "x1": 8, "y1": 6, "x2": 40, "y2": 30}
    assert found["pictures"] == [
        {"name": "0.png", "width": 64, "height": 48, "outside": [], "boxes": [box]}
    ]


def test_classification_answers_classes(serve: Callable[..., TestClient]) -> None:
    client = serve("classification")
    found = client.post("/predict", files=sent(204, 102)).json()["pictures"]
    assert found == [
        {
            "name": "0.png", "width": 64, "height": 48, "outside": [],
            "classes": [{"name": "汽车", "score": 0.8}],
        },
        {
            "name": "1.png", "width": 64, "height": 48, "outside": [],
            "classes": [{"name": "bus", "score": 0.6}, {"name": "汽车", "score": 0.4}],
        },
    ]  # fmt: skip
    assert client.get("/info").json()["task"] == "classification"


def test_several_labels_may_answer_none(serve: Callable[..., TestClient]) -> None:
    client = serve("classification", several_labels=True, score_threshold=0.7)
    assert client.post("/predict", files=sent(128)).json()["pictures"][0]["classes"] == []


def test_density_answers_counts_and_where_they_are_when_asked(
    serve: Callable[..., TestClient],
) -> None:
    client = serve("density")
    bare = client.post("/predict", files=sent(51, size=(128, 32))).json()["pictures"]
    counts = [{"name": "汽车", "count": 3.2}, {"name": "bus", "count": 0.0}]
    assert bare == [{"name": "0.png", "width": 128, "height": 32, "outside": [], "counts": counts}]
    asked = client.post("/predict?map=true", files=sent(51, size=(128, 32))).json()["pictures"]
    mapped = {"width": 8, "height": 2, "cell": 16.0, "values": [[0.2] * 16, [0.0] * 16]}
    assert asked == [bare[0] | {"map": mapped}]


def test_refusals_name_what_was_wrong(serve: Callable[..., TestClient]) -> None:
    client = serve("density")
    cut = sent(51)[0][1][1][:50]
    answer = client.post("/predict", files=[("images", ("a.png", cut, "image/png"))])
    assert (answer.status_code, "in a.png" in answer.json()["error"]) == (400, True)
    answer = client.post("/predict?map=perhaps", files=sent(51))
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("expected what the API describes")
    answer = client.post("/predict", files=[("images", (None, "x"))])
    assert "expected files in the multipart field 'images'" in answer.json()["error"]


def test_the_description_names_the_answer_of_every_task(serve: Callable[..., TestClient]) -> None:
    schemas = serve("detection").get("/openapi.json").json()["components"]["schemas"]
    pictures = schemas["Prediction"]["properties"]["pictures"]["items"]["anyOf"]
    names = {each["$ref"].rpartition("/")[2] for each in pictures}
    assert names == {"Picture", "ClassifiedPicture", "CountedPicture", "MappedPicture"}
    assert set(schemas["Picture"]["properties"]) == {"name", "width", "height", "outside", "boxes"}
