"""Who approves is another person than who trained; and what follows when a key was stolen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from store import APPROVER, OTHER, TRAINER, Store, bless, found_site, revoke

from cityforge.errors import NotApproved, RegistryError, TrustError
from cityforge.project import Project
from cityforge.registry.approval import approve, approved_version, rollback
from cityforge.registry.published import Publisher, release_folder
from cityforge.registry.registering import register
from cityforge.registry.site import Site
from cityforge.registry.standing import State
from cityforge.registry.versions import Version, find_version
from cityforge.settings import Settings
from cityforge.trust.entries import Entry
from cityforge.trust.journal import act
from cityforge.trust.keys import open_key

ALONE = "approved by another person than its trainer, found version 1, approved by"


def alone(site: Site) -> Site:
    return Site(site.project, site.settings.model_copy(update={"one_person": True}))


def state_of(store: Store, version: int) -> State:
    state = find_version(store.site, store.name, version).state
    assert state is not None
    return state


def registered_by(store: Store, who: str, package: Path | None = None) -> Version:
    made = package or store.package()
    return register(store.site, store.name, made, made.parent, who=who)


def test_a_trainers_own_approval_serves_only_a_site_of_one_person(store: Store) -> None:
    """The setting of the trainer's process decides nothing on the machine that serves."""
    bless(store.site, "both", ["train", "approve"])
    registered_by(store, "both")
    approve(alone(store.site), store.name, 1, "both", "it is good")
    with pytest.raises(NotApproved, match=f"{ALONE} both, who trained it"):
        approved_version(store.site, store.name, None)
    with pytest.raises(NotApproved, match=ALONE):
        release_folder(store.site, state_of(store, 1))
    with pytest.raises(NotApproved, match=ALONE):
        Publisher(store.site, store.name, None, print).first()
    assert approved_version(alone(store.site), store.name, None).version == 1
    assert release_folder(alone(store.site), state_of(store, 1)).is_dir()
    store.approve(1, reason="looked at it myself")
    assert approved_version(store.site, store.name, None).version == 1
    with pytest.raises(RegistryError, match="not approved yet"):
        store.approve(1)


def test_a_rollback_to_a_trainers_own_approval_is_refused(store: Store) -> None:
    store.version()
    approve(alone(store.site), store.name, 1, TRAINER, "in a hurry")
    store.approved(0.95)
    with pytest.raises(NotApproved, match=ALONE):
        rollback(store.site, store.name, 1, OTHER, "")
    rollback(alone(store.site), store.name, 1, OTHER, "")


def test_an_approval_that_hides_who_trained_is_not_given_out(store: Store) -> None:
    """Signed with a key of both roles, past `approve`."""
    bless(store.site, "both", ["train", "approve"])
    entry = state_of(store, registered_by(store, "both").version).register
    put_approval(store, "both", entry, one_person=False)
    for site in (store.site, alone(store.site)):
        with pytest.raises(TrustError, match="who registered it, and the entry does not say so"):
            approved_version(site, store.name, None)
        with pytest.raises(TrustError, match="does not say so"):
            release_folder(site, state_of(store, 1))
    assert store.approve(1).version == 1


def put_approval(store: Store, who: str, entry: Entry, **changes: Any) -> Entry:
    names = ("version", "package_digest", "evidence_digest", "signature_digest")
    body = {name: entry.body[name] for name in names} | {
        "register": entry.digest(), "champion_before": None, "reason": "good", "override": False,
        "one_person": False, "gates": [], "withdrawn_reason": "", **changes,
    }  # fmt: skip
    site = store.site
    return act(
        site.journal, site.settings, open_key(site.settings, who), "approve", store.name, body
    )


def test_an_approval_of_before_there_was_a_word_for_what_was_waived_holds(store: Store) -> None:
    """Its body, and that of the registration, are of the form that older journals have."""
    made = state_of(store, store.version(0.9, passed=False).version).register
    older = {name: value for name, value in made.body.items()
             if name not in ("report_digest", "withdrawn")}  # fmt: skip
    site, key = store.site, open_key(store.site.settings, TRAINER)
    entry = act(site.journal, site.settings, key, "register", store.name, {**older, "version": 2})
    put_approval(store, APPROVER, entry, override=True)
    assert approved_version(site, store.name, None).version == 2


def test_a_site_that_was_of_one_person_keeps_what_was_approved_then(
    tmp_path: Path, make_package: Callable[..., Path]
) -> None:
    """The demo's site: nobody else could have approved, so no setting is asked for later."""
    site = Site(Project(tmp_path), Settings(tracking_uri=""))
    found_site(site)
    own = Store(site, make_package, "bins")
    own.version()
    with pytest.raises(RegistryError, match="CITYFORGE_ONE_PERSON=true"):
        approve(site, "bins", 1, TRAINER)
    approve(alone(site), "bins", 1, TRAINER)
    assert approved_version(site, "bins", None).version == 1
    bless(site, APPROVER, ["approve"])
    assert approved_version(site, "bins", None).version == 1
    own.version(0.95)
    approve(alone(site), "bins", 2, TRAINER)
    with pytest.raises(NotApproved, match="approved by another person"):
        approved_version(site, "bins", None)


def test_what_a_stolen_key_approved_is_approved_anew(store: Store) -> None:
    bless(store.site, "taken", ["approve"])
    store.version()
    approve(store.site, store.name, 1, "taken")
    revoke(store.site, "taken", compromised=True)
    with pytest.raises(TrustError, match=r"compromised.*approve it anew"):
        approved_version(store.site, store.name, None)
    store.approve(1, reason="looked at again")
    found = approved_version(store.site, store.name, None)
    assert found.approval is not None
    assert (found.version, found.approval["approver"]) == (1, APPROVER)


def test_what_a_stolen_key_registered_is_registered_anew(store: Store) -> None:
    """By another key, as a version of its own: the old one stays what it is."""
    bless(store.site, "robbed", ["train"])
    package = store.package()
    assert registered_by(store, "robbed", package).version == 1
    store.approve(1)
    assert registered_by(store, TRAINER, package).version == 1
    revoke(store.site, "robbed", compromised=True)
    with pytest.raises(TrustError, match=r"compromised.*register it anew with another key"):
        approved_version(store.site, store.name, None)
    with pytest.raises(TrustError, match=f"dvc repro -s -f register@{store.name}"):
        store.approve(1)
    assert [registered_by(store, TRAINER, package).version for _ in range(2)] == [2, 2]
    one, two = state_of(store, 1).register, state_of(store, 2).register
    assert one.body["package_digest"] == two.body["package_digest"]
    assert (one.by, two.by) == ("robbed", TRAINER)
    store.approve(2)
    assert approved_version(store.site, store.name, None).version == 2
    assert store.site.journal.chain().faults == []


def test_a_key_that_got_another_role_stands_for_what_it_approved(store: Store) -> None:
    bless(store.site, "grows", ["approve"])
    store.version()
    approve(store.site, store.name, 1, "grows")
    bless(store.site, "grows", ["approve", "admin"])
    assert approved_version(store.site, store.name, None).version == 1
    bless(store.site, "grows", ["train"])
    assert approved_version(store.site, store.name, None).version == 1
    store.version(0.95)
    with pytest.raises(TrustError, match="trusted to train, not to approve"):
        approve(store.site, store.name, 2, "grows")
