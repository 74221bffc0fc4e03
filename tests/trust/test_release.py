"""A release is believed when its two entries are signed and belong together."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from signing_people import ADMIN, APPROVER, DIGESTS, TRAINER, Place

from cityforge.errors import TrustError
from cityforge.trust.chain import Chain
from cityforge.trust.entries import Entry
from cityforge.trust.release import (
    RELEASE_FILE,
    not_earned,
    open_release,
    refuse_release,
    release_text,
    was_of_one_person,
    write_release,
)


def keys_of(place: Place) -> dict[str, Any]:
    return place.journal.chain().keys


def test_a_release_says_who_registered_and_who_approved(place: Place, tmp_path: Path) -> None:
    register, approve = place.version(3)
    write_release(tmp_path, register, approve, place.journal.entries())
    built_in = open_release(tmp_path)
    site = open_release(tmp_path, keys_of(place))
    assert (built_in.trust, site.trust) == ("built in", "site")
    for each in (built_in, site):
        assert (each.algorithm, each.version) == ("tiny", 3)
        assert (each.signer.name, each.approver.name) == (TRAINER, APPROVER)
        assert each.package_digest == register.body["package_digest"]
        assert (each.register, each.approve) == (register, approve)


def again(place: Place, entry: Entry, **changes: Any) -> Entry:
    """The same entry, changed and signed anew by the same person: what only that key can do."""
    bare = replace(entry, **{"signature": "", **changes})
    return replace(bare, signature=place.signer(entry.by).sign(bare.signed_bytes()))


def other_body(name: str, value: Any) -> Callable[[Place, Entry, Entry], tuple[Entry, Entry]]:
    def change(place: Place, register: Entry, approve: Entry) -> tuple[Entry, Entry]:
        return register, again(place, approve, body={**approve.body, name: value})

    return change


def of_another_version(place: Place, register: Entry, approve: Entry) -> tuple[Entry, Entry]:
    return register, place.version(2)[1]


def swapped(place: Place, register: Entry, approve: Entry) -> tuple[Entry, Entry]:
    return approve, register


def signed_by_trainer(place: Place, register: Entry, approve: Entry) -> tuple[Entry, Entry]:
    key = place.signer(TRAINER).key_id
    return register, again(place, replace(approve, by=TRAINER), key=key)


def in_anothers_name(place: Place, register: Entry, approve: Entry) -> tuple[Entry, Entry]:
    bare = replace(approve, by="市长", signature="")
    return register, replace(bare, signature=place.signer(APPROVER).sign(bare.signed_bytes()))


def edited(place: Place, register: Entry, approve: Entry) -> tuple[Entry, Entry]:
    return register, replace(approve, body={**approve.body, "reason": "perfect"})


def of_another_algorithm(place: Place, register: Entry, approve: Entry) -> tuple[Entry, Entry]:
    return register, again(place, approve, about="another")


CASES = {
    "another algorithm": (of_another_algorithm, "one of another algorithm"),
    "another version": (of_another_version, "one of another version, register"),
    "swapped": (swapped, "an entry that says 'approve', not 'register'"),
    "by a key that may not": (signed_by_trainer, "trusted to train, not to approve"),
    "in another's name": (in_anothers_name, "it says '市长'"),
    "edited": (edited, "edited"),
    "another package": (other_body("package_digest", "0" * 64), "another package_digest"),
    "another evidence": (other_body("evidence_digest", "0" * 64), "another evidence_digest"),
    "another signature": (other_body("signature_digest", "0" * 64), "another signature_digest"),
    "another registration": (other_body("register", "0" * 64), "another register"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_belong_together_is_refused(place: Place, tmp_path: Path, case: str) -> None:
    change, said = CASES[case]
    register, approve = change(place, *place.version(1))
    write_release(tmp_path, register, approve, place.journal.entries())
    for trusted in (None, keys_of(place)):
        with pytest.raises(TrustError, match=said) as caught:
            open_release(tmp_path, trusted)
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(TrustError, match=said):
        refuse_release(register, approve, keys_of(place))


def of_two_roles(place: Place, **more: Any) -> Entry:
    """A version that its own trainer registers, whose key may approve, too."""
    place.admit(TRAINER, "train", "approve")
    return place.put(TRAINER, "register", version=1, **DIGESTS, **more)


def approved_by(place: Place, who: str, register: Entry, **body: Any) -> Entry:
    same = {**register.body, "register": register.digest(), "reason": "good"}
    return place.put(who, "approve", **{**same, **body})


@pytest.mark.parametrize("body", [{}, {"one_person": False}, {"one_person": "no"}])
def test_a_trainers_own_approval_is_refused_unless_it_says_so(
    place: Place, tmp_path: Path, body: dict[str, Any]
) -> None:
    """What a key with both roles signs outside `model approve`."""
    register = of_two_roles(place)
    approve = approved_by(place, TRAINER, register, **body)
    write_release(tmp_path, register, approve, place.journal.entries())
    said = f"approved by {TRAINER}, who registered it, and the entry does not say so"
    with pytest.raises(TrustError, match=said):
        open_release(tmp_path)
    assert place.faults() == [f"{approve.number}: {said}"]
    honest = approved_by(place, TRAINER, register, one_person=True)
    refuse_release(register, honest, keys_of(place))
    assert len(place.faults()) == 1


def test_one_key_under_two_names_is_one_person(place: Place) -> None:
    register = of_two_roles(place)
    approve = replace(approved_by(place, TRAINER, register), by="another")
    assert "does not say so" in not_earned(register, approve)


def test_an_approval_under_a_gate_says_so(place: Place) -> None:
    register = of_two_roles(place, gates_passed=False)
    silent = approved_by(place, APPROVER, register, override=False)
    with pytest.raises(TrustError, match="approved under a gate, and the entry does not say so"):
        refuse_release(register, silent, keys_of(place))
    assert [each.partition(":")[0] for each in place.faults()] == [str(silent.number)]
    refuse_release(register, approved_by(place, APPROVER, register, override=True), keys_of(place))
    adopted = of_two_roles(place, gates_passed=False, adopted=True)  # its tags told no gates
    refuse_release(adopted, approved_by(place, APPROVER, adopted), keys_of(place))


def test_a_site_is_of_one_person_until_another_is_trusted(place: Place) -> None:
    keys = keys_of(place)  # 1: the admin, 2: the trainer, 3: the approver
    own = place.look()
    for number, who, alone in ((2, ADMIN, True), (4, ADMIN, False), (4, TRAINER, False)):
        assert was_of_one_person(replace(own, number=number, by=who), keys) is alone
    place.revoke(TRAINER)
    place.revoke(APPROVER)
    keys = keys_of(place)
    assert was_of_one_person(replace(own, number=9, by=ADMIN), keys)
    assert not was_of_one_person(replace(own, number=5, by=ADMIN), keys)


def test_a_revoked_key_still_stands_for_what_it_signed(place: Place, tmp_path: Path) -> None:
    register, approve = place.version(1)
    old = place.journal.entries()
    place.revoke(APPROVER)
    write_release(tmp_path, register, approve, place.journal.entries())
    assert open_release(tmp_path).version == 1
    assert open_release(tmp_path, keys_of(place)).version == 1
    # What it signs from then on does not, even if the journal would let it in.
    late = again(place, approve, number=99)
    with pytest.raises(TrustError, match="when nobody trusted it"):
        refuse_release(register, late, keys_of(place))
    assert len(old) == 5


@pytest.mark.parametrize("who", [TRAINER, APPROVER])
def test_a_compromised_key_stands_for_nothing(place: Place, tmp_path: Path, who: str) -> None:
    register, approve = place.version(1)
    write_release(tmp_path, register, approve, place.journal.entries())
    place.revoke(who, compromised=True)
    assert open_release(tmp_path).trust == "built in"  # which knows nothing of it
    with pytest.raises(TrustError, match="revoked as compromised"):
        open_release(tmp_path, keys_of(place))
    write_release(tmp_path, register, approve, place.journal.entries())
    with pytest.raises(TrustError, match="revoked as compromised"):
        open_release(tmp_path)


def test_keys_of_another_site_are_not_trusted(place: Place, tmp_path: Path) -> None:
    register, approve = place.version(1)
    write_release(tmp_path, register, approve, place.journal.entries())
    with pytest.raises(TrustError, match="which nobody trusts"):
        open_release(tmp_path, {})


def test_built_in_keys_are_those_that_an_admin_trusted(place: Place, tmp_path: Path) -> None:
    """Who adds a key of their own to the file, without the admin's, is found out."""
    register, approve = place.version(1)
    eve = place.admit("eve", "approve")
    entries = place.journal.entries()
    forged = [each for each in entries if each.number != 3]
    for kept in (forged[1:], forged[::-1], [entries[0], entries[-1], entries[1], entries[2]]):
        write_release(tmp_path, register, approve, kept)
        with pytest.raises(TrustError, match=r"as it was written|nobody trusts"):
            open_release(tmp_path)
    own = replace(entries[-1], by="eve", key=eve.key_id, signature="")
    own = replace(own, signature=eve.sign(own.signed_bytes()))
    write_release(tmp_path, register, approve, [*entries[:-1], own])
    with pytest.raises(TrustError, match="which nobody trusts"):
        open_release(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "Expecting value"),
        ("[" * 100_000, "RecursionError|recursion"),
        ("[]", "another content"),
        ('{"format":"cityforge.release/2"}', "another content"),
        ("1" * 5000, "digit"),
        (" " * (5 << 20), "more than 4 MiB"),
    ],
)
def test_a_file_that_is_no_release_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / RELEASE_FILE).write_text(content)
    with pytest.raises(TrustError, match=said) as caught:
        open_release(tmp_path)
    assert RELEASE_FILE in str(caught.value)


