"""Releases as a site makes them: packages that are signed, registered and approved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cityforge.inference.package import open_package
from cityforge.inference.served import PACKAGE
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.trust.chain import KEY_ACTS, TrustedKey
from cityforge.trust.entries import Entry
from cityforge.trust.journal import Journal, act, open_journal, root_of, signer_of
from cityforge.trust.keys import new_key
from cityforge.trust.release import write_release
from cityforge.trust.signature import sign_package

TRAINER, APPROVER = "李雷", "王芳"


@dataclass(frozen=True)
class Site:
    """A journal, and what its releases are made of."""

    settings: Settings
    journal: Journal
    folder: Path
    make: Callable[..., Path]

    def keys(self) -> dict[str, TrustedKey]:
        return self.journal.chain().keys

    def put(self, who: str, name: str, about: str, body: dict[str, object]) -> Entry:
        signer = signer_of(self.journal, self.settings, who)
        return act(self.journal, self.settings, signer, name, about, body)

    def release(self, version: int, **package: object) -> Path:
        """A folder as `cityforge serve` and a Bento have it: package/ and release.json."""
        folder = self.folder / f"v{version}"
        made = self.make(folder / PACKAGE, "tiny", None, **package)
        (folder / "report.html").unlink()
        signed = sign_package(made, signer_of(self.journal, self.settings, TRAINER), self.settings)
        opened = open_package(made)
        body: dict[str, object] = {
            "version": version, "package_digest": opened.digest,
            "evidence_digest": opened.about.evidence_digest, "signature_digest": signed,
        }  # fmt: skip
        register = self.put(TRAINER, "register", "tiny", body)
        said = {"reason": "good", "override": False, "one_person": False, "withdrawn_reason": ""}
        approve = self.put(
            APPROVER, "approve", "tiny", {**body, **said, "register": register.digest()}
        )
        write_release(folder, register, approve, self.journal.entries(acts=KEY_ACTS))
        return folder


def signed_site(make_package: Callable[..., Path], folder: Path) -> Site:
    """A site with two people: one trains, another approves."""
    settings = Settings(keys=str(folder / "keys"))
    journal = open_journal(Project(folder), settings)
    found = Site(settings, journal, folder, make_package)
    trainer = signer_of(journal, settings, TRAINER)
    act(journal, settings, trainer, "key.trust", trainer.key_id, root_of(trainer))
    other = new_key(settings, APPROVER)
    trusted = {
        "key_id": other.key_id, "name": APPROVER, "public": other.public, "roles": ["approve"],
    }  # fmt: skip
    act(journal, settings, trainer, "key.trust", other.key_id, trusted)
    return found
