"""What is said of pictures: of a real scene at day and night, and of what a broken camera sends."""

from __future__ import annotations

import io
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cityforge.footage.quality import Look, Watcher
from cityforge.synthetic.backdrop import render_backdrop
from cityforge.synthetic.cameras import camera_named, resized
from cityforge.synthetic.conditions import condition_named

Image = NDArray[np.uint8]
SECONDS = range(14)


@lru_cache
def scene(condition: str) -> Image:
    """The crossing's north camera without traffic, (180, 320, 3), with the noise of a sensor."""
    camera = resized(camera_named("crossing_north"), 320, 180)
    still = render_backdrop(camera, condition_named(condition)).image
    return clipped(still + rng().normal(0, 2, still.shape))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def clipped(values: NDArray[Any]) -> Image:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def flat(blue: float, green: float, red: float, noise: float = 0) -> Image:
    grain = cv2.resize(rng().normal(0, noise, (180, 320)), (1280, 720))
    return clipped(np.array([blue, green, red]) + grain[:, :, None])


def hand() -> Image:
    """Fingers on the lens: dark skin, far out of focus, lighter towards one corner."""
    light = np.linspace(0.6, 1.4, 640)[None, :, None] * np.linspace(0.7, 1.3, 360)[:, None, None]
    return clipped(light * np.array([30, 42, 70]) + rng().normal(0, 1, (360, 640, 1)))


def captioned(picture: Image) -> Image:
    """With the time and the place that a camera writes above and below."""
    picture = np.ascontiguousarray(picture.copy())
    size, low = picture.shape[0] / 360, picture.shape[0] - 10
    for text, y in (("2026-03-02 09:00:00 MON", int(25 * size)), ("CAM 07 NORTH GATE", low)):
        cv2.putText(picture, text, (10, y), 0, 0.8 * size, (255, 255, 255), max(1, int(2 * size)))
    return picture


def infrared(picture: Image) -> Image:
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(float)
    return clipped(np.repeat(grey[:, :, None] * 1.6 + 10, 3, axis=2))


def barred(picture: Image) -> Image:
    return cv2.copyMakeBorder(picture, 0, 0, 170, 170, cv2.BORDER_CONSTANT)


LOOKS: dict[str, tuple[Callable[[], Image], str, tuple[str, ...]]] = {
    "a street by day": (lambda: scene("day"), "day", ()),
    "a street in rain": (lambda: scene("rain"), "day", ()),
    "a street by night": (lambda: scene("night"), "night", ()),
    "black bars count for nothing": (lambda: barred(scene("rain")), "day", ()),
    "black bars at night": (lambda: barred(scene("night")), "night", ()),
    "infrared lamps": (lambda: infrared(scene("night")), "infrared", ()),
    "infrared with a caption": (lambda: captioned(infrared(scene("night"))), "infrared", ()),
    "a grey day photograph": (lambda: infrared(scene("day")), "infrared", ()),
    "out of focus is not covered": (
        lambda: cv2.GaussianBlur(scene("day"), (0, 0), 5), "day", ()
    ),
    "no signal": (lambda: flat(0, 0, 0), "night", ("black",)),
    "a cap on the lens": (lambda: flat(6, 5, 7, noise=2), "night", ("black",)),
    "a cap and a caption": (lambda: captioned(flat(6, 5, 7, noise=2)), "night", ("black",)),
    "a grey card": (lambda: flat(128, 128, 128), "infrared", ("covered",)),
    "a cloth": (lambda: flat(120, 90, 70, noise=3), "day", ("covered",)),
    "a cloth and a caption": (lambda: captioned(flat(120, 90, 70)), "day", ("covered",)),
    "a hand": (hand, "night", ("covered",)),
    "paint": (lambda: flat(210, 215, 220, noise=2), "day", ("covered",)),
    "one pixel": (lambda: np.full((1, 1, 3), 200, np.uint8), "infrared", ("covered",)),
    "a line": (lambda: np.full((3, 30_000, 3), 200, np.uint8), "infrared", ("covered",)),
}  # fmt: skip


@pytest.mark.parametrize(("picture", "lighting", "faults"), LOOKS.values(), ids=LOOKS)
def test_lighting_and_faults(
    picture: Callable[[], Image], lighting: str, faults: tuple[str, ...]
) -> None:
    look = Watcher().look(picture(), 0)
    assert (look.lighting, look.faults) == (lighting, faults)


