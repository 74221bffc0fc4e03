"""What to do after a withdrawal: which commands, in which order, and what they will have left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.errors import CityforgeError
from cityforge.footage.lawful import barred, footage_of
from cityforge.footage.seals import read_with_seals
from cityforge.labeling.stored import read_labels
from cityforge.project import Project
from cityforge.registry.affected import Affected
from cityforge.training.registered import ADDRESS


@dataclass(frozen=True)
class Plan:
    """The way to versions that do not rest on what was withdrawn."""

    commands: tuple[str, ...]  # in this order
    frames: int  # labelled ones that may be used, of the dataset as it is now
    labels: dict[str, int]  # of each class of the card
    short: tuple[str, ...]  # classes with fewer labels than the card's checks ask for


def plan(project: Project, affected: Affected) -> Plan:
    """The commands that make affected algorithms anew: champions' first, heirs after parents.

    Call it when the withdrawal is on record and sealed.
    """
    card = project.dataset(affected.dataset)
    folder = project.dataset_folder(affected.dataset)
    frames, labels = remaining(folder, card.class_names)
    least = card.checks.min_boxes_per_class
    short = tuple(name for name, count in labels.items() if count < least)
    return Plan(tuple(_commands(project, affected, short)), frames, labels, short)


def remaining(folder: Path, classes: Iterable[str]) -> tuple[int, dict[str, int]]:
    """Labelled frames that may be used, and labels on them by class."""
    labels = read_labels(folder)
    shut = barred(read_with_seals(folder), datetime.now(UTC))
    if labels.num_rows and shut:
        owner = footage_of(labels["frame_id"])
        labels = labels.filter(pc.invert(pc.is_in(owner, pa.array(sorted(shut), pa.string()))))
    names = labels["class"].to_pylist()
    counts = {name: names.count(name) for name in classes}
    return len(set(labels["frame_id"].to_pylist())), counts


def _commands(project: Project, affected: Affected, short: tuple[str, ...]) -> Iterable[str]:
    here = set(project.algorithm_names())
    serving = {each.algorithm for each in affected.certain if each.answering}
    if short:
        yield f"cityforge label push {affected.dataset}  (too few of {', '.join(short)})"
    begins = {name: _weights(project, name) for name in affected.algorithms if name in here}
    for name in _parents_first(affected.algorithms, begins):
        if name not in here:
            yield f"# '{name}' has no card in this project: rebuild it where it is"
            continue
        yield from _run(name, begins[name], affected, here)
        yield f"cityforge model approve {name}"
        if name in serving:
            yield f"cityforge serve {name}"
    yield "dvc gc --workspace  (with --cloud for remotes: earlier copies of the data)"


def _weights(project: Project, name: str) -> str:
    """`train.weights` of an algorithm; empty where its parameters do not read."""
    try:
        return project.algorithm_params(name).train.weights
    except CityforgeError:
        return ""


def _parent(weights: str) -> tuple[str, str]:
    """Algorithm, and version or alias, of `models:/ALGORITHM/VERSION`; empty of anything else."""
    found = ADDRESS.fullmatch(weights)
    return (found["name"], found["version"]) if found else ("", "")


def _parents_first(names: Iterable[str], begins: dict[str, str]) -> list[str]:
    """Names in their order, but for those that begin from the weights of a later one."""
    ordered: list[str] = []

    def put(name: str, below: tuple[str, ...]) -> None:
        parent, _ = _parent(begins.get(name, ""))
        if parent in wanted and parent not in below:
            put(parent, (*below, name))
        if name not in ordered:
            ordered.append(name)

    wanted = list(names)
    for each in wanted:
        put(each, (each,))
    return ordered


def _run(name: str, weights: str, affected: Affected, here: set[str]) -> Iterable[str]:
    """The command that makes an algorithm anew, from weights that do not rest on it either."""
    parent, version = _parent(weights)
    fallen = {(each.algorithm, str(each.version)) for each in affected.certain}
    learnt = any(each.algorithm == name and each.began_from for each in affected.certain)
    if (parent, version) in fallen and parent in here and parent != name:
        yield f"cityforge run {name} --set train.weights=models:/{parent}/champion"
    elif (parent, version) in fallen or (learnt and not parent and Path(weights).suffix):
        yield f"# '{name}' begins from {weights}, which rests on it: choose other weights"
        yield f"cityforge run {name} --set train.weights=scratch  (or weights of your choice)"
    else:
        yield f"cityforge run {name}"
