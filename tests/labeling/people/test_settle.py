"""Pulled annotations become labels: each traced, nothing lost, nothing silent."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cityforge.errors import LabelError, TableError
from cityforge.labeling import stored
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage
from cityforge.labeling.intake import take_in
from cityforge.labeling.settle import settle
from cityforge.labeling.stored import (
    annotations_path,
    labels_path,
    read_aside,
    read_labels,
    rejected_path,
)
from cityforge.tables import LABELS, REJECTED, read_table, write_table

Make = Callable[..., Any]
A, B, C = (0, 0, 20, 20), (50, 0, 70, 20), (100, 0, 120, 20)


def bring_in(site: Any, frame_id: str, *boxes: tuple[float, ...], source: str = "x.json") -> Any:
    labels = LabelFile(
        source=source,
        images=[LabelledImage(name=f"{frame_id}.jpg")],
        boxes=[
            LabelledBox(image=f"{frame_id}.jpg", cls="bus", x1=x1, y1=y1, x2=x2, y2=y2, where="")
            for x1, y1, x2, y2 in boxes
        ],
    )
    return take_in(site.card, site.folder, labels, site.footage, site.frames)


def reasons(site: Any) -> list[tuple[str, str, str]]:
    rows = read_table(REJECTED, rejected_path(site.folder)).to_pylist()
    return [(row["source"], row["where"], row["reason"]) for row in rows]


def test_a_label_carries_all_that_is_known_of_it(people: Make, draw: Make) -> None:
    site = people()
    drawn = draw("bus", *A, origin="manual")
    kept = draw("汽车", *B, origin="prediction")
    site.say("a-0", "王@x.cn", drawn, kept, origin="assisted", model_version="v3", lead_time_s=7.5)
    site.say("b-0", "li")
    result = site.settle()
    assert (result.frames, result.boxes, result.empty_frames, result.stored_boxes) == (2, 2, 1, 2)
    by_class = {row["class"]: row for row in read_labels(site.folder).to_pylist()}
    row = by_class["汽车"]
    assert row.pop("label_id") != by_class["bus"]["label_id"]
    assert row == {
        "frame_id": "a-0", "task": "detection", "class": "汽车", "x1": 50, "y1": 0, "x2": 70,
        "y2": 20, "value": None, "track_id": None, "annotator": "王@x.cn", "annotation_id": "1",
        "source": "label-studio:7", "origin": "assisted", "lead_time_s": 7.5,
        "updated_at": site.rows[0]["updated_at"], "ground_truth": False, "model_version": "v3",
    }  # fmt: skip
    assert (by_class["bus"]["origin"], by_class["bus"]["model_version"]) == ("human", None)
    assert (by_class[None]["annotator"], by_class[None]["x1"]) == ("li", None)


def test_a_label_of_several_people_names_them_all(people: Make, draw: Make) -> None:
    site = people({"annotators": 2})
    site.say("a-0", "王", draw("bus", *A), lead_time_s=4)
    site.say("a-0", "li", draw("bus", *A), lead_time_s=6)
    site.settle()
    (row,) = read_labels(site.folder).to_pylist()
    assert (row["annotator"], row["annotation_id"], row["lead_time_s"]) == ("王+li", "1+2", 10)
    assert row["updated_at"] == site.rows[1]["updated_at"]


def test_the_order_of_annotations_changes_no_byte(people: Make, draw: Make) -> None:
    site = people({"annotators": 3})
    for frame_id in site.frame_ids:
        for number in range(3):
            boxes = [draw("bus", 40 * k, number, 40 * k + 20, 20 + number) for k in range(4)]
            site.say(frame_id, f"p{number}", *boxes)
    site.settle()
    first = labels_path(site.folder).read_bytes()
    assert len(site.labels()) == 16
    random.Random(1).shuffle(site.rows)
    for row in site.rows:
        row["result"] = json.dumps(json.loads(row["result"])[::-1])
    site.settle()
    assert labels_path(site.folder).read_bytes() == first
    assert not (site.folder / "labels" / "history").exists()


@pytest.mark.parametrize(
    ("frame_id", "result", "reason"),
    [
        ("z-0", "[]", "a frame that is not stored, or may not be used"),
        (None, "[]", "a task that cityforge did not push"),
        ("a-0", "{", "a result that is no JSON"),
        ("a-0", "null", "result is missing or no list"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_listed(
    people: Make, draw: Make, frame_id: str | None, result: str, reason: str
) -> None:
    site = people()
    site.say("b-0", "li", draw("bus", *A))
    site.say(frame_id, "王", result=result)
    found = site.settle()
    assert site.labels() == [("b-0", "bus", *A)]
    assert reasons(site) == [("label-studio:7", "task 102 annotation 2", reason)]
    assert [each.reason for each in found.rejected] == [reason]


def test_classes_that_are_gone_and_doubled_boxes_are_listed(people: Make, draw: Make) -> None:
    site = people()
    site.say("a-0", "王", draw("tram", *A), draw("bus", *B), draw("bus", *B), draw("汽车", *B))
    site.say("b-0", "王", draw("tram", *A))  # all refused: not the same as empty
    assert site.settle().empty_frames == 0
    assert site.labels() == [("a-0", "bus", *B), ("a-0", "汽车", *B)]
    assert [(where, reason.partition(" (")[0]) for _, where, reason in reasons(site)] == [
        ("task 101 annotation 1 result 1", "a class that the card does not name"),
        ("task 101 annotation 1 result 3", "the same label stands twice"),
        ("task 102 annotation 2 result 1", "a class that the card does not name"),
    ]


def test_what_was_listed_before_is_replaced_and_imports_stay_listed(
    people: Make, draw: Make
) -> None:
    site = people()
    bring_in(site, "a-0", A, (300, 0, 310, 9))
    site.say("b-0", "王", draw("tram", *A))
    site.settle()
    site.settle()
    assert [source for source, _, _ in reasons(site)] == ["x.json", "label-studio:7"]
    site.rows.clear()
    site.settle()
    assert [source for source, _, _ in reasons(site)] == ["x.json"]


def test_of_one_persons_two_annotations_the_later_counts(people: Make, draw: Make) -> None:
    site = people({"annotators": 2, "consensus": "any"})
    site.say("a-0", "王", draw("bus", *A))
    site.say("a-0", "王", draw("bus", *B))
    site.say("b-0", "王", draw("bus", *A), ground_truth=True)
    site.say("b-0", "王", draw("bus", *B))
    site.say("c-0", None, draw("bus", *A))  # of nobody known: not the same person
    site.say("c-0", None, draw("bus", *B))
    result = site.settle()
    assert site.labels() == [
        ("a-0", "bus", *B), ("b-0", "bus", *A), ("c-0", "bus", *A), ("c-0", "bus", *B)
    ]  # fmt: skip
    assert result.superseded == 2
    rows = [(each.where, each.found) for each in result.rejected]
    assert rows == [
        ("task 101 annotation 1", "task 102 annotation 2"),
        ("task 104 annotation 4", "task 103 annotation 3"),
    ]


def test_the_number_of_an_annotation_orders_where_times_are_the_same(
    people: Make, draw: Make
) -> None:
    site = people()
    for number in range(11):  # "9" and "10": as numbers, not as text
        site.say("a-0", "王", draw("bus", number, 0, 50, 50))
        site.rows[-1]["updated_at"] = site.rows[0]["updated_at"]
    site.settle()
    assert site.labels() == [("a-0", "bus", 10, 0, 50, 50)]


def test_skipped_annotations_are_counted_and_label_nothing(people: Make, draw: Make) -> None:
    site = people()
    site.say("a-0", "王", skipped=True)
    site.say("b-0", "王", draw("bus", *A))
    site.say("b-0", "li", draw("bus", *B), skipped=True)
    result = site.settle()
    assert site.labels() == [("b-0", "bus", *A)]
    assert (result.skipped, result.rejected) == (2, [])


def test_imports_wait_aside_while_people_speak_and_come_back(people: Make, draw: Make) -> None:
    site = people()
    bring_in(site, "a-0", A, B)
    bring_in(site, "b-0", A)
    before = site.labels()
    site.say("a-0", "王", draw("bus", *C))
    result = site.settle()
    assert site.labels() == [("a-0", "bus", *C), ("b-0", "bus", *A)]
    assert (result.aside, result.stored_boxes) == (2, 2)
    assert {row["frame_id"] for row in read_aside(site.folder).to_pylist()} == {"a-0"}
    site.settle()  # nothing new: nothing moves
    assert (read_aside(site.folder).num_rows, len(site.labels())) == (2, 2)
    site.rows.clear()
    assert site.settle().aside == 0
    assert site.labels() == before
    assert read_aside(site.folder).num_rows == 0


def test_an_import_after_people_waits_and_replaces_the_one_before(people: Make, draw: Make) -> None:
    site = people()
    bring_in(site, "a-0", A)
    site.say("a-0", "王", draw("bus", *C))
    site.settle()
    assert bring_in(site, "a-0", B).stored_boxes == 1
    assert site.labels() == [("a-0", "bus", *C)]
    assert [row["x1"] for row in read_aside(site.folder).to_pylist()] == [50]
    site.rows.clear()
    site.settle()
    assert site.labels() == [("a-0", "bus", *B)]


def test_imports_of_another_task_stay_beside_people(people: Make, choose: Make) -> None:
    site = people({"kind": "classes"})
    bring_in(site, "a-0", A)
    site.say("a-0", "王", choose("bus"))
    assert site.settle().aside == 0
    tasks = read_labels(site.folder)["task"].to_pylist()
    assert sorted(tasks) == ["classification", "detection"]


@pytest.mark.parametrize("step", ["keep_history", "second write"])
def test_killed_while_storing_no_label_is_lost(
    people: Make, draw: Make, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    site = people()
    bring_in(site, "a-0", A, B)
    site.say("a-0", "王", draw("bus", *C))
    site.settle()
    site.rows[0]["frame_id"] = "b-0"  # what waits returns
    writes: list[Path] = []

    def cut_short(*words: Any) -> None:
        if step == "second write" and not writes:
            writes.append(words[2])
            return write_table(*words)
        raise KeyboardInterrupt

    name = "keep_history" if step == "keep_history" else "write_table"
    with monkeypatch.context() as patched:
        patched.setattr(stored, name, cut_short)
        with pytest.raises(KeyboardInterrupt):
            site.settle()
    left = {row["label_id"] for row in stored.read_imported(site.folder).to_pylist()}
    assert len(left) == 2
    site.settle()
    assert site.labels() == [("a-0", "bus", *A), ("a-0", "bus", *B), ("b-0", "bus", *C)]
    assert read_aside(site.folder).num_rows == 0


def test_earlier_labels_can_be_read_back(people: Make, draw: Make) -> None:
    site = people()
    site.say("a-0", "王", draw("bus", *A))
    site.settle()
    first = labels_path(site.folder).read_bytes()
    site.say("b-0", "王", draw("bus", *A))
    site.settle()
    (kept,) = (site.folder / "labels" / "history").iterdir()
    assert kept.read_bytes() == first
    assert read_table(LABELS, kept).num_rows == 1


def test_labels_beyond_one_batch_are_all_stored_in_order(people: Make, draw: Make) -> None:
    site = people()
    site.frame_ids = tuple(f"{number:05d}-0" for number in range(3000))
    for frame_id in reversed(site.frame_ids):
        site.say(frame_id, "王", draw("bus", *A), draw("bus", *B), draw("bus", *C))
    assert site.settle().boxes == 9000
    table = read_labels(site.folder)
    keys = list(zip(table["frame_id"].to_pylist(), table["label_id"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert len(set(table["label_id"].to_pylist())) == 9000


def test_old_classes_are_read_in_todays_terms(people: Make, draw: Make) -> None:
    changes = [
        {"kind": "rename", "on": "2026-03-02", "old": ["car"], "new": ["汽车"]},
        {
            "kind": "split", "on": "2026-03-02", "old": ["vehicle"], "new": ["汽车", "bus"],
            "rules": [{"to": "bus", "cameras": ["harbour"]}, {"to": "汽车", "min_aspect": 1.5}],
        },
    ]  # fmt: skip
    site = people(ontology_changes=changes)
    site.say("a-0", "王", draw("car", *A), draw("vehicle", 0, 0, 60, 20))
    site.say("c-0", "王", draw("vehicle", *A))  # of the harbour
    site.say("b-0", "王", draw("vehicle", *A), draw("bus", *B))  # no rule decides
    late = site.say("d-0", "王", draw("bus", *A))
    site.rows[int(late) - 1]["updated_at"] += timedelta(days=9)
    result = site.settle()
    assert site.labels() == [
        ("a-0", "汽车", *A), ("a-0", "汽车", 0, 0, 60, 20), ("c-0", "bus", *A), ("d-0", "bus", *A)
    ]  # fmt: skip
    (open_one,) = result.rejected
    assert open_one.reason.startswith("a class that was split")
    assert (open_one.image, open_one.found) == ("b-0", "vehicle")


def video(cls: str, *keyframes: tuple[int, float, bool], track: str = "r1") -> dict[str, Any]:
    """A video box of 10 × 10 % whose left edge is at x % in each keyframe (frame, x, enabled)."""
    sequence = [
        {"frame": frame, "x": x, "y": 0, "width": 10, "height": 10, "rotation": 0, "enabled": on,
         "time": (frame - 1) / 2}
        for frame, x, on in keyframes
    ]  # fmt: skip
    value = {"sequence": sequence, "labels": [cls], "framesCount": 4, "duration": 2.0}
    return {"type": "videorectangle", "id": track, "value": value, "origin": "manual"}


def test_a_film_labels_each_of_its_frames(people: Make) -> None:
    site = people({"kind": "video"})
    data = json.dumps({"video": "u", "fps": 2, "frame_ids": [*site.frame_ids[:3], "gone-0"]})
    site.say(None, "王", video("bus", (1, 0, True), (3, 20, False)), data=data)
    result = site.settle()
    # x: 0 %, 10 %, 20 % of 200 px; hidden after frame 3
    assert [row[:3] for row in site.labels()] == [
        ("a-0", "bus", 0), ("b-0", "bus", 20), ("c-0", "bus", 40)
    ]  # fmt: skip
    assert (result.frames, result.boxes) == (3, 3)
    assert len({row["track_id"] for row in read_labels(site.folder).to_pylist()}) == 1


def test_a_film_that_two_people_labelled_is_put_together_frame_by_frame(people: Make) -> None:
    site = people({"kind": "video", "annotators": 2, "consensus": "every"})
    data = json.dumps({"video": "u", "fps": 2, "frame_ids": list(site.frame_ids)})
    site.say(None, "王", video("bus", (1, 0, True)), data=data, task_id=5)
    site.say(None, "li", video("bus", (1, 0, True), (2, 0, False)), data=data, task_id=5)
    site.settle()
    assert [row[0] for row in site.labels()] == ["a-0", "b-0"]


def test_of_one_persons_two_films_with_the_same_frame_the_later_counts(people: Make) -> None:
    site = people({"kind": "video", "consensus": "any"})
    for x, frame_ids in ((0, ["a-0", "b-0"]), (50, ["b-0", "c-0"])):
        data = json.dumps({"video": "u", "fps": 2, "frame_ids": frame_ids})
        site.say(None, "王", video("bus", (1, x, True)), data=data)
    site.settle()
    assert [row[:3] for row in site.labels()] == [
        ("a-0", "bus", 0), ("b-0", "bus", 100), ("c-0", "bus", 100)
    ]  # fmt: skip


def test_nothing_pulled_yet_says_what_to_do(people: Make) -> None:
    site = people()
    with pytest.raises(LabelError, match=r"cityforge label pull tiny"):
        settle(site.card, site.folder, site.footage, site.frames)


def test_another_table_in_its_place_is_refused(people: Make) -> None:
    site = people()
    write_table(LABELS.empty_table(), LABELS, annotations_path(site.folder))
    with pytest.raises(TableError, match=r"annotations/1, found labels/2"):
        settle(site.card, site.folder, site.footage, site.frames)
    annotations_path(site.folder).write_bytes(b"no table")
    with pytest.raises(TableError, match="no Parquet"):
        settle(site.card, site.folder, site.footage, site.frames)