def test_figures_are_those_of_their_definitions() -> None:
    grey = rng().integers(0, 256, (360, 640)).astype(np.uint8)
    look = Watcher().look(np.repeat(grey[:, :, None], 3, axis=2), 0)
    wide = np.pad(grey.astype(float), 1, mode="reflect")
    edges = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    assert look.brightness == pytest.approx(grey.mean(), rel=1e-6)
    assert look.contrast == pytest.approx(grey.std(), rel=1e-6)
    assert look.sharpness == pytest.approx((edges - 4 * grey.astype(float)).var(), rel=1e-6)


@pytest.mark.parametrize("times", [2, 4, 8])
def test_more_pixels_of_the_same_picture_change_no_figure(times: int) -> None:
    picture = cv2.resize(scene("day"), (640, 360))
    larger = picture.repeat(times, axis=0).repeat(times, axis=1)
    assert Watcher().look(larger, 0) == Watcher().look(picture, 0)


@pytest.mark.parametrize("size", [(1080, 1919), (500, 889), (120, 160), (640, 360), (333, 4001)])
def test_pictures_of_any_size_are_judged_alike(size: tuple[int, int]) -> None:
    picture = cv2.resize(scene("day"), size[::-1], interpolation=cv2.INTER_CUBIC)
    usual = Watcher().look(scene("day"), 0)
    look = Watcher().look(picture, 0)
    assert (look.lighting, look.faults) == ("day", ())
    assert look.brightness == pytest.approx(usual.brightness, abs=2)
    assert look.contrast == pytest.approx(usual.contrast, rel=0.1)


