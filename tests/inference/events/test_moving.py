"""Wrong directions and speeds, from paths whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cityforge.cards.camera import GroundPoint
from cityforge.cards.events import Speed, WrongDirection
from cityforge.inference.events.moving import DirectionWatch, SpeedWatch, degrees_off
from cityforge.inference.scene import homography
from cityforge.inference.trails import Trails
from cityforge.synthetic.cameras import CROSSING_NORTH, CROSSING_ROOF, Camera, project

ZONE = np.array([[0.0, 0.0], [400.0, 0.0], [400.0, 400.0], [0.0, 400.0]])
RULE = WrongDirection(
    kind="wrong_direction", name="one way", zone="lane", allowed_deg=0, tolerance_deg=60,
    least_lengths=1.0,
)  # fmt: skip
Moments = Callable[..., Any]


@pytest.mark.parametrize(
    ("allowed", "step", "off"),
    [(0, (1, 0), 0), (90, (0, 1), 0), (270, (0, -1), 0), (0, (-1, 0), 180), (350, (1, 0), 10),
     (10, (1, -1), 55), (180, (-1, 0), 0)],
)  # fmt: skip
def test_degrees_are_clockwise_from_the_right(
    allowed: float, step: tuple[float, float], off: float
) -> None:
    assert degrees_off(allowed, np.array(step)) == pytest.approx(off)


def gone(heading_deg: float, step: float, count: int = 10) -> list[tuple[float, float]]:
    """A way from the middle of the zone; the box's side is 10 pixels."""
    x, y = math.cos(math.radians(heading_deg)) * step, math.sin(math.radians(heading_deg)) * step
    return [(200 + x * n, 200 + y * n) for n in range(count)]


WAYS: dict[str, tuple[list[tuple[float, float]], float | None]] = {
    "with it": (gone(0, 6), None),
    "against it": (gone(180, 6), 180.0),
    "across, over the tolerance": (gone(61, 6), 61.0),
    "across, under the tolerance": (gone(59, 6), None),
    "upwards": (gone(270, 6), 90.0),
    "against it, not yet a length": (gone(180, 0.5), None),
    "against it, slowly, in the end a length": (gone(180, 1.3), 180.0),
    "trembles": ([(200 + (-1) ** n * 3, 200) for n in range(20)], None),
    "against it outside": ([(x + 300, y) for x, y in gone(180, 2)], None),
}


@pytest.mark.parametrize("case", WAYS)
def test_direction(case: str, moment: Moments) -> None:
    points, expected = WAYS[case]
    watch = DirectionWatch(RULE, ZONE)
    for number, (x, y) in enumerate(points):
        assert watch.look(moment(number / 5, [(3, "car", x, y)])) == []
    found = [each.value for each in watch.end()]
    assert found == ([] if expected is None else [pytest.approx(expected, abs=0.1)])


def test_a_turn_ends_the_event(moment: Moments, told: Moments) -> None:
    points = gone(180, 6, 8) + [(158 + 6 * n, 200) for n in range(1, 12)]
    moments = [moment(n / 5, [(3, "car", x, y)]) for n, (x, y) in enumerate(points)]
    ((start, end, tracks, going_on),) = told(DirectionWatch(RULE, ZONE), moments)
    assert (start, tracks, going_on) == (0.0, (3,), False)
    assert 1.4 <= end <= 2.0


