"""Who calls: the tokens of a site, followed while an endpoint runs."""

from __future__ import annotations

import hmac
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from cityforge.endpoint.token_file import Token, hash_of, is_well_formed, read_tokens
from cityforge.errors import InputError

LOOK_EVERY_S = 0.5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and what they may."""

    name: str
    scopes: frozenset[str]
    rate: float  # requests a second
    burst: int
    expires: float  # seconds since 1970
    sha256: str


class Tokens:
    """Who may call, as the file says it now; a damaged file keeps those known before."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._callers: dict[str, Caller] = {}
        self._seen: tuple[int, ...] | None = None
        self._look_at = 0.0
        self.complaint = ""  # why the file as it is now is not followed

    def caller(self, secret: str) -> Caller | None:
        """Whose secret this is; None when nobody's, or when it has expired.

        The list is searched by the hash of what was sent, which a guesser cannot steer, and
        the hash found is compared in constant time.
        """
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY_S
            self.look()
        if not is_well_formed(secret):
            return None
        sent = hash_of(secret)
        found = self._callers.get(sent[:16])
        if found is None or not hmac.compare_digest(found.sha256, sent):
            return None
        return found if time.time() < found.expires else None

    def look(self) -> None:
        """Take the file as it is now, if it is another than the one last seen."""
        if self._path is None:
            return
        mark = _mark(self._path)
        if mark == self._seen:
            return
        self._seen, self.complaint = mark, ""
        try:
            tokens = read_tokens(self._path)
        except (InputError, OSError) as error:
            self.complaint = str(error)
            logger.error("the tokens known before stay in force: %s", error)
            return
        self._callers = {each.sha256[:16]: _caller(each) for each in tokens}


def _mark(path: Path) -> tuple[int, ...]:
    """Which file it is: a rename gives another; empty for none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    except OSError as error:
        return (-1, error.errno or 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode)


def _caller(token: Token) -> Caller:
    return Caller(
        token.name, frozenset(token.scopes), token.rate, token.burst,
        token.expires.timestamp(), token.sha256,
    )  # fmt: skip
