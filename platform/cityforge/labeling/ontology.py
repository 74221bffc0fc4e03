"""Labels in the terms of a changed ontology: classes renamed, merged and split.

The card says what changed and when; labels keep their ids. What the rules of a split cannot
decide is taken out together with the other labels of its frame, so that no frame teaches with
an object missing, and people are asked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.dataset import Dataset
from cityforge.cards.labeling import OntologyChange, SplitRule
from cityforge.errors import CardError


@dataclass(frozen=True)
class Migrated:
    """Labels in the card's present terms, and those that people must decide."""

    labels: pa.Table  # LABELS
    changed: int  # labels that changed their class
    undecided: pa.Table  # LABELS: all labels of frames with at least one open class
    open_ids: tuple[str, ...]  # label_id of those in `undecided` whose class no rule decides


@dataclass(frozen=True)
class Comparable:
    """How the classes of an older ontology stand to those of a newer one."""

    of: dict[str, tuple[str, ...]]  # newer class: the older classes it holds, sorted
    not_comparable: dict[str, str]  # newer class: why figures of the two cannot be compared


def migrate(card: Dataset, labels: pa.Table, cameras_of: Mapping[str, str]) -> Migrated:
    """Apply the card's changes, in their order; see `translate`.

    Raises:
        CardError: changes that contradict each other or the card's classes.
    """
    check_changes(card)
    return translate(labels, card.ontology_changes, cameras_of)


def translate(
    labels: pa.Table, changes: Sequence[OntologyChange], cameras_of: Mapping[str, str]
) -> Migrated:
    """Labels of a dataset or of an old snapshot in the terms after `changes`.

    A change applies to labels of its old classes from before its day (00:00 UTC, or of no known
    time); where it does away with a class, to later ones, too, because the name has no other
    meaning. Two boxes that become one class stay two boxes. Applying it again changes nothing.

    Args:
        labels: table LABELS.
        cameras_of: frame id to camera, which rules may ask for.
    """
    before = labels.column("class").combine_chunks()
    classes, is_open = before, pa.array([False] * len(before), pa.bool_())
    for change in changes:
        due = pc.and_not(_due(classes, labels.column("updated_at"), change), is_open)
        if not pc.any(due).as_py():
            continue
        if change.kind != "split":
            classes = pc.if_else(due, change.new[0], classes)
            continue
        decided = _decided(labels.filter(due), change.rules, cameras_of)
        unknown = _replaced(is_open, due, pc.is_null(decided))
        classes = _replaced(classes, due, pc.coalesce(decided, pc.filter(classes, due)))
        is_open = unknown
    changed = pc.sum(pc.fill_null(pc.not_equal(classes, before), False)).as_py() or 0
    at = labels.schema.get_field_index("class")
    renamed = labels.set_column(at, labels.schema.field(at), classes)
    frames = pc.unique(renamed.filter(is_open).column("frame_id"))
    aside = pc.is_in(renamed.column("frame_id"), frames)
    return Migrated(
        labels=renamed.filter(pc.invert(aside)),
        changed=int(changed),
        undecided=renamed.filter(aside),
        open_ids=tuple(renamed.filter(is_open)["label_id"].to_pylist()),
    )


def check_changes(card: Dataset) -> None:
    """Hold the card's changes against each other and against its classes.

    Raises:
        CardError: with a line for every fault.
    """
    faults: list[str] = []
    gone: set[str] = set()  # names that an earlier change did away with
    parted: set[str] = set()  # names that an earlier split left with a narrower meaning
    for place, change in enumerate(card.ontology_changes):
        where = f"in card of dataset '{card.name}', key 'ontology_changes.{place}'"
        later = card.ontology_changes[place + 1 :]
        known = {*card.class_names, *(name for each in later for name in each.old)}
        found = _faults(change, card, known, gone, parted)
        if place and change.on < card.ontology_changes[place - 1].on:
            found.append(f"expected changes in the order of their days, found {change.on}")
        faults += [f"{fault}, {where}" for fault in found]
        gone |= set(change.old) - set(change.new)
        parted |= set(change.old) & set(change.new) if change.kind == "split" else set()
    if faults:
        raise CardError("changes of the ontology that fit the classes", faults=tuple(faults))


