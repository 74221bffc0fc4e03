"""The page at `/` in a real browser, over the real service with tokens."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

from running_endpoint import running_endpoint
from signed_site import signed_site

from cityforge.cards.events import EventRule
from cityforge.endpoint import page_route
from cityforge.endpoint.schema import Mark
from cityforge.endpoint.token_file import new_token

RULES = [
    {"name": "stood", "kind": "stopped", "seconds": 1.0},
    {"name": "街角停留", "kind": "dwell", "zone": "街角", "seconds": 0.5},
    {"name": "in", "kind": "line_count", "line": "stop line"},
]
ENVELOPE = {
    "camera_height_m": [6.0, 18.0], "pitch_deg": [15.0, 50.0], "illumination": ["day", "dusk"],
    "smallest_object_px": 10,
}  # fmt: skip
CAMERA = "name: 北门\nsite: gate\nwidth: 64\nheight: 48\nheight_m: 25\npitch_deg: 30\n"

LOOK = """async () => {
    const picture = document.getElementById("evidence-picture");
    await picture.decode();
    return [picture.naturalWidth, document.querySelector("video").currentTime];
}"""

DROP = """(data) => {
    const dropped = new DataTransfer();
    dropped.items.add(new File([new Uint8Array(data)], "a.jpg", { type: "image/jpeg" }));
    return dropped;
}"""


@dataclass
class Place:
    """The service, and the tokens of two people: `often` may call often, `seldom` once."""

    address: str
    often: str
    seldom: str


@pytest.fixture(scope="module")
def place(
    make_package: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("page")
    release = signed_site(make_package, folder).release(1, events=RULES, envelope=ENVELOPE)
    tokens, cameras = folder / "tokens.json", folder / "cameras"
    cameras.mkdir()
    (cameras / "gate.yaml").write_text(CAMERA, encoding="utf-8")
    often = new_token(tokens, "often", ["predict", "feedback"], rate=1000, burst=1000, days=1)[1]
    seldom = new_token(tokens, "seldom", ["predict"], rate=0.05, burst=60, days=1)[1]
    named = {"tokens": tokens, "cameras": cameras, "feedback": folder / "feedback"}
    with running_endpoint(release, **{key: str(path) for key, path in named.items()}) as address:
        yield Place(address, often, seldom)


@pytest.fixture(scope="module")
def browser(launch_chromium: Callable[[Any], Any]) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = launch_chromium(play)
        yield opened
        opened.close()


@dataclass
class Seen:
    """What a browser did while a page was open."""

    asked: list[str] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@contextmanager
def opened(browser: Any, place: Place, token: str = "", **options: Any) -> Iterator[Any]:
    """The page, as a person with a token opens it; nothing is asked of another place."""
    seen = Seen()
    person = {"username": "me", "password": token or place.often}
    context = browser.new_context(
        **{"locale": "en-GB", "http_credentials": person, "reduced_motion": "reduce", **options}
    )
    page = context.new_page()
    page.seen = seen

    def note(request: Any) -> None:
        seen.asked.append(request.url)
        if request.url.split("?")[0].endswith(("/predict", "/analyze")):
            seen.sent.append(request.post_data_buffer or b"")

    page.on("request", note)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.goto(place.address)
    page.wait_for_selector("#about:not(:empty)")
    yield page
    context.close()
    assert seen.errors == []
    own = (place.address, "blob:", "data:")
    assert [each for each in seen.asked if not each.startswith(own)] == []


def alpha(page: Any, x: float, y: float) -> int:
    """How much is drawn over a pixel of the picture, 0 to 255."""
    found: int = page.evaluate(
        """([x, y]) => {
            const over = document.querySelector("#stage .over");
            const scale = over.width / 64;
            return over.getContext("2d").getImageData(x * scale, y * scale, 1, 1).data[3];
        }""",
        [x, y],
    )
    return found


def corner(page: Any, x: float, y: float) -> None:
    """Click a pixel of the picture."""
    frame = page.locator("#stage .over").bounding_box()
    page.mouse.click(frame["x"] + x * frame["width"] / 64, frame["y"] + y * frame["height"] / 48)


def wait_for_answer(page: Any) -> None:
    page.wait_for_selector("#answer:not([hidden]), #status.error")
    assert page.inner_text("#status").startswith(("Done in", "用时"))


def test_nothing_but_its_own_files_may_run(place: Place) -> None:
    with httpx.Client(base_url=place.address, auth=("me", place.often)) as client:
        answer = client.get("/")
        assert answer.headers["cache-control"] == "no-store"
        names = re.findall(r'(?:src|href)="(page/[a-z.]+)"', answer.text)
        checked = 0
        for path in ["/", *names, *(f"page/{each.name}" for each in page_route.FOLDER.iterdir())]:
            found = client.get(path)
            if path == "page/index.html":
                assert found.status_code == 404
                continue
            assert found.status_code == 200, path
            assert found.headers["x-content-type-options"] == "nosniff"
            policy = found.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in policy
            assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", found.text), path
            checked += 1
        assert checked >= 13
        assert not re.search(
            r"<script(?! type=\"module\" src=)|<style| style=| on[a-z]+=", answer.text
        )
        for path in ("/page/nothing.js", "/page/..%2fpage_route.py", "/page/%2e%2e/schema.py"):
            assert client.get(path).status_code in (403, 404), path


def test_it_is_shown_to_nobody_without_a_token(place: Place) -> None:
    answer = httpx.get(place.address)
    assert answer.status_code == 401
    assert "Basic" in answer.headers["www-authenticate"]


def test_every_sentence_is_there_in_both_languages() -> None:
    text = (page_route.FOLDER / "words.js").read_text(encoding="utf-8")
    english, chinese = (
        re.findall(r"^  (\w+): \"", table, re.MULTILINE) for table in text.split("const CHINESE")
    )
    assert english == chinese
    assert len(english) > 70
    used = set(
        re.findall(r'data-(?:word|label)="(\w+)"', (page_route.FOLDER / "index.html").read_text())
    )
    for path in page_route.FOLDER.glob("*.js"):
        for call in re.findall(r"say\(([^,)]*)", path.read_text(encoding="utf-8")):
            used |= set(re.findall(r'"(\w+)"', call))
    assert len(used) > 50
    assert used <= set(english)

    kinds = [
        get_args(each.model_fields["kind"].annotation)[0]
        for each in get_args(get_args(EventRule)[0])
    ]
    assert len(kinds) == 9
    assert set(kinds) | set(get_args(Mark.model_fields["what"].annotation)) <= set(english)


def test_boxes_of_a_picture_are_drawn_and_listed(
    place: Place, browser: Any, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    picture = make_picture(tmp_path / "一张.jpg")
    with opened(browser, place) as page:
        assert page.inner_text("#title") == "小 · Tiny"
        assert "approved by 王芳" in page.inner_text("#about")
        page.select_option("#camera", "北门")
        page.set_input_files("#file", str(picture))
        wait_for_answer(page)
        assert page.inner_text("#stage-title") == "Picture: 一张.jpg"
        assert page.inner_text("#found-title") == "Objects: 1"
        assert page.inner_text("#found-list tbody").split("\t") == ["汽车", "0.90", "8, 6, 40, 30"]
        assert page.inner_text("#legend") == "汽车 1"
        assert page.get_attribute("#stage .over", "aria-label") == "What was found: 汽车 1"
        assert alpha(page, 8, 20) > 200  # on the left edge of the box
        assert alpha(page, 24, 20) == 0  # in its middle
        assert alpha(page, 50, 40) == 0  # outside
        marks = page.locator("#marks-list li").all_inner_texts()
        assert marks == ["The camera hangs at 25 m; it was proven at 6 to 18 m."]
        page.click("#right")
        page.wait_for_selector("#judged:not(:empty)")
        assert page.inner_text("#judged") == "Stored. Thank you."


def test_a_clip_is_asked_with_drawn_zones_and_shows_its_events(
    place: Place, browser: Any, make_film: Callable[..., Path], tmp_path: Path
) -> None:
    film = make_film(tmp_path / "a.mp4", greys=[100] * 30)
    with opened(browser, place) as page:
        page.set_input_files("#file", str(film))
        page.wait_for_selector("#tools:not([hidden])")
        assert page.inner_text("#wanted").endswith("zone “街角”, line “stop line”.")
        page.click("#draw-zone")
        assert page.inner_text("#draw-hint") == "Give it a name first."
        page.fill("#shape-name", "街角")
        page.click("#draw-zone")
        for x, y in [(4, 4), (60, 4), (60, 44), (4, 44)]:
            corner(page, x, y)
        page.keyboard.press("Enter")
        page.fill("#shape-name", "stop line")
        page.click("#draw-line")
        for key in ["Space", *["ArrowRight"] * 3, *["Shift+ArrowDown"] * 2, "Space"]:
            page.keyboard.press(key)
        assert page.locator("#shapes li").all_inner_texts() == [
            "街角 (zone)\nRemove", "stop line (line)\nRemove",
        ]  # fmt: skip
        page.click("#go")
        wait_for_answer(page)
        (sent,) = page.seen.sent
        scene = json.loads(re.search(rb'name="scene"\r\n\r\n(.*?)\r\n', sent)[1])  # type: ignore[index]
        assert (scene["width"], scene["height"]) == (64, 48)
        assert scene["lines"] == {"stop line": [[32, 24], [44, 26]]}
        drawn, wanted = scene["zones"]["街角"], [[4, 4], [60, 4], [60, 44], [4, 44]]
        assert [
            [abs(a - b) <= 1 for a, b in zip(*pair, strict=True)]
            for pair in zip(drawn, wanted, strict=True)
        ] == [[True, True]] * 4
        events = page.locator("#events-list button").all_inner_texts()
        assert page.inner_text("#events-title") == "Events: 2"
        assert sorted(text.split("\n")[1] for text in events) == [
            "汽车 #1 stayed in 街角", "汽车 #1 stopped",
        ]  # fmt: skip
        assert "still going on at the end" in events[0]
        assert alpha(page, 8, 20) > 200
        page.locator("#events-list button").first.click()
        page.wait_for_selector("#evidence:not([hidden])")
        shown = page.evaluate(LOOK)
        at = float(re.search(r"at ([\d.]+) s", page.inner_text("#evidence-text"))[1])  # type: ignore[index]
        assert shown[0] > 0
        assert shown[1] == pytest.approx(at, abs=0.06)
        assert at > 0
        assert page.inner_text("#found-title") == "Tracks: 1"


def test_errors_are_one_plain_line_and_the_wait_is_said(
    place: Place, browser: Any, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "torn.jpg").write_bytes(make_picture(tmp_path / "a.jpg").read_bytes()[:300])
    (tmp_path / "notes.txt").write_text("x")
    with opened(browser, place, place.seldom) as page:
        page.set_input_files("#file", str(tmp_path / "notes.txt"))
        assert page.inner_text("#status") == "Expected a picture or a clip, found notes.txt."
        page.set_input_files("#file", str(tmp_path / "torn.jpg"))
        page.wait_for_selector("#status.error")
        assert "torn.jpg" in page.inner_text("#status")
        page.set_input_files("#file", str(tmp_path / "a.jpg"))
        wait_for_answer(page)
        page.click("#wrong")  # a token without the scope
        page.wait_for_selector("#judged.error")
        assert "scope" in page.inner_text("#judged")
        with httpx.Client(base_url=place.address, auth=("x", place.seldom)) as client:
            while client.get("/info").status_code == 200:
                pass
        page.set_input_files("#file", str(tmp_path / "a.jpg"))
        page.wait_for_selector("#status.error")
        assert re.search(r"requests a second.*Try again in \d+ s\.$", page.inner_text("#status"))
        assert "\n" not in page.inner_text("#status")


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1200)])
def test_chinese_dark_and_narrow(
    place: Place,
    browser: Any,
    make_picture: Callable[..., Path],
    tmp_path: Path,
    scheme: str,
    width: int,
) -> None:
    picture = make_picture(tmp_path / "a.jpg")
    size = {"width": width, "height": 700}
    with opened(browser, place, locale="zh-CN", color_scheme=scheme, viewport=size) as page:
        assert page.get_attribute("html", "lang") == "zh-CN"
        assert page.inner_text("#drop label b") == "把图片或视频拖到这里"
        dropped = page.evaluate_handle(DROP, list(picture.read_bytes()))
        page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
        wait_for_answer(page)
        assert page.inner_text("#found-title") == "目标：1"
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (colour == "rgb(20, 24, 29)") is (scheme == "dark")


def test_a_keyboard_reaches_everything(place: Place, browser: Any) -> None:
    with opened(browser, place) as page:
        reached = []
        for _ in range(4):
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate("document.activeElement.id || document.activeElement.className")
            )
        assert reached[:3] == ["skip", "file", "camera"]


def test_counts_are_listed_and_where_they_are_is_drawn(
    make_package: Callable[..., Path], make_film: Callable[..., Path], browser: Any, tmp_path: Path
) -> None:
    from PIL import Image

    picture = Image.new("RGB", (64, 48))
    picture.paste((255, 255, 255), (0, 0, 16, 16))
    picture.save(tmp_path / "a.png")
    rules = [{"name": "crowd", "kind": "crowding", "most": 1, "seconds": 0.5}]
    release = signed_site(make_package, tmp_path).release(1, task="density", events=rules)
    with (
        running_endpoint(release, open_to_all="1") as address,
        opened(browser, Place(address, "x", "x")) as page,
    ):
        assert page.inner_text("#warning").startswith("Anyone may call this endpoint")
        page.set_input_files("#file", str(tmp_path / "a.png"))
        wait_for_answer(page)
        assert page.inner_text("#found-list tbody").split() == ["汽车", "4.0", "bus", "0.0"]
        assert alpha(page, 8, 8) > 100
        assert alpha(page, 40, 40) == 0
        page.set_input_files("#file", str(make_film(tmp_path / "a.mp4", greys=[255] * 20)))
        page.click("#go")
        page.wait_for_selector("#events:not([hidden])")
        assert page.is_hidden("#tools")
        (event,) = page.locator("#events-list button").all_inner_texts()
        assert event.split("\n")[1:] == ["48 at once", "crowd · still going on at the end"]
        assert page.inner_text("#found-list tbody").split()[:2] == ["汽车", "48.0"]
