"""An annotator's day in a real browser: from the login page to labels in the dataset.

CITYFORGE_TEST_PICTURES names a folder that keeps the pictures of the pages.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parent / "day"))

from annotator import CHROMIUM, Annotator, Seen, at_a_browser
from crossing import (
    CAMERA,
    CAR,
    CAR_CLASS,
    DEFINITIONS,
    FOUND,
    MODEL,
    PERSON,
    PERSON_CLASS,
    SIZE,
    TITLE,
    make_street,
    run,
    stored_picture,
)

from cityforge.labeling.studio.client import Studio
from cityforge.labeling.studio.interface import hotkeys
from cityforge.project import Project

pytestmark = [
    pytest.mark.services,
    pytest.mark.slow,
    pytest.mark.skipif(
        not CHROMIUM.exists() and not os.environ.get("CI"), reason="no Chromium on this machine"
    ),
]

FRAMES = 4
NAME = ("娜", "李 <img src=x onerror=alert(6)>")  # first, last
AGAIN = 40.0, -30.0  # pixels by which a box is moved once more, across and down
MOUSE_PX = 3.0  # of the picture: the mouse moves by whole points of the screen
EXACT_PX = 0.001

Rows = list[dict[str, Any]]


@dataclass
class Day:
    """What was seen, done and pulled."""

    project: Project
    dataset: str
    studio_id: int
    url: str
    pushed: dict[str, Any]
    email: str
    seen: Seen = field(default_factory=Seen)
    instructions: str = ""  # HTML
    loaded: tuple[tuple[int, int], str] = ((0, 0), "")
    begun: Rows = field(default_factory=list)  # regions before anything was done
    listed: list[str] = field(default_factory=list)
    screens: dict[str, np.ndarray] = field(default_factory=dict)
    shown: Rows = field(default_factory=list)  # regions as the page had them at the end
    tasks: dict[str, int] = field(default_factory=dict)  # what was done: task
    text: str = ""  # of the page of tasks afterwards
    exported: dict[int, dict[str, Any]] = field(default_factory=dict)  # by task
    pulled: dict[str, Any] = field(default_factory=dict)
    labels: Rows = field(default_factory=list)
    annotations: Rows = field(default_factory=list)
    pulled_again: dict[str, Any] = field(default_factory=dict)
    corrected: Rows = field(default_factory=list)  # all labels after the second pull

    def frame_id(self, done: str) -> str:
        """The frame with which this was done."""
        return str(self.exported[self.tasks[done]]["data"]["frame_id"])

    def labels_of(self, done: str) -> Rows:
        """The labels of the frame with which this was done."""
        return [row for row in self.labels if row["frame_id"] == self.frame_id(done)]

    def read(self, name: str) -> Rows:
        """A table of the dataset's labels."""
        folder = self.project.dataset_folder(self.dataset) / "labels"
        rows: Rows = pq.read_table(folder / f"{name}.parquet").to_pylist()
        return rows


