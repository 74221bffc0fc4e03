"""Parts a snapshot into train, val, test and unseen; frames of one group never part."""

from __future__ import annotations

import fnmatch
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.params import NamedPart, SharePart, SplitParams
from cityforge.dataset.frozen import Frozen
from cityforge.dataset.labelled import READ_FROM
from cityforge.dataset.leaks import Leak, Nearness, NearPair, leave_out
from cityforge.dataset.units import Units
from cityforge.errors import CheckFailed, InputError, NameUnknown
from cityforge.tables import SPLIT, from_rows

SUBSETS = ("train", "val", "test")
UNSEEN = "unseen"


@dataclass(frozen=True)
class Parted:
    """A snapshot's split, and what is known about it."""

    table: pa.Table  # SPLIT, sorted by frame_id
    leak: Leak
    left_out: list[NearPair]  # frames in no subset, each with the one it is near to
    frozen: Frozen  # the groups' subsets, those given now included

    def stated(self) -> dict[str, Any]:
        """What the snapshot with this split says of its leak."""
        leak = {**asdict(self.leak), "left_out": len(self.left_out)}
        return {"leak": leak, "left_out": [asdict(each) for each in self.left_out]}


def split(
    params: SplitParams,
    frames: pa.Table,
    footage: pa.Table,
    read: Callable[[str], bytes],
    frozen: Frozen,
) -> Parted:
    """Give every frame of a snapshot its subset; groups that have one keep it.

    The test part is taken first, then the val part from what is left; the rest trains.

    Args:
        read: the stored JPEG of a frame.

    Raises:
        InputError: the pattern does not fit a name, a time is missing, or a camera is unknown.
        CheckFailed: a subset is empty, or a named part cuts through a group.
    """
    frames = frames.sort_by("frame_id")
    rows = _rows_with_groups(params, frames, footage)
    members: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        members.setdefault(row["group"], []).append(row)
    given = {g: subset for g, subset in frozen.subset_of.items() if g in members}
    given |= {group: UNSEEN for group, inside in members.items() if inside[0]["unseen"]}
    nearness = Nearness(params.near, frames, [row["camera"] for row in rows], read)
    known = nearness.across([row["group"] for row in rows])
    units = Units(members, given)
    if params.near.act == "join":
        for (one, other), _ in sorted(known.items(), key=lambda each: (-each[1], each[0])):
            units.join(rows[one]["group"], rows[other]["group"])
    subset_of = _parted(params, members, units)
    frozen = frozen.with_new(subset_of)
    subsets = [subset_of[row["group"]] for row in rows]
    since = [frozen.since[row["group"]] for row in rows]
    out, leak = leave_out(nearness, known, subsets, since)
    table = [
        {"frame_id": row["frame_id"], "subset": subset, "group": row["group"]}
        for at, (row, subset) in enumerate(zip(rows, subsets, strict=True))
        if at not in out
    ]
    _none_empty([str(row["subset"]) for row in table], len(members))
    return Parted(from_rows(table, SPLIT), leak, [out[at] for at in sorted(out)], frozen)


def classes_without_box(
    split_table: pa.Table, labels: pa.Table, classes: Sequence[str]
) -> list[tuple[str, str]]:
    """(subset, class) pairs that hold no single label."""
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
    split_table: pa.Table,
    labels: pa.Table,
    classes: Sequence[str],
    where: str,
    task: str = "detection",
) -> None:
    """Refuse a split in which a class cannot be learnt or proven by the labels of a task.

    Raises:
        CheckFailed: a class without a label in train or test.
    """
    labels = labels.filter(pc.is_in(labels["task"], pa.array(READ_FROM[task])))
    missing = [
        pair for pair in classes_without_box(split_table, labels, classes) if pair[0] != "val"
    ]
    if missing:
        shown = ", ".join(f"class '{name}' in {subset}" for subset, name in missing)
        raise CheckFailed(
            "a label of every class in train and in test",
            found=f"none of {shown}",
            where=where,
            do="label more, split otherwise (params split), or take the class from the card",
        )


