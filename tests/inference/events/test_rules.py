"""Every kind of rule is watched, and the page about events says what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import TypeAdapter

from cityforge.cards.camera import CameraCard
from cityforge.cards.events import EventRule
from cityforge.cards.yaml_files import check, read_yaml
from cityforge.inference.events.rules import watches_of
from cityforge.inference.scene import View

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "algorithms" / "events.md"
RULES: list[dict[str, Any]] = [
    {"kind": "line_count", "line": "l"},
    {"kind": "dwell", "zone": "z", "seconds": 1.0},
    {"kind": "crowding", "most": 1, "seconds": 1.0},
    {"kind": "crowding", "zone": "z", "most": 1, "seconds": 1.0},
    {"kind": "wrong_direction", "zone": "z", "allowed_deg": 0, "tolerance_deg": 45,
     "least_lengths": 1.0},
    {"kind": "stopped", "seconds": 1.0},
    {"kind": "stopped", "zone": "z", "seconds": 1.0},
    {"kind": "illegal_parking", "zone": "z", "seconds": 1.0},
    {"kind": "absence", "zone": "z", "seconds": 1.0},
    {"kind": "presence", "seconds": 1.0, "gap_s": 0},
    {"kind": "presence", "zone": "z", "seconds": 1.0, "gap_s": 0},
    {"kind": "speed", "over_kmh": 1.0},
    {"kind": "speed", "zone": "z", "over_kmh": 1.0},
]  # fmt: skip
VIEW = View({"z": np.zeros((3, 2))}, {"l": np.array([[0.0, 0.0], [1.0, 0.0]])}, np.eye(3))


def rules() -> list[EventRule]:
    named = [{**each, "name": str(number)} for number, each in enumerate(RULES)]
    found: list[EventRule] = TypeAdapter(list[EventRule]).validate_python(named)
    return found


def kinds() -> set[str]:
    union = get_args(EventRule)[0]
    return {get_args(each.model_fields["kind"].annotation)[0] for each in get_args(union)}


def test_every_kind_is_watched_where_all_is_known() -> None:
    assert {each["kind"] for each in RULES} == kinds()
    watches, skipped = watches_of(rules(), VIEW, "detection", 5.0)
    assert [each.rule for each in watches] == rules() and skipped == {}


def test_without_a_scene_only_rules_of_the_whole_picture_are_watched() -> None:
    watches, skipped = watches_of(rules(), View(), "detection", 5.0)
    assert [each.rule.kind for each in watches] == ["crowding", "stopped", "presence"]
    assert len(skipped) == len(RULES) - 3
    assert all(each.startswith("expected ") and ", found " in each for each in skipped.values())


@pytest.mark.parametrize(("fps", "watched"), [(1.0, 0), (1.99, 0), (2.0, 2)])
def test_a_speed_needs_two_frames_a_second(fps: float, watched: int) -> None:
    speeds = [each for each in rules() if each.kind == "speed"]
    assert len(watches_of(speeds, VIEW, "detection", fps)[0]) == watched


def test_the_page_names_every_kind_and_its_examples_are_valid(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == kinds()
    blocks = [
        re.sub("^    ", "", each, flags=re.MULTILINE)
        for each in re.findall(r"(?:^    .*\n)+", page, re.MULTILINE)
    ]
    (events,) = [each for each in blocks if each.startswith("events:")]
    (camera,) = [each for each in blocks if each.startswith("name:")]
    for name, text in (("events", events), ("camera", camera)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = TypeAdapter(list[EventRule]).validate_python(read_yaml(tmp_path / "events")["events"])
    card = check(CameraCard, read_yaml(tmp_path / "camera"), tmp_path / "camera")
    assert {each.name for each in found} and set(card.zones) == {"crossing"}


def test_the_demos_rules_fit_the_card_of_its_camera() -> None:
    card = check(
        CameraCard,
        read_yaml(ROOT / "serving" / "cameras" / "crossing_roof.yaml"),
        Path("crossing_roof.yaml"),
    )
    events = read_yaml(ROOT / "algorithms" / "demo_crossing" / "algorithm.yaml")["events"]
    assert len(events) >= 4
    for each in events:
        assert each.get("zone") in {None, *card.zones} and each.get("line") in {None, *card.lines}
