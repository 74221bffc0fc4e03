"""What the pictures show: other light per condition, and bodies where their boxes are."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from cityforge.synthetic.actors import CLASSES, Actor
from cityforge.synthetic.backdrop import Backdrop, render_backdrop
from cityforge.synthetic.cameras import CAMERAS, Camera, resized
from cityforge.synthetic.conditions import CONDITIONS, DAY
from cityforge.synthetic.labels import label, visibilities
from cityforge.synthetic.painting import paint
from cityforge.synthetic.silhouettes import silhouette, silhouettes

SMALL = resized(CAMERAS[2], 320, 180)


@lru_cache(maxsize=8)
def still(condition: str) -> Backdrop:
    return render_backdrop(SMALL, CONDITIONS[condition])


def actor(kind: str, *, east: float = 0.0, north: float = 0.0, track: str = "a") -> Actor:
    return Actor(track, kind, 7, east, north, 0.6, 1.0, 0.7, braking=False)


def test_each_condition_has_another_brightness() -> None:
    day, rain, night = (float(still(name).image.mean()) for name in ("day", "rain", "night"))
    assert day > rain + 5 > night + 25


def test_nothing_stands_before_the_ground_it_is_seen_on() -> None:
    view = still("day")
    assert np.isinf(view.occluder[view.ground == 255]).all()
    assert (view.ground == 255).mean() > 0.4


@pytest.mark.parametrize("kind", CLASSES)
def test_a_body_changes_the_picture_inside_its_box_only(kind: str) -> None:
    shown = silhouettes((actor(kind),), SMALL)
    view = still("day")
    # Without a lit or shadowed ground nothing but the body itself can differ.
    view = replace(view, other=view.image)
    lights = {"north": "red", "east": "red", "south": "red", "west": "red"}
    empty = paint(SMALL, view, DAY, [], lights, 0.0)  # type: ignore[arg-type]
    painted = paint(SMALL, view, DAY, shown, lights, 0.0)  # type: ignore[arg-type]
    rows, columns = np.nonzero(np.abs(painted.astype(int) - empty).max(axis=2) > 12)
    x0, y0, x1, y1 = shown[0].box
    assert len(rows) > 20
    assert abs(columns.min() - x0) < 2.0 and abs(columns.max() + 1 - x1) < 2.0
    assert abs(rows.min() - y0) < 2.0 and abs(rows.max() + 1 - y1) < 2.0


def test_someone_behind_a_bus_is_not_labelled() -> None:
    # The roof camera looks north-east: the bus stands nearer, broadside on.
    bus = replace(actor("bus", track="bus"), heading=2.36)
    hidden = actor("pedestrian", east=1.6, north=1.6, track="hidden")
    free = actor("pedestrian", east=-6.0, north=-5.0, track="free")
    shown = silhouettes((hidden, free, bus), CAMERAS[2])
    view = _empty(CAMERAS[2])
    seen = dict(
        zip(
            [one.actor.track_id for one in shown],
            visibilities(shown, CAMERAS[2], view),
            strict=True,
        )
    )
    assert seen["hidden"] < 0.35
    assert seen["bus"] > 0.9
    assert seen["free"] > 0.95
    assert [box.track_id for box in label(shown, CAMERAS[2], view)] == ["bus", "free"]


def test_a_body_half_out_of_the_image_is_half_visible() -> None:
    camera = Camera("level", 0.0, -20.0, 2.0, bearing_deg=0.0, pitch_deg=0.0, focal_px=400.0)
    # The image's left edge looks along x = -0.8 * depth: put a broadside bus on it.
    edge = replace(actor("bus"), east_m=-16.0, heading=0.0)
    shown = silhouettes((edge,), camera)
    assert visibilities(shown, camera, _empty(camera))[0] == pytest.approx(0.5, abs=0.06)
    assert label(shown, camera, _empty(camera))[0].xyxy[0] == 0.0


def test_a_bus_across_the_lens_plane_is_cut_not_torn() -> None:
    camera = Camera("low", 0.0, 0.0, 4.0, bearing_deg=0.0, pitch_deg=10.0, focal_px=300.0)
    passing = replace(actor("bus"), east_m=3.2, north_m=3.0, heading=1.5708)
    shown = silhouette(passing, camera)
    assert shown is not None
    assert shown.box[0] > camera.width / 2


def _empty(camera: Camera) -> Backdrop:
    tall, wide = camera.height, camera.width
    black = np.zeros((tall, wide, 3), np.uint8)
    return Backdrop(
        black,
        black,
        np.full((tall, wide), np.inf, np.float32),
        np.full((tall, wide), 255, np.uint8),
    )
