"""Agreement of people, each number worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cityforge.labeling.agreement import Confusion, agreement, cohens_kappa, iou, match

Make = Callable[..., Any]


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 4)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0, 0, 10, 10), 1.0),
        ((0, 0, 10, 5), 0.5),
        ((5, 0, 15, 10), 50 / 150),
        ((5, 5, 15, 15), 25 / 175),
        ((10, 0, 20, 10), 0.0),
    ],
)
def test_iou_of_boxes(other: tuple[float, ...], expected: float) -> None:
    assert iou(boxes((0, 0, 10, 10)), boxes(other)) == pytest.approx(expected)


def test_boxes_are_matched_one_to_one_for_the_greatest_sum() -> None:
    # Greedy would take (0, 0) with 0.9 and leave 1 without a match: 0.9 < 0.8 + 0.75.
    one = boxes((0, 0, 10, 10), (0, 0, 8, 10))
    other = boxes((0, 0, 9, 10), (2, 0, 10, 10))
    overlaps = iou(one, other)
    assert overlaps == pytest.approx(np.array([[0.9, 0.8], [8 / 9, 0.6]]))
    assert [(i, j) for i, j, _ in match(one, other, 0.5)] == [(0, 1), (1, 0)]
    assert [(i, j) for i, j, _ in match(one, other, 0.85)] == [(0, 0)]
    assert match(one, boxes(), 0.5) == match(boxes(), other, 0.5) == []


def test_of_objects_in_one_place_those_of_one_class_match() -> None:
    rider_and_bike = boxes((0, 0, 10, 10), (0, 0, 10, 10))
    crossed = np.array([[False, True], [True, False]])
    found = match(rider_and_bike, rider_and_bike, 0.5, crossed)
    assert [(i, j) for i, j, _ in found] == [(0, 1), (1, 0)]


def test_pairs_classes_and_confusions(people: Make, draw: Make) -> None:
    site = people()
    # IoU: 0.5 the same class; 1.0 confused; a third box of 王 alone.
    site.say("a-0", "王", draw("bus", 0, 0, 20, 20), draw("bus", 50, 0, 70, 20),
             draw("汽车", 100, 0, 120, 20))  # fmt: skip
    site.say("a-0", "li", draw("bus", 0, 0, 20, 10), draw("汽车", 50, 0, 70, 20))
    # IoU 1.0, both the same
    site.say("b-0", "王", draw("汽车", 0, 0, 20, 20))
    site.say("b-0", "li", draw("汽车", 0, 0, 20, 20))
    site.say("c-0", "王", draw("bus", 0, 0, 20, 20))  # nobody else
    site.say("d-0", "li")  # both found nothing
    site.say("d-0", "zhao")
    found = agreement(site.looks(), site.card.labeling)
    assert found.frames == 3
    first, second = found.pairs
    assert (first.one, first.other, first.frames) == ("li", "zhao", 1)
    assert (first.f1, first.mean_iou) == (None, None)
    assert (second.one, second.other, second.frames) == ("li", "王", 2)
    assert second.f1 == pytest.approx(2 * 2 / (3 + 4))
    assert second.mean_iou == pytest.approx((0.5 + 1.0) / 2)
    by_class = {each.cls: each for each in found.classes}
    assert (by_class["bus"].drawn, by_class["bus"].matched) == (3, 1)
    assert by_class["bus"].f1 == pytest.approx(2 / 3)
    assert by_class["bus"].mean_iou == pytest.approx(0.5)
    assert (by_class["汽车"].drawn, by_class["汽车"].matched) == (4, 1)
    assert by_class["汽车"].f1 == pytest.approx(2 / 4)
    assert found.confusions == [Confusion("汽车", "bus", 1)]


def test_agreement_does_not_depend_on_the_order_of_annotations(people: Make, draw: Make) -> None:
    site, turned = people(), people(name="turned")
    for frame_id in ("a-0", "b-0"):
        site.say(frame_id, "one", draw("bus", 0, 0, 20, 20), draw("汽车", 4, 0, 24, 20))
        site.say(frame_id, "two", draw("汽车", 2, 0, 22, 20), draw("bus", 3, 0, 23, 20))
        site.say(frame_id, "three", draw("bus", 1, 0, 21, 20))
    turned.rows = site.rows[::-1]
    found = agreement(site.looks(), site.card.labeling)
    assert len(found.pairs) == 3
    assert agreement(turned.looks(), turned.card.labeling) == found


# Cohen's kappa as published: the examples of Wikipedia's article (50 grants; two of 100), and
# Fleiss, Levin and Paik (2003), Statistical Methods for Rates and Proportions, table 18.1.
@pytest.mark.parametrize(
    ("answers", "kappa"),
    [
        ({("y", "y"): 20, ("y", "n"): 5, ("n", "y"): 10, ("n", "n"): 15}, 0.4),
        ({("y", "y"): 45, ("y", "n"): 15, ("n", "y"): 25, ("n", "n"): 15}, 0.1304),
        ({("y", "y"): 25, ("y", "n"): 35, ("n", "y"): 5, ("n", "n"): 35}, 0.2593),
        (
            {
                ("p", "p"): 75, ("p", "n"): 1, ("p", "o"): 4, ("n", "p"): 5, ("n", "n"): 4,
                ("n", "o"): 1, ("o", "p"): 0, ("o", "n"): 0, ("o", "o"): 10,
            },
            0.6765,
        ),
        ({("y", "n"): 5, ("n", "y"): 5}, -1.0),
    ],
)  # fmt: skip
def test_kappa_of_published_examples(answers: dict[tuple[str, str], int], kappa: float) -> None:
    assert cohens_kappa(answers) == pytest.approx(kappa, abs=5e-5)


def test_kappa_is_undefined_where_chance_explains_all() -> None:
    assert cohens_kappa({}) is None
    assert cohens_kappa({("y", "y"): 9}) is None


def test_classes_of_pictures_have_a_kappa(people: Make, choose: Make) -> None:
    site = people({"kind": "classes"})
    answers = [("bus", "bus"), ("bus", "汽车"), ("汽车", "汽车"), ("汽车", "汽车")]
    for frame_id, (one, two) in zip(site.frame_ids, answers, strict=True):
        site.say(frame_id, "one", choose(one))
        site.say(frame_id, "two", choose(two))
    found = agreement(site.looks(), site.card.labeling)
    (pair,) = found.pairs
    # seen 3/4; chance (2·1 + 2·3)/16 = 1/2
    assert pair.kappa == pytest.approx((0.75 - 0.5) / 0.5)
    assert pair.f1 == pytest.approx(2 * 3 / 8)
    assert pair.mean_iou is None
    assert found.confusions == [Confusion("汽车", "bus", 1)]


def test_several_classes_of_a_picture_are_compared_as_sets(people: Make, choose: Make) -> None:
    site = people({"kind": "classes", "several_classes": True})
    site.say("a-0", "one", choose("bus", "汽车"))
    site.say("a-0", "two", choose("汽车"))
    (pair,) = agreement(site.looks(), site.card.labeling).pairs
    assert (pair.f1, pair.kappa) == (pytest.approx(2 / 3), None)


def test_points_are_matched_within_two_percent_and_counted(people: Make, mark: Make) -> None:
    site = people({"kind": "points"})
    # 200 px wide: 3.9 px apart are the same at IoU 0.5, 4.1 are not
    site.say("a-0", "one", mark("bus", 20, 20), mark("bus", 100, 20), mark("bus", 150, 50))
    site.say("a-0", "two", mark("bus", 23.9, 20), mark("bus", 104.1, 20))
    site.say("b-0", "one")
    site.say("b-0", "two", mark("bus", 20, 20), mark("bus", 100, 20))
    (pair,) = agreement(site.looks(), site.card.labeling).pairs
    assert pair.f1 == pytest.approx(2 * 1 / 7)
    assert pair.count_difference == pytest.approx((1 + 2) / 2)
