"""People's withdrawn annotations are not settled again, and others' work on the frame stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cityforge.labeling.stored import read_labels
from cityforge.labeling.withdrawing import asked_for, sealed_labels, take_out
from cityforge.labeling.withdrawn import add_to_list, read_withdrawn
from cityforge.tables import LABELS, read_table

A, B = (10.0, 10.0, 50.0, 40.0), (100.0, 20.0, 150.0, 80.0)


def withdraw(site: Any, **asked: list[str]) -> None:
    """As the command does, once the act is on record."""
    ids = asked_for(
        asked.get("labels", ()), asked.get("annotators", ()), asked.get("annotations", ())
    ).ids
    act = {"entry": str(sorted(ids)), "ids": sorted(ids), "reason": "x", "by": "me", "at": "now"}
    add_to_list(site.folder, act)
    take_out(site.folder, read_withdrawn(site.folder))


@pytest.mark.parametrize("asked", [{"annotators": ["王"]}, {"annotations": ["1", "3"]}])
def test_what_one_person_drew_does_not_come_back(
    people: Callable[..., Any], draw: Callable[..., Any], asked: dict[str, list[str]]
) -> None:
    site = people()
    site.say("a-0", "王", draw("bus", *A))
    site.say("b-0", "李", draw("bus", *A))
    site.say("c-0", "王", draw("bus", *B))
    site.settle()
    before = read_labels(site.folder)
    withdraw(site, **asked)
    assert site.labels() == [("b-0", "bus", *A)]
    sealed = read_table(LABELS, sealed_labels(site.folder)).to_pylist()
    assert sealed == [
        row for row in before.sort_by("label_id").to_pylist() if row["annotator"] == "王"
    ]
    settled = site.settle()  # as after the next pull
    assert (settled.frames, settled.stored_boxes) == (1, 1)
    assert site.labels() == [("b-0", "bus", *A)]
    assert settled.rejected == []


def test_of_two_people_who_agreed_the_other_one_is_left(
    people: Callable[..., Any], draw: Callable[..., Any]
) -> None:
    site = people({"annotators": 2, "consensus": "majority"})
    site.say("a-0", "王", draw("bus", *A))
    site.say("a-0", "李", draw("bus", *A))
    site.settle()
    assert read_labels(site.folder)["annotator"].to_pylist() == ["王+李"]
    withdraw(site, annotators=["王"])
    assert site.labels() == []  # until it is settled anew
    site.settle()
    assert read_labels(site.folder)["annotator"].to_pylist() == ["李"]


def test_one_label_stays_out_and_the_others_of_its_annotation_stand(
    people: Callable[..., Any], draw: Callable[..., Any]
) -> None:
    site = people()
    site.say("a-0", "王", draw("bus", *A), draw("bus", *B))
    site.settle()
    gone = next(r for r in read_labels(site.folder).to_pylist() if r["x1"] == A[0])
    withdraw(site, labels=[gone["label_id"]])
    site.settle()
    assert site.labels() == [("a-0", "bus", *B)]


def test_an_earlier_annotation_does_not_stand_in_for_a_withdrawn_one(
    people: Callable[..., Any], draw: Callable[..., Any]
) -> None:
    site = people()
    site.say("a-0", "王", draw("bus", *A))
    later = site.say("a-0", "王", draw("bus", *B))
    site.settle()
    withdraw(site, annotations=[later])
    site.settle()
    assert site.labels() == []
