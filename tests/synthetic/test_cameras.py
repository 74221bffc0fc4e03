"""Projection against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cityforge.synthetic.cameras import CAMERAS, Camera, axes, camera_named, project, rays, resized

LEVEL = Camera("level", 0.0, 0.0, 5.0, bearing_deg=0.0, pitch_deg=0.0, focal_px=500.0)


@pytest.mark.parametrize(
    ("point", "pixel", "depth"),
    [
        ((0.0, 10.0, 5.0), (320.0, 180.0), 10.0),  # straight ahead: the principal point
        ((2.0, 10.0, 5.0), (420.0, 180.0), 10.0),  # 2 m right at 10 m: 500 * 2 / 10
        ((0.0, 20.0, 0.0), (320.0, 305.0), 20.0),  # 5 m below at 20 m: 500 * 5 / 20
        ((-4.0, 50.0, 8.0), (280.0, 150.0), 50.0),
    ],
)
def test_level_camera_matches_similar_triangles(
    point: tuple[float, float, float], pixel: tuple[float, float], depth: float
) -> None:
    pixels, depths = project(LEVEL, np.array([point]))
    np.testing.assert_allclose(pixels[0], pixel, atol=1e-9)
    np.testing.assert_allclose(depths, [depth])


def test_pitched_camera_looks_where_its_axis_meets_the_ground() -> None:
    # 10 m up, 30 degrees down, facing east: the axis meets the ground 10 / tan(30) m ahead.
    camera = Camera("east", 0.0, 0.0, 10.0, bearing_deg=90.0, pitch_deg=30.0, focal_px=400.0)
    pixels, depths = project(camera, np.array([[10.0 / math.tan(math.radians(30.0)), 0.0, 0.0]]))
    np.testing.assert_allclose(pixels[0], (320.0, 180.0), atol=1e-9)
    np.testing.assert_allclose(depths, [20.0])


def test_points_behind_the_lens_have_no_pixels() -> None:
    pixels, depths = project(LEVEL, np.array([[0.0, -3.0, 5.0]]))
    assert np.isnan(pixels).all()
    assert depths[0] == pytest.approx(-3.0)


def test_half_the_image_size_gives_half_the_pixels() -> None:
    points = np.array([[1.0, 12.0, 0.5], [-3.0, 30.0, 2.0]])
    whole, _ = project(LEVEL, points)
    half, _ = project(resized(LEVEL, 320, 180), points)
    np.testing.assert_allclose(half, whole / 2)


def test_a_ray_meets_the_pixel_it_was_cast_through() -> None:
    camera = camera_named("crossing_roof")
    ray = rays(camera, 1)[300, 100].astype(float)
    pixels, _ = project(camera, (camera.position + 25.0 * ray)[None])
    np.testing.assert_allclose(pixels[0], (100.5, 300.5), atol=1e-3)


def test_cameras_differ_in_height_angle_and_lens() -> None:
    assert [camera.height_m for camera in CAMERAS] == [6.0, 9.0, 18.0]
    assert len({camera.pitch_deg for camera in CAMERAS}) == 3
    assert len({camera.focal_px for camera in CAMERAS}) == 3
    for camera in CAMERAS:
        np.testing.assert_allclose(axes(camera) @ axes(camera).T, np.eye(3), atol=1e-12)


def test_unknown_camera_is_refused_with_the_known_names() -> None:
    with pytest.raises(KeyError, match="crossing_north, crossing_east, crossing_roof"):
        camera_named("crossing_west")
