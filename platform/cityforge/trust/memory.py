"""What the owner of a key remembers of a journal, beside the key: proof that nothing was cut off.

A journal is chained, so whoever knows its newest entry knows all before it. The journal's store
does not hold this: who removes entries there, or all of it, is found out here.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cityforge.errors import TrustError
from cityforge.trust.store import Store

FOLDER = "journals"


@dataclass(frozen=True)
class Seen:
    """One journal that stood at an address."""

    first: str  # digest of its first entry: tells journals apart
    number: int  # of the newest entry seen
    digest: str  # of that entry
    checkout: str  # of the project it lay in; "" for a server
    checked: int = 0  # every entry up to this number was checked
    rows: str = ""  # sha256 over these rows, see `audit.rows_digest`


class Memory:
    """What is remembered of the journal at one address."""

    def __init__(self, store: Store, keys: Path | None) -> None:
        """Keep it below `keys`, the folder of a person's keys; None remembers nothing."""
        name = hashlib.sha256(store.where.encode()).hexdigest()[:16]
        self.path = keys / FOLDER / f"{name}.json" if keys else None
        self._where = store.where
        self._checkout = _checkout(store.path)

    def all(self) -> list[Seen]:
        """Every journal that stood at this address.

        Raises:
            TrustError: what was remembered cannot be read.
        """
        if self.path is None or not self.path.exists():
            return []
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return [Seen(**each) for each in content["journals"]]
        except (ValueError, TypeError, KeyError) as error:
            raise TrustError(
                "what was seen of the journal", found=str(error), where=str(self.path),
                do="remove it; it is kept anew",
            ) from error  # fmt: skip

    def of(self, first: str) -> Seen | None:
        """What is remembered of the journal that begins with this entry."""
        return next((each for each in self.all() if each.first == first), None)

    def lost(self, first: str = "", anywhere: bool = False) -> Seen | None:
        """A journal that stood here and that another, or none, has taken the place of.

        A new checkout at the place of an older one begins its own journal; with `anywhere`, that
        of the older one is told, too.
        """
        others = [each for each in self.all() if each.first != first]
        here = [each for each in others if anywhere or each.checkout == self._checkout]
        return here[-1] if here else None

    def keep(self, seen: Seen) -> None:
        """Remember the newest entry; an older one never takes its place."""
        if self.path is None:
            return
        seen = replace(seen, checkout=self._checkout)
        known = {each.first: each for each in self.all()}
        old = known.get(seen.first)
        if old and (old.number, old.checked) >= (seen.number, seen.checked):
            return
        if old and old.checked > seen.checked:
            seen = replace(seen, checked=old.checked, rows=old.rows)
        known[seen.first] = seen
        self._write(list(known.values()))

    def forget_checked(self, first: str) -> None:
        """Let every entry be checked again."""
        kept = [replace(e, checked=0, rows="") if e.first == first else e for e in self.all()]
        if kept:
            self._write(kept)

    def _write(self, journals: list[Seen]) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = {"address": self._where, "journals": [asdict(each) for each in journals]}
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        beside.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
        beside.replace(self.path)


def _checkout(path: Path | None) -> str:
    """Tells a checkout from a later one at the same place: when git made it."""
    if path is None:
        return ""
    made = path.parent.parent / ".git" / "description"  # written once, by clone or init
    return str(made.stat().st_mtime_ns) if made.is_file() else ""
