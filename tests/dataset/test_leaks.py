"""A copy is found wherever it lies, another moment of the street is none, a leak is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from crossings import (
    COPIES,
    Picture,
    Town,
    grey_of,
    jpeg,
    moment,
    ordinary_town,
    split_params,
    subset_of,
)

from cityforge.cards.params import NearParams
from cityforge.dataset.leaks import Leak, Nearness, NearPair, leave_out, measured, refuse_leak
from cityforge.dataset.likeness import likeness, tiny_pictures
from cityforge.dataset.neighbours import embedding, near_hashes, nearest_of
from cityforge.errors import CheckFailed, DataError

NEAR = NearParams(bits=10, likeness=0.95, act="join")
PLANTED = 30


def tiny(*pictures: bytes) -> list[Picture]:
    ids = [str(number) for number in range(len(pictures))]
    widths = [grey_of(each).shape[1] for each in pictures]
    return list(tiny_pictures(ids, widths, lambda name: pictures[int(name)]))


@pytest.mark.parametrize("light", [1.0, 0.15], ids=["day", "night"])
@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_near_its_frame(copy: str, light: float) -> None:
    for seed in range(6):
        picture = moment(seed, seed, light=light)
        assert likeness(*tiny(jpeg(picture), COPIES[copy](picture))) >= NEAR.likeness


@pytest.mark.parametrize("light", [1.0, 0.15], ids=["day", "night"])
@pytest.mark.parametrize("vehicles", [1, 3])
def test_another_moment_of_a_street_is_not_near(vehicles: int, light: float) -> None:
    for seed in range(8):
        pair = (moment(1, seed + offset, vehicles, light) for offset in (0, 50))
        assert likeness(*tiny(*map(jpeg, pair))) < NEAR.likeness - 0.02


def test_one_vehicle_more_is_another_moment_though_most_of_the_picture_is_the_same() -> None:
    empty, one = (moment(2, 3, vehicles) for vehicles in (0, 1))
    assert np.corrcoef(empty.ravel(), one.ravel())[0, 1] > 0.9  # what a global figure says
    assert likeness(*tiny(jpeg(empty), jpeg(one))) < 0.9
    assert likeness(*tiny(jpeg(empty), jpeg(empty, 60))) > 0.98  # an empty street twice is near


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_pictures_without_any_edge_have_a_likeness(grey: int) -> None:
    flat = np.full((90, 160), grey, np.uint8)
    assert likeness(*tiny(jpeg(flat), jpeg(flat))) == pytest.approx(1.0, abs=0.01)
    assert likeness(*tiny(jpeg(flat), jpeg(moment(0, 1)))) < 0.9


def test_what_is_no_picture_is_named() -> None:
    with pytest.raises(DataError, match="frame f1-0"):
        tiny_pictures(["f1-0"], [64], lambda _: b"nothing")


@pytest.mark.parametrize("bits", [0, 3, 10])
def test_hashes_are_compared_with_all_others(bits: int) -> None:
    dice = np.random.default_rng(bits)
    hashes = dice.integers(0, 2**63, 300).astype(np.uint64)
    hashes[200:] = hashes[:100]
    hashes[150:200:2] = hashes[151:200:2]  # neighbours
    for row in range(200, 300):  # up to 12 bits away
        for bit in dice.choice(64, int(dice.integers(0, 13)), replace=False):
            hashes[row] ^= np.uint64(1) << np.uint64(bit)
    found = {(row, int(mate)) for row, mates in near_hashes(hashes, bits) for mate in mates}
    values = [int(each) for each in hashes]
    wanted = {
        (row, mate)
        for row in range(300)
        for mate in range(row + 1, 300)
        if (values[row] ^ values[mate]).bit_count() <= bits
    }
    assert found == wanted
    assert wanted


def test_the_nearest_is_that_of_all_products() -> None:
    dice = np.random.default_rng(1)
    queries, among = dice.normal(size=(1100, 4)), dice.normal(size=(9000, 4))
    rows, best = nearest_of(queries.astype(np.float32), among.astype(np.float32))
    every = queries @ among.T
    np.testing.assert_allclose(best, every.max(1), rtol=1e-5)
    assert (rows == every.argmax(1)).mean() > 0.999  # but for ties in float32


def test_a_cameras_background_is_no_likeness_of_the_embedding() -> None:
    pictures = np.stack(tiny(*(jpeg(moment(3, seed)) for seed in range(12))))
    found = embedding(pictures, ["北门"] * 12)
    raw = embedding(pictures, [str(number) for number in range(12)])  # no camera has a mean
    others = ~np.eye(12, dtype=bool)
    assert (raw @ raw.T)[others].min() > 0.6
    assert (found @ found.T)[others].max() < 0.5


def town_with_copies(seed: int = 0) -> tuple[Town, list[tuple[str, str]]]:
    """Ordinary films, and copies of 30 of their frames in other films of other cameras."""
    town, dice = ordinary_town(15, 4), np.random.default_rng(seed)
    sources = [(film, at) for film in range(15) for at in range(4)]
    chosen = [sources[number] for number in dice.permutation(len(sources))[:PLANTED]]
    kinds, pairs = list(COPIES), []
    for number, (film, at) in enumerate(chosen):
        copy = COPIES[kinds[number % len(kinds)]](moment(film % 3, 100 * film + at))
        (frame,) = town.film(f"g{number:02d}", f"东门{number % 4}", 20 + number, [copy])
        pairs.append((f"f{film:02d}-{at * 1000:06d}", frame))
    return town, pairs


@pytest.mark.parametrize("act", ["join", "leave_out"])
def test_no_planted_copy_lies_on_two_sides(act: str) -> None:
    town, pairs = town_with_copies()
    part = {"share": 0.25, "pick": "random"}
    apart = 0
    for seed in range(3):
        parted = town.split(split_params(near={"act": act}, test=part, val=part, seed=seed))
        where = subset_of(parted)
        apart += sum(where.get(one) != where.get(other) for one, other in pairs)
        crossing = [p for p in pairs if {*p} <= {*where} and where[p[0]] != where[p[1]]]
        assert (crossing, parted.leak.share) == ([], 0.0)
        assert parted.leak.nearest < NEAR.likeness
        assert set(where) | {each.frame for each in parted.left_out} == set(town.stored)
        assert {each.frame for each in parted.left_out}.isdisjoint(where)
    assert apart == 0 if act == "join" else apart >= 10  # whole films of 5 against single frames


def test_other_moments_are_neither_joined_nor_left_out() -> None:
    town = ordinary_town(18)
    joined = town.split(split_params(near={"act": "join"}))
    assert joined.left_out == []
    assert Counter(subset_of(joined).values()) == {"train": 30, "val": 12, "test": 12}
    assert joined.table.equals(town.split(split_params()).table)


def rows_of(town: Town) -> tuple[Nearness, list[str]]:
    frames = town.tables()[0].sort_by("frame_id")
    cameras = {film["footage_id"]: film["camera"] for film in town.films}
    films = frames["footage_id"].to_pylist()
    return Nearness(NEAR, frames, [cameras[film] for film in films], town.stored.get), films  # type: ignore[arg-type]


def test_the_leak_is_the_share_of_evaluated_frames_with_a_copy_in_train() -> None:
    town, pairs = town_with_copies()
    nearness, films = rows_of(town)
    subsets = ["train" if film.startswith("f") else "test" for film in films]
    leak = measured(nearness, nearness.across(films), subsets, {})
    assert leak.share == 1.0  # all 30 of 30
    assert {(pair.near, pair.frame) for pair in leak.pairs} <= set(pairs)
    half = ["val" if film < "f08" else "train" for film in films]
    found = measured(nearness, nearness.across(films), half, {})
    inside = [one for one, _ in pairs if one < "f08"]
    assert found.share == pytest.approx(len(inside) / half.count("val"))
    out, after = leave_out(nearness, nearness.across(films), half, [0] * len(films))
    assert (len(out), after.share) == (len(inside), 0.0)
    assert {nearness.ids[row][0] for row in out} == {"g"}  # val stays, train gives way


def test_the_embedding_finds_copies_that_no_hash_does() -> None:
    town, pairs = town_with_copies()
    for row in town.frames:  # hashes that lie far apart
        row["phash"] = sha256(row["frame_id"].encode()).hexdigest()[:16]
    nearness, films = rows_of(town)
    assert nearness.across(films) == {}
    subsets = ["train" if film.startswith("f") else "test" for film in films]
    out, leak = leave_out(nearness, {}, subsets, [0] * len(films))
    found = {(pair.frame, pair.near) for pair in out.values()}
    assert len(found & set(pairs)) >= 20
    assert leak.share == 0.0


def test_a_leak_over_the_limit_names_its_pair() -> None:
    leak = Leak(0.25, 0.99, [NearPair("f1-0", "f2-0", 0.99)])
    with pytest.raises(CheckFailed, match=r"25.00%, such as f1-0 and f2-0 \(likeness 0.990\)"):
        refuse_leak(leak, 0.2, "algorithm 'x'")
    refuse_leak(leak, 0.25, "algorithm 'x'")
    refuse_leak(Leak(0.0, 0.0), 0.0, "algorithm 'x'")


def test_an_unseen_camera_keeps_its_frames_and_train_gives_way() -> None:
    town, pairs = town_with_copies()
    params = split_params(unseen_cameras=["东门1"], near={"act": "join"})
    parted = town.split(params)
    where = subset_of(parted)
    given = parted.frozen.subset_of
    unseen = {film["footage_id"] for film in town.films if film["camera"] == "东门1"}
    assert {frame.split("-")[0] for frame, kind in where.items() if kind == "unseen"} == unseen
    gone = {each.frame for each in parted.left_out}
    assert gone == {
        one for one, copy in pairs if copy[:3] in unseen and given[one.split("-")[0]] != "test"
    }
    assert parted.leak.share == 0.0


@pytest.mark.real
@pytest.mark.parametrize("act", ["join", "leave_out"])
def test_copies_of_real_photographs_stay_on_one_side(
    real_data: Callable[[str], Path], act: str
) -> None:
    """Every fourth photograph of `highway`, as one file each: 105 and 30 copies."""
    photographs = sorted(real_data("highway").glob("*/images/*.jpg"))[::4]
    assert len(photographs) == 105
    town, kinds = Town(), list(COPIES)
    pairs: list[tuple[str, str]] = []
    for number, path in enumerate(photographs):
        (frame,) = town.film(f"f{number:03d}", "road", number, [path.read_bytes()])
        if number % 3 == 0 and len(pairs) < PLANTED:
            copy = COPIES[kinds[number // 3 % len(kinds)]](grey_of(path.read_bytes()))
            (planted,) = town.film(f"g{number:03d}", "elsewhere", 200 + number, [copy])
            pairs.append((frame, planted))
    assert len(pairs) == PLANTED
    part = {"share": 0.3, "pick": "random"}
    parted = town.split(split_params(near={"act": act}, test=part, val=part))
    where = subset_of(parted)
    kept = [pair for pair in pairs if set(pair) <= set(where)]
    assert [pair for pair in kept if where[pair[0]] != where[pair[1]]] == []
    assert parted.leak.share == 0.0
    if act == "join":
        assert (len(kept), parted.left_out) == (PLANTED, [])
        assert parted.table.num_rows == 135
        assert Counter(where.values())["test"] in range(36, 44)  # 0.3 of 135 groups
