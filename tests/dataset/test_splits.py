"""Groups never part, shares are kept, and a split that proves nothing is refused."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from cityforge.cards.params import NamedPart, SharePart, SplitParams
from cityforge.dataset.splits import classes_without_box, refuse_unproven, split
from cityforge.errors import CheckFailed, InputError
from cityforge.tables import FOOTAGE, FRAMES, LABELS, SPLIT, from_rows

START = datetime(2026, 3, 1, 23, tzinfo=UTC)
LATEST = SharePart(share=0.25, pick="latest")
RANDOM = SharePart(share=0.25, pick="random")


def params(**changes: Any) -> SplitParams:
    values = {"group": "footage", "pattern": "", "test": LATEST, "val": RANDOM, "seed": 7}
    return SplitParams(**{**values, **changes})


def tables(films: int = 8, each: int = 3, timed: bool = True) -> tuple[pa.Table, pa.Table]:
    """Frames and footage; film n starts n hours in, on camera n % 4, its scene is n // 2."""
    footage, frames = [], []
    for n in range(films):
        folder = "valid" if n >= films - 2 else "train"
        footage.append(
            {
                "footage_id": f"f{n}", "path": "p", "name": f"{folder}/场景{n // 2}_{n}.jpg",
                "camera": f"北门{n % 4}", "duration_s": 3.0, "fps": 1.0, "width": 64, "height": 48,
                "codec": "x", "frames": each, "errors": 0, "lawful_basis": "x",
            }
        )  # fmt: skip
        frames += [
            {
                "frame_id": f"f{n}-{m}", "footage_id": f"f{n}", "pts_s": float(m), "shard": "s",
                "captured_at": START + timedelta(hours=n, seconds=m) if timed else None,
                "offset": 0, "bytes": 1, "width": 64, "height": 48, "phash": "0",
                "sharpness": 0.0, "brightness": 0.0,
                "contrast": 1.0, "lighting": "day", "faults": [], "redactions": [],
            }
            for m in range(each)
        ]  # fmt: skip
    return from_rows(frames, FRAMES), from_rows(footage, FOOTAGE)


def subsets(table: pa.Table) -> dict[str, set[str]]:
    """Footage of each subset."""
    found: dict[str, set[str]] = {}
    for row in table.to_pylist():
        found.setdefault(row["subset"], set()).add(row["frame_id"].split("-")[0])
    return found


@pytest.mark.parametrize(
    ("group", "pattern", "groups"),
    [("footage", "", 8), ("camera", "", 4), ("name", r"^(.+?)_\d+\.jpg$", 4)],
)
def test_frames_of_a_group_never_part(group: str, pattern: str, groups: int) -> None:
    dice = random.Random(1)
    for seed in range(20):
        share = SharePart(
            share=dice.choice([0.1, 0.25, 0.4]), pick=dice.choice(["latest", "random"])
        )
        table = split(params(group=group, pattern=pattern, test=share, seed=seed), *tables())
        assert table.schema == SPLIT
        assert table.num_rows == 24
        pairs = {(row["group"], row["subset"]) for row in table.to_pylist()}
        assert len(pairs) == groups


def test_a_day_is_a_group() -> None:
    frames, footage = tables(films=60)  # three days and some
    table = split(params(group="day"), frames, footage)
    day = {r["frame_id"]: str(r["captured_at"].date()) for r in frames.to_pylist()}
    assert all(row["group"] == day[row["frame_id"]] for row in table.to_pylist())
    assert {row["group"]: row["subset"] for row in table.to_pylist()}["2026-03-04"] == "test"
    assert len({row["group"] for row in table.to_pylist()}) == 4


def test_a_share_is_one_of_groups() -> None:
    table = split(params(), *tables())
    assert Counter(row["subset"] for row in table.to_pylist()) == {"train": 12, "val": 6, "test": 6}
    ids = table.column("frame_id").to_pylist()
    assert ids == sorted(ids)