def _rows_with_groups(
    params: SplitParams, frames: pa.Table, footage: pa.Table
) -> list[dict[str, Any]]:
    """Each frame with its film's name and camera, its group, and whether its camera is unseen."""
    films = {row["footage_id"]: row for row in footage.to_pylist()}
    cameras = {str(film["camera"]) for film in films.values()}
    for name in params.unseen_cameras:
        if name not in cameras:
            raise NameUnknown(
                "a camera with footage", name, cameras, where="params split.unseen_cameras"
            )
    rows: list[dict[str, Any]] = frames.select(
        ["frame_id", "footage_id", "captured_at"]
    ).to_pylist()
    for row in rows:
        film = films[row["footage_id"]]
        row["name"], row["camera"] = film["name"], str(film["camera"])
        row["unseen"] = row["camera"] in params.unseen_cameras
        row["group"] = f"{UNSEEN} {row['camera']}" if row["unseen"] else _group(params, row)
    return rows


def _group(params: SplitParams, row: dict[str, Any]) -> str:
    if params.group == "footage":
        return str(row["footage_id"])
    if params.group == "camera":
        return str(row["camera"])
    if params.group in ("day", "camera_time"):
        return _group_in_time(params, row)
    found = re.search(params.pattern, row["name"].rsplit("/", 1)[-1])
    if found is None or not found.groups():
        raise InputError(
            f"a name that split.pattern '{params.pattern}' finds a group in", found=row["name"]
        )
    return str(found.group(1))


def _group_in_time(params: SplitParams, row: dict[str, Any]) -> str:
    """The day (UTC), or the camera and its block of time; blocks begin at midnight UTC."""
    moment = row["captured_at"]
    if moment is None:
        raise InputError(
            "a time of capture",
            found="none",
            where=row["name"],
            do="add it with --started-at, or split by footage (split.group)",
        )
    if params.group == "day":
        return str(moment.date())
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    block = timedelta(minutes=params.block_minutes)
    start = midnight + (moment - midnight) // block * block
    return f"{row['camera']} {start:%Y-%m-%dT%H:%M:%SZ}"


def _parted(
    params: SplitParams, members: Mapping[str, list[dict[str, Any]]], units: Units
) -> dict[str, str]:
    """Subset of each group: that of its unit."""
    seen = [group for group in sorted(members) if units.subset_of(group) != UNSEEN]
    for subset, part in (("test", params.test), ("val", params.val)):
        if isinstance(part, NamedPart):
            still = [group for group in seen if units.subset_of(group) in (None, "train", subset)]
            named = [group for group in still if _named(part.names, group, members[group])]
            units.give(named, subset)
        else:
            wanted = max(1, round(part.share * len(seen))) if part.share > 0 else 0
            units.fill(subset, wanted, _order(part, units.free(), members, params.seed, wanted))
    return {group: units.subset_of(group) or "train" for group in members}


def _order(
    part: SharePart,
    free: list[list[str]],
    members: Mapping[str, list[dict[str, Any]]],
    seed: int,
    wanted: int,
) -> list[list[str]]:
    """Units without a subset, in the order in which a part takes them."""
    if part.pick == "latest":

        def latest(unit: list[str]) -> tuple[str, str]:
            return max(_latest(members[group]) for group in unit)

        return sorted(free, key=latest, reverse=True)
    drawn = random.Random(f"{seed}").sample(free, min(wanted, len(free)))
    return drawn + [unit for unit in free if unit not in drawn]


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


def _none_empty(subsets: Sequence[str], groups: int) -> None:
    for subset in SUBSETS:
        if subset not in subsets:
            raise CheckFailed(
                f"a group in {subset}",
                found=f"none ({groups} groups in all)",
                where="params split",
                do="take smaller shares, or group more finely (split.group)",
            )
