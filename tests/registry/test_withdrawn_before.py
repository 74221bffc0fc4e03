"""Withdrawals that do not name a version which rests on what they withdrew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store import APPROVER, TRAINER, Store, bless, found_site

from cityforge.dataset.history import record_snapshot
from cityforge.errors import RegistryError
from cityforge.project import Project
from cityforge.registry.approval import approve
from cityforge.registry.registering import register
from cityforge.registry.site import Site
from cityforge.settings import Settings
from cityforge.trust.entries import Entry
from cityforge.trust.journal import act
from cityforge.trust.keys import open_key

FILM = "0123456789abcdef"


def put_withdrawal(store: Store, dataset: str, film: str, reason: str) -> Entry:
    body: dict[str, Any] = {"kind": "footage", "ids": [film], "reason": reason, "versions": []}
    site, key = store.site, open_key(store.site.settings, TRAINER)
    return act(site.journal, site.settings, key, "withdraw", f"dataset:{dataset}", body)


def test_a_registration_knows_what_was_withdrawn_where_the_approver_does_not(
    tmp_path: Path, make_package: Callable[..., Path]
) -> None:
    """The snapshot's lineage lies on the trainer's machine alone."""
    said: list[str] = []
    site = Site(Project(tmp_path / "trains"), Settings(tracking_uri=""), said.append)
    site.project.dataset_folder("streets").mkdir(parents=True)
    found_site(site)
    bless(site, APPROVER, ["approve"])
    own = Store(site, make_package, "bins")
    record_snapshot(site.project.dataset_folder("streets"), "5" * 64, [FILM])
    gone = put_withdrawal(own, "streets", FILM, "a person asked")
    for snapshot in ("5" * 64, "6" * 64):
        package = own.package(snapshot_digest=snapshot)
        register(site, "bins", package, package.parent, who=TRAINER)
    first, second = site.journal.entries("bins", ("register",))
    assert (first.body["withdrawn"], second.body["withdrawn"]) == ([gone.number], [])
    assert said == [
        "version 1 of 'bins' rests on footage withdrawn by 小红: a person asked; rebuild without it"
    ]
    there = {"journal": site.journal.url, "tracking_uri": site.client.tracking_uri}
    other = Site(Project(tmp_path / "approves"), site.settings.model_copy(update=there))
    with pytest.raises(RegistryError, match="withdrawn by 小红: a person asked"):
        approve(other, "bins", 1, APPROVER)
    assert approve(other, "bins", 2, APPROVER)[0].version == 2


def test_what_nobody_can_tell_of_a_version_is_said(store: Store) -> None:
    """Nothing is on record of its snapshot."""
    store.version()
    put_withdrawal(store, "parks", "f" * 16, "too near")
    said: list[str] = []
    approve(replace(store.site, say=said.append), store.name, 1, APPROVER)
    assert (
        f"version 1 of '{store.name}' perhaps rests on footage withdrawn by 小红: too near: "
        "what it was made from is not on record here"
    ) in said
