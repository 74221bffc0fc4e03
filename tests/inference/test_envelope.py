"""Marks: light as the footage layer tells it, sizes as the evaluation slices them, the camera."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cityforge.cards.camera import CameraCard
from cityforge.footage.quality import Watcher
from cityforge.footage.redact import decode_jpeg
from cityforge.footage.stills import encode_jpeg
from cityforge.inference.envelope import light_of, marks_of
from cityforge.inference.package import About
from cityforge.inference.runtime import Answer
from cityforge.tasks.picture import GREY, Fitted, decode_and_fit, fit

ENVELOPE: dict[str, Any] = {
    "camera_height_m": [4.0, 20.0], "pitch_deg": [10.0, 60.0],
    "illumination": ["day", "dusk"], "smallest_object_px": 10,
}  # fmt: skip


def about(task: str = "detection", **envelope: Any) -> About:
    return About.model_construct(task=task, envelope={**ENVELOPE, **envelope})  # type: ignore[arg-type]


def street(light: float, colour: int = 40, size: tuple[int, int] = (160, 90)) -> np.ndarray:
    """(H, W, 3) RGB: a sloped, noisy picture of a mean luma of about `light`."""
    random_numbers = np.random.default_rng(7)
    slope = np.linspace(0.5, 1.5, size[0])[None, :, None]
    noise = random_numbers.normal(1, 0.1, (size[1], size[0], 1))
    tint = np.array([0, colour / 2, colour])
    return np.clip(light * slope * noise + tint - colour / 2, 0, 255).astype(np.uint8)


def boxes(*sides: tuple[float, float]) -> Answer:
    xyxy = np.array([[5, 5, 5 + w, 5 + h] for w, h in sides], np.float32).reshape(-1, 4)
    return Answer(160, 90, xyxy, np.ones(len(xyxy)), np.zeros(len(xyxy), np.int64))


def whats(found: list[dict[str, str]]) -> list[str]:
    return [each["what"] for each in found]


@pytest.mark.parametrize(
    ("picture", "proven", "found"),
    [
        (street(120), ["day"], None),
        (street(30), ["day", "dusk"], "night"),
        (street(30), ["night"], None),
        (street(120), ["night"], None),  # light is not too dark
        (street(120, colour=0), ["day"], "infrared"),  # the camera's lamps are on
        (street(120, colour=0), ["night"], "infrared"),
        (street(120, colour=0), ["infrared", "day"], None),
        (street(0, colour=0), ["infrared", "day"], "night"),  # black: nothing to be infrared
        (street(30), ["night", "infrared"], None),
    ],
)
def test_a_picture_is_too_dark(picture: np.ndarray, proven: list[str], found: str | None) -> None:
    marks = marks_of(about(illumination=proven), fit(picture, 64, 64), boxes(), None)
    expected = [{"what": "too_dark", "found": found, "proven": ", ".join(proven)}]
    assert marks == (expected if found else [])


@pytest.mark.parametrize("canvas", [(64, 36), (64, 64), (40, 200), (200, 40), (640, 640)])
def test_the_grey_border_does_not_light_a_dark_picture(canvas: tuple[int, int]) -> None:
    fitted = fit(street(30), *canvas)
    assert (fitted.canvas == GREY).all(axis=2).mean() > 0.3 or canvas == (64, 36)
    assert light_of(fitted) == "night"


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 2)])
def test_pictures_of_hardly_a_pixel_have_a_light(size: tuple[int, int]) -> None:
    assert light_of(fit(street(120, size=size), 64, 48)) in ("day", "night", "infrared")


@pytest.mark.parametrize("light", [0, 20, 35, 80, 140, 220])
@pytest.mark.parametrize("colour", [0, 30])
def test_light_is_told_as_the_footage_layer_tells_it(light: int, colour: int) -> None:
    jpeg = encode_jpeg(street(light, colour, (320, 180))[:, :, ::-1])
    reference = Watcher(keeps=False).look(decode_jpeg(jpeg), 0).lighting
    assert light_of(decode_and_fit(jpeg, 128, 128)) == reference


@pytest.mark.real
def test_light_is_told_alike_in_real_pictures(real_data: Callable[[str], Path]) -> None:
    paths = sorted(real_data("street_garbage").rglob("*.jpg"))
    paths = random.Random(3).sample(paths, 60)
    same, nights = 0, 0
    for path in paths:
        jpeg = path.read_bytes()
        reference = Watcher(keeps=False).look(decode_jpeg(jpeg), 0).lighting
        same += light_of(decode_and_fit(jpeg, 320, 320)) == reference
        nights += reference == "night"
    assert nights > 0
    assert same >= len(paths) - 1


def test_telling_the_light_is_quick() -> None:
    fitted = fit(street(120, size=(1280, 720)), 640, 384)
    took = []
    for _ in range(200):
        begun = time.perf_counter()
        light_of(fitted)
        took.append(time.perf_counter() - begun)
    assert min(took) < 120e-6  # 40 where nothing else runs


@pytest.mark.parametrize(
    ("sides", "found"),
    [
        ((), None),
        (((10, 10), (300, 40)), None),
        (((10, 9.9),), "1 of 1 objects, the smallest 9.9 px"),
        (((5, 20.1),), None),  # thin, and of more than 10 × 10 pixels
        (((4, 16), (2, 8), (50, 50)), "2 of 3 objects, the smallest 4.0 px"),
    ],
)
def test_objects_are_too_small(sides: tuple[tuple[float, float], ...], found: str | None) -> None:
    marks = marks_of(about(), fit(street(120), 64, 36), boxes(*sides), None)
    expected = [{"what": "too_small", "found": found, "proven": "10 px or more"}]
    assert marks == (expected if found else [])


@pytest.mark.parametrize("task", ["classification", "density"])
def test_only_boxes_have_a_size(task: str) -> None:
    assert marks_of(about(task), fit(street(120), 64, 36), boxes((2, 2)), None) == []


@pytest.mark.parametrize(
    ("height", "pitch", "found"),
    [
        (4, 10, []),
        (20, 60, []),
        (12, None, []),  # says one of them, and that fits
        (3.9, 30, [("camera_height", "3.9 m", "4 to 20 m")]),
        (25, 61, [("camera_height", "25 m", "4 to 20 m"), ("camera_pitch", "61°", "10 to 60°")]),
        (None, -5, [("camera_pitch", "-5°", "10 to 60°")]),
        (
            None,
            None,
            [
                (
                    "camera_unmeasured",
                    "camera '北门' says neither height nor pitch",
                    "4 to 20 m, 10 to 60°",
                )
            ],
        ),
    ],
)
def test_the_camera_hangs_elsewhere(
    height: float | None, pitch: float | None, found: list[tuple[str, str, str]]
) -> None:
    card = CameraCard(name="北门", site="s", width=160, height=90, height_m=height, pitch_deg=pitch)
    marks = marks_of(about(), fit(street(120), 64, 36), boxes((20, 20)), card)
    assert [(each["what"], each["found"], each["proven"]) for each in marks] == found


def test_without_a_named_camera_none_is_judged() -> None:
    assert marks_of(about(), fit(street(120), 64, 36), boxes(), None) == []


def test_an_empty_envelope_marks_nothing() -> None:
    card = CameraCard(name="c", site="s", width=160, height=90, height_m=400)
    without = About.model_construct(task="detection", envelope={})
    black = Fitted(np.zeros((36, 64, 3), np.uint8), 0.4, 160, 90)
    assert marks_of(without, black, boxes((1, 1)), card) == []
    assert whats(marks_of(about(), black, boxes((1, 1)), card)) == [
        "too_dark", "too_small", "camera_height",
    ]  # fmt: skip
