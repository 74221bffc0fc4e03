"""One training of an algorithm at a time."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from cityforge.errors import ServiceError


@contextmanager
def training_lock(folder: Path, what: str) -> Iterator[None]:
    """Hold `what` (the name of an algorithm) for this process, until the block or it ends.

    A POSIX record lock: unlike one of flock, it is not kept up by the loader's processes
    when the training itself was killed.

    Raises:
        ServiceError: another process holds it; says which, and since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{what}.lock"
    with path.open("a+", encoding="utf-8") as held:
        try:
            fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held.seek(0)
            raise ServiceError(
                f"one training of '{what}' at a time", found=_holder(held.read()),
                where=str(path), do="wait until it has ended, or end it",
            ) from error  # fmt: skip
        held.truncate(0)
        since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
        held.write(json.dumps({"pid": os.getpid(), "since": since, "machine": platform.node()}))
        held.flush()
        yield


def _holder(note: str) -> str:
    try:
        found = json.loads(note)
        return f"process {found['pid']} on {found['machine']}, since {found['since']}"
    except (ValueError, KeyError, TypeError):  # it is just about to write its note
        return "another process"
