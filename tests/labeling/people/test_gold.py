"""Annotators are scored against known answers, and never change them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cityforge.errors import DataError
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.gold import gold_path, read_gold, score
from cityforge.labeling.intake import take_in
from cityforge.labeling.stored import read_imported

Make = Callable[..., Any]
A, B = (0, 0, 20, 20), (50, 0, 70, 20)


def bring_in(site: Any, frame_id: str, *boxes: tuple[float, ...]) -> None:
    """Import boxes of class bus."""
    labels = LabelFile(
        source="known.json",
        images=[LabelledImage(name=f"{frame_id}.jpg")],
        boxes=[
            LabelledBox(image=f"{frame_id}.jpg", cls="bus", x1=x1, y1=y1, x2=x2, y2=y2, where="")
            for x1, y1, x2, y2 in boxes
        ],
    )
    take_in(site.card, site.folder, labels, site.footage, site.frames)


def make_gold(site: Any, *frame_ids: str) -> None:
    gold_path(site.folder).parent.mkdir(parents=True, exist_ok=True)
    gold_path(site.folder).write_text(json.dumps(frame_ids), encoding="utf-8")


def scores(site: Any) -> dict[str, Any]:
    gold = read_gold(site.folder)
    found = score(site.looks(), read_imported(site.folder), gold, site.card.labeling)
    return {each.annotator: each for each in found}


def test_known_answers_score_and_stay(people: Make, draw: Make) -> None:
    site = people()
    bring_in(site, "a-0", A, B)
    bring_in(site, "b-0")
    make_gold(site, "a-0", "b-0")
    site.say("a-0", "王", draw("bus", 0, 0, 20, 10), draw("汽车", *B))  # IoU 0.5; wrong class
    site.say("b-0", "王", draw("bus", *A))
    site.say("b-0", "li")
    result = site.settle()
    assert site.labels() == [
        ("a-0", "bus", *A), ("a-0", "bus", *B), ("b-0", "", None, None, None, None)
    ]  # fmt: skip
    assert (result.gold_frames, result.frames, result.aside) == (2, 0, 0)
    found = scores(site)
    assert found["王"].frames == 2
    assert found["王"].precision == pytest.approx(1 / 3)
    assert found["王"].recall == pytest.approx(1 / 2)
    assert found["王"].f1 == pytest.approx(2 / 5)
    assert found["王"].mean_iou == pytest.approx(0.5)
    assert (found["li"].frames, found["li"].precision, found["li"].f1) == (1, None, None)


def test_without_the_gold_list_people_stand_before_imports(people: Make, draw: Make) -> None:
    site = people()
    bring_in(site, "a-0", A)
    site.say("a-0", "王", draw("bus", *B))
    assert site.settle().gold_frames == 0
    assert site.labels() == [("a-0", "bus", *B)]
    assert scores(site) == {}


def test_a_reviewers_annotation_scores_the_others_not_the_reviewer(
    people: Make, draw: Make
) -> None:
    site = people()
    bring_in(site, "a-0", B)
    make_gold(site, "a-0")
    site.say("a-0", "boss", draw("bus", *A), ground_truth=True)
    site.say("a-0", "王", draw("bus", *A))
    found = scores(site)
    assert list(found) == ["王"]
    assert found["王"].f1 == 1.0
    site.settle()
    assert site.labels() == [("a-0", "bus", *A)]  # a reviewer's word stands before imports


def test_the_latest_reviewer_is_the_answer(people: Make, draw: Make) -> None:
    site = people()
    site.say("a-0", "boss", draw("bus", *A), ground_truth=True)
    site.say("a-0", "chief", draw("bus", *B), ground_truth=True)
    site.say("a-0", "王", draw("bus", *A))
    assert {who: each.f1 for who, each in scores(site).items()} == {
        "boss": 0.0, "chief": 0.0, "王": 0.0
    }  # fmt: skip
    site.settle()
    assert site.labels() == [("a-0", "bus", *B)]


def test_a_gold_frame_that_lost_its_answer_is_labelled_as_any_other(
    people: Make, draw: Make
) -> None:
    site = people()
    make_gold(site, "a-0")
    site.say("a-0", "王", draw("bus", *A))
    assert site.settle().gold_frames == 0
    assert site.labels() == [("a-0", "bus", *A)]


def test_points_have_a_count_error(people: Make, mark: Make) -> None:
    site = people({"kind": "points"})
    site.say("a-0", "boss", mark("bus", 10, 10), mark("bus", 50, 10), ground_truth=True)
    site.say("a-0", "王", mark("bus", 10, 10))
    found = scores(site)["王"]
    assert (found.count_error, found.recall, found.mean_iou) == (1.0, 0.5, None)


@pytest.mark.parametrize("text", ["[1", '{"a": 1}', "[1, 2]"])
def test_a_broken_gold_list_is_said(people: Make, text: str) -> None:
    site = people()
    make_gold(site)
    gold_path(site.folder).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="JSON list of frame ids"):
        read_gold(site.folder)
