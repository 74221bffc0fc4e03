"""Account, password and token of the local server: made once, kept where only we can read them."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from cityforge.labeling.studio.environment import studio_folder

USER = "admin@cityforge.local"


@dataclass(frozen=True)
class Credentials:
    """The account that cityforge made on the local server; its repr shows no secret."""

    user: str
    password: SecretStr
    token: SecretStr


def credentials_path(work: Path) -> Path:
    """The file that holds them, readable by its owner only."""
    return studio_folder(work) / "access.json"


def read_credentials(work: Path) -> Credentials | None:
    """What is kept; None where nothing is, or where it cannot be read any more."""
    path = credentials_path(work)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        found = Credentials(
            str(kept["user"]), SecretStr(str(kept["password"])), SecretStr(str(kept["token"]))
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return found


def ensure_credentials(work: Path) -> Credentials:
    """What is kept, or new ones."""
    return read_credentials(work) or make_credentials(work)


def make_credentials(work: Path) -> Credentials:
    """Draw a new password and a token of 40 hexadecimal signs, as Label Studio's are; keep them."""
    made = Credentials(USER, SecretStr(secrets.token_urlsafe(12)), SecretStr(secrets.token_hex(20)))
    content = {
        "user": made.user,
        "password": made.password.get_secret_value(),
        "token": made.token.get_secret_value(),
    }
    write_private(credentials_path(work), json.dumps(content, indent=1))
    return made


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    beside.replace(path)
