"""Folders in which something is made whole before it is put in its place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """An empty folder beside a target, gone afterwards; what killed processes left goes first.

    >>> with tempfile.TemporaryDirectory() as top, folder_beside(Path(top) / "package") as made:
    ...     made.name.startswith(".package.")
    True
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}.*"):
        if not Path("/proc", left.name.split(".")[-2]).exists():
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.{os.getpid()}."))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def first_cause(error: OSError) -> str:
    """The first reason why files could not be copied; `shutil.Error` lists (from, to, reason)."""
    found = error.args[0] if isinstance(error, shutil.Error) else error.strerror
    return str(found[0][2] if isinstance(found, list) and found else found or error)
