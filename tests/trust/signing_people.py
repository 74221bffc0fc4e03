"""A site as these tests need it: a journal, three people with keys, and acts of theirs."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.settings import Settings
from cityforge.trust.entries import Entry
from cityforge.trust.journal import Journal, act, faults_of, root_of
from cityforge.trust.keys import Signer, has_key, new_key, open_key

ADMIN, TRAINER, APPROVER = "李雷", "tom", "韩梅梅"
ALGORITHM = "tiny"
DIGESTS = {name: f"{number:x}" * 64 for number, name in enumerate(
    ("package_digest", "evidence_digest", "signature_digest"), start=10)}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A journal and the people who act in it."""

    settings: Settings
    journal: Journal

    def signer(self, name: str) -> Signer:
        return open_key(self.settings, name)

    def put(self, who: str, name: str, about: str = ALGORITHM, /, **body: Any) -> Entry:
        return act(self.journal, self.settings, self.signer(who), name, about, body)

    def admit(self, name: str, *roles: str, by: str = ADMIN) -> Signer:
        known = has_key(self.settings, name)
        key = open_key(self.settings, name) if known else new_key(self.settings, name)
        body = {"key_id": key.key_id, "name": name, "public": key.public, "roles": list(roles)}
        self.put(by, "key.trust", key.key_id, **body)
        return key

    def revoke(self, name: str, by: str = ADMIN, compromised: bool = False) -> Entry:
        body = {"key_id": self.signer(name).key_id, "reason": "lost", "compromised": compromised}
        return self.put(by, "key.revoke", str(body["key_id"]), **body)

    def version(self, number: int, **digests: str) -> tuple[Entry, Entry]:
        """A version that is registered and approved."""
        body = {"version": number, **DIGESTS, **digests}
        register = self.put(TRAINER, "register", **body)
        return register, self.approve(register)

    def approve(self, register: Entry, **changes: Any) -> Entry:
        body = {**register.body, "register": register.digest(), "reason": "good", **changes}
        return self.put(APPROVER, "approve", register.about, **body)

    def look(self) -> Entry:
        """An act that needs no role."""
        return self.put(TRAINER, "retrieve", "dataset:街", what="contact sheet", ids=["a"], why="x")

    def faults(self) -> list[str]:
        return [f"{each.number}: {each.what}" for each in faults_of(self.journal, self.settings)]


def make_place(url: str, folder: Path) -> Place:
    """A site whose first person has admitted two others: three entries."""
    settings = Settings(keys=str(folder / "keys"))
    place = Place(settings, Journal(url, folder / "keys"))
    key = new_key(settings, ADMIN)
    place.put(ADMIN, "key.trust", key.key_id, **root_of(key))
    place.admit(TRAINER, "train")
    place.admit(APPROVER, "approve")
    return place


def tamper(path: Path, *statements: tuple[str, tuple[Any, ...]]) -> None:
    """Change the file as somebody may who has it: what forbids changes is removed first."""
    with sqlite3.connect(path) as connection:
        for name in ("entries_update", "entries_delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS {name}")
        for statement, values in statements:
            connection.execute(statement, values)
    connection.close()
