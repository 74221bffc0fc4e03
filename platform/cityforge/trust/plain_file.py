"""Reads a file once, and only what is a plain file of a size that was foreseen."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_plain(path: Path, most: int) -> bytes:
    """The bytes of a file; no link is followed, and no pipe waited for.

    Args:
        most: bytes that it may have.

    Raises:
        ValueError: why it is not read, in a few words.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        link = path.is_symlink()
        raise ValueError("a symbolic link" if link else error.strerror or "no file") from error
    try:
        known = os.fstat(number)
        if not stat.S_ISREG(known.st_mode):
            raise ValueError("no plain file")
        if known.st_size > most:
            raise ValueError(f"more than {most >> 20} MiB")
        with os.fdopen(number, "rb", closefd=False) as stream:
            data = stream.read(known.st_size + 1)
    finally:
        os.close(number)
    if len(data) != known.st_size:
        raise ValueError("a file that changed while it was read")
    return data
