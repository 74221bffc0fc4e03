"""A frame never changes its subset when data is added; a changed rule makes all anew."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from crossings import COPIES, Town, jpeg, moment, ordinary_town, split_params, subset_of

from cityforge.dataset.frozen import Frozen, read_frozen, rule_of, write_frozen
from cityforge.dataset.splits import Parted
from cityforge.errors import DataError

LATEST = {"share": 0.25, "pick": "latest"}


def first_round(town: Town, act: str = "join", seed: int = 7) -> Parted:
    return town.split(split_params(near={"act": act}, seed=seed))


@pytest.mark.parametrize("pick", ["latest", "random"])
@pytest.mark.parametrize("seed", [1, 2])
def test_added_films_move_no_frame(pick: str, seed: int) -> None:
    part = {"share": 0.25, "pick": pick}
    params = split_params(test=part, val=part, seed=seed)
    town = ordinary_town(8)
    before = town.split(params)
    for number in range(8, 24):
        town.film(f"e{number:02d}", "北门1", number, [jpeg(moment(1, 900 + number))])
    after = town.split(params, before.frozen)
    where, earlier = subset_of(after), subset_of(before)
    assert {frame: where[frame] for frame in earlier} == earlier
    films = Counter({f.split("-")[0]: kind for f, kind in where.items()}.values())
    assert films == {"test": 6, "val": 6, "train": 12}  # the shares, among all 24
    assert len(after.frozen.rounds) == 2
    without = town.split(params)
    assert subset_of(without) != where  # what the file is for


def test_a_second_run_changes_nothing() -> None:
    town = ordinary_town(9)
    for act in ("join", "leave_out"):
        first = first_round(town, act)
        again = town.split(split_params(near={"act": act}), first.frozen)
        assert again.table.equals(first.table)
        assert again.frozen == first.frozen


@pytest.mark.parametrize("act", ["join", "leave_out"])
def test_a_bridge_between_frozen_subsets_leaves_the_new_frames_out(act: str) -> None:
    town = ordinary_town(9)
    first = first_round(town, act)
    where = subset_of(first)
    tested, trained = (
        next(frame for frame, kind in where.items() if kind == wanted)
        for wanted in ("test", "train")
    )
    bridge = town.film("h00", "东门", 50, [town.stored[tested], town.stored[trained]])
    params = split_params(near={"act": act})
    second = town.split(params, first.frozen)
    now = subset_of(second)
    assert {frame: now[frame] for frame in where} == where  # nothing old moved or left
    gone = [each.frame for each in second.left_out]
    assert len(gone) == 1
    assert set(gone) < set(bridge)
    third = town.split(params, second.frozen)
    assert third.table.equals(second.table)
    assert third.left_out == second.left_out


def test_a_new_film_gives_way_to_an_old_one_even_from_test() -> None:
    town = ordinary_town(9)
    first = first_round(town, "leave_out")
    where = subset_of(first)
    old = [frame for frame, kind in where.items() if kind == "train"][:4]
    params = split_params(near={"act": "leave_out"})
    copies = []
    for number, frame in enumerate(old):  # the latest of 13 films: one more than before is test
        (copy,) = town.film(f"h{number}", "东门", 90 + number, [town.stored[frame]])
        copies.append(copy)
    for rounds in range(2):  # once as new films, once as known ones
        second = town.split(params, first.frozen)
        assert {frame: subset_of(second)[frame] for frame in where} == where
        gone = {each.frame for each in second.left_out}
        assert gone
        assert gone < set(copies)
        assert [second.frozen.subset_of[name.split("-")[0]] for name in sorted(gone)].count("test")
        assert rounds == 0 or second.frozen == first.frozen
        first = second


def test_new_copies_follow_what_they_are_near() -> None:
    town = ordinary_town(9)
    first = first_round(town)
    where = subset_of(first)
    kinds, wanted = list(COPIES), {}
    for number, film in enumerate(range(0, 9, 2)):
        copy = COPIES[kinds[number]](moment(film % 3, 100 * film))
        (frame,) = town.film(f"h{film:02d}", "东门", 60 + number, [copy])
        wanted[frame] = where[f"f{film:02d}-000000"]
    assert len(set(wanted.values())) == 3
    second = subset_of(town.split(split_params(near={"act": "join"}), first.frozen))
    assert {frame: second[frame] for frame in wanted} == wanted


def test_films_that_are_gone_and_come_back_have_their_subset_still() -> None:
    town = ordinary_town(9)
    first = first_round(town)
    films, frames = list(town.films), list(town.frames)
    town.films, town.frames = films[1:], frames[3:]
    second = town.split(split_params(), first.frozen)
    town.films, town.frames = films, frames
    third = town.split(split_params(), second.frozen)
    assert third.table.equals(first.table)


def test_what_was_written_is_read_and_left_alone(tmp_path: Path) -> None:
    params = split_params()
    empty, note = read_frozen(tmp_path, params)
    assert (empty, note) == (Frozen(rule_of(params)), "")
    stored = empty.with_new({"北门 2026": "train", "b": "test"}).with_new({"c": "val", "b": "val"})
    assert stored.rounds == [{"b": "test", "北门 2026": "train"}, {"c": "val"}]
    write_frozen(tmp_path, stored)
    path = tmp_path / "subsets.json"
    assert "北门" in path.read_text(encoding="utf-8")
    assert read_frozen(tmp_path, params) == (stored, "")
    before = path.stat().st_mtime_ns
    write_frozen(tmp_path, stored)
    assert path.stat().st_mtime_ns == before
    assert [each.name for each in tmp_path.iterdir()] == ["subsets.json"]


@pytest.mark.parametrize(
    ("changes", "anew"),
    [
        ({"seed": 8}, True),
        ({"group": "camera"}, True),
        ({"unseen_cameras": ["北门1"]}, True),
        ({"test": LATEST}, True),
        ({"near": {"act": "leave_out", "bits": 3}}, False),
        ({"most_leak": 0.5}, False),
    ],
)
def test_another_rule_makes_the_subsets_anew(
    tmp_path: Path, changes: dict[str, object], anew: bool
) -> None:
    params = split_params()
    write_frozen(tmp_path, Frozen(rule_of(params), [{"a": "train"}]))
    found, note = read_frozen(tmp_path, split_params(**changes))
    assert (found.rounds == []) is anew
    assert ("params split changed" in note) is anew


@pytest.mark.parametrize("text", ["{", "[]", '{"rule": "x"}', '{"rule": "x", "rounds": [1]}'])
def test_a_file_that_is_none_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "subsets.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"the subsets of a split.*git checkout it"):
        read_frozen(tmp_path, split_params())
