"""The labelling queue: an order that anyone can check by hand, and the same one each time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cityforge.labeling.queue import (
    Frames,
    Weights,
    bits_of,
    embedding_of_bits,
    expected_of,
    order,
    uncertainty_of,
)

FAR = [f"{0x0123456789ABCDEF * (7 * n + 1) % 2**64:016x}" for n in range(40)]


def on_a_circle(*degrees: float) -> NDArray[Any]:
    angles = np.radians(degrees)
    return np.stack((np.cos(angles), np.sin(angles)), 1).astype(np.float32)


def frames(
    *degrees: float, cameras: str = "", lighting: str = "", first: int = 0, **more: Any
) -> Frames:
    """Frames at places on a circle, each with a hash of its own."""
    count = len(degrees)
    return Frames(
        frame_ids=[f"f{first + row:02d}" for row in range(count)],
        cameras=list(cameras) or ["a"] * count,
        lighting=[{"n": "night"}.get(each, "day") for each in lighting or "d" * count],
        phash=bits_of(FAR[first : first + count]),
        embedding=on_a_circle(*degrees),
        **more,
    )


NOTHING = frames(first=30)
NO_COUNTS = np.zeros(0)


def asked(open_frames: Frames, labelled: Frames = NOTHING, **more: Any) -> list[str]:
    found = order(open_frames, labelled, NO_COUNTS, [], limit=more.pop("limit", 99), **more)
    return [each.frame_id for each in found.asked]


def test_the_furthest_from_all_that_is_known_comes_first() -> None:
    # 0° is labelled: 180° is furthest, then 90° (from both), then 45° (45° away from 0° and 90°).
    assert asked(frames(10, 45, 90, 180), frames(0, first=30)) == ["f03", "f02", "f01", "f00"]


def test_doubt_outweighs_distance_where_it_counts_more() -> None:
    doubtful = frames(10, 90, 180, uncertainty=np.array([1.0, 0.0, 0.0]))
    known = frames(0, first=30)
    assert asked(doubtful, known, weights=Weights(uncertainty=0.0))[0] == "f02"
    assert asked(doubtful, known, weights=Weights(uncertainty=3.0))[0] == "f00"


def test_a_class_with_few_labels_comes_first() -> None:
    expected = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = order(
        frames(90, 90.1, expected=expected), NOTHING, np.array([100, 3]), ["car", "巴士"], limit=9
    )
    assert [each.frame_id for each in found.asked] == ["f01", "f00"]
    assert "'巴士'" in found.asked[0].reason


def test_cameras_take_turns_after_those_that_lag_have_caught_up() -> None:
    known = frames(0, 20, cameras="aa", first=30)
    rows = asked(frames(40, 80, 120, 160, 200, 240, cameras="aaabbb"), known)
    cameras = dict(zip((f"f{n:02d}" for n in range(6)), "aaabbb", strict=True))
    assert [cameras[row] for row in rows] == ["b", "b", "a", "b", "a", "a"]


def test_night_has_its_own_turn_at_each_camera() -> None:
    known = frames(0, 20, cameras="ab", first=30)
    rows = asked(frames(40, 80, 120, 160, cameras="aabb", lighting="dndn"), known)
    assert set(rows[:2]) == {"f01", "f03"}


@pytest.mark.parametrize(("bits", "count"), [(0, 3), (1, 2), (2, 1)])
def test_nearly_the_same_picture_is_asked_once(bits: int, count: int) -> None:
    same = replace(frames(0, 120, 240), phash=np.array([0b000, 0b001, 0b011], np.uint64))
    found = order(same, NOTHING, NO_COUNTS, [], limit=9, near_bits=bits)
    assert len(found.asked) == count
    assert len(found.asked) + len(found.alike) == 3
    assert set(found.alike.values()) <= {each.frame_id for each in found.asked}


def test_a_picture_like_a_labelled_one_is_not_asked() -> None:
    labelled = frames(0, first=30)
    twin = replace(frames(180), phash=labelled.phash)
    found = order(twin, labelled, NO_COUNTS, [], limit=9)
    assert (found.asked, found.alike) == ([], {"f00": "f30"})


@pytest.mark.parametrize("seed", range(5))
def test_the_order_does_not_hang_on_how_frames_are_handed_in(seed: int) -> None:
    dice = np.random.default_rng(seed)
    degrees = dice.integers(0, 24, 30) * 15.0  # many ties
    whole = frames(*degrees, cameras="abc" * 10, uncertainty=dice.integers(0, 3, 30) / 2)
    shuffle = dice.permutation(30)
    assert whole.uncertainty is not None
    mixed = Frames(
        frame_ids=[whole.frame_ids[row] for row in shuffle],
        cameras=[whole.cameras[row] for row in shuffle],
        lighting=whole.lighting,
        phash=whole.phash[shuffle],
        embedding=whole.embedding[shuffle],
        uncertainty=whole.uncertainty[shuffle],
    )
    assert len(asked(whole)) == 30
    assert asked(mixed) == asked(whole)


def test_a_longer_queue_begins_with_the_shorter_one() -> None:
    some = frames(*range(0, 360, 17), cameras="abc" * 7 + "a")
    assert asked(some, limit=20)[:5] == asked(some, limit=5)


@pytest.mark.parametrize(
    ("scores", "doubt"),
    [([], 0.0), ([1.0, 0.0], 0.0), ([0.5] * 5, 1.0), ([0.5] * 9, 1.0), ([0.75], 0.1)],
)
def test_uncertainty(scores: list[float], doubt: float) -> None:
    assert uncertainty_of(np.array(scores)) == pytest.approx(doubt)


def test_objects_that_a_model_expects() -> None:
    assert expected_of(np.array([2, 0, 2]), np.array([0.5, 0.25, 0.5]), 4).tolist() == [
        0.25, 0, 1, 0,
    ]  # fmt: skip


def test_bits_stand_in_for_an_embedding() -> None:
    places = embedding_of_bits(
        bits_of(["0000000000000000", "ffffffffffffffff", "00000000ffffffff"])
    )
    assert (places @ places[0]).tolist() == [1.0, -1.0, 0.0]