def test_a_blurred_picture_is_less_sharp_and_a_darker_one_less_bright() -> None:
    picture = scene("day")
    usual = Watcher().look(picture, 0)
    assert Watcher().look(cv2.GaussianBlur(picture, (0, 0), 2), 0).sharpness < usual.sharpness / 10
    darker = Watcher().look(picture // 2, 0)
    assert darker.brightness == pytest.approx(usual.brightness / 2, abs=1)
    assert darker.contrast == pytest.approx(usual.contrast / 2, abs=1)


def with_walker(place: int) -> Image:
    """Somebody at the far end of the street, 3×8 pixels of 320×180."""
    picture = scene("day").copy()
    picture[60:68, 40 + place : 43 + place] = 20
    return picture


@lru_cache
def coded() -> list[Image]:
    """The same picture coded 14 times as H.264, with a key frame at every fourth."""
    import av

    picture = cv2.resize(scene("day"), (640, 360))
    stream_of = io.BytesIO()
    with av.open(stream_of, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=1, options={"crf": "23", "g": "4"})
        stream.height, stream.width, stream.pix_fmt = 360, 640, "yuv420p"
        for _ in SECONDS:
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    stream_of.seek(0)
    with av.open(stream_of) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


STILL: dict[str, tuple[list[tuple[float, Callable[[], Image]]], list[float]]] = {
    "a picture that stays": ([(s, lambda: scene("day")) for s in SECONDS], [10, 11, 12, 13]),
    "coded anew each time": ([(s, lambda s=s: coded()[s]) for s in SECONDS], [10, 11, 12, 13]),
    "shorter than ten seconds": ([(s * 0.7, lambda: scene("day")) for s in SECONDS], []),
    "a walker far away": ([(s, lambda s=s: with_walker(s)) for s in SECONDS], []),
    "a walker once": ([(s, lambda s=s: with_walker(s == 5)) for s in range(17)], [16]),
    "two looks, none between": ([(0, lambda: scene("day")), (60, lambda: scene("day"))], []),
    "three looks": ([(s, lambda: scene("day")) for s in (0, 60, 120)], [120]),
    "stills have no time": ([(0, lambda: scene("day")) for _ in SECONDS], []),
    "time runs back": (
        [(s, lambda: scene("day")) for s in (*range(5, 13), *range(12))], [10, 11]
    ),
    "night": ([(s, lambda: scene("night")) for s in SECONDS], [10, 11, 12, 13]),
    "a black picture is only black": ([(s, lambda: flat(0, 0, 0)) for s in SECONDS], []),
}  # fmt: skip


@pytest.mark.parametrize(("film", "frozen"), STILL.values(), ids=STILL)
def test_a_frozen_picture(
    film: list[tuple[float, Callable[[], Image]]], frozen: list[float]
) -> None:
    watcher = Watcher()
    looks = [(moment, watcher.look(picture(), moment)) for moment, picture in film]
    assert [moment for moment, look in looks if "frozen" in look.faults] == frozen


def crossing(count: int, condition: str = "day") -> Iterator[Image]:
    """A large box that drives through the picture."""
    for number in range(count):
        picture = scene(condition).copy()
        left = number * 280 // count
        picture[70:130, left : left + 40] = (40, 40, 160)
        yield picture


def watch(pictures: Iterator[Image]) -> tuple[Watcher, list[Look]]:
    watcher = Watcher()
    return watcher, [watcher.look(picture, float(n)) for n, picture in enumerate(pictures)]


def thumb_of(picture: Image) -> NDArray[np.float64]:
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(float)
    return cv2.resize(grey, (64, 36), interpolation=cv2.INTER_AREA)


def test_a_background_is_without_what_moves() -> None:
    watcher, _ = watch(crossing(40))
    background = watcher.background()
    assert background is not None and len(background) == 64 * 36
    seen = np.frombuffer(background, np.uint8).reshape(36, 64)
    assert np.abs(seen - thumb_of(scene("day"))).mean() < 2.5
    assert np.abs(seen - thumb_of(scene("day"))).max() < 20


def test_a_background_is_the_same_every_time() -> None:
    assert watch(crossing(150))[0].background() == watch(crossing(150))[0].background()


@pytest.mark.parametrize("looks", [0, 1, 7])
def test_few_looks_give_no_background(looks: int) -> None:
    assert watch(crossing(looks))[0].background() is None
    assert watch(crossing(8))[0].background() is not None


def test_pictures_of_many_places_give_no_background() -> None:
    places = (
        cv2.resize(np.roll(scene("day"), 23 * n, (0, 1)[n % 2]), (320, 180)) for n in range(9)
    )
    mixed = (np.rot90(place, n % 4) for n, place in enumerate(places))
    assert watch(np.ascontiguousarray(each) for each in mixed)[0].background() is None


def test_a_background_is_of_the_commonest_lighting() -> None:
    watcher, _ = watch(each for part in (crossing(9, "night"), crossing(12)) for each in part)
    mostly_day = watcher.background()
    assert mostly_day is not None
    seen = np.frombuffer(mostly_day, np.uint8).reshape(36, 64)
    assert np.abs(seen - thumb_of(scene("day"))).mean() < 3


def test_black_pictures_are_no_background() -> None:
    watcher, _ = watch(each for part in (crossing(9), [flat(0, 0, 0)] * 30) for each in part)
    background = watcher.background()
    assert background is not None
    assert np.frombuffer(background, np.uint8).mean() > 60


def test_a_watcher_keeps_little_however_long_it_looks() -> None:
    watcher, _ = watch(crossing(400))
    most = 64 * (64 * 36 + 200) + 160 * 90 + 640 * 360 + 2000
    assert len(pickle.dumps(watcher)) < most
    assert watcher.background() is not None


FILMED = (
    "intel_car-detection.mp4",
    "intel_one-by-one-person.mp4",
    "people_arcade.mp4",
    "traffic_topdown.mp4",
)


@pytest.mark.real
def test_healthy_cameras_have_no_fault(real_data: Callable[[str], Path]) -> None:
    """Films of fixed cameras every two seconds, and every tenth photograph."""
    import av

    found: Counter[str] = Counter()
    for name in FILMED:
        film = real_data("footage") / name
        watcher, due = Watcher(), 0.0
        with av.open(str(film)) as container:
            for frame in container.decode(video=0):
                if frame.time >= due:
                    due = frame.time + 2
                    look = watcher.look(frame.to_ndarray(format="bgr24"), frame.time)
                    found.update(("frames", look.lighting, *look.faults))
    for part in ("highway", "street_garbage", "drone_person"):
        for path in sorted(real_data(part).rglob("*.jpg"))[::10]:
            look = Watcher().look(cv2.imread(str(path)), 0)
            found.update(("frames", look.lighting, *look.faults))
    assert found["frames"] > 200
    assert found.keys() <= {"frames", "day", "night", "infrared"}
    assert found["day"] / found["frames"] > 0.9
    assert found["infrared"] <= 1