def comparable(
    old: Mapping[str, str], new: Mapping[str, str], changes: Sequence[OntologyChange]
) -> Comparable:
    """Which figures of a class can be held against those of an older snapshot.

    Args:
        old: class to definition, as the older snapshot's `ontology` states it; its labels are
            to be read through `translate`.
        new: the same of the newer one.
    """
    became = {name: _became(name, old, changes) for name in old}
    of = {name: tuple(each for each in sorted(old) if name in became[each]) for name in new}
    why: dict[str, str] = {}
    for name, sources in of.items():
        parted = [each for each in sources if len(became[each]) > 1]
        if not sources:
            why[name] = "no class of the older ontology became it"
        elif parted:
            why[name] = f"split of '{parted[0]}': only frames on which its rules decide all"
        elif sources == (name,) and old[name] != new[name]:
            why[name] = "its definition changed"
    return Comparable(of, why)


def _due(classes: pa.Array, updated_at: pa.ChunkedArray, change: OntologyChange) -> pa.Array:
    day = pa.scalar(datetime.combine(change.on, time(), UTC), updated_at.type)
    older = pc.fill_null(pc.less(updated_at.combine_chunks(), day), True)
    gone = pc.is_in(classes, pa.array(sorted(set(change.old) - set(change.new)), pa.string()))
    return pc.and_(pc.is_in(classes, pa.array(change.old, pa.string())), pc.or_(older, gone))


def _decided(rows: pa.Table, rules: Sequence[SplitRule], cameras_of: Mapping[str, str]) -> pa.Array:
    """New class of each row, by the first rule that holds; null where none does."""
    width = pc.subtract(rows.column("x2"), rows.column("x1")).combine_chunks()
    height = pc.subtract(rows.column("y2"), rows.column("y1")).combine_chunks()
    height = pc.if_else(pc.greater(height, 0), height, None)  # a point, a class: no size
    aspect = pc.divide(width, height)
    seen_by = [cameras_of.get(frame) for frame in rows.column("frame_id").to_pylist()]
    camera = pa.array(seen_by, pa.string())
    decided = pa.nulls(rows.num_rows, pa.string())
    for rule in reversed(rules):
        conditions: list[Any] = []
        if rule.cameras is not None:
            conditions.append(pc.is_in(camera, pa.array(rule.cameras, pa.string())))
        for value, least, most in (
            (aspect, rule.min_aspect, rule.max_aspect),
            (height, rule.min_height_px, rule.max_height_px),
        ):
            conditions += [pc.greater_equal(value, least)] if least is not None else []
            conditions += [pc.less_equal(value, most)] if most is not None else []
        holds = pa.array([True] * rows.num_rows, pa.bool_())
        for each in conditions:
            holds = pc.and_(holds, pc.fill_null(each, False))
        decided = pc.if_else(holds, rule.to, decided)
    return decided


def _replaced(values: pa.Array, where: pa.Array, by: pa.Array | pa.ChunkedArray) -> pa.Array:
    by = by.combine_chunks() if isinstance(by, pa.ChunkedArray) else by
    return pc.replace_with_mask(values, where, by)


def _faults(
    change: OntologyChange, card: Dataset, known: set[str], gone: set[str], parted: set[str]
) -> list[str]:
    faults = [
        f"expected a class of the card, or one that a later change takes up, found '{name}'"
        for name in change.new
        if name not in known
    ]
    faults += [
        f"expected a name that no earlier change did away with or split, found '{name}'"
        for name in dict.fromkeys([*change.new, *change.old])
        if name in gone or (name in parted and name in change.new)
    ]
    faults += [
        f"expected old classes that the card's classes no longer name, found '{name}'"
        for name in change.old
        if name not in change.new and name in card.class_names
    ]
    if change.kind == "rename" and change.old == change.new:
        faults.append(f"expected another name, found '{change.new[0]}' again")
    return faults


def _became(
    name: str, old: Mapping[str, str], changes: Sequence[OntologyChange]
) -> tuple[str, ...]:
    names = [name]
    for change in changes:
        if change.kind == "split" and all(each in old for each in change.new):
            continue  # the older ontology has it already
        after = [each for one in names for each in (change.new if one in change.old else [one])]
        names = list(dict.fromkeys(after))
    return tuple(names)
