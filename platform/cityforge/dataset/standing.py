"""A split as it stands: frames, boxes and groups of each subset, the leak, what was left out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from cityforge.errors import DataError
from cityforge.tables import SPLIT, read_table


def split_as_it_stands(
    build: Path, labels: pa.Table, classes: Sequence[str], algorithm: str
) -> dict[str, Any]:
    """What the split stage wrote to `build`/split, counted.

    Args:
        labels: table LABELS of the snapshot.
        classes: those of the algorithm.

    Raises:
        DataError: the stage has not run.
    """
    about = build / "split" / "snapshot.json"
    if not about.is_file():
        do = f"cityforge run {algorithm} --stage split"
        raise DataError("a split", found="none", where=str(about), do=do)
    stated = json.loads(about.read_text(encoding="utf-8"))
    table = read_table(SPLIT, build / "split" / "split.parquet")
    return {
        "algorithm": algorithm,
        "digest": stated["digest"],
        "subsets": subsets_of(table, labels, classes),
        "leak": stated.get("leak"),
        "left_out": stated.get("left_out", []),
    }


def subsets_of(table: pa.Table, labels: pa.Table, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Frames, groups and labels of each class, a row a subset; train, val, test come first."""
    frames: Counter[str] = Counter()
    groups: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    subset_of: dict[str, str] = {}
    for row in table.to_pylist():
        subset_of[row["frame_id"]] = row["subset"]
        frames[row["subset"]] += 1
        groups.setdefault(row["subset"], set()).add(row["group"])
    counted: Counter[tuple[str, str]] = Counter()
    pairs = labels.select(["frame_id", "class"]).to_pydict()
    for frame, name in zip(pairs["frame_id"], pairs["class"], strict=True):
        if frame in subset_of and name in classes:
            counted[subset_of[frame], name] += 1
    return [
        {
            "subset": subset,
            "frames": frames[subset],
            "groups": len(inside),
            "boxes": {name: counted[subset, name] for name in classes},
        }
        for subset, inside in groups.items()
    ]
