"""A person at a browser who labels in Label Studio, and all that their pages did meanwhile."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEW = {"width": 1440, "height": 900}
PASSWORD = "a long password of a test"
PICTURE = "img[alt=image]"
REGIONS = "JSON.stringify(Htx.annotationStore.selected.serializeAnnotation())"
BYTES = """async selector => Array.from(new Uint8Array(
  await (await fetch(document.querySelector(selector).src)).arrayBuffer()))"""
PATIENCE_S = 60
CALM = 4  # tenths of a second without an open request
STEPS = 8  # moves of the mouse in a drag

Point = tuple[float, float]
Corners = tuple[float, float, float, float]


@dataclass
class Seen:
    """What the pages asked for, and what they tried."""

    addresses: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)  # that a script did not catch

    @property
    def servers(self) -> set[str]:
        """Host and port of every server that was asked."""
        parts = map(urlsplit, self.addresses)
        return {each.netloc for each in parts if each.scheme not in ("data", "blob")}


class Annotator:
    """One person with one browser; what they do keeps a picture of the page each time."""

    def __init__(self, page: Any, url: str, pictures: Path) -> None:
        self.page, self.url, self.seen = page, url, Seen()
        self._pictures, self._taken = pictures, 0
        self._open: set[Any] = set()  # requests that have no answer yet
        page.on("request", self._asks)
        page.on("requestfinished", self._is_answered)
        page.on("requestfailed", self._is_answered)
        page.on("pageerror", lambda each: self.seen.errors.append(str(each)))
        page.on("dialog", self._refuse)

    def _asks(self, request: Any) -> None:
        self.seen.addresses.append(request.url)
        self._open.add(request)

    def _is_answered(self, request: Any) -> None:
        self._open.discard(request)

    def _refuse(self, dialog: Any) -> None:
        self.seen.dialogs.append(dialog.message)
        dialog.dismiss()

    def keep(self, name: str) -> Path:
        """Keep a picture of what is on the screen."""
        self._taken += 1
        path = self._pictures / f"{self._taken:02d} {name}.png"
        self.page.screenshot(path=path)
        return path

    def sign_up(self, invitation: str, email: str) -> None:
        """Make an account by the link that an administrator hands out."""
        self._go(invitation)
        self.page.fill("#email", email)
        self.page.fill("#password", PASSWORD)
        self.page.click("label[for=allow_newsletters_visual]")
        self.keep("signs up")
        self._press("button[type=submit]")

    def say_name(self, first: str, last: str) -> None:
        """Fill in the page of one's own account."""
        self._go("/user/account/personal-info")
        self.page.fill("input[name=first_name]", first)
        self.page.fill("input[name=last_name]", last)
        with self.page.expect_response(lambda each: each.request.method == "PATCH") as answer:
            self.page.click("button:has-text('Save')")
        assert answer.value.ok, answer.value.text()
        self._settle()
        self.keep("has said their name")

    def log_out(self) -> None:
        self._go("/logout")

    def log_in(self, email: str) -> None:
        self._go("/user/login/")
        self.page.fill("#email", email)
        self.page.fill("#password", PASSWORD)
        self.keep("logs in")
        self._press("button[type=submit]")
        assert "/login" not in self.page.url

    def open_project(self, project: int) -> None:
        """Go from the list of projects to the tasks of one."""
        self._go("/projects/")
        self.page.locator(f"a[href*='/projects/{project}']").first.click()
        self.page.wait_for_url(f"**/projects/{project}/data*")
        self.page.locator("text=Label All Tasks").wait_for()
        self._settle()
        self.keep("sees the tasks")

    def open_task(self, frame_id: str) -> int:
        """Open one task out of the list; its id."""
        self.page.click(f"text={frame_id}")
        task = self.await_task()
        self.keep("is back at a frame")
        return task

    def begin(self) -> Any:
        """Open the stream of tasks; where the instructions stand, still open."""
        self.page.click("text=Label All Tasks")
        told = self.page.locator(".lsf-modal-ls", has_text="Labeling Instructions")
        told.wait_for()
        self.await_task()
        self.keep("reads the instructions")
        return told

    def close_instructions(self) -> None:
        self.page.click("[aria-label='Close modal']")
        self.page.locator("text=Labeling Instructions").wait_for(state="detached")

    def await_task(self, after: int = 0) -> int:
        """Wait until another task than `after` stands there, with picture and boxes; its id."""
        self.page.wait_for_function(
            """([selector, after]) => {
              const image = document.querySelector(selector);
              return window.Htx?.task && Number(Htx.task.id) !== after
                && Htx.annotationStore.selected?.regions.length
                && image?.complete && image.naturalWidth > 0;
            }""",
            arg=[PICTURE, after],
        )
        self._settle()
        return int(self.page.evaluate("Htx.task.id"))

    def picture(self) -> tuple[tuple[int, int], str]:
        """Size of the picture that the page loaded, and sha256 of its bytes."""
        size = self.page.locator(PICTURE).evaluate(
            "each => [each.naturalWidth, each.naturalHeight]"
        )
        return tuple(size), sha256(bytes(self.page.evaluate(BYTES, PICTURE))).hexdigest()

    def screen(self) -> np.ndarray:
        """What is seen where the picture stands, (height, width, 3) RGB, at the screen's size."""
        box = self.page.locator(PICTURE).bounding_box()
        png = self.page.screenshot(clip=box)
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def boxes(self) -> list[dict[str, Any]]:
        """The regions of the page, as Label Studio states them: percent of the picture."""
        regions: list[dict[str, Any]] = json.loads(self.page.evaluate(REGIONS))
        return regions

    def listed(self) -> list[str]:
        """The regions as the page lists them beside the picture."""
        rows: list[str] = self.page.locator(".lsf-outliner-item__content").all_inner_texts()
        return [" ".join(each.split()) for each in rows]

    def drag(self, start: Point, end: Point) -> None:
        """Drag with the mouse between two points, in pixels of the picture."""
        (x1, y1), (x2, y2) = self._on_screen(start), self._on_screen(end)
        self.page.mouse.move(x1, y1)
        self.page.mouse.down()
        self.page.mouse.move((x1 + x2) / 2, (y1 + y2) / 2, steps=STEPS)
        self.page.mouse.move(x2, y2, steps=STEPS)
        self.page.mouse.up()
        self._settle()

    def click(self, at: Point) -> None:
        self.page.mouse.click(*self._on_screen(at))
        self._settle()

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)
        self._settle()

    def point_at(self, text: str) -> None:
        """Rest with the mouse on a word, so that its hint opens."""
        self.page.hover(f"text={text}")
        self._settle()

    def submit(self) -> dict[str, Any]:
        """Press Submit; the annotation as the server answers it."""
        return self._annotation("bottombar-submit-button", "POST")

    def update(self) -> dict[str, Any]:
        """Press Update; the annotation as the server answers it."""
        return self._annotation("bottombar-update-button", "PATCH")

    def skip_last(self) -> dict[str, Any]:
        """Press Skip on the last task of the stream; the annotation as the server answers it."""
        made = self._annotation("bottombar-skip-button", "POST")
        self.page.locator("text=No More Tasks Left in Queue").wait_for()
        return made

    def _annotation(self, button: str, method: str) -> dict[str, Any]:
        with self.page.expect_response(
            lambda each: "/annotations" in each.url and each.request.method == method
        ) as answer:
            self.page.click(f"[data-testid={button}]")
        assert answer.value.ok, answer.value.text()
        made: dict[str, Any] = answer.value.json()
        return made

    def _on_screen(self, at: Point) -> Point:
        box = self.page.locator(PICTURE).bounding_box()
        wide = self.page.locator(PICTURE).evaluate("each => each.naturalWidth")
        scale = box["width"] / wide
        return box["x"] + at[0] * scale, box["y"] + at[1] * scale

    def _go(self, path: str) -> None:
        self.page.goto(self.url + path)
        self._settle()

    def _press(self, button: str) -> None:
        with self.page.expect_navigation():
            self.page.click(button)
        self._settle()

    def _settle(self) -> None:
        """Let the page load what it wants, and draw it.

        Playwright's own "networkidle" does not wait for what a page asks for later. And the
        session lies in a cookie: an answer that comes late would log a person in again.
        """
        calm, end = 0, time.monotonic() + PATIENCE_S
        while calm < CALM:
            assert time.monotonic() < end, [each.url for each in self._open]
            self.page.wait_for_timeout(100)
            calm = 0 if self._open else calm + 1


@contextmanager
def at_a_browser(url: str, pictures: Path, profile: Path) -> Iterator[Annotator]:
    """A person before a browser that has never been used."""
    from playwright.sync_api import sync_playwright

    pictures.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            str(profile), executable_path=str(CHROMIUM), args=ARGUMENTS, viewport=VIEW
        )
        context.set_default_timeout(PATIENCE_S * 1000)
        try:
            yield Annotator(context.pages[0], url, pictures)
        finally:
            context.close()
