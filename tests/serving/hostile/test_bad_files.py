"""Files that are no pictures and no films: refused, each in its turn, and nothing else happens.

In CI a part of them; all: CITYFORGE_HOSTILE_FILES=2000.
"""

from __future__ import annotations

import os
from itertools import chain

import bad_films
import bad_pictures
import httpx
import pytest
from sent_pictures import refuse_another_answer
from served_process import Running

pytestmark = [pytest.mark.services, pytest.mark.slow]
FILES = int(os.environ.get("CITYFORGE_HOSTILE_FILES", "300"))
FILMS = FILES // 10
SEED = 7
KNOWN_EVERY = 20


def test_pictures_that_are_none_are_refused(endpoint: Running) -> None:
    made = list(bad_pictures.by_hand().items())
    made += bad_pictures.from_seed(FILES - len(made), SEED)
    assert len(made) == FILES
    assert len({name for name, _ in made}) == FILES
    seen = []
    with httpx.Client(base_url=endpoint.address, timeout=60) as client:
        for number, (name, data) in enumerate(made):
            answer = client.post("/predict", files={"images": ("x.jpg", data, "image/jpeg")})
            seen.append(answer.status_code)
            assert answer.status_code in (200, 400), f"{name}: {answer.status_code} {answer.text}"
            if answer.status_code == 400:
                told = answer.json()
                assert told["error"].startswith("expected "), name
                assert told["error"].endswith(", in x.jpg"), f"{name}: {told}"
                assert answer.headers["X-Request-Id"] == told["request_id"]
            if number % KNOWN_EVERY == 0:
                refuse_another_answer(endpoint.address)
    assert seen.count(400) > FILES / 3
    assert seen.count(200) > FILES / 10


WHOLE = {
    "JPEG of CMYK", "JPEG of grey", "PNG of 16 bits", "PNG of a palette", "PNG that moves",
    "WebP that moves", "WebP with alpha", "TIFF of 21 pages", "PNG of 9,900×9,900, whole",
    "JPEG of one pixel", "PNG of one pixel", "WEBP of one pixel", "BMP of one pixel",
    "orientation 1", "orientation 6", "orientation 9",
}  # fmt: skip
NONE = {
    "PNG of 50,000×50,000", "JPEG of 65,500×65,500", "TIFF of 60,000×60,000", "PNG of 0×0",
    "BMP of 60,000×60,000", "PNG of 14,000×14,000, whole", "GIF that moves", "ICO", "SVG", "PDF",
    "zip", "EPS", "nothing", "zeros", "JPEG of its first half", "PNG of its first half",
    "WEBP of its first half", "GIF and a script",
}  # fmt: skip


@pytest.mark.parametrize(("names", "status"), [(WHOLE, 200), (NONE, 400)])
def test_what_is_a_picture_is_known(endpoint: Running, names: set[str], status: int) -> None:
    made = {name: data for name, data in bad_pictures.by_hand().items() if name in names}
    assert set(made) == names
    found = {}
    for name, data in made.items():
        files = {"images": ("x.jpg", data, "image/jpeg")}
        found[name] = httpx.post(f"{endpoint.address}/predict", files=files, timeout=60).status_code
    assert found == dict.fromkeys(names, status)


def test_a_picture_turned_by_its_exif_is_seen_upright(endpoint: Running) -> None:
    for orientation, size in ((1, (48, 32)), (3, (48, 32)), (6, (32, 48)), (8, (32, 48))):
        files = {"images": ("x.jpg", bad_pictures.turned(orientation), "image/jpeg")}
        answer = httpx.post(f"{endpoint.address}/predict", files=files, timeout=60).json()
        picture = answer["pictures"][0]
        assert (picture["width"], picture["height"]) == size


def test_films_that_are_none_are_refused(endpoint: Running) -> None:
    made = list(chain(bad_films.by_hand(), bad_films.from_seed(FILMS, SEED)))
    seen = {}
    with httpx.Client(base_url=endpoint.address, timeout=120) as client:
        for number, (name, data) in enumerate(made):
            answer = client.post("/analyze", files={"clip": ("x.mp4", data, "video/mp4")})
            seen[name] = answer.status_code
            assert answer.status_code in (200, 400), f"{name}: {answer.status_code} {answer.text}"
            assert "root:" not in answer.text
            if answer.status_code == 400:
                assert answer.json()["error"].startswith("expected "), name
                assert str(endpoint.pointer.parent) not in answer.text
            if number % KNOWN_EVERY == 0:
                refuse_another_answer(endpoint.address)
    assert len(seen) == len(made) > 40
    for name in ("one frame", "an AVI", "a Matroska", "an MPEG transport stream"):
        assert seen[name] == 200, name
    none = ("nothing", "words", "without a picture", "a playlist", "a playlist of an address")
    for name in (*none, "a list to join", "a session", "a manifest", "subtitles"):
        assert seen[name] == 400, name


def test_a_film_of_hours_is_cut_not_waited_for(endpoint: Running) -> None:
    film = bad_films.film(2, last_s=bad_films.HOURS * 3600)
    files = {"clip": ("x.mp4", film, "video/mp4")}
    answer = httpx.post(f"{endpoint.address}/analyze?fps=30", files=files, timeout=60)
    assert answer.status_code == 200, answer.text
    clip = answer.json()["clip"]
    assert clip["frames"] <= 2
    assert clip["cut"]
