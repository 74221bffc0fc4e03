"""Reads the journal's entries in order: which keys are trusted, and where the chain is broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cityforge.errors import TrustError
from cityforge.trust.entries import ROLE_OF, ROLES, START, Entry
from cityforge.trust.keys import is_signed_by, key_id_of

KEY_ACTS = ("key.trust", "key.revoke")


@dataclass(frozen=True)
class TrustedKey:
    """A key that an admin trusts, and what for."""

    key_id: str
    name: str  # the person
    public: str  # PEM
    roles: tuple[str, ...]  # now
    since: int  # number of the first entry that trusts it
    revoked: int | None = None  # number of the entry that revoked it
    compromised: bool = False  # what it signed before is not believed either
    granted: tuple[tuple[int, tuple[str, ...]], ...] = ()  # roles from an entry's number on

    def doubt(self, entry: Entry) -> str:
        """Why what this key has signed is not believed any more, or never was; empty when it is."""
        whose = f"key {self.key_id} of '{self.name}'"
        if not is_signed_by(self.public, entry.signed_bytes(), entry.signature):
            return f"the signature is not that of {whose}: edited"
        if entry.by != self.name:
            return f"it says '{entry.by}', and was signed by {whose}"
        if self.compromised:
            return f"signed by {whose}, which was revoked as compromised"
        if entry.number < self.since or (self.revoked and entry.number > self.revoked):
            return f"signed by {whose} when nobody trusted it"
        role = ROLE_OF.get(entry.act, "admin")
        return self.lacks(role, entry.number) if role else ""

    def lacks(self, role: str, at: int | None = None) -> str:
        """What to say when the key is not trusted with a role; empty when it is.

        Args:
            at: number of an entry: the roles of then; None: those of now.
        """
        roles = self.roles if at is None else self.roles_at(at)
        if role in roles:
            return ""
        trusted = " and ".join(roles)
        return f"key {self.key_id} of '{self.name}' is trusted to {trusted}, not to {role}"

    def roles_at(self, number: int) -> tuple[str, ...]:
        """What the key was trusted with when an entry was written."""
        then = [roles for since, roles in self.granted if since <= number]
        return then[-1] if then else self.roles


def key_from(stored: Mapping[str, Any]) -> TrustedKey:
    """A key that went through JSON."""
    granted = tuple((number, tuple(roles)) for number, roles in stored.get("granted", ()))
    return TrustedKey(**{**stored, "roles": tuple(stored["roles"]), "granted": granted})


@dataclass(frozen=True)
class Fault:
    """Something that is not as it was written."""

    number: int  # of the entry
    what: str


@dataclass(frozen=True)
class Gap:
    """Entries that were kept as long as they had to be, and then removed."""

    first: int
    last: int
    digest: str  # of the last one: what the entry after it names


@dataclass
class Chain:
    """What follows from the entries so far; feed them in order."""

    keys: dict[str, TrustedKey] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    last: Entry | None = None
    gaps: dict[int, Gap] = field(default_factory=dict)  # by their first number; were pruned

    def read(self, entry: Entry) -> None:
        """Take in the next entry; what is wrong with it is added to `faults`."""
        why = [*self._misplaced(entry), self.refusal(entry)]
        self.faults += [Fault(entry.number, what) for what in why if what]
        self.take(entry)

    def take(self, entry: Entry) -> None:
        """Take in an entry that was checked, or that need not be."""
        if entry.act in KEY_ACTS and not misstated(entry.act, entry.body):
            self._keep(entry)
        self.last = entry

    def refusal(self, entry: Entry) -> str:
        """Why an entry does not count, wherever it stands; empty when it does."""
        first = entry.number == 1 and entry.act == "key.trust"
        wrong = misstated(entry.act, entry.body)
        if wrong:
            return wrong
        known = self.keys.get(entry.key)
        public = str(entry.body["public"]) if first else known.public if known else ""
        if not public or (first and entry.body["key_id"] != entry.key):
            return f"signed by key {entry.key}, which nobody trusts"
        if not is_signed_by(public, entry.signed_bytes(), entry.signature):
            return f"the signature is not that of key {entry.key}: edited"
        if first:
            return "" if entry.by == entry.body["name"] else "it says another person than its key"
        if known and known.name != entry.by:
            return f"it says '{entry.by}', and was signed by the key of '{known.name}'"
        return self.bar(entry.key, entry.act, entry.body)

    def bar(self, key_id: str, act: str, body: Mapping[str, Any] | None = None) -> str:
        """Why a key may not do an act now; empty when it may."""
        key = self.keys.get(key_id)
        if key is None:
            return f"signed by key {key_id}, which nobody trusts"
        if key.revoked is not None:
            return f"signed by key {key_id} of '{key.name}', revoked by entry {key.revoked}"
        role = ROLE_OF.get(act, "admin")
        own = act == "key.revoke" and (body or {}).get("key_id") == key_id  # anybody may give up
        barred = key.lacks(role) if role and not own else ""
        return barred or self._senseless(act, body or {})

    def admins(self) -> list[TrustedKey]:
        """Keys that may trust and revoke others now."""
        return [
            each for each in self.keys.values() if each.revoked is None and "admin" in each.roles
        ]

    def _senseless(self, act: str, body: Mapping[str, Any]) -> str:
        """Why an act on a key makes no sense now."""
        if act not in KEY_ACTS or not body:
            return ""
        about = self.keys.get(str(body.get("key_id")))
        if act == "key.trust":
            again = about is not None and about.revoked is not None
            return f"key {body['key_id']} was revoked; its owner makes a new one" if again else ""
        if about is None or about.revoked is not None:
            return f"key {body.get('key_id')} is not trusted"
        if self.admins() == [about]:
            return "it is the last admin's key; trust another admin first"
        return ""

    def _misplaced(self, entry: Entry) -> list[str]:
        found = []
        number, before = (self.last.number + 1, self.last.digest()) if self.last else (1, START)
        at = self.last.at if self.last else ""
        if number in self.gaps:
            number, before = self.gaps[number].last + 1, self.gaps[number].digest
        if entry.number != number:
            found.append(f"expected entry {number}, found {entry.number}: removed or reordered")
        elif entry.before != before:
            found.append("it does not follow the entry before it: edited, removed or reordered")
        if entry.at < at:
            found.append(f"it is dated {entry.at}, before the entry before it: a clock set back")
        return found

    def _keep(self, entry: Entry) -> None:
        body = entry.body
        if entry.act == "key.trust":
            known = self.keys.get(body["key_id"])
            since, before = (known.since, known.granted) if known else (entry.number, ())
            roles = tuple(body["roles"])
            self.keys[body["key_id"]] = TrustedKey(
                body["key_id"], body["name"], body["public"], roles, since,
                granted=(*before, (entry.number, roles)),
            )  # fmt: skip
        elif body["key_id"] in self.keys:
            self.keys[body["key_id"]] = replace(
                self.keys[body["key_id"]], revoked=entry.number, compromised=body["compromised"]
            )


def misstated(act: str, body: Mapping[str, Any]) -> str:
    """Why an act is none, or its body does not say what the journal itself needs of it."""
    if act not in ROLE_OF:
        return f"no such act: '{act}'"
    if act == "key.revoke":
        whole = isinstance(body.get("key_id"), str) and isinstance(body.get("compromised"), bool)
        return "" if whole else "it does not say which key, or whether it is compromised"
    if act != "key.trust":
        return ""
    roles, public = body.get("roles"), body.get("public")
    if not isinstance(roles, list) or not roles or not {*map(str, roles)} <= {*ROLES}:
        return f"expected roles of {', '.join(ROLES)}, found {roles}"
    if not isinstance(body.get("name"), str) or not isinstance(public, str):
        return "it does not say whose key it trusts"
    try:
        return "" if key_id_of(public) == body.get("key_id") else "the key is not the one it names"
    except TrustError as error:
        return error.found


def read_chain(entries: Iterable[Entry]) -> Chain:
    """Read all entries, the first one first."""
    listed = list(entries)
    chain = Chain(gaps=gaps_of(listed))
    for entry in listed:
        chain.read(entry)
    return chain


def gaps_of(entries: Iterable[Entry]) -> dict[int, Gap]:
    """What was pruned, as the last `prune` entry says: it names the gaps before it, too."""
    prunes = [each.body for each in entries if each.act == "prune"]
    try:
        found = [Gap(**each) for each in prunes[-1]["gaps"]] if prunes else []
    except (TypeError, KeyError):  # then nothing explains the gap, which is a fault
        return {}
    return {each.first: each for each in found}


def refuse_faults(chain: Chain, where: str) -> None:
    """Raise when the journal is not as it was written.

    Raises:
        TrustError: with the first fault.
    """
    if chain.faults:
        first = chain.faults[0]
        raise TrustError(
            "a journal as it was written", found=f"entry {first.number}: {first.what}",
            where=where, do="cityforge model audit --verify lists all that is wrong",
        )  # fmt: skip