@pytest.fixture(scope="module")
def day(
    running_label_studio: Any,
    make_package: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Day]:
    live, place = running_label_studio, tmp_path_factory.mktemp("day")
    if not live.server.is_alive():
        live.start()
    dataset = f"day{uuid4().hex[:12]}"
    project = make_street(place / "street", dataset, FRAMES, make_package)
    server = {
        "CITYFORGE_LABEL_STUDIO_URL": live.url,
        "CITYFORGE_LABEL_STUDIO_TOKEN": live.token,
        "CITYFORGE_LABEL_STUDIO_FILES": str(live.files),
        "CITYFORGE_TRACKING_URI": "",
        "CITYFORGE_USER": "王芳",  # who made the champion, and has a key
    }
    pushed = json.loads(run(project.root, "label", "push", dataset, "--json", **server))
    email = f"li.na.{uuid4().hex[:8]}@example.com"
    day = Day(project, dataset, pushed["project"], live.url, pushed, email)
    pictures = Path(os.environ.get("CITYFORGE_TEST_PICTURES") or place / "pictures")
    with Studio(live.url, SecretStr(live.token), patience_s=30) as studio:
        try:
            with at_a_browser(live.url, pictures, place / "profile") as person:
                day.seen = person.seen
                join(person, studio.get("api/invite")["invite_url"], email)
                work(person, day)
                path = f"api/projects/{day.studio_id}/export"
                tasks = studio.get(path, exportType="JSON", download_all_tasks="true")
                day.exported = {int(task["id"]): task for task in tasks}
                pull = ("label", "pull", dataset, "--json")
                day.pulled = json.loads(run(project.root, *pull, **server))
                day.labels, day.annotations = day.read("labels"), day.read("annotations")
                correct(person, day)
                day.pulled_again = json.loads(run(project.root, *pull, **server))
                day.corrected = day.read("labels")
            yield day
        finally:
            studio.remove(f"api/projects/{day.studio_id}")


def join(person: Annotator, invitation: str, email: str) -> None:
    """Make an account, then come back by the login page as on any other day."""
    person.sign_up(invitation, email)
    person.say_name(*NAME)
    person.log_out()
    person.log_in(email)


def work(person: Annotator, day: Day) -> None:
    """Move a box and add one; take one as it is; empty one; skip one."""
    person.open_project(day.studio_id)
    day.instructions = person.begin().inner_html()
    person.close_instructions()
    day.tasks["moved"] = task = person.await_task()
    day.loaded, day.begun, day.listed = person.picture(), person.boxes(), person.listed()
    day.screens["before"] = person.screen()
    person.point_at(CAR_CLASS)
    person.keep("sees the frame and the box and a hint")
    move_and_add(person, day)
    task = next_task(person, day, "moved", "untouched", task)
    person.keep("takes a box as it is")
    task = next_task(person, day, "untouched", "emptied", task)
    person.click(middle(FOUND))
    person.keep("takes hold of a box")
    person.press("Backspace")
    person.keep("has taken the box away")
    task = next_task(person, day, "emptied", "skipped", task)
    person.skip_last()
    person.keep("has skipped the last frame")
    person.open_project(day.studio_id)
    day.text = person.page.locator("body").inner_text()


def move_and_add(person: Annotator, day: Day) -> None:
    """Pull the box onto the car, draw one around the person with the class's key."""
    grip = middle(FOUND)
    person.drag(grip, (grip[0] + CAR[0] - FOUND[0], grip[1] + CAR[1] - FOUND[1]))
    person.keep("has moved the box")
    person.press("Escape")
    person.press(hotkeys(day.project.dataset(day.dataset))[PERSON_CLASS])
    person.drag(PERSON[:2], PERSON[2:])
    day.shown = person.boxes()
    day.screens["after"] = person.screen()
    person.keep("has added a box")


def correct(person: Annotator, day: Day) -> None:
    """Come back to the first frame and move the box on the car once more."""
    assert person.open_task(day.frame_id("moved")) == day.tasks["moved"]
    grip = middle(CAR)
    person.drag(grip, (grip[0] + AGAIN[0], grip[1] + AGAIN[1]))
    person.update()
    person.await_task()
    person.keep("has corrected the box")


def next_task(person: Annotator, day: Day, done: str, following: str, task: int) -> int:
    """Submit, and wait for what comes next."""
    made = person.submit()
    assert made["task"] == task, done
    day.tasks[following] = task = person.await_task(after=task)
    return task


def middle(xyxy: tuple[float, float, float, float]) -> tuple[float, float]:
    return (xyxy[0] + xyxy[2]) / 2, (xyxy[1] + xyxy[3]) / 2


def edges(row: dict[str, Any]) -> list[float]:
    return [row[each] for each in ("x1", "y1", "x2", "y2")]


