"""Several people's labels of a frame become one set, by each rule of the card."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]
A, B, C = (0, 0, 20, 20), (50, 0, 70, 20), (100, 0, 120, 20)


@pytest.mark.parametrize(
    ("rule", "said", "kept", "disputed"),
    [
        # said: for each person the boxes drawn; A by all, B by two of three, C by one
        ("majority", [[A, B, C], [A, B], [A]], [A, B], 0),
        ("every", [[A, B, C], [A, B], [A]], [A], 0),
        ("any", [[A, B, C], [A, B], [A]], [A, B, C], 0),
        ("newest", [[A, B, C], [A, B], [A]], [A], 0),
        ("majority", [[A], []], [], 1),  # one of two is not more than half
        ("majority", [[A], [], []], ["nothing"], 0),
        ("majority", [[A], [B], []], [], 1),  # neither an object nor emptiness has enough
        ("every", [[A], []], [], 1),
        ("every", [[], []], ["nothing"], 0),
        ("any", [[A], [], []], [A], 0),
        ("any", [[], []], ["nothing"], 0),
        ("newest", [[A], []], ["nothing"], 0),
        ("newest", [[], [A]], [A], 0),
        ("majority", [[A, B]], [A, B], 0),  # fewer people than the card asks for: what is there
    ],
)
def test_rules(
    people: Make, draw: Make, rule: str, said: list[Any], kept: list[Any], disputed: int
) -> None:
    site = people({"annotators": 3, "consensus": rule})
    for number, boxes in enumerate(said):
        site.say("a-0", f"p{number}", *(draw("bus", *each) for each in boxes))
    result = site.settle()
    nothing = ("a-0", "", None, None, None, None)
    expected = [nothing if each == "nothing" else ("a-0", "bus", *each) for each in kept]
    assert site.labels() == expected
    assert result.disputed_frames == disputed
    assert result.incomplete_frames == (len(said) < 3)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_an_object_is_the_median_of_its_boxes_and_the_class_of_most(
    people: Make, draw: Make, order: tuple[int, ...]
) -> None:
    site = people({"annotators": 3})
    site.say("a-0", "p0", draw("bus", 10, 10, 40, 40), draw("汽车", 12, 50, 40, 80))
    site.say("a-0", "p1", draw("汽车", 12, 10, 42, 44), draw("bus", 12, 50, 40, 80))
    site.say("a-0", "p2", draw("bus", 16, 12, 40, 42))
    site.rows = [site.rows[each] for each in order]
    site.settle()
    # The second object is drawn by two, of two classes: that of the newest stands.
    assert site.labels() == [
        ("a-0", "bus", 12, 10, 40, 42),
        ("a-0", "bus", 12, 50, 40, 80),
    ]


def test_the_order_in_which_a_person_drew_does_not_matter(people: Make, draw: Make) -> None:
    # Both boxes of the second person overlap the first one's equally.
    found = []
    for name, shifts in (("left", (-5, 5)), ("right", (5, -5))):
        site = people({"consensus": "every", "annotators": 2}, name=name)
        site.say("a-0", "p0", draw("bus", 40, 0, 60, 20))
        site.say("a-0", "p1", *(draw("bus", 40 + each, 0, 60 + each, 20) for each in shifts))
        site.settle()
        found.append(site.labels())
    assert found[0] == found[1]
    assert len(found[0]) == 1


def test_two_boxes_have_their_middle(people: Make, draw: Make) -> None:
    site = people({"annotators": 2, "consensus": "every"})
    site.say("a-0", "p0", draw("bus", 10, 10, 40, 40))
    site.say("a-0", "p1", draw("bus", 12, 10, 40, 42))
    site.settle()
    assert site.labels() == [("a-0", "bus", 11, 10, 40, 41)]


def test_boxes_under_the_iou_of_the_card_are_two_objects(people: Make, draw: Make) -> None:
    for match_iou, count in ((0.5, 1), (0.51, 2)):
        site = people({"annotators": 2, "consensus": "any", "match_iou": match_iou})
        site.say("a-0", "p0", draw("bus", 0, 0, 20, 20))
        site.say("a-0", "p1", draw("bus", 0, 0, 20, 10))  # IoU 0.5
        site.settle()
        assert len(site.labels()) == count


def test_ground_truth_counts_alone(people: Make, draw: Make) -> None:
    site = people({"annotators": 3, "consensus": "any"})
    site.say("a-0", "p0", draw("bus", *A))
    site.say("a-0", "boss", draw("汽车", *B), ground_truth=True)
    site.say("a-0", "p1", draw("bus", *C))
    site.say("b-0", "boss", ground_truth=True)
    site.say("b-0", "p1", draw("bus", *C))
    result = site.settle()
    assert site.labels() == [("a-0", "汽车", *B), ("b-0", "", None, None, None, None)]
    assert result.incomplete_frames == 0  # a reviewer's word is enough


@pytest.mark.parametrize(
    ("rule", "several", "said", "kept"),
    [
        ("majority", False, [["bus"], ["汽车"], ["bus"]], ["bus"]),
        ("majority", False, [["bus"], ["汽车"]], ["汽车"]),  # a tie: the newest
        ("every", False, [["bus"], ["汽车"], ["bus"]], []),
        ("every", False, [["bus"], ["bus"]], ["bus"]),
        ("any", False, [["bus"], ["汽车"], ["bus"]], ["bus"]),
        ("newest", False, [["bus"], ["bus"], ["汽车"]], ["汽车"]),
        ("majority", True, [["bus", "汽车"], ["汽车"], ["汽车"]], ["汽车"]),
        ("any", True, [["bus"], ["汽车"]], ["bus", "汽车"]),
        ("every", True, [["bus", "汽车"], ["汽车"]], ["汽车"]),
    ],
)
def test_classes_of_whole_pictures(
    people: Make, choose: Make, rule: str, several: bool, said: list[Any], kept: list[str]
) -> None:
    site = people({"kind": "classes", "consensus": rule, "several_classes": several})
    for number, classes in enumerate(said):
        site.say("a-0", f"p{number}", choose(*classes))
    site.settle()
    assert site.labels() == [("a-0", cls, None, None, None, None) for cls in kept]


def test_points_are_put_together(people: Make, mark: Make) -> None:
    site = people({"kind": "points", "annotators": 2})
    site.say("a-0", "p0", mark("bus", 20, 20), mark("bus", 90, 20))
    site.say("a-0", "p1", mark("bus", 22, 20))
    site.settle()
    assert site.labels() == [("a-0", "bus", 21, 20, 21, 20)]
