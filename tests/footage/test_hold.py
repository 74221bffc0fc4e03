"""A face or a plate that is missed between two frames is covered there, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from private_scenes import draw_plate, overlap, privacy, street

from cityforge.footage.detectors import Find
from cityforge.footage.redact import Redactor, carried, decode_jpeg


def test_a_plate_missed_between_two_frames_is_covered_there(tmp_path: Path) -> None:
    """It moves by 60 pixels a frame; in the middle one half of it is hidden."""
    before, middle, after = (street(60, 5) for _ in range(3))
    draw_plate(before, (300, 250), 160)
    box = draw_plate(middle, (360, 256), 160)
    draw_plate(after, (420, 262), 160)
    x1, y1, x2, y2 = map(int, box)
    half = np.s_[y1 - 9 : y2 + 9, x1 - 9 : x1 + 80]
    middle[half] = street(60, 5)[half]
    redactor = Redactor(privacy("plate", method="fill"), tmp_path)
    assert redactor.redact(middle).finds == []
    redacted = redactor.redact(middle, before, after)
    (held,) = redacted.finds
    assert (held.found, held.kind) == ("held", "plate")
    assert overlap(held, box) > 0.9
    stored = decode_jpeg(redacted.jpeg)[y1 + 4 : y2 - 4, x1 + 4 : x2 - 4]
    assert stored.astype(float).std() < 2 < 10 < middle[y1:y2, x1:x2].std()


@pytest.mark.real
def test_a_face_missed_between_two_frames_is_covered_there(
    photos: list[np.ndarray[Any, Any]], finder: Path
) -> None:
    face = cv2.resize(photos[1][330:470, 440:570], (104, 112))  # hair to chin of one man
    before, middle, after = (street(110, 5, (640, 480)) for _ in range(3))
    for picture, x in ((before, 200), (middle, 240), (after, 280)):
        picture[180:292, x : x + 104] = face
    middle[190:285, 240:344] = np.random.default_rng(0).integers(0, 256, (95, 104, 3))
    redactor = Redactor(privacy("face", finder=finder), finder.parent)
    left, *_ = redactor.redact(before).finds
    right, *_ = redactor.redact(after).finds
    assert redactor.redact(middle).finds == []
    (held,) = redactor.redact(middle, before, after).finds
    assert held.found == "held"
    assert right.x1 - left.x1 == pytest.approx(80, abs=9)
    assert held.x1 == pytest.approx((left.x1 + right.x1) / 2, abs=1)
    assert overlap(held, (260.0, 195.0, 324.0, 280.0)) > 0.9


def test_a_plate_of_one_neighbour_alone_covers_its_own_place(tmp_path: Path) -> None:
    before, middle = street(60), street(60)
    box = draw_plate(before, (300, 250), 160)
    redactor = Redactor(privacy("plate"), tmp_path)
    for neighbours in ((before, None), (None, before), (before, street(60))):
        (held,) = redactor.redact(middle, *neighbours).finds
        assert (held.found, overlap(held, box) > 0.9) == ("held", True)


def test_a_neighbour_of_another_size_is_held_in_pixels_of_this_frame(tmp_path: Path) -> None:
    before = street(60, size=(1440, 810))
    draw_plate(before, (450, 375), 240)
    (held,) = Redactor(privacy("plate"), tmp_path).redact(street(60), before).finds
    assert overlap(held, (220.0, 233.0, 380.0, 267.0)) > 0.9


def test_what_is_found_in_the_frame_itself_is_not_held_again(tmp_path: Path) -> None:
    pictures = [street(60) for _ in range(3)]
    for number, picture in enumerate(pictures):
        draw_plate(picture, (300 + 4 * number, 250), 160)
    before, middle, after = pictures
    found = Redactor(privacy("plate"), tmp_path).redact(middle, before, after).finds
    assert [each.found for each in found] == ["detected"]


FACE, PLATE = "face", "plate"
# (kind, x1, y1, x2, y2) of the frame before, of the frame after, and of the one midway
CARRIED = {
    "nothing": ([], [], []),
    "moves": ([(FACE, 0, 0, 10, 10)], [(FACE, 20, 4, 30, 14)], [(FACE, 10, 2, 20, 12)]),
    "grows": ([(FACE, 0, 0, 10, 10)], [(FACE, 0, 0, 20, 20)], [(FACE, 0, 0, 15, 15)]),
    "leaves": ([(FACE, 0, 0, 10, 10)], [], [(FACE, 0, 0, 10, 10)]),
    "comes": ([], [(PLATE, 0, 0, 10, 10)], [(PLATE, 0, 0, 10, 10)]),
    "two kinds": (
        [(FACE, 0, 0, 10, 10)], [(PLATE, 4, 0, 14, 10)],
        [(FACE, 0, 0, 10, 10), (PLATE, 4, 0, 14, 10)],
    ),
    "too far": (
        [(FACE, 0, 0, 10, 10)], [(FACE, 90, 0, 100, 10)],
        [(FACE, 0, 0, 10, 10), (FACE, 90, 0, 100, 10)],
    ),
    "another size": (
        [(FACE, 0, 0, 10, 10)], [(FACE, 0, 0, 30, 30)],
        [(FACE, 0, 0, 10, 10), (FACE, 0, 0, 30, 30)],
    ),
    "two side by side": (
        [(FACE, 0, 0, 10, 10), (FACE, 20, 0, 30, 10)],
        [(FACE, 24, 0, 34, 10), (FACE, 4, 0, 14, 10)],
        [(FACE, 2, 0, 12, 10), (FACE, 22, 0, 32, 10)],
    ),
    "one of two is gone": (
        [(FACE, 0, 0, 10, 10), (FACE, 12, 0, 22, 10)], [(FACE, 14, 0, 24, 10)],
        [(FACE, 0, 0, 10, 10), (FACE, 13, 0, 23, 10)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CARRIED)
def test_finds_of_the_neighbours_are_carried_midway(name: str) -> None:
    before, after, midway = (
        [Find(kind, *map(float, box), 0.9, "detected") for kind, *box in each]
        for each in CARRIED[name]
    )
    found = carried(before, after)
    assert {each.found for each in found} <= {"held"}
    boxes = sorted((each.kind, each.x1, each.y1, each.x2, each.y2) for each in found)
    assert boxes == sorted((each.kind, each.x1, each.y1, each.x2, each.y2) for each in midway)