def test_latest_takes_what_was_captured_last() -> None:
    assert subsets(split(params(), *tables()))["test"] == {"f6", "f7"}


def test_a_named_part_is_taken_by_its_footage() -> None:
    found = subsets(split(params(test=NamedPart(names="valid/*")), *tables()))
    assert found["test"] == {"f6", "f7"}


def test_a_named_part_that_cuts_through_a_group_is_refused() -> None:
    frames, footage = tables(films=7)  # valid is f5 and f6; f4 and f5 are one scene
    asked = params(group="name", pattern=r"^(.+?)_", test=NamedPart(names="valid/*"))
    with pytest.raises(CheckFailed, match="group '场景2' on both sides"):
        split(asked, frames, footage)


def test_random_is_stable_by_its_seed() -> None:
    first = split(params(test=RANDOM), *tables())
    frames, footage = tables()
    other_order = frames.take(list(range(frames.num_rows))[::-1])
    assert split(params(test=RANDOM), other_order, footage).equals(first)
    others = [subsets(split(params(test=RANDOM, seed=seed), *tables())) for seed in range(8)]
    assert any(each != subsets(first) for each in others)


@pytest.mark.parametrize(
    ("changes", "subset"),
    [
        ({"test": SharePart(share=0, pick="latest")}, "test"),
        ({"test": NamedPart(names="nowhere/*")}, "test"),
        ({"val": SharePart(share=0, pick="random")}, "val"),
        ({"test": NamedPart(names="*")}, "train"),
        ({"test": SharePart(share=0.5, pick="latest"), "val": SharePart(share=0.5, pick="latest")},
         "train"),
    ],
)  # fmt: skip
def test_an_empty_subset_is_refused(changes: dict[str, Any], subset: str) -> None:
    with pytest.raises(CheckFailed, match=f"a group in {subset}"):
        split(params(**changes), *tables())


@pytest.mark.parametrize("pattern", [r"^(never)_", r"^.+_"])
def test_a_pattern_that_finds_no_group_names_the_file(pattern: str) -> None:
    with pytest.raises(InputError, match=r"train/场景0_0\.jpg"):
        split(params(group="name", pattern=pattern), *tables())


def test_a_pattern_that_is_none_is_refused_by_its_card() -> None:
    with pytest.raises(ValueError, match="a regular expression"):
        params(group="name", pattern="(")


def test_days_without_a_time_are_asked_for_one() -> None:
    with pytest.raises(InputError, match="--started-at"):
        split(params(group="day"), *tables(timed=False))


def labels(where: dict[str, list[str | None]]) -> pa.Table:
    rows = [
        {
            "label_id": f"{frame}{n}", "frame_id": frame, "task": "detection", "class": name,
            "source": "x", "origin": "human",
        }
        for frame, names in where.items()
        for n, name in enumerate(names)
    ]  # fmt: skip
    return from_rows(rows, LABELS)


def three_frames() -> pa.Table:
    rows = [{"frame_id": s, "subset": s, "group": s} for s in ("train", "val", "test")]
    return from_rows(rows, SPLIT)


def test_a_class_without_a_box_in_test_is_refused_by_name() -> None:
    drawn = labels({"train": ["汽车", "bus"], "val": [None], "test": ["bus", None]})
    assert classes_without_box(three_frames(), drawn, ["汽车", "bus"]) == [
        ("val", "汽车"), ("val", "bus"), ("test", "汽车"),
    ]  # fmt: skip
    with pytest.raises(CheckFailed, match="none of class '汽车' in test, in algorithm 'x'"):
        refuse_unproven(three_frames(), drawn, ["汽车", "bus"], "algorithm 'x'")


def test_a_class_may_be_absent_from_val_alone() -> None:
    drawn = labels({"train": ["bus"], "val": [None], "test": ["bus"], "elsewhere": ["bus"]})
    refuse_unproven(three_frames(), drawn, ["bus"], "algorithm 'x'")
    assert classes_without_box(three_frames(), drawn, ["bus"]) == [("val", "bus")]
