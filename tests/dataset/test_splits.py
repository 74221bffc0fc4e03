"""Groups never part, shares are kept, and a split that proves nothing is refused."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from crossings import jpeg, split_params

from cityforge.cards.params import NamedPart, SharePart, SplitParams
from cityforge.dataset.frozen import Frozen, rule_of
from cityforge.dataset.labelled import labelled_frames
from cityforge.dataset.splits import UNSEEN, Parted, classes_without_box, refuse_unproven
from cityforge.dataset.splits import split as split_snapshot
from cityforge.dataset.standing import subsets_of
from cityforge.errors import CardError, CheckFailed, InputError, NameUnknown
from cityforge.tables import FOOTAGE, FRAMES, LABELS, SPLIT, from_rows

START = datetime(2026, 3, 1, 23, tzinfo=UTC)
LATEST = SharePart(share=0.25, pick="latest")
RANDOM = SharePart(share=0.25, pick="random")


def params(**changes: Any) -> SplitParams:
    parts = {"test": LATEST, "val": RANDOM}
    return split_params().model_copy(update={"group": "footage", "seed": 7, **parts, **changes})


@cache
def noise(frame_id: str) -> bytes:
    """A picture that is like no other frame's."""
    dice = np.random.default_rng(zlib.crc32(frame_id.encode()))
    return jpeg(np.kron(dice.integers(0, 255, (12, 16)), np.ones((4, 4))).astype(np.uint8))


def parted(asked: SplitParams, frames: pa.Table, footage: pa.Table) -> Parted:
    return split_snapshot(asked, frames, footage, noise, Frozen(rule_of(asked)))


def split(asked: SplitParams, frames: pa.Table, footage: pa.Table) -> pa.Table:
    return parted(asked, frames, footage).table


def tables(films: int = 8, each: int = 3, timed: bool = True) -> tuple[pa.Table, pa.Table]:
    """Frames and footage; film n starts n hours in, on camera n % 4, its scene is n // 2."""
    footage: list[dict[str, object]] = []
    frames: list[dict[str, object]] = []
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
    with pytest.raises(CardError, match="a regular expression"):
        split_params(group="name", pattern="(")


@pytest.mark.parametrize("group", ["day", "camera_time"])
def test_days_and_blocks_without_a_time_are_asked_for_one(group: str) -> None:
    with pytest.raises(InputError, match="--started-at"):
        split(params(group=group), *tables(timed=False))


@pytest.mark.parametrize(
    ("minutes", "moment", "block"),
    [
        (30, "23:00:02", "2026-03-01T23:00:00Z"),
        (30, "23:59:59", "2026-03-01T23:30:00Z"),
        (60, "00:00:00", "2026-03-01T00:00:00Z"),  # blocks begin at midnight
        (0.5, "10:00:31", "2026-03-01T10:00:30Z"),
        (7 * 60, "22:30:00", "2026-03-01T21:00:00Z"),  # the last one of a day is shorter
        (1440, "23:59:59", "2026-03-01T00:00:00Z"),
    ],
)
def test_a_camera_and_its_block_of_time_are_a_group(
    minutes: float, moment: str, block: str
) -> None:
    frames, footage = tables()
    times = frames["captured_at"].to_pylist()
    times[0] = datetime.fromisoformat(f"2026-03-01T{moment}+00:00")
    frames = frames.set_column(3, FRAMES.field("captured_at"), pa.array(times, FRAMES.types[3]))
    asked = params(group="camera_time", block_minutes=minutes)
    rows = split(asked, frames, footage).to_pylist()
    assert rows[0] == {"frame_id": "f0-0", "subset": rows[0]["subset"], "group": f"北门0 {block}"}
    assert len({(row["group"], row["subset"]) for row in rows}) == len({r["group"] for r in rows})


def test_unseen_cameras_are_a_subset_of_their_own() -> None:
    frames, footage = tables(films=16)
    table = split(params(unseen_cameras=["北门1", "北门3"]), frames, footage)
    found = subsets(table)
    assert found[UNSEEN] == {f"f{n}" for n in range(1, 16, 2)}
    assert {each: len(found[each]) for each in ("train", "val", "test")} == {
        "train": 4, "val": 2, "test": 2,
    }  # fmt: skip
    drawn = labels({"f1-0": ["bus"], "f0-0": ["bus", "bus"]})
    kept = labelled_frames(table, drawn, UNSEEN, ["bus"])
    assert (len(kept), len(kept.boxes.cls)) == (24, 1)  # type: ignore[attr-defined]
    assert len(labelled_frames(split(params(), frames, footage), drawn, UNSEEN, ["bus"])) == 0
    counted = subsets_of(table, drawn, ["bus"])
    assert [(row["subset"], row["frames"], row["groups"]) for row in counted] == [
        ("train", 12, 4), ("val", 6, 2), ("test", 6, 2), (UNSEEN, 24, 2),
    ]  # fmt: skip
    assert counted[3]["boxes"] == {"bus": 1}


def test_an_unknown_camera_is_refused_with_the_nearest() -> None:
    with pytest.raises(NameUnknown, match=r"found '北门7', in params split.unseen_cameras: did"):
        split(params(unseen_cameras=["北门7"]), *tables())


def test_frames_that_are_not_alike_are_all_kept() -> None:
    found = parted(params(), *tables())
    assert (found.left_out, found.leak.share) == ([], 0.0)
    assert found.stated()["leak"]["left_out"] == 0


def labels(where: dict[str, list[str | None]]) -> pa.Table:
    rows: list[dict[str, object]] = [
        {
            "label_id": f"{frame}{n}", "frame_id": frame, "task": "detection", "class": name,
            "source": "x", "origin": "human",
        }
        for frame, names in where.items()
        for n, name in enumerate(names)
    ]  # fmt: skip
    return from_rows(rows, LABELS)


def three_frames() -> pa.Table:
    rows: list[dict[str, object]] = [
        {"frame_id": s, "subset": s, "group": s} for s in ("train", "val", "test")
    ]
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


def test_labels_of_another_task_prove_nothing() -> None:
    drawn = labels({"train": ["bus"], "val": ["bus"], "test": ["bus"]})
    refuse_unproven(three_frames(), drawn, ["bus"], "algorithm 'x'", "density")  # boxes count
    with pytest.raises(CheckFailed, match="none of class 'bus' in train, class 'bus' in test"):
        refuse_unproven(three_frames(), drawn, ["bus"], "algorithm 'x'", "classification")
