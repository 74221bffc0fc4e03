"""Who is champion, from entries alone: small journals and what follows from them."""

from __future__ import annotations

from typing import Any

import pytest

from cityforge.registry.standing import Standing, standing
from cityforge.trust.entries import Entry

ABOUT = "bins"


def walk(*acts: tuple[Any, ...]) -> Standing:
    """A journal of (act, version) in order; further values go into the body."""
    entries = []
    for number, (act, version, *more) in enumerate(acts, start=1):
        body: dict[str, Any] = {"version": version, **(more[0] if more else {})}
        about = ABOUT
        if act == "register":
            body = {"signature_digest": "a" * 64, "package_digest": f"p{version}", **body}
        if act == "withdraw":
            about = "dataset:streets"
            body = {"versions": [{"algorithm": ABOUT, "version": version}]}
        entries.append(Entry(number, "", "", act, about, body, "李雷", "k"))
    return standing(entries, ABOUT)


R, A, J, B, W = "register", "approve", "reject", "rollback", "withdraw"
TWO = ((R, 1), (A, 1), (R, 2), (A, 2))


@pytest.mark.parametrize(
    ("acts", "champion", "challenger"),
    [
        ((), None, None),
        (((R, 1),), None, 1),
        (((R, 1), (A, 1)), 1, None),
        (((R, 1), (A, 1), (R, 2)), 1, 2),
        (((R, 1), (R, 2), (R, 3), (A, 2)), 2, 3),
        (((R, 1), (R, 2), (A, 2)), 2, None),  # what is older than a decided one waits for nobody
        (TWO, 2, None),
        ((*TWO, (B, 1)), 1, None),
        ((*TWO, (B, 1), (B, 2)), 2, None),
        ((*TWO, (J, 2)), None, None),
        ((*TWO, (J, 1)), 2, None),
        ((*TWO, (J, 2), (B, 1)), 1, None),
        ((*TWO, (W, 2)), None, None),
        ((*TWO, (W, 1)), 2, None),
        ((*TWO, (W, 2), (A, 2)), 2, None),
        (((R, 1), (W, 1)), None, None),
        (((R, 1), (J, 1)), None, None),
        (((A, 7),), None, None),  # of what nobody registered
    ],
    ids=str,
)
def test_champion_and_challenger(
    acts: tuple[Any, ...], champion: int | None, challenger: int | None
) -> None:
    found = walk(*acts)
    assert (found.champion, found.challenger) == (champion, challenger)


@pytest.mark.parametrize(
    ("acts", "holds", "superseded", "words"),
    [
        (((R, 1),), False, False, "registered"),
        (((R, 1), (A, 1)), True, False, "approved by 李雷"),
        (((R, 1), (A, 1), (R, 2), (A, 2)), True, True, "approved by 李雷, superseded"),
        (((R, 1), (A, 1), (J, 1)), False, False, "approved by 李雷, rejected by 李雷"),
        (((R, 1), (A, 1), (W, 1)), False, False, "approved by 李雷, its data was withdrawn"),
        (
            ((R, 1), (W, 1), (A, 1)), True, False,
            "approved by 李雷, in spite of withdrawn data",
        ),
        (
            ((R, 1), (W, 1), (A, 1), (W, 1)), False, False,
            "approved by 李雷, its data was withdrawn",
        ),
        (((R, 1), (A, 1, {"override": True})), True, False, "approved by 李雷, under a gate"),
        (((R, 1, {"signature_digest": None}),), False, False, "registered, not signed"),
    ],
    ids=str,
)  # fmt: skip
def test_state_of_a_version(
    acts: tuple[Any, ...], holds: bool, superseded: bool, words: str
) -> None:
    state = walk(*acts).versions[1]
    said = words.removeprefix("registered, ") if not state.is_signed else words
    assert (state.holds, state.superseded, state.words()) == (holds, superseded, said)


def test_a_signed_registration_cannot_be_replaced() -> None:
    found = walk((R, 1), (A, 1), (R, 1, {"package_digest": "other"}))
    assert found.versions[1].register.body["package_digest"] == "p1"
    assert found.champion == 1


def test_a_signature_that_follows_replaces_the_adopted_entry() -> None:
    found = walk((R, 1, {"signature_digest": None, "adopted": True}), (R, 1))
    assert found.versions[1].is_signed


def test_other_algorithms_do_not_count() -> None:
    other = Entry(1, "", "", "register", "cars", {"version": 1, "signature_digest": "a"}, "a", "k")
    withdrawn = {"versions": [{"algorithm": "cars", "version": 1}]}
    entries = [other, Entry(2, "", "", "withdraw", "dataset:streets", withdrawn, "a", "k")]
    assert standing(entries, ABOUT).versions == {}
    assert len(standing(entries, "cars").versions[1].withdrawn) == 1
