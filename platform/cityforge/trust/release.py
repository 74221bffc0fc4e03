"""What lies beside a package that is served: who registered it, who approved it, whose keys.

An endpoint checks it without a store: each part is an entry of the journal, signed by a person.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.errors import TrustError
from cityforge.trust.chain import KEY_ACTS, Chain, TrustedKey
from cityforge.trust.entries import Entry, canonical, read_entry
from cityforge.trust.plain_file import read_plain

RELEASE_FILE = "release.json"
FORMAT = "cityforge.release/1"
MOST_BYTES = 4 << 20
# What the approval must repeat of what was registered.
SAME = ("version", "package_digest", "evidence_digest", "signature_digest")


@dataclass(frozen=True)
class Release:
    """A version that was registered and approved, as its two signed entries say."""

    folder: Path  # that holds release.json
    register: Entry
    approve: Entry
    keys: Mapping[str, TrustedKey]  # that the two were held against
    trust: str  # "site": the keys of the journal now; "built in": those of when it was built

    @property
    def algorithm(self) -> str:
        """Name of the algorithm."""
        return self.register.about

    @property
    def version(self) -> int:
        """Number of the version."""
        return int(self.register.body["version"])

    @property
    def package_digest(self) -> str:
        """sha256 over the package's files; see `inference.package`."""
        return str(self.register.body["package_digest"])

    @property
    def signer(self) -> TrustedKey:
        """The key that signed the package and its registration."""
        return self.keys[self.register.key]

    @property
    def approver(self) -> TrustedKey:
        """The key that signed the approval."""
        return self.keys[self.approve.key]


def release_text(register: Entry, approve: Entry, entries: Iterable[Entry]) -> str:
    """What `open_release` reads.

    Args:
        entries: the journal, or its `key.trust` and `key.revoke` entries alone, in order.
    """
    keys = [json.loads(each.to_json()) for each in entries if each.act in KEY_ACTS]
    content = {
        "format": FORMAT,
        "register": json.loads(register.to_json()),
        "approve": json.loads(approve.to_json()),
        "keys": keys,
    }
    return canonical(content).decode()


def write_release(folder: Path, register: Entry, approve: Entry, entries: Iterable[Entry]) -> Path:
    """Write `release.json` into a folder, whole or not at all; see `release_text`."""
    path = folder / RELEASE_FILE
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(release_text(register, approve, entries), encoding="utf-8")
    beside.replace(path)
    return path


def open_release(folder: Path, trusted: Mapping[str, TrustedKey] | None = None) -> Release:
    """Open what lies beside a package, and hold it against the keys that are trusted.

    Args:
        folder: holds `release.json`.
        trusted: the site's keys as they are now; None: those that were built in, which know
            nothing of what was revoked since.

    Raises:
        TrustError: no release, not as it was signed, by a key that is not trusted to do it, or
            an approval of something else.
    """
    path = folder / RELEASE_FILE
    content = _content(path, FORMAT, {"format", "register", "approve", "keys"})
    where = str(path)
    if not isinstance(content["keys"], list):
        raise _no_release("keys that are no list", where)
    built_in = _keys_of([_entry(each, where) for each in content["keys"]], where)
    keys = built_in if trusted is None else trusted
    register, approve = _entry(content["register"], where), _entry(content["approve"], where)
    refuse_release(register, approve, keys, where)
    return Release(folder, register, approve, dict(keys), "built in" if trusted is None else "site")


def refuse_release(
    register: Entry, approve: Entry, keys: Mapping[str, TrustedKey], where: str = "the journal"
) -> None:
    """Refuse a version whose two entries cannot be believed, or do not belong together.

    Raises:
        TrustError: see `open_release`.
    """
    for entry, act in ((register, "register"), (approve, "approve")):
        if entry.act != act:
            raise _no_release(f"an entry that says '{entry.act}', not '{act}'", where)
        key = keys.get(entry.key)
        why = key.doubt(entry) if key else f"signed by key {entry.key}, which nobody trusts"
        if why:
            raise TrustError(
                f"a version whose {act} entry can be believed", found=why, where=where,
                do="approve it anew, or serve another version" if act == "approve" else
                "register it anew with another key and approve that, or serve another version",
            )  # fmt: skip
    _refuse_other_approval(register, approve, where)
    why = not_earned(register, approve)
    if why:
        raise TrustError(
            "an approval by another person than the trainer, of passed gates, or that says why not",
            found=why, where=where, do="another person approves it anew",
        )  # fmt: skip


def not_earned(register: Entry, approve: Entry) -> str:
    """Why an approval that was signed may not have been given; empty when it may.

    No approval that cityforge wrote is such a one: it says when trainer and approver are one
    person, and when a gate was overridden.
    """
    same = register.by == approve.by or register.key == approve.key
    if same and approve.body.get("one_person") is not True:
        return f"approved by {approve.by}, who registered it, and the entry does not say so"
    body = register.body  # an adopted one repeats MLflow's tags, which may lack its gates
    under = body.get("gates_passed") is False and not body.get("adopted")
    if under and approve.body.get("override") is not True:
        return "approved under a gate, and the entry does not say so"
    return ""


def was_of_one_person(approve: Entry, keys: Mapping[str, TrustedKey]) -> bool:
    """Whether nobody but the approver was trusted with anything when an approval was signed."""
    return not any(
        each.name != approve.by
        and each.since < approve.number
        and (each.revoked is None or each.revoked > approve.number)
        for each in keys.values()
    )


def _refuse_other_approval(register: Entry, approve: Entry, where: str) -> None:
    """Refuse an approval of another version, package, evidence or registration."""
    apart = [name for name in SAME if not register.body.get(name)
             or register.body.get(name) != approve.body.get(name)]  # fmt: skip
    if register.about != approve.about:
        apart.insert(0, "algorithm")
    if approve.body.get("register") != register.digest():
        apart.append("register")
    if approve.number <= register.number:
        apart.append("number")
    if apart:
        raise TrustError(
            "an approval of this very version", found=f"one of another {', '.join(apart)}",
            where=where, do="approve the version itself",
        )  # fmt: skip


def _keys_of(entries: list[Entry], where: str) -> dict[str, TrustedKey]:
    """Keys after these entries; each must be signed by an admin that those before it trust."""
    chain = Chain()
    for entry in entries:
        after = chain.last is None or entry.number > chain.last.number
        why = chain.refusal(entry) if entry.act in KEY_ACTS and after else "no entry of a key here"
        if why:
            raise _no_release(f"entry {entry.number}: {why}", where)
        chain.take(entry)
    return chain.keys


def _entry(content: Any, where: str) -> Entry:
    return read_entry(canonical(content).decode(), where)


def _content(path: Path, format_name: str, names: set[str]) -> dict[str, Any]:
    """The JSON of a file; its spaces say nothing, and all else in it is signed."""
    try:
        content = json.loads(read_plain(path, MOST_BYTES))
    except (ValueError, RecursionError) as error:
        raise _no_release(str(error) or type(error).__name__, str(path)) from error
    if not isinstance(content, dict) or set(content) != names or content["format"] != format_name:
        raise _no_release(f"another content than {format_name}", str(path))
    return content


def _no_release(found: str, where: str) -> TrustError:
    return TrustError(
        "a release as it was written", found=found, where=where,
        do="build or serve an approved version again",
    )  # fmt: skip
