"""Parts a snapshot into train, val and test; frames of one group never part."""

from __future__ import annotations

import fnmatch
import random
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from cityforge.cards.params import NamedPart, SharePart, SplitParams
from cityforge.errors import CheckFailed, InputError
from cityforge.tables import SPLIT, from_rows

SUBSETS = ("train", "val", "test")


def split(params: SplitParams, frames: pa.Table, footage: pa.Table) -> pa.Table:
    """Give every frame of a snapshot its subset.

    The test part is taken first, then the val part from what is left; the rest trains.

    Returns:
        Table SPLIT, sorted by frame_id.

    Raises:
        InputError: the pattern does not fit a name.
        CheckFailed: a subset is empty, or a named part cuts through a group.
    """
    films = {row["footage_id"]: row for row in footage.to_pylist()}
    rows = frames.select(["frame_id", "footage_id", "captured_at"]).to_pylist()
    members: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        row["name"] = films[row["footage_id"]]["name"]
        members.setdefault(_group(params, row, films[row["footage_id"]]), []).append(row)
    left = sorted(members)
    subset_of: dict[str, str] = {}
    for subset, part in (("test", params.test), ("val", params.val)):
        taken = _take(part, left, members, params.seed, share_of=len(members))
        subset_of |= dict.fromkeys(taken, subset)
        left = [group for group in left if group not in subset_of]
    subset_of |= dict.fromkeys(left, "train")
    _none_empty(subset_of)
    table = [
        {"frame_id": row["frame_id"], "subset": subset_of[group], "group": group}
        for group, inside in members.items()
        for row in inside
    ]
    return from_rows(sorted(table, key=lambda row: str(row["frame_id"])), SPLIT)


def classes_without_box(
    split_table: pa.Table, labels: pa.Table, classes: Sequence[str]
) -> list[tuple[str, str]]:
    """(subset, class) pairs that hold no single box."""
    subset_of = dict(
        zip(
            split_table.column("frame_id").to_pylist(),
            split_table.column("subset").to_pylist(),
            strict=True,
        )
    )
    there = {
        (subset_of[frame], name)
        for frame, name in zip(
            labels.column("frame_id").to_pylist(), labels.column("class").to_pylist(), strict=True
        )
        if frame in subset_of
    }
    return [(s, name) for s in SUBSETS for name in classes if (s, name) not in there]


def refuse_unproven(
    split_table: pa.Table, labels: pa.Table, classes: Sequence[str], where: str
) -> None:
    """Refuse a split in which a class cannot be learnt or proven.

    Raises:
        CheckFailed: a class without a box in train or test.
    """
    missing = [
        pair for pair in classes_without_box(split_table, labels, classes) if pair[0] != "val"
    ]
    if missing:
        shown = ", ".join(f"class '{name}' in {subset}" for subset, name in missing)
        raise CheckFailed(
            "a box of every class in train and in test",
            found=f"none of {shown}",
            where=where,
            do="label more, split otherwise (params split), or take the class from the card",
        )


def _group(params: SplitParams, row: dict[str, Any], film: dict[str, Any]) -> str:
    if params.group == "footage":
        return str(row["footage_id"])
    if params.group == "camera":
        return str(film["camera"])
    if params.group == "day":
        if row["captured_at"] is None:
            raise InputError(
                "a time of capture",
                found="none",
                where=film["name"],
                do="add it with --started-at, or split by footage (split.group)",
            )
        return str(row["captured_at"].date())
    found = re.search(params.pattern, film["name"].rsplit("/", 1)[-1])
    if found is None or not found.groups():
        raise InputError(
            f"a name that split.pattern '{params.pattern}' finds a group in", found=film["name"]
        )
    return str(found.group(1))


def _take(
    part: NamedPart | SharePart,
    left: list[str],
    members: dict[str, list[dict[str, Any]]],
    seed: int,
    share_of: int,
) -> list[str]:
    if isinstance(part, NamedPart):
        return [group for group in left if _named(part.names, group, members[group])]
    wanted = min(max(1, round(part.share * share_of)), len(left)) if part.share > 0 else 0
    if part.pick == "latest":
        return sorted(left, key=lambda group: _latest(members[group]))[len(left) - wanted :]
    return random.Random(f"{seed}").sample(left, wanted)


def _named(names: str, group: str, inside: list[dict[str, Any]]) -> bool:
    fits = [fnmatch.fnmatch(row["name"], names) for row in inside]
    if any(fits) and not all(fits):
        other = inside[fits.index(False)]["name"]
        raise CheckFailed(
            f"all frames of a group within or without '{names}'",
            found=f"group '{group}' on both sides (such as {other})",
            where="params split",
            do="the same scene would be learnt and tested: group otherwise, or name another part",
        )
    return all(fits)


def _latest(inside: list[dict[str, Any]]) -> tuple[str, str]:
    moments = [str(row["captured_at"]) for row in inside if row["captured_at"]]
    return (max(moments, default=""), str(inside[0]["frame_id"]))


def _none_empty(subset_of: dict[str, str]) -> None:
    for subset in SUBSETS:
        if subset not in subset_of.values():
            raise CheckFailed(
                f"a group in {subset}",
                found=f"none ({len(subset_of)} groups in all)",
                where="params split",
                do="take smaller shares, or group more finely (split.group)",
            )