def pixels(region: dict[str, Any]) -> list[float]:
    """Edges xyxy in pixels of a region in percent."""
    value = region["value"]
    left, top = value["x"] * SIZE[0] / 100, value["y"] * SIZE[1] / 100
    return [
        left, top,
        left + value["width"] * SIZE[0] / 100, top + value["height"] * SIZE[1] / 100,
    ]  # fmt: skip


def inside(screen: np.ndarray, xyxy: tuple[float, float, float, float]) -> tuple[slice, slice]:
    """The part of the screen well within a box of the picture."""
    scale = screen.shape[1] / SIZE[0]
    x1, y1, x2, y2 = (round(each * scale) for each in xyxy)
    return slice(y1 + 4, y2 - 4), slice(x1 + 4, x2 - 4)


def tint(day: Day, screen: str, frame_id: str) -> np.ndarray:
    """How far the screen is from the stored picture, (height, width), in levels of 255."""
    seen = day.screens[screen].astype(float)
    stored = Image.open(io.BytesIO(stored_picture(day.project, day.dataset, frame_id)))
    same = stored.convert("RGB").resize((seen.shape[1], seen.shape[0]), Image.Resampling.BOX)
    apart: np.ndarray = np.abs(seen - np.asarray(same, float)).mean(axis=2)
    return apart


def test_the_whole_queue_was_pre_filled_and_pushed(day: Day) -> None:
    assert (day.pushed["new"], day.pushed["prefilled"], day.pushed["model"]) == (4, 4, MODEL)
    assert len(day.exported) == len(set(day.tasks.values())) == FRAMES
    assert {task["data"]["camera"] for task in day.exported.values()} == {CAMERA}


def test_the_page_shows_the_stored_frame(day: Day) -> None:
    from hashlib import sha256

    frame_id = day.frame_id("moved")
    stored = stored_picture(day.project, day.dataset, frame_id)
    assert day.loaded == (SIZE, sha256(stored).hexdigest())
    apart = tint(day, "before", frame_id)
    apart[inside(day.screens["before"], FOUND)] = 0
    assert apart.mean() < 4
    assert day.screens["before"].std() > 20  # no blank page


def test_the_page_shows_the_box_of_the_champion(day: Day) -> None:
    (region,) = day.begun
    assert pixels(region) == pytest.approx(FOUND, abs=EXACT_PX)
    assert region["value"]["rectanglelabels"] == [CAR_CLASS]
    assert day.listed == [f"1 {CAR_CLASS} 0.90"]
    frame_id = day.frame_id("moved")
    before, after = (tint(day, each, frame_id) for each in ("before", "after"))
    car, person = (inside(day.screens["before"], each) for each in (CAR, PERSON))
    assert before[inside(day.screens["before"], FOUND)].mean() > 8
    assert before[person].mean() < 4 < 8 < after[person].mean()
    assert after[car].mean() > 8


def test_pulled_labels_are_the_boxes_of_the_page(day: Day) -> None:
    (annotation,) = day.exported[day.tasks["moved"]]["annotations"]
    labels = {row["class"]: row for row in day.labels_of("moved")}
    assert len(day.labels_of("moved")) == len(day.shown) == len(annotation["result"]) == 2
    for regions in (day.shown, annotation["result"]):
        for region in regions:
            (cls,) = region["value"]["rectanglelabels"]
            assert edges(labels[cls]) == pytest.approx(pixels(region), abs=EXACT_PX)


@pytest.mark.parametrize(("cls", "drawn"), [(CAR_CLASS, CAR), (PERSON_CLASS, PERSON)])
def test_pulled_labels_lie_where_the_mouse_put_them(
    day: Day, cls: str, drawn: tuple[float, ...]
) -> None:
    (label,) = [row for row in day.labels_of("moved") if row["class"] == cls]
    assert edges(label) == pytest.approx(drawn, abs=MOUSE_PX)


