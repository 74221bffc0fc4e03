"""`cityforge analyze` on clips, as people and programs read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Make = Callable[..., Path]
CAMERA = """
name: 东门
site: gate
width: 64
height: 48
zones:
  院/子: [[0, 0], [64, 0], [64, 48], [0, 48]]
"""
# The package finds one object in every picture, at (8, 6, 40, 30).
RULES = [
    {"kind": "dwell", "name": "停留", "zone": "院/子", "seconds": 1.0},
    {"kind": "stopped", "name": "stands", "seconds": 1.0},
    {"kind": "line_count", "name": "gate", "line": "gate"},
]


@pytest.fixture(scope="module")
def served_root(tmp_path_factory: pytest.TempPathFactory, make_package: Make) -> Path:
    """A project with one registered version that has rules, and a camera."""
    from cityforge.project import Project
    from cityforge.registry.registering import register
    from cityforge.registry.site import Site
    from cityforge.settings import Settings
    from cityforge.starters import new_algorithm, new_dataset
    from cityforge.training.tracking import experiment_id

    root = tmp_path_factory.mktemp("city")
    (root / "params.yaml").write_text("algorithms: {}\ndatasets: []\n", encoding="utf-8")
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    (root / "serving" / "cameras").mkdir(parents=True)
    (root / "serving" / "cameras" / "东门.yaml").write_text(CAMERA, encoding="utf-8")
    project, settings = Project(root), Settings(tracking_uri="")
    new_dataset(project, "yard", "院子", ["汽车", "bus"], ["东门"])
    site, name = Site(project, settings), "find_cars"
    new_algorithm(project, name, name, "yard", "road_traffic", [], "李雷", "detection")
    run_id = site.client.create_run(experiment_id(site.client, project, settings, name)).info.run_id
    package = make_package(root / "made" / name / "package", name, run_id, events=RULES)
    register(site, name, package, package.parent)
    return root


@pytest.fixture
def film(make_film: Make, tmp_path: Path) -> str:
    return str(make_film(tmp_path / "路口.mp4"))  # two seconds


def test_events_as_json(registered: Run, film: str) -> None:
    said = registered("analyze", "find_cars", film, "--camera", "东门", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert (found["model"], found["version"], found["clip"]["frames"]) == ("find_cars", 1, 10)
    assert [(each["rule"], each["start_s"], each["end_s"]) for each in found["events"]] == [
        ("停留", 0.0, 1.8), ("stands", 0.0, 1.8)
    ]  # fmt: skip
    assert [each["evidence"] for each in found["events"]] == [[], []]
    assert [each["rule"] for each in found["skipped"]] == ["gate"]


def test_events_as_people_read_them(registered: Run, film: str, tmp_path: Path) -> None:
    out = tmp_path / "seen"
    said = registered("analyze", "find_cars", film, "--camera", "东门", "--out", str(out))
    assert said.code == 0, said.err
    assert "停留" in said.out and "1.8 …" in said.out
    assert "'gate' is skipped: expected a line 'gate', found none" in said.err
    assert "10 frames of 1.8 s looked at; tracks: 1" in said.err
    assert sorted(each.name for each in out.iterdir()) == [
        "0001 停留 001.000s.jpg", "0002 stands 001.000s.jpg"
    ]  # fmt: skip
    assert all(each.read_bytes()[:2] == b"\xff\xd8" for each in out.iterdir())


def test_a_scene_of_a_file_takes_the_place_of_the_cameras(
    registered: Run, film: str, tmp_path: Path
) -> None:
    (tmp_path / "scene.json").write_text(
        json.dumps({"width": 64, "height": 48, "lines": {"gate": [[24, 0], [24, 48]]}})
    )
    said = registered("analyze", "find_cars", film, "--scene", str(tmp_path / "scene.json"))
    assert (said.code, "'停留' is skipped" in said.err, "'gate'" in said.err) == (0, True, False)


def test_what_does_not_fit_is_one_line(registered: Run, film: str, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("width: 48\nheight: 64\n")
    (tmp_path / "bad.yaml").write_text("width: 64\nheight: 48\nzones: {z: [[0, 0], [1, 1]]}\n")
    (tmp_path / "words.mp4").write_text("words")
    ask = ("analyze", "find_cars")
    assert "东门" in registered(*ask, film, "--camera", "南门").one_line()
    assert "48×64" in registered(*ask, film, "--scene", str(tmp_path / "other.yaml")).one_line()
    assert "zones.z" in registered(*ask, film, "--scene", str(tmp_path / "bad.yaml")).one_line()
    assert "words.mp4" in registered(*ask, str(tmp_path / "words.mp4")).one_line()
