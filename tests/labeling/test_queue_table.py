"""The queue as people are asked: open classes first, gold among the rest, spread and hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from cityforge.labeling.gold import read_gold
from cityforge.labeling.queue import Asked
from cityforge.labeling.queue_table import queue_rows, remember_gold

ASKED = [Asked(f"f{number:02d}", "why", 0.5, 1.0) for number in range(40)]
TRUSTED = [f"g{number:02d}" for number in range(30)]


def test_what_a_split_left_open_comes_first_and_once() -> None:
    rows = queue_rows(ASKED[:3], open_classes={"z", "f01"})
    assert [(row["frame_id"], row["purpose"], row["rank"]) for row in rows] == [
        ("f01", "split", 0), ("z", "split", 1), ("f00", "teach", 2), ("f02", "teach", 3),
    ]  # fmt: skip


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.1, 4), (0.2, 10), (0.5, 30)])
def test_share_of_gold(share: float, count: int) -> None:
    rows = queue_rows(ASKED, trusted=TRUSTED, gold_share=share)
    gold = [row for row in rows if row["purpose"] == "gold"]
    assert len({row["frame_id"] for row in gold}) == len(gold) == count
    assert len(rows) == 40 + count
    assert [row["rank"] for row in rows] == list(range(len(rows)))
    assert [row["frame_id"] for row in rows if row["purpose"] == "teach"] == [
        each.frame_id for each in ASKED
    ]


def test_gold_is_spread_over_the_queue_and_the_same_each_time() -> None:
    rows = queue_rows(ASKED, trusted=TRUSTED, gold_share=0.2)
    assert rows == queue_rows(ASKED, trusted=TRUSTED[::-1], gold_share=0.2)
    halves = [sum(row["purpose"] == "gold" for row in part) for part in (rows[:25], rows[25:])]
    assert min(halves) >= 3


def test_gold_of_earlier_queues_stays_gold(tmp_path: Path) -> None:
    remember_gold(tmp_path, queue_rows(ASKED, trusted=["a"], gold_share=0.1))
    remember_gold(tmp_path, queue_rows(ASKED, trusted=["b"], gold_share=0.1))
    assert read_gold(tmp_path) == {"a", "b"}
    before = (tmp_path / "labels" / "gold.json").stat().st_mtime_ns
    remember_gold(tmp_path, queue_rows(ASKED))
    assert (tmp_path / "labels" / "gold.json").stat().st_mtime_ns == before
