"""Crowds: every point is a head that the picture shows, and the labels can be imported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cityforge.labeling.formats import registry
from cityforge.synthetic import crowd
from cityforge.synthetic.cameras import Camera
from cityforge.synthetic.crowd import CrowdPlan, crowd_picture, write_crowds
from cityforge.synthetic.plaza import draw_plaza, random_plaza

PLAN = CrowdPlan(seed=3, pictures=6, width=320, height=240)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crowds(tmp_path_factory.mktemp("crowds"), replace(PLAN, pictures=3)).parent


def test_a_number_gives_the_same_picture_and_another_another() -> None:
    one, again = crowd_picture(PLAN, 1), crowd_picture(PLAN, 1)
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.heads, again.heads)
    for other in (crowd_picture(PLAN, 2), crowd_picture(replace(PLAN, seed=4), 1)):
        assert other.heads.shape != one.heads.shape or (other.heads != one.heads).any()


@pytest.mark.parametrize(("fewest", "most"), [(20, 20), (120, 140), (300, 300)])
def test_so_many_people_as_asked_for_less_those_hidden(fewest: int, most: int) -> None:
    plan = replace(PLAN, fewest=fewest, most=most)
    for number in range(2):
        heads = crowd_picture(plan, number).heads
        assert 0.8 * fewest <= len(heads) <= most
        assert (heads >= 0).all() and (heads < (320, 240)).all()


def test_nobody_is_a_picture_too() -> None:
    assert crowd_picture(replace(PLAN, fewest=0, most=0), 0).heads.shape == (0, 2)


def test_where_a_point_is_the_picture_differs_from_the_empty_square() -> None:
    plan = replace(PLAN, fewest=60, most=60)
    rng = np.random.default_rng([plan.seed, 1])
    empty = draw_plaza(random_plaza("dusk", rng, plan.width, plan.height)).astype(int)
    picture = crowd_picture(plan, 1)
    # Exposure and noise change everything: a head is what differs more than half of the rest.
    apart = np.abs(picture.image.astype(int) - empty).max(axis=2)
    x, y = np.floor(picture.heads.T).astype(int)
    around = [apart[b - 1 : b + 2, a - 1 : a + 2].mean() for a, b in zip(x, y, strict=True)]
    assert np.mean(np.array(around) > np.median(apart)) > 0.85


def test_a_head_behind_another_is_not_counted() -> None:
    rng = np.random.default_rng(0)
    camera = random_plaza("day", rng, 320, 240).camera
    before = crowd.someone_at(0, np.array([0.0, 10.0]), rng)
    # On the line of sight through the first one's head, 4 m behind, at the same height.
    hidden = replace(before, track_id="hidden", north_m=10.4)
    aside = replace(before, track_id="aside", east_m=2.0)
    low = replace(camera, height_m=1.65, pitch_deg=0.0, bearing_deg=0.0)
    shown = crowd.silhouettes((before, hidden, aside), low)
    kept = crowd.with_heads_seen(shown, low)
    assert [one.actor.track_id for one in kept] == ["aside", "person-0000"]


def test_far_heads_are_smaller_than_near_ones() -> None:
    rng = np.random.default_rng(0)
    camera = random_plaza("day", rng, 320, 240).camera
    people = [crowd.someone_at(0, np.array([0.0, north]), rng) for north in (8.0, 24.0)]
    pixels, radii = crowd.heads_of(people, camera)
    assert radii[0] > 2 * radii[1]
    assert pixels[0, 1] > pixels[1, 1]  # and stand higher in the picture


def test_a_head_lies_where_similar_triangles_put_it() -> None:
    camera = Camera("level", 0.0, 0.0, 3.0, bearing_deg=0.0, pitch_deg=0.0, focal_px=400.0)
    one = crowd.someone_at(0, np.array([2.0, 10.0]), np.random.default_rng(0))
    one = replace(one, look=17 * 5, heading=np.pi / 2)  # 0.92 + 0.16 * 5 / 10 times as tall
    pixels, radii = crowd.heads_of([one], camera)
    # Head and hair of `figures`: 1.56 to 1.66 m high, 2 cm ahead on the whole.
    away, height = 10.0 + 0.02, 1.6125
    x, y = 320 + 400 * 2.0 / away, 180 + 400 * (3.0 - height) / away
    np.testing.assert_allclose(pixels[0], (x, y), atol=0.1)
    assert radii[0] == pytest.approx(400 * 0.105 / away, rel=1e-2)


def test_dusk_is_darker_than_day() -> None:
    means = {light: [] for light in PLAN.lights}  # type: dict[str, list[float]]
    for number in range(6):
        picture = crowd_picture(PLAN, number)
        means[picture.light].append(float(picture.image.mean()))
    assert np.mean(means["day"]) > np.mean(means["dusk"]) + 15


def test_labels_are_read_as_points_of_density(written: Path) -> None:
    path = written / "labels.json"
    assert registry.detect(path) == "studio"
    labels = registry.read(path)
    assert labels.rejected == []
    names = [image.name for image in labels.images]
    assert names == [f"crowd_{number:04d}.jpg" for number in range(3)]
    for number, name in enumerate(names):
        points = [box for box in labels.boxes if box.image == name]
        assert {(box.task, box.cls) for box in points} == {("density", "person")}
        found = np.array([(box.x1, box.y1) for box in points])
        assert all((box.x1, box.y1) == (box.x2, box.y2) for box in points)
        np.testing.assert_allclose(found, crowd_picture(PLAN, number).heads, atol=1e-6)


def test_the_jpeg_is_the_picture(written: Path) -> None:
    stored = np.asarray(Image.open(written / "crowd_0000.jpg").convert("RGB")).astype(int)
    drawn = crowd_picture(PLAN, 0).image[:, :, ::-1].astype(int)
    assert np.abs(stored - drawn).mean() < 6
    tasks = json.loads((written / "labels.json").read_text(encoding="utf-8"))
    assert [task["data"]["light"] for task in tasks] == ["day", "dusk", "day"]


@pytest.mark.parametrize(
    "wrong", [{"pictures": 0}, {"fewest": 5, "most": 4}, {"fewest": -1}, {"width": 0}]
)
def test_a_plan_that_cannot_be_drawn_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        replace(PLAN, **wrong)
