"""A project with drawn pictures of a street, and a champion that finds one car in each."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ruamel.yaml import YAML

sys.path.insert(0, str(Path(__file__).parents[2] / "loop"))

from scratch import cityforge, copy_project, git

from cityforge.inference.package import ABOUT_FILE, About, write_about
from cityforge.project import Project

SIZE = 1280, 960
# Where things are drawn, xyxy in pixels.
CAR = 260.0, 250.0, 900.0, 730.0
PERSON = 1010.0, 420.0, 1130.0, 800.0
# Where the champion finds a car: the answer of the tests' package, at this size.
FOUND = 160.0, 120.0, 800.0, 600.0

CAR_CLASS, PERSON_CLASS = '汽车 "A"', "<script>alert(1)</script>"
CAMERA = "=1+1<img src=x onerror=alert(2)>"
TITLE = "街道 <script>alert(3)</script> · Street"
STILL = "街道 ' \" <svg onload=alert(4)>"
DEFINITIONS = {
    CAR_CLASS: "A car, taxi or van with four wheels; mirrors belong to it. "
    "<img src=x onerror=alert(5)>",
    PERSON_CLASS: "A person on foot, with what they carry; not a rider.",
}
ALGORITHM = "street_watch"
MODEL = f"{ALGORITHM} v1"  # as it stands beside its boxes


def run(root: Path, *words: str, **environment: str) -> str:
    """Run a command that has to succeed; what it said on stdout."""
    done = cityforge(root, *words, **environment)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def make_street(root: Path, dataset: str, count: int, make_package: Callable[..., Path]) -> Project:
    """A project whose dataset holds `count` stills and whose algorithm has a champion."""
    copy_project(root)
    (root / "params.yaml").write_text("algorithms: {}\ndatasets: []\n", encoding="utf-8")
    classes = [word for name in DEFINITIONS for word in ("--class", name)]
    run(root, "dataset", "new", dataset, "--title", TITLE, "--camera", CAMERA, *classes)
    define_classes(root / "datasets" / dataset / "dataset.yaml")
    stills = [draw(root.parent / "stills" / f"{STILL} {at}.jpg", at) for at in range(count)]
    run(
        root, "footage", "add", dataset, *map(str, stills), "--camera", CAMERA,
        "--started-at", "2026-03-02T09:00:00Z", "--retain-until", "2099-01-01T00:00:00Z",
    )  # fmt: skip
    kind = ("--space", "road_traffic", "--title", "街道 · Street")
    run(root, "algorithm", "new", ALGORITHM, "--dataset", dataset, *kind)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "street")
    project = Project(root)
    crown(project, make_package)
    return project


def define_classes(card: Path) -> None:
    """Say in a new card what each class is, as a person does."""
    yaml = YAML()
    yaml.allow_unicode = True
    content = yaml.load(card.read_text(encoding="utf-8"))
    for each in content["classes"]:
        each["definition"] = DEFINITIONS[each["name"]]
    with card.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)


def crown(project: Project, make_package: Callable[..., Path]) -> None:
    """Register a package that finds FOUND in every still, and approve it."""
    from cityforge.registry.approval import approve
    from cityforge.registry.registering import register
    from cityforge.registry.site import Site
    from cityforge.settings import Settings
    from cityforge.training.tracking import experiment_id

    site = Site(project, Settings(tracking_uri="", one_person=True))
    experiment = experiment_id(site.client, project, site.settings, ALGORITHM)
    run_id = site.client.create_run(experiment).info.run_id
    package = make_package(project.root.parent / "made" / "package", ALGORITHM, run_id)
    about: dict[str, Any] = json.loads((package / ABOUT_FILE).read_text(encoding="utf-8"))
    write_about(package, About(**about | {"classes": list(DEFINITIONS)}))
    register(site, ALGORITHM, package, package.parent, who="王芳")
    approve(site, ALGORITHM, None, "王芳", "a test of labelling")


def draw(path: Path, seed: int) -> Path:
    """A still of a car and a person on a street."""
    rng = np.random.default_rng(seed)
    picture = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    picture[:300] = 214, 190, 160  # BGR: sky
    picture[300:] = 104, 102, 100
    cv2.rectangle(picture, (0, 200), (220, 420), (120, 140, 165), -1)
    cv2.rectangle(picture, (950, 120), (1280, 420), (135, 150, 150), -1)
    for x in range(-60, SIZE[0], 260):
        cv2.rectangle(picture, (x + seed * 40, 840), (x + seed * 40 + 140, 862), (225,) * 3, -1)
    draw_car(picture, *map(int, CAR))
    draw_person(picture, *map(int, PERSON))
    noise = rng.normal(0, 4, picture.shape)
    picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    return path


def draw_car(picture: np.ndarray, x1: int, y1: int, x2: int, y2: int) -> None:
    """The side of a car that fills its box."""
    width, height = x2 - x1, y2 - y1
    body, glass, tyre = (60, 60, 190), (200, 175, 140), (35, 35, 35)
    roof = [(x1 + width // 4, y1), (x2 - width // 4, y1), (x2 - 30, y1 + height // 2),
            (x1 + 30, y1 + height // 2)]  # fmt: skip
    cv2.fillPoly(picture, [np.array(roof)], body)
    cv2.rectangle(picture, (x1, y1 + height // 2 - 10), (x2, y2 - height // 6), body, -1)
    pane = [(x1 + width // 4 + 20, y1 + 25), (x2 - width // 4 - 20, y1 + 25),
            (x2 - 90, y1 + height // 2 - 20), (x1 + 90, y1 + height // 2 - 20)]  # fmt: skip
    cv2.fillPoly(picture, [np.array(pane)], glass)
    for x in (x1 + width // 5, x2 - width // 5):
        cv2.circle(picture, (x, y2 - height // 6), height // 6, tyre, -1)


def draw_person(picture: np.ndarray, x1: int, y1: int, x2: int, y2: int) -> None:
    """A standing figure that fills its box."""
    middle, head = (x1 + x2) // 2, (x2 - x1) // 3
    cv2.circle(picture, (middle, y1 + head), head, (140, 170, 210), -1)
    cv2.rectangle(picture, (x1, y1 + 2 * head), (x2, y2 - 150), (140, 90, 40), -1)
    for x in (x1 + 12, x2 - 42):
        cv2.rectangle(picture, (x, y2 - 150), (x + 30, y2), (70, 50, 40), -1)


def stored_picture(project: Project, dataset: str, frame_id: str) -> bytes:
    """The JPEG of a stored frame."""
    from cityforge.footage.ingest import FRAMES_TABLE
    from cityforge.footage.shards import FrameStore
    from cityforge.tables import FRAMES, read_table

    folder = project.dataset_folder(dataset) / "frames"
    return FrameStore(folder, read_table(FRAMES, folder / FRAMES_TABLE)).read(frame_id)