@pytest.mark.parametrize("fps", [2, 5, 25])
@pytest.mark.parametrize("camera", [CROSSING_ROOF, CROSSING_NORTH], ids=lambda each: each.name)
@pytest.mark.parametrize("kmh", [0.0, 5.0, 30.0, 50.0])
def test_a_speed_is_that_of_the_world(camera: Camera, kmh: float, fps: int) -> None:
    """Boxes whose feet are projected by the synthetic pinhole, on ground points of four corners."""
    ground = homography(corners(camera), np.ones(2))
    start, heading = corners(camera)[0].metres, np.array(MIDDLE) - corners(camera)[0].metres
    heading = heading / np.linalg.norm(heading)
    trails = Trails(["car"], (100_000, 100_000), ground)
    found = []
    for number in range(3 * fps // 2 + 1):
        metres = np.array(start) + heading * kmh / 3.6 * number / fps
        (pixel,), _ = project(camera, np.array([[*metres, 0.0]]))
        box = np.array([[pixel[0] - 9, pixel[1] - 20, pixel[0] + 9, pixel[1]]])
        _, speeds = trails.follow(
            number / fps, np.array([1]), box, np.ones(1), np.zeros(1, int), np.ones(1, bool)
        )
        found.append(speeds[0])
    assert np.isnan(found[0])
    assert found[-1] == pytest.approx(kmh, rel=0.005, abs=0.05)
    (row,) = trails.rows()
    assert row["kmh"] == pytest.approx(kmh, rel=0.005, abs=0.1)


MIDDLE = (0.0, 0.0)


def corners(camera: Camera) -> list[GroundPoint]:
    """Four points of the road that the camera sees, beside the middle of the crossing."""
    away = np.array(MIDDLE) - camera.position[:2]
    along = away / np.linalg.norm(away)
    aside = np.array([along[1], -along[0]])
    metres = [along * a + aside * b for a, b in ((-4, -4), (-4, 4), (8, 5), (8, -5))]
    pixels, _ = project(camera, np.array([[*each, 0.0] for each in metres]))
    return [
        GroundPoint(pixel=(float(u), float(v)), metres=(float(x), float(y)))
        for (u, v), (x, y) in zip(pixels, metres, strict=True)
    ]


def test_a_trembling_box_does_not_run(moment: Moments) -> None:
    """A car at 40 km/h whose boxes tremble by 3 % of their size: the median stays near."""
    camera = CROSSING_ROOF
    trails = Trails(["car"], (640, 360), homography(corners(camera), np.ones(2)))
    noise = np.random.default_rng(7).normal(0, 0.03 * 60, (16, 2))
    for number in range(16):
        (pixel,), _ = project(camera, np.array([[-14 + 40 / 3.6 * number / 5, -1.75, 0.0]]))
        foot = pixel + noise[number]
        box = np.array([[foot[0] - 30, foot[1] - 40, foot[0] + 30, foot[1]]])
        trails.follow(
            number / 5, np.array([1]), box, np.ones(1), np.zeros(1, int), np.ones(1, bool)
        )
    (row,) = trails.rows()
    assert row["kmh"] == pytest.approx(40, abs=4)


@pytest.mark.parametrize(
    "box", [(0, 10, 50, 60), (10, 1, 50, 60), (10, 10, 639, 60), (10, 10, 50, 359)]
)
def test_a_box_at_the_pictures_edge_does_not_show_where_it_stands(box: Any) -> None:
    trails = Trails(["car"], (640, 360), np.eye(3))
    for number in range(10):
        _, kmh = trails.follow(
            number / 5, np.array([1]), np.array([box], float), np.ones(1), np.zeros(1, int),
            np.ones(1, bool),
        )  # fmt: skip
        assert np.isnan(kmh).all()


def test_speed_events(moment: Moments) -> None:
    watch = SpeedWatch(Speed(kind="speed", name="fast", over_kmh=50), None)
    speeds = [math.nan, 50.0, 51.0, 64.2, 49.0, 52.0, *[40.0] * 8]
    happened = [
        each
        for number, kmh in enumerate(speeds)
        for each in watch.look(moment(number / 5, [(4, "car", 9, 9)], kmh=[kmh]))
    ] + watch.end()
    ((start, end, value, going_on),) = [(h.start_s, h.end_s, h.value, h.going_on) for h in happened]
    assert (start, end, value, going_on) == (0.4, 1.0, 64.2, False)
