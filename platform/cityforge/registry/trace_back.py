"""What a version rests on: subsets, annotators, films with their seconds, first weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cityforge.dataset.labelled import READ_FROM
from cityforge.dataset.lineage import people_of
from cityforge.dataset.lineage_lookup import Lineage, Subsets, numbers
from cityforge.registry.records import Basis, Named, Records
from cityforge.registry.trace_tree import Node, number_of, seconds

COLUMNS = (
    "label_id", "frame_id", "footage_id", "pts_s", "class", "annotator", "annotation_id", "source",
    "origin", "updated_at",
)  # fmt: skip
LEARNT_FROM = "train"
GENERATIONS = 20  # of warm starts that are followed


def basis_nodes(records: Records, named: Named, full: bool, depth: int = 0) -> list[Node]:
    """The snapshot that a version was made from, and where its weights began.

    Args:
        full: also each label and frame.
    """
    basis = records.basis(named)
    state = records.versions.get(named)
    task = str(state.register.body.get("task") or "detection") if state else "detection"
    return [
        split_node(records, basis, full, task),
        *_weights(records, named, basis, full, depth),
    ]


def split_node(records: Records, basis: Basis, full: bool, task: str = "") -> Node:
    """A snapshot with its split: who labelled it, and of which films it is.

    Args:
        task: counts and names only labels that this task learns from; "" means all.
    """
    lineage = records.lineages.get(basis.snapshot)
    facts: dict[str, Any] = {
        "split": basis.split, "snapshot": basis.snapshot, "dataset": basis.dataset,
    }  # fmt: skip
    shown = f"snapshot {basis.split[:16]}"
    if lineage is None:
        return _without_lineage(records, basis, facts, shown)
    subsets = records.subsets(basis.split)
    about = lineage.about
    node = Node(
        "snapshot", basis.split or basis.snapshot,
        f"{shown} of dataset '{basis.dataset}': {number_of(about['frames'], 'frame')}, "
        f"{number_of(about['labels'], 'label')}, {number_of(about['films'], 'film')}",
        facts | {name: about[name] for name in ("frames", "labels", "films")},
    )  # fmt: skip
    node.back = _parts(lineage, subsets, task)
    if full:
        node.facts["held"] = _held(lineage, subsets, task)
    return node


def _without_lineage(records: Records, basis: Basis, facts: dict[str, Any], shown: str) -> Node:
    """What is known of a snapshot of which this machine has the films alone, or nothing."""
    known = records.held(basis.split) or records.held(basis.snapshot)
    node = Node("snapshot", basis.split, shown, facts)
    if known is None:
        node.text += ": nothing is on record of it here"
        return node
    films = sorted(known[1].footage)
    node.facts |= {"dataset": known[0], "snapshot": known[1].snapshot}
    node.text += f" of dataset '{known[0]}': its labels are not on record, its films are"
    node.back = [Node("film", each, f"film {each}") for each in films]
    return node


def _parts(lineage: Lineage, subsets: Subsets | None, task: str) -> list[Node]:
    """A node for each subset, annotators below what was learnt from; then the films."""
    codes = lineage.codes
    names = subsets.names if subsets else ["all"]
    of_frame = subsets.codes if subsets else np.zeros(len(codes["film"]), np.int64)
    counts = _read(codes, task)
    of_label = np.where(counts, of_frame[codes["frame"]], -1)
    parts = []
    for code, name in enumerate(names):
        frames = int((of_frame == code).sum())
        labels = int((of_label == code).sum())
        text = f"{name}: {number_of(frames, 'frame')}, {number_of(labels, 'label')}"
        part = Node("subset", name, text, {"frames": frames, "labels": labels})
        part.back = _annotators(codes, of_label == code)
        parts.append(part)
    return parts + _films(lineage, names, of_frame, of_label)


def _read(codes: dict[str, Any], task: str) -> NDArray[Any]:
    """Which labels the task learns from."""
    if task not in READ_FROM:
        return np.ones(len(codes["task"]), bool)
    wanted = [code for code, name in enumerate(codes["tasks"]) if name in READ_FROM[task]]
    return np.isin(codes["task"], wanted)


def _annotators(codes: dict[str, Any], inside: NDArray[Any]) -> list[Node]:
    theirs: dict[str, list[int]] = {}
    for code, name in enumerate([*codes["people"], None]):
        for person in people_of(name) or [""]:
            theirs.setdefault(person, []).append(code if name else -1)
    found = []
    for person, of_person in theirs.items():
        mask = inside & np.isin(codes["person"], of_person)
        labels = int(mask.sum())
        if labels:
            frames = np.unique(codes["frame"][mask])
            films = len(np.unique(codes["film"][frames]))
            found.append(
                Node(
                    "annotator", person,
                    f"{person or 'nobody named'}: {number_of(labels, 'label')} on "
                    f"{number_of(len(frames), 'frame')} of {number_of(films, 'film')}",
                    {"labels": labels, "frames": len(frames), "films": films},
                )
            )  # fmt: skip
    return sorted(found, key=lambda each: (-int(each.facts["labels"]), each.id))


def _films(
    lineage: Lineage, names: Sequence[str], of_frame: NDArray[Any], of_label: NDArray[Any]
) -> list[Node]:
    """Each film with its frames in each subset; what most was learnt from first."""
    codes, films = lineage.codes, lineage.films.to_pylist()
    width = len(names)
    counted = np.bincount(
        codes["film"][of_frame >= 0] * width + of_frame[of_frame >= 0],
        minlength=len(films) * width,
    ).reshape(-1, width)
    read = np.bincount(codes["film"][codes["frame"][of_label >= 0]], minlength=len(films))
    nodes = []
    for film, row, labels in zip(films, counted.tolist(), read.tolist(), strict=True):
        inside = {name: count for name, count in zip(names, row, strict=True) if count}
        nodes.append(film_node(film, inside, labels))
    first = LEARNT_FROM if LEARNT_FROM in names else (names[0] if names else "")
    nodes.sort(key=lambda each: (-int(each.facts["subsets"].get(first, 0)), each.id))
    return nodes


def film_node(film: dict[str, Any], subsets: dict[str, int], labels: int) -> Node:
    """A film, how many of its frames are in which subset, and the seconds that they span."""
    started = film.get("started_at")
    text = f"film {film['footage_id']}"
    facts = {**film, "started_at": started.isoformat() if started else None, "labels": labels,
             "subsets": subsets}  # fmt: skip
    if film.get("name"):
        where = ", ".join(f"{name} {count:,}" for name, count in subsets.items())
        text = (
            f"{film['name']} ({film['footage_id']}), camera {film['camera']}: {where} frames "
            f"{seconds(film['first_s'], film['last_s'])}, {number_of(labels, 'label')}"
        )
    return Node("film", str(film["footage_id"]), text, facts)


def columns_of(labels: pa.Table) -> dict[str, list[Any]]:
    """Labels as columns, each a list; times as ISO 8601."""
    found = {name: labels[name].to_pylist() for name in COLUMNS}
    found["updated_at"] = [each.isoformat() if each else None for each in found["updated_at"]]
    return found


def _held(lineage: Lineage, subsets: Subsets | None, task: str) -> dict[str, list[Any]]:
    """Every label that was read, with the subset of its frame."""
    mask = _read(lineage.codes, task)
    found = columns_of(lineage.labels().take(numbers(np.flatnonzero(mask))))
    rows = lineage.codes["frame"][mask]
    found["subset"] = subsets.of(rows) if subsets else [""] * len(rows)
    return found


def _weights(records: Records, named: Named, basis: Basis, full: bool, depth: int) -> list[Node]:
    """Where training began: another version with all that it rests on, or a file."""
    if not basis.source:
        return []
    parents = [each for each in records.parents(named) if each in records.versions]
    if parents and depth < GENERATIONS:
        (parent,) = parents
        node = Node("version", f"{parent[0]}@{parent[1]}",
                    f"began from the weights of {parent[0]} version {parent[1]}")  # fmt: skip
        node.back = basis_nodes(records, parent, full, depth + 1)
        return [node]
    node = Node(
        "weights", basis.source, f"began from weights of {basis.source}",
        {"trained_on": basis.source_split},
    )  # fmt: skip
    if basis.source_split:
        dataset, snapshot = records.snapshot_of(basis.source_split)
        node.back = [split_node(records, Basis(basis.source_split, snapshot, dataset), full)]
    return [node]
