"""The file of tokens: who may call an endpoint, made once and kept as hashes."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from cityforge.errors import InputError, NameUnknown

SCOPES = ("predict", "feedback", "admin")
PLACE = Path("serving", "tokens.json")  # below the project's .cityforge
MOST_BYTES = 4 << 20  # of the file: some 10,000 tokens
FORM = re.compile(r"cf_([A-Za-z0-9_-]{43})([A-Za-z0-9_-]{6})")


def checked_name(name: str) -> str:
    """A name as logs and metrics can show it.

    Raises:
        ValueError: empty, too long, with signs that do not print, or with a space at an end.
    """
    if not 1 <= len(name) <= 64 or not name.isprintable() or name != name.strip():
        raise ValueError("expected 1 to 64 signs that print, and no space at an end")
    return name


class Token(BaseModel):
    """One caller's token; the secret itself is nowhere.

    `rate`: requests a second; `burst`: as many at once. `sha256`: of the whole secret, hex. A
    secret holds 256 random bits, so that a slow hash would add nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, AfterValidator(checked_name)]
    scopes: tuple[Literal["predict", "feedback", "admin"], ...] = Field(min_length=1)
    rate: float = Field(gt=0, le=100_000, allow_inf_nan=False)
    burst: int = Field(ge=1, le=100_000)
    created: AwareDatetime
    expires: AwareDatetime
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class TokenFile(BaseModel):
    """What `tokens.json` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: tuple[Token, ...]


def new_secret() -> str:
    """A secret: `cf_`, 32 random bytes, and a checksum that tells a slip of the pen."""
    body = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    return f"cf_{body}{_checksum(body)}"


def is_well_formed(secret: str) -> bool:
    """Whether this was written as secrets are, without a slip; it need not be known.

    >>> is_well_formed("cf_" + "a" * 49)
    False
    """
    found = FORM.fullmatch(secret)
    return found is not None and _checksum(found[1]) == found[2]


def _checksum(body: str) -> str:
    """CRC-32 of the body, base64url: six signs."""
    raw = zlib.crc32(body.encode()).to_bytes(4, "big")
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def hash_of(secret: str) -> str:
    """What is kept of a secret: sha256, hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def read_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens of a file; none where there is no file.

    Raises:
        InputError: it is damaged, too large, or others may write it.
        OSError: it cannot be read.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            return _parsed(_content(stream, path), path)
    except FileNotFoundError:
        return ()


def _content(stream: IO[bytes], path: Path) -> bytes:
    if os.fstat(stream.fileno()).st_mode & 0o022:
        raise InputError("tokens that only their owner may write", found="a file others may",
                         where=str(path), do=f"chmod 600 '{path}'")  # fmt: skip
    text = stream.read(MOST_BYTES + 1) or b""  # of a pipe without a writer: nothing
    if len(text) > MOST_BYTES:
        raise InputError(f"tokens of at most {MOST_BYTES >> 20} MiB", found="more", where=str(path))
    return text


def _parsed(text: bytes, path: Path) -> tuple[Token, ...]:
    try:
        found = TokenFile.model_validate_json(text).tokens
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(
            "tokens as cityforge key token writes them", found=first["msg"],
            where=f"{path} {key}".strip(), do="put a copy back, or remove it and make new ones",
        ) from None  # fmt: skip
    if len({each.name for each in found}) < len(found):
        raise InputError("one token a name", found="a name twice", where=str(path))
    return found


def new_token(
    path: Path, name: str, scopes: Sequence[str], *, rate: float, burst: int, days: int
) -> tuple[Token, str]:
    """Make a token and enter it; the secret is returned here and never again.

    Raises:
        InputError: a name that has one, or what no token can be; or the file is damaged.
        NameUnknown: no such scope.
    """
    for each in scopes:
        if each not in SCOPES:
            raise NameUnknown("a scope", each, SCOPES)
    secret, now = new_secret(), datetime.now(UTC).replace(microsecond=0)
    wanted = {
        "name": name, "scopes": [each for each in SCOPES if each in scopes], "rate": rate,
        "burst": burst, "created": now, "expires": now + timedelta(days=days),
        "sha256": hash_of(secret),
    }  # fmt: skip
    try:
        token = Token.model_validate(wanted)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        said = f"{first['input']!r} ({first['msg'].removeprefix('Value error, ')})"
        raise InputError(f"a token's {first['loc'][0]}", found=said) from None
    with _alone(path):
        before = read_tokens(path)
        if any(each.name == name for each in before):
            raise InputError(f"no token of '{name}' yet", found="one", where=str(path),
                             do=f"cityforge key token revoke '{name}'")  # fmt: skip
        _write(path, (*before, token))
    return token, secret


def revoke_token(path: Path, name: str) -> Token:
    """Strike a token out.

    Raises:
        NameUnknown: nobody has one by this name.
    """
    with _alone(path):
        before = read_tokens(path)
        found = [each for each in before if each.name == name]
        if not found:
            raise NameUnknown("a token", name, [each.name for each in before], where=str(path))
        _write(path, [each for each in before if each.name != name])
    return found[0]


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold off others who would change the file; the lock lies beside it and stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _write(path: Path, tokens: Sequence[Token]) -> None:
    content = TokenFile(tokens=tuple(tokens)).model_dump(mode="json")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)  # of one that was killed
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream, ensure_ascii=False, indent=1)
            stream.flush()
            os.fsync(handle)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
