"""What tests of the registry share: a store, people with keys, a name of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.registry.approval import approve
from cityforge.registry.registering import register
from cityforge.registry.site import Site
from cityforge.registry.versions import Version
from cityforge.training.tracking import experiment_id
from cityforge.trust.entries import Entry
from cityforge.trust.journal import act, root_of
from cityforge.trust.keys import has_key, new_key, open_key

TRAINER, APPROVER, OTHER = "小红", "李雷", "韩梅梅"


def found_site(site: Site, admin: str = TRAINER) -> None:
    """Make a person the first of a site, who is trusted with everything."""
    known = open_key if has_key(site.settings, admin) else new_key
    key = known(site.settings, admin)
    act(site.journal, site.settings, key, "key.trust", key.key_id, root_of(key))


def bless(site: Site, name: str, roles: list[str], admin: str = TRAINER) -> None:
    """Give a person a key that the site's admin trusts."""
    known = open_key if has_key(site.settings, name) else new_key
    key = known(site.settings, name)
    body = {"key_id": key.key_id, "name": name, "public": key.public, "roles": roles}
    act(site.journal, site.settings, open_key(site.settings, admin), "key.trust", key.key_id, body)


def revoke(site: Site, name: str, *, compromised: bool, admin: str = TRAINER) -> None:
    """Take back the trust in a person's key."""
    key = open_key(site.settings, name)
    body = {"key_id": key.key_id, "reason": "lost", "compromised": compromised}
    act(site.journal, site.settings, open_key(site.settings, admin), "key.revoke", key.key_id, body)


def withdraw(site: Site, algorithm: str, version: int, reason: str = "asked for") -> Entry:
    """Withdraw a film that a version rests on."""
    body: dict[str, Any] = {
        "kind": "footage", "ids": ["0123456789abcdef"], "reason": reason, "snapshots": ["s"],
        "versions": [{"algorithm": algorithm, "version": version}],
    }  # fmt: skip
    signer = open_key(site.settings, TRAINER)
    return act(site.journal, site.settings, signer, "withdraw", "dataset:streets", body)


@dataclass(frozen=True)
class Store:
    """One site, and a name in it that no other test uses."""

    site: Site
    make: Callable[..., Path]
    name: str

    def package(self, score: float = 0.9, passed: bool = True, **changes: object) -> Path:
        """A package whose evidence is of a run of its own."""
        site = self.site
        experiment = experiment_id(site.client, site.project, site.settings, self.name)
        run = site.client.create_run(experiment).info.run_id
        folder = site.project.root / f"{self.name}-{run}" / "package"
        return self.make(folder, self.name, run, score, passed, **changes)

    def version(self, score: float = 0.9, passed: bool = True) -> Version:
        """A registered version."""
        return self.register(self.package(score, passed))

    def register(self, package: Path) -> Version:
        """Register a package as its trainer."""
        return register(self.site, self.name, package, package.parent, who=TRAINER)

    def approve(self, version: int | None, **words: Any) -> Version:
        """Approve as the approver."""
        return approve(self.site, self.name, version, APPROVER, **words)[0]

    def approved(self, score: float) -> Version:
        """A version that is registered and approved."""
        return self.approve(self.version(score).version, reason="good")

    def aliases(self) -> dict[str, int]:
        """What MLflow's page shows."""
        found = self.site.client.get_registered_model(self.name).aliases
        return {alias: int(number) for alias, number in found.items()}
