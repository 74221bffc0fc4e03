"""One act on record: who did what to which model, key or film; chained to the act before, signed.

Everything here needs the bytes alone, so that an endpoint can check an approval without a store.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from cityforge.errors import TrustError

Role = Literal["train", "approve", "admin"]
ROLES: tuple[str, ...] = get_args(Role)
START = "0" * 64  # what the first entry names as the one before it

# What a key must be trusted to do; "" is any trusted key: what protects must be easy.
ROLE_OF: dict[str, str] = {
    "key.trust": "admin",
    "key.revoke": "admin",
    "register": "train",
    "approve": "approve",
    "reject": "approve",
    "rollback": "approve",
    "withdraw": "",
    "hold": "",
    "release": "admin",
    "retrieve": "",
    "failure": "",
    "failure.remove": "approve",  # a gate falls
    "prune": "admin",
}


@dataclass(frozen=True)
class Entry:
    """One entry of the journal; a change of any field breaks the signature or the chain."""

    number: int  # 1, 2, 3, ...
    before: str  # digest of the entry before
    at: str  # ISO 8601, UTC, never before that of the entry before
    act: str  # one of ROLE_OF
    about: str  # the algorithm, the dataset or the key
    body: dict[str, Any]
    by: str  # the person, by the name that the key is trusted under
    key: str  # id of the key that signed
    signature: str = ""  # base64 of ECDSA on P-256 with SHA-256, DER

    @cached_property
    def text(self) -> str:
        """The whole entry as RFC 8785 writes JSON: one text for one content."""
        return canonical({name: getattr(self, name) for name in KINDS}).decode()

    def signed_bytes(self) -> bytes:
        """What the signature is over: all fields but itself, as RFC 8785 writes JSON."""
        # By the order of keys the signature is the last one, and base64 holds no quote.
        return (self.text.rpartition(',"signature":')[0] + "}").encode()

    def to_json(self) -> str:
        """See `text`."""
        return self.text

    def digest(self) -> str:
        """sha256 of the whole entry, hexadecimal: what the next entry names."""
        return hashlib.sha256(self.text.encode()).hexdigest()


KINDS = {name: dict if name == "body" else int if name == "number" else str
         for name in Entry.__dataclass_fields__}  # fmt: skip


def canonical(value: Any) -> bytes:
    """JSON by RFC 8785 (sorted keys, one way to write each number and text).

    Raises:
        TrustError: a value that it has no way to write, such as nan or a number of 2^53 and more.
    """
    import rfc8785

    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeError) as error:
        raise TrustError("values that JSON has one way to write",
                         found=str(error) or type(error).__name__) from error  # fmt: skip


def read_entry(text: str, where: str = "the journal") -> Entry:
    """Read an entry back; only the very text that `Entry.to_json` writes is one.

    Raises:
        TrustError: it is none.
    """
    try:
        entry = Entry(**json.loads(text))
        same = all(type(getattr(entry, name)) is kind for name, kind in KINDS.items())
        same = same and '"' not in entry.signature and entry.text == text
    except (ValueError, TypeError, RecursionError, TrustError) as error:
        raise TrustError("an entry of the journal", found=str(error), where=where) from error
    if not same:
        raise TrustError("an entry as it was written", found="another text", where=where)
    return entry
