"""The queue as a table: what a split left open first, then what teaches, gold hidden among it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from cityforge.labeling.gold import gold_path, read_gold
from cityforge.labeling.queue import Asked

Row = dict[str, Any]  # of table QUEUE


def queue_rows(
    asked: Sequence[Asked],
    *,
    open_classes: Collection[str] = (),
    trusted: Collection[str] = (),
    gold_share: float = 0.0,
) -> list[Row]:
    """Rows of table QUEUE in the order in which people are asked.

    Args:
        asked: unlabelled frames in the queue's order.
        open_classes: frames with a label whose class a split of the ontology left open.
        trusted: frames whose labels are known to be right, from which gold tasks are taken.
        gold_share: of all rows that are to be gold, 0 to 0.5.
    """
    rows = [
        _row(each, "split", "its class was split, and no rule of the card decides")
        for each in sorted(open_classes)
    ]
    rows += [
        _row(each.frame_id, "teach", each.reason, each.uncertainty, each.novelty)
        for each in asked
        if each.frame_id not in open_classes
    ]
    gold = sorted(set(trusted) - set(open_classes), key=_lot)
    wanted = min(round(len(rows) * gold_share / (1 - gold_share)), len(gold))
    for number in range(wanted):  # spread evenly, at no place that could be guessed
        around = (number + 0.5) * len(rows) / wanted
        place = min(len(rows), int(around) + int(_lot(gold[number]), 16) % 5)
        rows.insert(place, _row(gold[number], "gold", "the queue's next frame"))
    return [{**row, "rank": rank} for rank, row in enumerate(rows)]


def remember_gold(folder: Path, rows: Sequence[Row]) -> None:
    """Add the gold frames of a queue to those that score annotators."""
    known = read_gold(folder)
    gold = known | {row["frame_id"] for row in rows if row["purpose"] == "gold"}
    if gold == known:
        return
    path = gold_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}")
    beside.write_text(json.dumps(sorted(gold), indent=0) + "\n", encoding="utf-8")
    beside.replace(path)


def _row(
    frame_id: str,
    purpose: str,
    reason: str,
    uncertainty: float | None = None,
    novelty: float | None = None,
) -> Row:
    return {
        "frame_id": frame_id, "purpose": purpose, "reason": reason,
        "uncertainty": uncertainty, "novelty": novelty,
    }  # fmt: skip


def _lot(frame_id: str) -> str:
    """A lot that is the same on every machine."""
    return hashlib.sha256(frame_id.encode()).hexdigest()[:8]
