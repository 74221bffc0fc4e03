"""Ids of requests: they name the package that answers, and tell whether this site made them."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from pathlib import Path

from cityforge.errors import ServiceError

PREFIX = 16  # signs of the package's digest that an id begins with
CHECK = 16  # signs of the HMAC-SHA256 (RFC 2104) that it ends with
SECRET_BYTES = 32
MADE = re.compile(r"[0-9a-f]{16}-[0-9a-f]{32}", re.ASCII)


class RequestIds:
    """Makes ids, and knows its own again without a list of them.

    Args:
        secret: key of the site; None: one for this process alone.
    """

    def __init__(self, secret: bytes | None) -> None:
        self._secret = secret or secrets.token_bytes(SECRET_BYTES)

    def new(self, package_digest: str) -> str:
        """The digest's first 16 signs, `-`, 16 random ones, 16 of an HMAC over what stands before.

        >>> ids = RequestIds(None)
        >>> made = ids.new("ab" * 32)
        >>> made[:17], len(made), ids.made(made), ids.made(made[:-1] + "?")
        ('abababababababab-', 49, True, False)
        """
        rest = f"{package_digest[:PREFIX]}-{secrets.token_hex(8)}"
        return rest + self._check(rest)

    def made(self, request_id: str) -> bool:
        """Whether an id was made with this secret."""
        if not MADE.fullmatch(request_id):
            return False
        return hmac.compare_digest(self._check(request_id[:-CHECK]), request_id[-CHECK:])

    def _check(self, rest: str) -> str:
        return hmac.digest(self._secret, rest.encode(), "sha256").hex()[:CHECK]


def open_secret(path: Path) -> bytes:
    """The key in a file, 32 bytes, readable by its owner alone; made when there is none yet.

    Of several processes that make it at once, one wins and all get the same.

    Raises:
        ServiceError: the file holds something else, or cannot be read or made.
    """
    try:
        if not path.exists():
            _make(path)
        found = path.read_bytes()
    except OSError as error:
        raise ServiceError(
            "the key that request ids are made with", found=error.strerror or "no file",
            where=str(path),
        ) from error  # fmt: skip
    if len(found) != SECRET_BYTES:
        raise ServiceError(
            f"a key of {SECRET_BYTES} bytes", found=f"{len(found)} bytes", where=str(path),
            do="remove the file, so that another is made; older ids are then unknown",
        )  # fmt: skip
    return found


def _make(path: Path) -> None:
    """Write beside, then link: it appears whole, and never in another's place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_bytes(SECRET_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        os.link(beside, path)
    except FileExistsError:
        return
    finally:
        beside.unlink(missing_ok=True)