def test_pulled_labels_say_who_made_them_and_how(day: Day) -> None:
    rows = {row["class"]: row for row in day.labels_of("moved")}
    (annotation,) = day.exported[day.tasks["moved"]]["annotations"]
    assert rows[CAR_CLASS]["origin"] == "assisted"
    assert rows[CAR_CLASS]["model_version"] == MODEL
    assert (rows[PERSON_CLASS]["origin"], rows[PERSON_CLASS]["model_version"]) == ("human", None)
    for row in rows.values():
        assert row["annotator"] == day.email
        assert row["annotation_id"] == str(annotation["id"])
        assert row["source"] == f"label-studio:{day.studio_id}"
        assert row["lead_time_s"] == pytest.approx(annotation["lead_time"])
        assert 0 < row["lead_time_s"] < 600
        assert row["ground_truth"] is False


def test_a_box_taken_as_it_is_an_emptied_frame_and_a_skipped_one(day: Day) -> None:
    (taken,) = day.labels_of("untouched")
    assert (taken["class"], taken["origin"]) == (CAR_CLASS, "assisted")
    assert edges(taken) == pytest.approx(FOUND, abs=EXACT_PX)
    (empty,) = day.labels_of("emptied")
    assert (empty["class"], empty["annotator"]) == (None, day.email)
    assert day.labels_of("skipped") == []
    assert {row["skipped"] for row in day.annotations} == {True, False}
    assert (day.pulled["annotations"], day.pulled["skipped"], len(day.labels)) == (4, 1, 4)


def test_a_correction_on_the_page_corrects_the_label(day: Day) -> None:
    counts = {key: day.pulled_again[key] for key in ("new", "changed", "removed", "annotations")}
    assert counts == {"new": 0, "changed": 1, "removed": 0, "annotations": 4}
    before, after = (
        next(row for row in rows if row["class"] == CAR_CLASS and row["x1"] > FOUND[0] + 1)
        for rows in (day.labels, day.corrected)
    )
    moved = [edges(before)[at] + AGAIN[at % 2] for at in range(4)]
    assert edges(after) == pytest.approx(moved, abs=MOUSE_PX)
    for key in ("annotator", "annotation_id", "origin", "model_version", "frame_id"):
        assert after[key] == before[key], key
    kept = [row for row in day.labels if row["label_id"] != before["label_id"]]
    others = {row["label_id"] for row in day.corrected} - {after["label_id"]}
    assert {row["label_id"] for row in kept} == others


def test_every_annotation_is_the_annotators(day: Day) -> None:
    assert {row["annotator"] for row in day.annotations} == {day.email}
    assert {row["task_id"] for row in day.annotations} == set(day.tasks.values())


def test_instructions_tell_classes_keys_and_definitions_as_text(day: Day) -> None:
    from defusedxml.ElementTree import fromstring

    told = "".join(fromstring(f"<div>{closed(day.instructions)}</div>").itertext())
    for place, (name, definition) in enumerate(DEFINITIONS.items(), start=1):
        assert name in told
        assert definition in told
        assert f"<kbd>{place}</kbd>" in day.instructions
    assert "<script" not in day.instructions
    assert "<img" not in day.instructions


def closed(html: str) -> str:
    """HTML of a page as XML: what stands alone in HTML is closed."""
    import re

    return re.sub(r"<((?:hr|br|img)\b[^>]*)>", r"<\1/>", html)


def test_no_name_runs_as_a_script(day: Day) -> None:
    assert day.seen.dialogs == []
    assert day.seen.errors == []
    assert not [each for each in day.seen.addresses if each.endswith("/x")]  # of <img src=x>
    for text in (TITLE, CAMERA):
        assert text in day.text


def test_pages_ask_no_server_but_this_one(day: Day) -> None:
    assert len(day.seen.addresses) > 50
    assert day.seen.servers == {day.url.removeprefix("http://")}
