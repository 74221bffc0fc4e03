"""Classes renamed, merged and split: labels keep their ids, old snapshots can be compared."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cityforge.cards.dataset import Dataset
from cityforge.dataset.snapshot import Snapshot, open_snapshot, write_snapshot
from cityforge.errors import CardError
from cityforge.labeling.ontology import check_changes, comparable, migrate, translate
from cityforge.tables import FRAMES, LABELS, from_rows

MakeCard = Callable[..., Dataset]
ON = "2026-03-01"
BEFORE = datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC)
THE_DAY = datetime(2026, 3, 1, tzinfo=UTC)
CAMERAS = {"f-0": "北门", "f-1": "harbour"}


def change(kind: str, old: list[str], new: list[str], **more: Any) -> dict[str, Any]:
    return {"kind": kind, "on": ON, "old": old, "new": new, **more}


def label(
    name: str | None,
    at: datetime | None = BEFORE,
    frame: str = "f-0",
    size: tuple[float, float] = (20, 10),
    key: str = "",
) -> dict[str, Any]:
    return {
        "label_id": key or f"{name} {at} {frame} {size}", "frame_id": frame, "task": "detection",
        "class": name, "x1": 1.0, "y1": 2.0, "x2": 1 + size[0], "y2": 2 + size[1],
        "source": "s", "origin": "human", "updated_at": at,
    }  # fmt: skip


def table(*rows: dict[str, Any]) -> pa.Table:
    return from_rows(list(rows), LABELS)


def a_card(make_card: MakeCard, changes: list[dict[str, Any]], *names: str) -> Dataset:
    named = [{"name": name, "definition": name} for name in names]
    return make_card(classes=named, ontology_changes=changes)


def classes(found: pa.Table) -> list[str | None]:
    names: list[str | None] = found.column("class").to_pylist()
    return names


# card's classes, changes, class of a label before the day, class after
CASES: dict[str, tuple[list[str], list[dict[str, Any]], str, str]] = {
    "rename": (["truck"], [change("rename", ["lorry"], ["truck"])], "lorry", "truck"),
    "merge": (["car", "bus"], [change("merge", ["van", "car"], ["car"])], "van", "car"),
    "what a merge keeps": (["car"], [change("merge", ["van", "car"], ["car"])], "car", "car"),
    "another class": (["truck", "bus"], [change("rename", ["lorry"], ["truck"])], "bus", "bus"),
    "a chain": (
        ["lkw"],
        [change("rename", ["lorry"], ["truck"]), change("rename", ["truck"], ["lkw"])],
        "lorry",
        "lkw",
    ),
    "the middle of a chain": (
        ["lkw"],
        [change("rename", ["lorry"], ["truck"]), change("rename", ["truck"], ["lkw"])],
        "truck",
        "lkw",
    ),
    "split by a rule for all": (
        ["truck", "van"],
        [change("split", ["lorry"], ["truck", "van"], rules=[{"to": "van", "min_aspect": 0.1}])],
        "lorry",
        "van",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_labels_come_into_the_terms_of_the_card(make_card: MakeCard, case: str) -> None:
    names, changes, before, after = CASES[case]
    card = a_card(make_card, changes, *names)
    labels = table(label(before), label(None, frame="f-1"))
    found = migrate(card, labels, CAMERAS)
    assert classes(found.labels) == [after, None]
    assert found.changed == (before != after)
    assert found.undecided.num_rows == len(found.open_ids) == 0
    rest = [name for name in LABELS.names if name != "class"]
    assert found.labels.select(rest) == labels.select(rest)  # label_id too
    again = migrate(card, found.labels, CAMERAS)
    assert again.labels == found.labels
    assert again.changed == 0


@pytest.mark.parametrize(
    ("at", "after"),
    [(None, "truck"), (BEFORE, "truck"), (THE_DAY, "vehicle")],
    ids=["no known time", "the day before", "the day"],
)
def test_a_name_that_lasts_changes_its_meaning_on_the_day(
    make_card: MakeCard, at: datetime | None, after: str
) -> None:
    by_size = change(
        "split", ["vehicle"], ["vehicle", "truck"], rules=[{"to": "truck", "min_height_px": 1}]
    )
    card = a_card(make_card, [by_size], "vehicle", "truck")
    assert classes(migrate(card, table(label("vehicle", at)), CAMERAS).labels) == [after]


def test_a_name_that_is_gone_is_translated_whenever_it_was_used(make_card: MakeCard) -> None:
    """An annotation opened after the change may still hold the old class."""
    card = a_card(make_card, [change("rename", ["lorry"], ["truck"])], "truck")
    assert classes(migrate(card, table(label("lorry", THE_DAY)), CAMERAS).labels) == ["truck"]


# size of the box, camera's frame, rules, class after; None: people must decide
RULES: list[tuple[tuple[float, float], str, list[dict[str, Any]], str | None]] = [
    ((20, 10), "f-0", [{"to": "a", "min_aspect": 2.0}], "a"),
    ((19.9, 10), "f-0", [{"to": "a", "min_aspect": 2.0}], None),
    ((20, 10), "f-0", [{"to": "a", "max_aspect": 2.0}], "a"),
    ((20, 10), "f-0", [{"to": "a", "min_height_px": 10.1}], None),
    ((20, 10), "f-0", [{"to": "a", "max_height_px": 10.0}], "a"),
    ((20, 10), "f-1", [{"to": "a", "cameras": ["北门"]}], None),
    ((20, 10), "f-0", [{"to": "a", "cameras": ["北门"]}], "a"),
    ((20, 10), "f-9", [{"to": "a", "cameras": ["北门"]}], None),  # of no known camera
    ((20, 10), "f-0", [{"to": "a", "cameras": ["北门"], "min_aspect": 3.0}], None),
    ((20, 10), "f-0", [{"to": "b", "min_aspect": 1.0}, {"to": "a", "min_aspect": 0.1}], "b"),
    ((20, 10), "f-0", [{"to": "b", "min_aspect": 5.0}, {"to": "a", "min_aspect": 0.1}], "a"),
    ((0, 0), "f-0", [{"to": "a", "max_height_px": 10.0}], None),  # a point has no height
    ((0, 0), "f-0", [{"to": "a", "cameras": ["北门"]}], "a"),
    ((20, 10), "f-0", [], None),
]


@pytest.mark.parametrize(("size", "frame", "rules", "after"), RULES)
def test_the_first_rule_that_holds_decides_a_split(
    make_card: MakeCard,
    size: tuple[float, float],
    frame: str,
    rules: list[dict[str, Any]],
    after: str | None,
) -> None:
    card = a_card(make_card, [change("split", ["old"], ["a", "b"], rules=rules)], "a", "b")
    found = migrate(card, table(label("old", size=size, frame=frame)), CAMERAS)
    assert classes(found.labels) == ([after] if after else [])
    assert classes(found.undecided) == ([] if after else ["old"])
    assert (found.changed, len(found.open_ids)) == ((1, 0) if after else (0, 1))


def test_a_label_without_a_box_is_split_by_its_camera_alone(make_card: MakeCard) -> None:
    rules = [{"to": "a", "max_aspect": 9.0}, {"to": "b", "cameras": ["北门"]}]
    card = a_card(make_card, [change("split", ["old"], ["a", "b"], rules=rules)], "a", "b")
    of_image = label("old") | dict.fromkeys(("x1", "y1", "x2", "y2"))
    assert classes(migrate(card, table(of_image), CAMERAS).labels) == ["b"]


def test_a_frame_with_an_open_label_goes_back_with_all_its_labels(make_card: MakeCard) -> None:
    rules = [{"to": "a", "min_height_px": 50}]
    changes = [change("split", ["old"], ["a", "b"], rules=rules),
               change("rename", ["lorry"], ["truck"])]  # fmt: skip
    card = a_card(make_card, changes, "a", "b", "truck")
    labels = table(
        label("old", key="1"), label("lorry", key="2"), label("old", size=(9, 60), key="3"),
        label("lorry", frame="f-1", key="4"),
    )  # fmt: skip
    found = migrate(card, labels, CAMERAS)
    assert found.labels.column("label_id").to_pylist() == ["4"]
    assert found.undecided.column("label_id").to_pylist() == ["1", "2", "3"]
    assert classes(found.undecided) == ["old", "truck", "a"]
    assert (found.changed, found.open_ids) == (3, ("1",))
    later = a_card(make_card, [change("split", ["old"], ["a", "b"], rules=[
        *rules, {"to": "b", "max_height_px": 50}
    ]), changes[1]], "a", "b", "truck")  # fmt: skip
    assert classes(migrate(later, found.undecided, CAMERAS).labels) == ["b", "truck", "a"]


def test_a_later_change_leaves_what_is_open_as_it_was(make_card: MakeCard) -> None:
    rules = [{"to": "v", "min_height_px": 50}]
    changes = [
        change("split", ["v"], ["v", "truck"], rules=rules),
        change("rename", ["v"], ["car"]),
    ]
    card = a_card(make_card, changes, "car", "truck")
    found = migrate(card, table(label("v"), label("v", frame="f-1", size=(9, 60))), CAMERAS)
    assert classes(found.undecided) == ["v"]
    assert classes(found.labels) == ["car"]


def test_two_boxes_that_become_one_class_stay_two(make_card: MakeCard) -> None:
    card = a_card(make_card, [change("merge", ["van", "car"], ["car"])], "car")
    found = migrate(card, table(label("van", key="1"), label("car", key="2")), CAMERAS)
    assert found.labels.num_rows == 2
    assert classes(found.labels) == ["car", "car"]


def test_an_empty_table_stays_empty(make_card: MakeCard) -> None:
    card = a_card(make_card, [change("rename", ["lorry"], ["truck"])], "truck")
    found = migrate(card, LABELS.empty_table(), {})
    assert found.labels.num_rows == found.undecided.num_rows == found.changed == 0
    assert found.labels.schema == LABELS


# the card's classes, its changes, a part of each fault
FAULTS: dict[str, tuple[list[str], list[dict[str, Any]], list[str]]] = {
    "a cycle": (
        ["a"],
        [change("rename", ["a"], ["b"]), change("rename", ["b"], ["a"])],
        ["no longer name, found 'a'", "no earlier change did away with or split, found 'a'"],
    ),
    "onto a class that the card lacks": (
        ["a"], [change("rename", ["b"], ["c"])], ["a class of the card", ],
    ),
    "of a class that the card still names": (
        ["a", "b"], [change("rename", ["b"], ["a"])], ["no longer name, found 'b'"],
    ),
    "an old class that is gone already": (
        ["b", "c"], [change("rename", ["a"], ["b"]), change("rename", ["a"], ["c"])],
        ["no earlier change did away with or split, found 'a'"],
    ),
    "into what was split before": (
        ["a", "b"], [change("split", ["a"], ["a", "b"]), change("merge", ["x"], ["a"])],
        ["no earlier change did away with or split, found 'a'"],
    ),
    "onto itself": (["a"], [change("rename", ["a"], ["a"])], ["another name, found 'a' again"]),
    "out of order": (
        ["b", "d"],
        [change("rename", ["a"], ["b"]), change("rename", ["c"], ["d"]) | {"on": "2026-02-28"}],
        ["in the order of their days, found 2026-02-28"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_changes_that_cannot_be_meant_are_refused(make_card: MakeCard, case: str) -> None:
    names, changes, parts = FAULTS[case]
    with pytest.raises(CardError) as caught:
        check_changes(a_card(make_card, changes, *names))
    assert len(caught.value.faults) == len(parts), caught.value.faults
    for fault, part in zip(caught.value.faults, parts, strict=True):
        assert part in fault
        assert "in card of dataset 'tiny', key 'ontology_changes." in fault


def test_a_snapshot_of_before_stays_readable_and_comparable(
    make_card: MakeCard, tmp_path: Path
) -> None:
    old = {"lorry": "A lorry.", "car": "A car.", "bus": "A bus."}
    labels = table(label("lorry", key="1"), label("car", key="2"), label("bus", key="3"))
    about = Snapshot("tiny", "d" * 64, 1, 3, 0, dict.fromkeys(old, 1), old)
    write_snapshot(tmp_path, about, FRAMES.empty_table(), labels)

    card = a_card(make_card, [change("merge", ["lorry", "bus"], ["heavy"])], "heavy", "car")
    found, _, stored = open_snapshot(tmp_path)
    assert (found, stored) == (about, labels)  # as it was
    now = translate(stored, card.ontology_changes, {})
    assert classes(now.labels) == ["heavy", "car", "heavy"]
    new = {each.name: each.definition for each in card.classes}
    both = comparable(found.ontology, new, card.ontology_changes)
    assert both.of == {"heavy": ("bus", "lorry"), "car": ("car",)}
    assert both.not_comparable == {"car": "its definition changed"}


# older ontology, newer one, changes, classes that cannot be compared
COMPARED: dict[str, tuple[list[str], list[str], list[dict[str, Any]], set[str]]] = {
    "the same": (["a"], ["a"], [], set()),
    "renamed": (["a"], ["b"], [change("rename", ["a"], ["b"])], set()),
    "new": (["a"], ["a", "b"], [], {"b"}),
    "split": (["a"], ["b", "c"], [change("split", ["a"], ["b", "c"])], {"b", "c"}),
    "split before": (["b", "c"], ["b", "c"], [change("split", ["a"], ["b", "c"])], set()),
    "split, name kept": (
        ["a", "b"],
        ["a", "b"],
        [change("split", ["a"], ["a", "b"])],
        set(),
    ),
}


@pytest.mark.parametrize("case", COMPARED)
def test_what_of_two_ontologies_can_be_compared(make_card: MakeCard, case: str) -> None:
    old, new, changes, cannot = COMPARED[case]
    card = a_card(make_card, changes, *new)
    found = comparable(dict.fromkeys(old, "x"), dict.fromkeys(new, "x"), card.ontology_changes)
    assert set(found.not_comparable) == cannot
