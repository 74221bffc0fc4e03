"""`cityforge predict` for every task, on pictures and clips, as people and programs read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., Any]
Make = Callable[..., Path]
ALGORITHMS = {"find_cars": "detection", "weather": "classification", "crowd": "density"}


@pytest.fixture(scope="module")
def served_root(tmp_path_factory: pytest.TempPathFactory, make_package: Make) -> Path:
    """A project with one registered version of each task."""
    from cityforge.project import Project
    from cityforge.registry.registering import register
    from cityforge.registry.site import Site
    from cityforge.settings import Settings
    from cityforge.starters import new_algorithm, new_dataset
    from cityforge.training.tracking import experiment_id

    root = tmp_path_factory.mktemp("city")
    (root / "params.yaml").write_text("algorithms: {}\ndatasets: []\n", encoding="utf-8")
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    project, settings = Project(root), Settings(tracking_uri="")
    new_dataset(project, "yard", "院子", ["汽车", "bus"], ["东门"])
    site = Site(project, settings)
    client = site.client
    for name, task in ALGORITHMS.items():
        new_algorithm(project, name, name, "yard", "road_traffic", [], "李雷", task)
        run_id = client.create_run(experiment_id(client, project, settings, name)).info.run_id
        package = make_package(root / "made" / name / "package", name, run_id, task=task)
        register(site, name, package, package.parent)
    return root


@pytest.fixture
def answers(registered: Run) -> Callable[..., list[dict[str, Any]]]:
    def ask(*words: str) -> list[dict[str, Any]]:
        said = registered("predict", *words, "--json")
        assert (said.code, said.err) == (0, ""), said.err
        found: list[dict[str, Any]] = json.loads(said.out)["answers"]
        return found

    return ask


def grey(path: Path, level: int, size: tuple[int, int] = (64, 48)) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level,) * 3).save(path)
    return path


def test_pictures_are_answered_by_task(
    answers: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    folder = tmp_path / "照片"
    grey(folder / "亮.png", 204)
    box = {"class": "汽车", "score": 0.9, "x1": 8.0, "y1": 6.0, "x2": 40.0, "y2": 30.0}
    assert answers("find_cars", str(folder)) == [{"image": "亮.png", "boxes": [box]}]
    assert answers("weather", str(folder)) == [
        {"image": "亮.png", "classes": [{"class": "汽车", "score": 0.8}]}
    ]
    assert answers("crowd", str(folder)) == [
        {
            "image": "亮.png",
            "counts": [{"class": "汽车", "count": 38.4}, {"class": "bus", "count": 0.0}],
        }
    ]


def test_clips_are_answered_by_task(
    answers: Callable[..., list[dict[str, Any]]], make_film: Make, tmp_path: Path
) -> None:
    film = str(make_film(tmp_path / "路口.mp4", [40] * 10 + [220] * 10))
    assert [each["at_s"] for each in answers("find_cars", film)] == [n / 10 for n in range(20)]
    (whole,) = answers("weather", film, "--threshold", "0")
    assert (whole["image"], whole["frames"]) == ("路口.mp4", 4)
    assert {each["class"]: each["score"] for each in whole["classes"]} == pytest.approx(
        {"汽车": 130 / 255, "bus": 125 / 255}, abs=0.02
    )
    counted = answers("crowd", film)
    assert [each["at_s"] for each in counted] == [0.0, 1.0]
    assert counted[0]["counts"][0]["count"] < counted[1]["counts"][0]["count"]


def test_a_table_has_a_row_for_each_find(registered: Run, make_film: Make, tmp_path: Path) -> None:
    grey(tmp_path / "in" / "a.png", 204)
    make_film(tmp_path / "in" / "b.mp4", [102] * 10)
    lines = registered("predict", "weather", str(tmp_path / "in")).out.splitlines()
    rows = [line.split() for line in lines if ".png" in line or ".mp4" in line]
    assert rows[0] == ["a.png", "–", "汽车", "0.800"]
    assert [row[:3] for row in rows[1:]] == [["b.mp4", "2", "bus"], ["b.mp4", "2", "汽车"]]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_was_found_is_drawn(
    registered: Run, make_film: Make, tmp_path: Path, name: str
) -> None:
    from PIL import Image

    grey(tmp_path / "in" / "暗.png", 60, (320, 240))
    make_film(tmp_path / "in" / "b.mp4", [60] * 10)
    out = tmp_path / "out"
    said = registered("predict", name, str(tmp_path / "in"), "--draw", str(out))
    assert said.code == 0, said.err
    clips = {"weather": {"b.jpg"}, "crowd": {"b 000.000s.jpg"}}
    every = {f"b 000.{tenth}00s.jpg" for tenth in range(10)}
    assert {each.name for each in out.iterdir()} == {"暗.jpg"} | clips.get(name, every)
    with Image.open(out / "暗.jpg") as drawn:
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    assert pixels.shape == (240, 320, 3)
    assert (np.abs(pixels - 60) > 30).any()
    if name == "crowd":  # warm over the whole picture, as every cell has the same
        assert (pixels[60:, :, 0] - pixels[60:, :, 2] > 60).all()


def test_a_photograph_is_drawn_upright(registered: Run, make_picture: Make, tmp_path: Path) -> None:
    from PIL import Image

    make_picture(tmp_path / "turned.jpg", orientation=6)
    out = tmp_path / "out"
    registered("predict", "find_cars", str(tmp_path / "turned.jpg"), "--draw", str(out))
    with Image.open(out / "turned.jpg") as drawn:
        assert drawn.size == (48, 64)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere.jpg", "found no file"),
        ("cut.jpg", "a whole picture"),
        ("cut.mp4", "a picture or a film"),
        ("empty.jpg", "a picture or a film"),
        ("words.txt", "a picture or a film"),
        ("nothing", "films or photographs, found none"),
    ],
)
def test_what_cannot_be_answered_is_one_line(
    registered: Run, make_picture: Make, make_film: Make, tmp_path: Path,
    name: str, path: str, said: str,
) -> None:  # fmt: skip
    (tmp_path / "cut.jpg").write_bytes(make_picture(tmp_path / "a.jpg").read_bytes()[:700])
    (tmp_path / "cut.mp4").write_bytes(make_film(tmp_path / "a.mp4").read_bytes()[:900])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "words.txt").write_text("words", encoding="utf-8")
    (tmp_path / "nothing").mkdir()
    line = registered("predict", name, str(tmp_path / path)).one_line()
    assert said in line
    assert path in line
