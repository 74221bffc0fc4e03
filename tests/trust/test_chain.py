"""What only a key's owner can do to entries of their own: sign them anew, in another place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from signing_people import ADMIN, APPROVER, TRAINER, Place, tamper

from cityforge.errors import TrustError
from cityforge.trust.chain import read_chain
from cityforge.trust.entries import Entry, read_entry
from cityforge.trust.release import refuse_release


def again(place: Place, entry: Entry, **changes: Any) -> Entry:
    bare = replace(entry, **{"signature": "", **changes})
    return replace(bare, signature=place.signer(entry.by).sign(bare.signed_bytes()))


def faults(entries: list[Entry]) -> list[str]:
    return [f"{each.number}: {each.what}" for each in read_chain(entries).faults]


def test_an_entry_signed_anew_must_still_follow(place: Place) -> None:
    place.look()
    place.look()
    entries = place.journal.entries()
    assert faults(entries) == []
    last = entries[-1]
    elsewhere = again(place, last, before=entries[0].digest())
    assert faults([*entries[:-1], elsewhere]) == [
        "5: it does not follow the entry before it: edited, removed or reordered"
    ]
    late = again(place, last, number=7)
    assert faults([*entries[:-1], late]) == ["7: expected entry 5, found 7: removed or reordered"]
    # Entry 4 left out and 5 signed anew in its place: only who has seen it knows.
    moved = again(place, last, number=4, before=entries[2].digest())
    assert faults([*entries[:3], moved]) == []


def test_the_last_entry_signed_anew_is_not_the_one_that_was_seen(place: Place) -> None:
    entry = place.look()
    other = again(place, entry, body={**entry.body, "why": "another reason"})
    assert place.journal.store.path
    tamper(
        place.journal.store.path,
        ("UPDATE entries SET entry = ? WHERE number = ?", (other.text, other.number)),
    )
    assert place.faults() == ["4: not the entry that was seen: written anew"]
    with pytest.raises(TrustError, match="written anew"):
        place.look()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"roles": ["king"]}, "expected roles of train, approve, admin"),
        ({"roles": []}, "expected roles"),
        ({"roles": "admin"}, "expected roles"),
        ({"public": "no key"}, "."),
        ({"public": 5}, "it does not say whose key"),
        ({"key_id": "0" * 16}, "the key is not the one it names"),
        ({"name": None}, "it does not say whose key"),
    ],
)
def test_an_entry_that_trusts_a_key_must_say_all_of_it(
    place: Place, body: dict[str, Any], said: str
) -> None:
    before = place.journal.entries(acts=("key.trust",))[1].body
    with pytest.raises(TrustError, match=said):
        place.put(ADMIN, "key.trust", "x", **{**before, **body})
    assert place.journal.head_number() == 3


def test_a_revocation_says_whether_the_key_is_compromised(place: Place) -> None:
    key_id = place.signer(TRAINER).key_id
    with pytest.raises(TrustError, match="whether it is compromised"):
        place.put(ADMIN, "key.revoke", key_id, key_id=key_id, reason="lost")


def test_one_content_has_one_text(place: Place) -> None:
    text = place.look().text
    assert read_entry(text).text == text
    spaced = text.replace('"act":', '"act": ')
    shuffled = text.replace('{"about":"dataset:街",', "{")[:-1] + ',"about":"dataset:街"}'
    for other in (spaced, shuffled, text + " ", text.replace("街", "\\u8857")):
        assert other != text
        with pytest.raises(TrustError, match="an entry as it was written"):
            read_entry(other)


@pytest.mark.parametrize("text", ["", "[]", "{}", "nul", '{"number":1}', "[" * 100_000, "NaN"])
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(TrustError, match="an entry of the journal"):
        read_entry(text)


@pytest.mark.parametrize(
    ("name", "value"), [("number", "4"), ("number", True), ("at", 5), ("body", []), ("by", None)]
)
def test_each_field_is_of_its_kind(place: Place, name: str, value: object) -> None:
    entry = place.look()
    with pytest.raises(TrustError):
        read_entry(replace(entry, **{name: value}).text)


def test_a_key_trusted_again_stands_for_what_it_signed_before(place: Place) -> None:
    register, approve = place.version(1)
    place.admit(TRAINER, "train", "approve")
    place.admit(APPROVER, "train")
    keys = place.journal.chain().keys
    refuse_release(register, approve, keys)
    trainer, approver = (keys[place.signer(each).key_id] for each in (TRAINER, APPROVER))
    assert (trainer.since, trainer.roles) == (2, ("train", "approve"))
    assert (approver.since, approver.roles) == (3, ("train",))


def test_a_key_is_judged_by_the_roles_of_when_it_signed(place: Place) -> None:
    register, approve = place.version(1)
    place.admit(TRAINER, "train", "approve")  # entry 6
    place.admit(APPROVER, "train")  # entry 7
    keys = place.journal.chain().keys
    trainer, approver = (keys[place.signer(each).key_id] for each in (TRAINER, APPROVER))
    own = {"by": TRAINER, "key": trainer.key_id}
    for number, said in ((5, "is trusted to train, not to approve"), (6, "")):
        assert trainer.doubt(again(place, replace(approve, **own), number=number)).endswith(said)
    for number, said in ((5, ""), (8, "is trusted to train, not to approve")):
        assert approver.doubt(again(place, approve, number=number)).endswith(said)
    with pytest.raises(TrustError, match="is trusted to train, not to approve"):
        place.approve(register)
    revoked = replace(trainer, revoked=9, compromised=True)
    assert "compromised" in revoked.doubt(register)
