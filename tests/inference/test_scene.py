"""Scenes on pictures of other sizes, points in zones, sides of lines, the ground."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cityforge.cards.camera import GroundPoint, Scene
from cityforge.errors import InputError
from cityforge.inference.scene import homography, inside, meets, metres_of, right_of, view_of
from cityforge.synthetic.cameras import CAMERAS, Camera, project

CORNERS = [(0.0, 0.0), (100.0, 0.0), (100.0, 50.0), (0.0, 50.0)]


def scene(**changes: Any) -> Scene:
    return Scene.model_validate({"width": 200, "height": 100, **changes})


@pytest.mark.parametrize("size", [(200, 100), (400, 200), (100, 50), (1281, 641)])
def test_a_scene_is_scaled_to_the_picture(size: tuple[int, int]) -> None:
    view = view_of(scene(zones={"门": CORNERS}, lines={"l": [(0, 0), (200, 100)]}), *size)
    expected = [[x * size[0] / 200, y * size[1] / 100] for x, y in CORNERS]
    assert np.allclose(view.zones["门"], expected)
    assert view.lines["l"].tolist() == [[0, 0], list(size)]


@pytest.mark.parametrize("size", [(100, 200), (200, 103), (640, 480)])
def test_a_picture_of_another_shape_is_refused_in_one_line(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="200×100") as caught:
        view_of(scene(zones={"z": CORNERS}), *size)
    assert len(str(caught.value).splitlines()) == 1


def test_without_a_scene_nothing_is_known() -> None:
    view = view_of(None, 10, 10)
    assert (view.zones, view.lines, view.ground) == ({}, {}, None)


def test_points_in_zones_as_opencv_says() -> None:
    import cv2

    generator = np.random.default_rng(3)
    checked = 0
    for corners in (3, 4, 7, 12):
        angle = np.sort(generator.uniform(0, 2 * np.pi, corners))
        reach = generator.uniform(10, 50, corners)  # a star, seldom convex
        zone = np.stack([50 + reach * np.cos(angle), 50 + reach * np.sin(angle)], 1)
        points = generator.uniform(0, 100, (200, 2))
        expected = [
            cv2.pointPolygonTest(zone.astype(np.float32), (float(x), float(y)), False) > 0
            for x, y in points
        ]
        assert inside(zone, points).tolist() == expected
        checked += sum(expected)
    assert 50 < checked < 750


@pytest.mark.parametrize(
    ("point", "right"), [((5, 3), 3), ((5, -3), -3), ((500, 3), 3), ((5, 0), 0)]
)
def test_right_of_a_line(point: tuple[float, float], right: float) -> None:
    assert right_of(np.array([[0, 0], [10, 0]]), np.array(point)) == right


@pytest.mark.parametrize(
    ("before", "after", "met"),
    [((5, -5), (5, 5), True), ((5, 5), (5, -5), True), ((15, -5), (15, 5), False),
     ((-1, -5), (-1, 5), False), ((12, -2), (6, 2), True), ((5, -5), (5, -1), False),
     ((5, -5), (5, 0), True), ((5, 0), (5, 5), False), ((0, -1), (10, -1), False)],
)  # fmt: skip
def test_steps_through_a_line(before: Any, after: Any, met: bool) -> None:
    line = np.array([[0.0, 0.0], [10.0, 0.0]])
    assert meets(line, np.array(before, float), np.array(after, float)) is met


def ground_of(camera: Camera, metres: list[tuple[float, float]]) -> list[GroundPoint]:
    pixels, _ = project(camera, np.array([[x, y, 0.0] for x, y in metres]))
    return [
        GroundPoint(pixel=(float(u), float(v)), metres=xy)
        for (u, v), xy in zip(pixels, metres, strict=True)
    ]


SQUARE = [(-5.0, -5.0), (5.0, -5.0), (5.0, 5.0), (-5.0, 5.0)]


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda each: each.name)
def test_the_ground_is_found_from_four_points(camera: Camera) -> None:
    found = homography(ground_of(camera, SQUARE), np.ones(2))
    elsewhere = [(0.0, 0.0), (-3.0, 2.0), (4.0, -1.0), (-9.0, 8.0)]
    pixels, _ = project(camera, np.array([[x, y, 0.0] for x, y in elsewhere]))
    assert np.allclose(metres_of(found, pixels), elsewhere, atol=1e-6)


def test_there_is_no_ground_above_the_horizon() -> None:
    camera = replace(CAMERAS[0], pitch_deg=8.0)  # its upper left corner shows the sky
    found = homography(ground_of(camera, SQUARE), np.ones(2))
    horizon = camera.height / 2 - camera.focal_px * np.tan(np.radians(camera.pitch_deg))
    assert horizon > 50
    points = np.array([[320, horizon - 5], [320, horizon + 5]])
    assert np.isnan(metres_of(found, points)).all(1).tolist() == [True, False]


def test_the_ground_is_scaled_with_the_picture() -> None:
    points = ground_of(CAMERAS[2], SQUARE)
    once, twice = homography(points, np.ones(2)), homography(points, np.full(2, 2.0))
    at = np.array([[300.0, 200.0]])
    assert np.allclose(metres_of(once, at), metres_of(twice, at * 2))


@pytest.mark.parametrize(
    ("metres", "said"),
    [([(-5.0, -5.0), (0.0, 0.0), (5.0, 5.0), (8.0, 8.0)], "on a line"),
     ([(-5.0, -5.0), (0.0, 0.0), (5.0, 5.0), (5.0, -5.0)], "on a line"),
     ([(-5.0, -5.0), (-5.0, -5.0), (5.0, 5.0), (5.0, -5.0)], "on a line")],
)  # fmt: skip
def test_points_on_a_line_fix_no_ground(metres: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        homography(ground_of(CAMERAS[2], metres), np.ones(2))


def test_points_that_contradict_each_other_are_no_ground() -> None:
    points = ground_of(CAMERAS[2], [*SQUARE, (0.0, 0.0), (2.0, 1.0)])
    wrong = [*points[:-1], points[-1].model_copy(update={"metres": (90.0, -70.0)})]
    with pytest.raises(InputError, match=r"contradict|no flat ground"):
        homography(wrong, np.ones(2))


def test_a_bad_ground_is_told_and_the_zones_stay() -> None:
    points = [
        {"pixel": [x, 10], "metres": [x, 0.0]} for x in (0.0, 10.0, 20.0, 30.0)
    ]  # fmt: skip
    view = view_of(scene(zones={"z": CORNERS}, ground=points), 200, 100)
    assert view.ground is None and "on a line" in view.no_ground
    assert list(view.zones) == ["z"]