def test_a_release_that_is_no_file_is_refused(place: Place, tmp_path: Path) -> None:
    with pytest.raises(TrustError, match="No such file"):
        open_release(tmp_path)
    other = tmp_path / "other"
    other.write_text(release_text(*place.version(1), place.journal.entries()))
    (tmp_path / RELEASE_FILE).symlink_to(other)
    with pytest.raises(TrustError, match="a symbolic link"):
        open_release(tmp_path)


def test_unknown_parts_are_refused(place: Place, tmp_path: Path) -> None:
    text = release_text(*place.version(1), place.journal.entries())
    for change in ({"approver": "me"}, {"keys": {}}, {"register": []}, {"register": {}}):
        (tmp_path / RELEASE_FILE).write_text(json.dumps({**json.loads(text), **change}))
        with pytest.raises(TrustError):
            open_release(tmp_path)
    (tmp_path / RELEASE_FILE).write_text(text)
    assert open_release(tmp_path, None).version == 1


def test_the_chain_of_keys_alone_gives_the_same_keys(place: Place) -> None:
    place.version(1)
    place.revoke(TRAINER)
    chain = Chain()
    for each in place.journal.entries(acts=("key.trust", "key.revoke")):
        assert chain.refusal(each) == ""
        chain.take(each)
    assert chain.keys == keys_of(place)
    assert [each.name for each in chain.admins()] == [ADMIN]
