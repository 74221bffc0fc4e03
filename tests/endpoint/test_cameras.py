"""Camera cards: found by name, followed while the endpoint runs, refused one by one."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from cityforge.cards.camera import CameraCard
from cityforge.cards.yaml_files import read_card
from cityforge.endpoint.cameras import Cameras
from cityforge.errors import InputError
from cityforge.synthetic.cameras import camera_named, project
from cityforge.synthetic.street import ROAD_HALF_M

SERVING = Path(__file__).parents[2] / "serving"
SIZE = "width: 160\nheight: 90\n"


def write(path: Path, name: str, more: str = "") -> Path:
    path.parent.mkdir(exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(f"name: {name}\nsite: s\n{SIZE}{more}", encoding="utf-8")
    return beside.replace(path)


def test_a_camera_is_found_by_its_name(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "北门 1", "height_m: 6\nzones: {post: [[0, 0], [9, 0], [9, 9]]}\n")
    write(tmp_path / "b.yml", "harbour")
    write(tmp_path / ".hidden.yaml", "hidden")
    (tmp_path / "README.md").write_text("no card")
    (tmp_path / "folder.yaml").mkdir()
    cameras = Cameras(tmp_path)
    assert cameras.names() == ["harbour", "北门 1"]
    assert cameras.find("北门 1").zones["post"] == [(0, 0), (9, 0), (9, 9)]
    assert cameras.faults == ()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("harbor", "found 'harbor': did you mean 'harbour'? known: gate 1, gate 2, harbour"),
        ("zoo", "found 'zoo': known: gate 1, gate 2, harbour"),
        ("a" * 3000, f"found '{'a' * 200}': known: gate 1, gate 2, harbour"),
        ("x\ny", r"found 'x\ny': known: gate 1, gate 2, harbour"),
    ],
)
def test_a_camera_nobody_knows_is_refused(tmp_path: Path, asked: str, said: str) -> None:
    for name in ("harbour", "gate 1", "gate 2"):
        write(tmp_path / f"{name}.yaml", name)
    with pytest.raises(InputError) as refused:
        Cameras(tmp_path).find(asked)
    assert str(refused.value) == f"expected a camera that has a card here, {said}"


def test_without_a_folder_no_camera_is_known(tmp_path: Path) -> None:
    for cameras in (Cameras(None), Cameras(tmp_path / "none"), Cameras(tmp_path)):
        assert cameras.names() == []
        with pytest.raises(InputError, match="there is none yet"):
            cameras.find("gate")
        assert cameras.faults == ()
    later = Cameras(tmp_path / "none")
    write(tmp_path / "none" / "a.yaml", "gate")
    later.look()
    assert later.names() == ["gate"]
    assert "Not a directory" in Cameras(tmp_path / "none" / "a.yaml").faults[0]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("name: b\nsite: s\n", "key 'width'"),
        (f"name: b\nsite: s\n{SIZE}hight_m: 4\n", "did you mean 'height_m'?"),
        (
            f"name: b\nsite: s\n{SIZE}zones: {{p: [[0, 0], [200, 0], [9, 9]]}}\n",
            r"found \(200, 0\)",
        ),
        (f"name: b\nsite: s\n{SIZE}zones: {{p: [[0, 0], [9, 9]]}}\n", "at least 3"),
        (f"name: b\nsite: s\n{SIZE}lines: {{p: [[0, 0], [0, 0]]}}\n", "two different points"),
        ("[" * 1200, "b.yaml"),
        ("name: [\n", "YAML"),
        ("", "a mapping of keys"),
        (b"\xff\xfe", "UTF-8"),
        (f"name: good\nsite: s\n{SIZE}", "'good' twice"),
    ],
)
def test_one_bad_card_is_refused_and_the_others_stay(
    tmp_path: Path, content: str | bytes, fault: str
) -> None:
    import re

    write(tmp_path / "a.yaml", "good")
    (tmp_path / "b.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    cameras = Cameras(tmp_path)
    assert cameras.names() == ["good"]
    assert len(cameras.faults) == 1
    assert "b.yaml" in cameras.faults[0]
    assert re.search(fault, cameras.faults[0])
    assert "\n" not in cameras.faults[0]


def test_changes_are_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cameras = Cameras(write(tmp_path / "a.yaml", "a", "height_m: 4\n").parent)
    with caplog.at_level(logging.WARNING):
        write(tmp_path / "b.yaml", "b")
        write(tmp_path / "a.yaml", "a", "height_m: 5\n")
        cameras.look()
        assert (cameras.names(), cameras.find("a").height_m) == (["a", "b"], 5)
        (tmp_path / "a.yaml").write_text("name: a\nheight_m: 6\n")  # half of it
        cameras.look()
        cameras.look()
        assert cameras.find("a").height_m == 5
        assert [each.getMessage()[:27] for each in caplog.records] == [
            "a camera's card is refused:"
        ]
        write(tmp_path / "a.yaml", "a", "height_m: 6\n")
        (tmp_path / "b.yaml").unlink()
        cameras.look()
    assert (cameras.names(), cameras.find("a").height_m, cameras.faults) == (["a"], 6, ())


def test_changes_are_followed_by_themselves_within_a_second(tmp_path: Path) -> None:
    cameras = Cameras(tmp_path)
    write(tmp_path / "a.yaml", "a")
    until = time.monotonic() + 5
    while not cameras.names() and time.monotonic() < until:
        time.sleep(0.02)  # between two looks at the folder
    assert cameras.names() == ["a"]
    assert until - time.monotonic() > 1


def test_the_example_card_draws_the_demo_crossing_as_it_is() -> None:
    cards = list((SERVING / "cameras").glob("*.yaml"))
    assert [each.name for each in cards] == ["crossing_roof.yaml"]
    card, camera = read_card(CameraCard, cards[0]), camera_named("crossing_roof")
    assert (card.height_m, card.pitch_deg) == (camera.height_m, camera.pitch_deg)
    assert (card.width, card.height) == (camera.width, camera.height)
    metres = np.array([[*each.metres, 0] for each in card.ground or ()])
    assert np.abs(metres[:, :2]).tolist() == [[ROAD_HALF_M] * 2] * 4
    seen = np.array([each.pixel for each in card.ground or ()])
    assert np.abs(project(camera, metres)[0] - seen).max() < 0.06
    ends = np.array([[7.5, ROAD_HALF_M, 0], [7.5, -ROAD_HALF_M, 0]])
    assert np.abs(project(camera, ends)[0] - np.array(card.lines["east arm"])).max() < 0.6


def test_a_file_that_vanishes_during_a_look_takes_no_other_camera_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the listing of the folder and the look at its file, which a race does rarely."""
    write(tmp_path / "a.yaml", "north")
    gone = write(tmp_path / "b.yaml", "south")
    cameras = Cameras(tmp_path)
    assert cameras.names() == ["north", "south"]
    scandir = os.scandir

    @contextmanager
    def listed(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scandir(folder) as entries:
            found = list(entries)
        gone.unlink(missing_ok=True)
        yield iter(found)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", listed)
        cameras.look()
    assert cameras.names() == ["north"]
    assert cameras.faults == ()
