"""What is removed after its time, what a hold keeps, and that the journal still holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from signing_people import ADMIN, ALGORITHM, APPROVER, TRAINER, Place, tamper

from cityforge.errors import TrustError
from cityforge.trust.holds import ACTS, held_footage, holds_in_force
from cityforge.trust.prune import prune

YEARS = 10
LATER = datetime.now(UTC) + timedelta(days=YEARS * 366)


def numbers(place: Place) -> list[int]:
    return [row.number for row in place.journal.rows()]


def prune_now(place: Place, who: str = ADMIN, now: datetime = LATER) -> int:
    return prune(place.journal, place.signer(who), now, YEARS)[0]


def test_nothing_is_removed_before_its_time(both: Place) -> None:
    both.look()
    assert prune_now(both, now=datetime.now(UTC)) == 0
    assert numbers(both) == [1, 2, 3, 4]


def test_old_entries_go_and_the_chain_still_holds(both: Place) -> None:
    for _ in range(3):
        both.look()  # 4, 5, 6
    both.admit("four", "train")  # 7
    both.look()  # 8
    assert prune_now(both) == 4
    assert numbers(both) == [1, 2, 3, 7, 9]
    (entry,) = both.journal.entries(acts=("prune",))
    assert entry.body["last"]["number"] == 8
    assert [(each["first"], each["last"]) for each in entry.body["gaps"]] == [(4, 6), (8, 8)]
    assert both.faults() == []
    assert both.look().number == 10
    both.journal.chain()


def test_a_second_prune_goes_on_from_the_first(place: Place) -> None:
    place.look()
    place.look()
    assert prune_now(place) == 2
    place.look()
    place.look()
    assert prune_now(place) == 2
    assert numbers(place) == [1, 2, 3, 6, 9]
    gaps = place.journal.entries(acts=("prune",))[-1].body["gaps"]
    assert [(each["first"], each["last"]) for each in gaps] == [(4, 5), (7, 8)]
    assert place.faults() == []


def test_what_stands_is_kept(place: Place) -> None:
    first, second = place.version(1)
    place.version(2)
    place.version(3)
    place.put(APPROVER, "rollback", version=2, reason="better")
    place.put(TRAINER, "withdraw", "dataset:x", kind="footage", ids=["a"], reason="asked for")
    place.put(TRAINER, "failure", failure_id="f", reason="missed")
    assert (first.number, second.number) == (4, 5)
    assert prune_now(place) == 5
    # 2 is champion; 11 withdraws; the keys are needed for all of it.
    assert numbers(place) == [1, 2, 3, 6, 7, 10, 11, 13]
    assert place.faults() == []


def test_a_version_that_something_younger_speaks_of_is_kept(place: Place) -> None:
    place.version(1)
    place.version(2)
    middle = datetime.fromisoformat(place.journal.entries()[-1].at) + timedelta(microseconds=1)
    register = place.put(TRAINER, "register", version=3)
    place.put(APPROVER, "reject", version=1, reason="stale")
    now = middle.replace(year=middle.year + YEARS)
    assert prune(place.journal, place.signer(ADMIN), now, YEARS)[0] == 0
    assert register.number in numbers(place)


@pytest.mark.parametrize("about", [ALGORITHM, "dataset:街"])
def test_a_hold_beats_the_time(place: Place, about: str) -> None:
    place.put(TRAINER, "failure", failure_id="f", reason="missed")
    place.look()
    hold = place.put(TRAINER, "hold", about, reason="a trial", footage=[])
    kept = 4 if about == ALGORITHM else 5
    assert prune_now(place) == 1
    assert numbers(place) == [1, 2, 3, kept, 6, 7]
    with pytest.raises(TrustError, match="not to admin"):
        place.put(TRAINER, "release", about, hold=hold.number, reason="over")
    place.put(ADMIN, "release", about, hold=hold.number, reason="over")
    assert prune_now(place) == 3  # what was held, the hold and its end
    assert place.faults() == []


def test_only_an_admin_prunes(place: Place) -> None:
    place.look()
    with pytest.raises(TrustError, match="not to admin"):
        prune_now(place, TRAINER)
    assert numbers(place) == [1, 2, 3, 4]


def test_a_gap_that_no_prune_explains_is_found(place: Place) -> None:
    for _ in range(4):
        place.look()
    path = place.journal.store.path
    assert path
    prune_now(place)
    place.look()
    place.look()
    tamper(path, ("DELETE FROM entries WHERE number = 9", ()))
    assert any("removed or reordered" in each for each in place.faults())


def test_the_end_cannot_be_passed_off_as_pruned(place: Place, tmp_path: Path) -> None:
    place.look()
    place.look()
    prune_now(place)
    path = place.journal.store.path
    assert path
    tamper(path, ("DELETE FROM entries WHERE number = 6", ()))
    assert place.faults() != []


def test_held_footage_is_that_of_the_dataset_and_of_the_hold(place: Place) -> None:
    one = place.put(TRAINER, "hold", "dataset:a", reason="一案", footage=["f1"])
    place.put(TRAINER, "hold", "dataset:b", reason="all of it", footage=[])
    place.put(TRAINER, "hold", ALGORITHM, reason="the model", footage=[])
    entries = place.journal.entries(acts=ACTS)
    day = one.at[:10]
    assert held_footage(entries, "a", ["f1", "f2"]) == {"f1": f"held since {day} by tom: 一案"}
    assert set(held_footage(entries, "b", ["f1", "f2"])) == {"f1", "f2"}
    assert held_footage(entries, "c", ["f1"]) == {}
    place.put(ADMIN, "release", "dataset:a", hold=one.number, reason="over", footage=["f1"])
    assert [each.about for each in holds_in_force(place.journal.entries(acts=ACTS))] == [
        "dataset:b", ALGORITHM,
    ]  # fmt: skip
