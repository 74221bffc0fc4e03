"""Label Studio's regions become labels in pixels of the stored frame, or are listed with why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cityforge.cards.labeling import Labeling
from cityforge.labeling.formats.values import UnusableError
from cityforge.labeling.matching import StoredFrame
from cityforge.labeling.results import labels_of_picture, read_result

FRAME = StoredFrame("a-0", 200, 100)
# 10 % to 60 % across 200 px, 20 % to 70 % down 100 px
UPRIGHT = {"x": 10, "y": 20, "width": 50, "height": 50, "rectanglelabels": ["bus"]}
PIXELS = (20, 20, 120, 70)


def rectangle(**value: object) -> dict[str, Any]:
    return {"type": "rectanglelabels", "value": {**UPRIGHT, **value}}


def polygon(*corners: object) -> dict[str, Any]:
    return {"type": "polygonlabels", "value": {"points": list(corners), "polygonlabels": ["bus"]}}


def read(*regions: object, origin: str = "human", **labeling: Any) -> Any:
    return labels_of_picture(list(regions), Labeling(**labeling), FRAME, "task 1", origin)


def test_percent_become_pixels_of_the_stored_frame_whatever_size_was_seen() -> None:
    seen = {**rectangle(), "original_width": 1600, "original_height": 800}
    (label,) = read(seen).boxes
    assert (label.x1, label.y1, label.x2, label.y2) == pytest.approx(PIXELS)
    assert (label.image, label.cls, label.task) == ("a-0", "bus", "detection")


@pytest.mark.parametrize(
    "value",
    [
        {"x": "10", "y": "2e1", "width": " 50 ", "height": "50.0"},
        {"rotation": 0.0},
        {"rotation": 360},
        {"rotation": None},
    ],
)
def test_plain_numbers_as_text_and_whole_turns_are_accepted(value: dict[str, Any]) -> None:
    (label,) = read(rectangle(**value)).boxes
    assert (label.x1, label.y1, label.x2, label.y2) == pytest.approx(PIXELS)


@pytest.mark.parametrize(
    ("row", "reason", "found"),
    [
        (rectangle(rotation=15), "rotated; only upright boxes are used", "15"),
        ({**rectangle(), "image_rotation": 90}, "rotated; only upright boxes are used", "90"),
        (rectangle(width=0), "a box of no size", "20.000,20.000,20.000,70.000"),
        (rectangle(width=-5), "a box of no size", "20.000,20.000,10.000,70.000"),
        (rectangle(x=100), "a box outside its image of 200×100", "200.000,20.000,300.000,70.000"),
        (rectangle(x=-60), "a box outside its image of 200×100", "-120.000,20.000,-20.000,70.000"),
        (rectangle(x="1,5"), "x is no number", "'1,5'"),
        (rectangle(x="=1+1"), "x is no number", "'=1+1'"),
        (rectangle(x=True), "x is no number", "True"),
        (rectangle(y=float("nan")), "y is not finite", "nan"),
        (rectangle(height=None), "height is no number", "None"),
        (rectangle(rectanglelabels=["bus", "汽车"]), "several classes on one region",
         "['bus', '汽车']"),
        (rectangle(rectanglelabels=[]), "no class", "[]"),
        (rectangle(rectanglelabels=[7]), "class is missing or no text", "7"),
        ({"type": "rectanglelabels"}, "value is missing or no object", "None"),
        ({"type": "brushlabels", "value": {}}, "no labelled rectangle", "'brushlabels'"),
        ({"type": "relation", "value": {}}, "no labelled rectangle", "'relation'"),
        (polygon([0, 0], [9, 0], [9, 9]),
         "a polygon, which the card's labeling.polygons refuses", "'polygonlabels'"),
        ("text", "result is missing or no object", "'text'"),
    ],
)  # fmt: skip
def test_a_region_that_cannot_be_used_is_listed_and_the_others_are_read(
    row: object, reason: str, found: str
) -> None:
    result = read(rectangle(), row)
    assert len(result.boxes) == 1
    (refused,) = result.rejected
    assert (refused.where, refused.reason, refused.found) == ("task 1 result 2", reason, found)
    assert refused.image == "a-0"


@pytest.mark.parametrize(
    ("value", "stored", "cut"),
    [
        ({"x": -10}, (0, 20, 80, 70), 1),
        ({"x": 80, "y": 90}, (160, 90, 200, 100), 1),
        ({"x": -0.25, "width": 50}, (0, 20, 99.5, 70), 0),  # half a pixel: rounding
    ],
)
def test_a_box_partly_outside_is_cut_and_counted(
    value: dict[str, Any], stored: tuple[float, ...], cut: int
) -> None:
    result = read(rectangle(**value))
    (label,) = result.boxes
    assert (label.x1, label.y1, label.x2, label.y2) == pytest.approx(stored)
    assert result.cut == cut


def test_a_polygon_becomes_the_upright_box_around_it_where_the_card_says_so() -> None:
    (label,) = read(polygon([50, 10], [10, 40], [30, 90]), polygons="box").boxes
    assert (label.x1, label.y1, label.x2, label.y2) == pytest.approx((20, 10, 100, 90))
    bad = read(polygon([1, 1], [2, 2]), polygon([1, 1], [2], [3, 3]), polygons="box")
    assert [each.reason for each in bad.rejected] == ["a polygon of fewer than three corners"] * 2


@pytest.mark.parametrize(
    ("of_region", "of_annotation", "origin"),
    [
        ("prediction", "human", "assisted"),
        ("prediction-changed", "assisted", "assisted"),
        ("manual", "assisted", "human"),
        (None, "assisted", "assisted"),
        (None, "human", "human"),
    ],
)
def test_a_region_says_whether_it_was_drawn_from_nothing(
    of_region: str | None, of_annotation: str, origin: str
) -> None:
    (label,) = read({**rectangle(), "origin": of_region}, origin=of_annotation).boxes
    assert label.origin == origin


def chosen(*classes: str) -> dict[str, Any]:
    return {"type": "choices", "value": {"choices": list(classes)}}


@pytest.mark.parametrize(
    ("regions", "several", "classes", "refused"),
    [
        ([chosen("bus")], False, ["bus"], 0),
        ([chosen("bus", "汽车")], True, ["bus", "汽车"], 0),
        ([chosen("bus", "汽车")], False, [], 1),
        ([chosen("bus"), chosen("汽车")], False, [], 1),  # neither is more right
        ([chosen("bus"), chosen("汽车"), chosen("bus")], False, [], 2),
        ([chosen()], True, [], 1),
        ([rectangle()], False, [], 1),
    ],
)
def test_classes_of_the_whole_picture(
    regions: list[object], several: bool, classes: list[str], refused: int
) -> None:
    result = read(*regions, kind="classes", several_classes=several)
    assert [label.cls for label in result.boxes] == classes
    assert {label.task for label in result.boxes} <= {"classification"}
    assert len(result.rejected) == refused


@pytest.mark.parametrize(
    ("x", "y", "place", "reason"),
    [
        (25, 50, (50, 50), ""),
        (100.2, 0, (200, 0), ""),  # 0.4 px out: rounding
        (101, 0, None, "a point outside its image of 200×100"),
    ],
)
def test_points_lie_on_their_frame(
    x: float, y: float, place: tuple[float, float] | None, reason: str
) -> None:
    row = {"type": "keypointlabels", "value": {"x": x, "y": y, "keypointlabels": ["bus"]}}
    result = read(row, kind="points")
    assert [(each.x1, each.y1, each.x2, each.y2) for each in result.boxes] == (
        [place + place] if place else []
    )
    assert [each.reason for each in result.rejected] == ([reason] if reason else [])
    assert {label.task for label in result.boxes} <= {"density"}


def test_a_result_that_is_no_list_is_one_listed_row() -> None:
    result = labels_of_picture({"a": 1}, Labeling(), FRAME, "task 1", "human")
    assert [(each.where, each.reason) for each in result.rejected] == [
        ("task 1", "result is missing or no list")
    ]
    assert read_result(json.dumps([1])) == [1]
    with pytest.raises(UnusableError, match="no JSON"):
        read_result("[1,")
