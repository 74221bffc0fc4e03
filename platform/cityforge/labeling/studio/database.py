"""The empty database that a local server begins with.

Making its tables takes Label Studio most of its first start (37 of 41 s on two cores). So they
are made once for an environment and kept in it; a new data folder gets a copy.

The database keeps a write-ahead log (https://sqlite.org/wal.html), so that whoever reads does not
hold up those who annotate: 100 annotations during an export took 9 s instead of 20.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cityforge.errors import ServiceError
from cityforge.labeling.studio.environment import Environment, Say

DATABASE = "label_studio.sqlite3"  # Label Studio's own name for it, in its data folder


def place_database(
    environment: Environment, data: Path, variables: Mapping[str, str], say: Say
) -> None:
    """Put the empty database into a data folder that has none.

    Raises:
        ServiceError: Label Studio could not make its tables.
    """
    if (data / DATABASE).exists() or variables.get("LABEL_STUDIO_DJANGO_DB", "sqlite") != "sqlite":
        return
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = environment.folder / f"cityforge-tables-{environment.version()}.sqlite3"
    if not kept.is_file():
        say("making the tables of Label Studio's database (once, about 40 s)")
        made = _make_tables(environment, data, variables)
        if not os.access(environment.folder, os.W_OK):
            made.replace(data / DATABASE)
            return
        _copy(made, kept)
        made.unlink()
    _copy(kept, data / DATABASE)


def _make_tables(environment: Environment, data: Path, variables: Mapping[str, str]) -> Path:
    """Path of a new database beside its place in `data`, with every table and no row of ours."""
    with tempfile.TemporaryDirectory(dir=data, prefix=".tables-") as scratch:
        done = subprocess.run(
            [str(environment.python), str(environment.program), "version"],
            env={**variables, "LABEL_STUDIO_BASE_DATA_DIR": scratch},
            cwd=scratch,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        found = Path(scratch) / DATABASE
        if done.returncode or not found.is_file():
            said = [line for line in done.stderr.splitlines() if line.strip()]
            raise ServiceError(
                "Label Studio to make its database",
                found=said[-1] if said else f"exit {done.returncode}",
                where=str(environment.folder),
                do="remove that folder and run the command again",
            )
        _keep_ahead_log(found)
        return found.replace(data / f".{DATABASE}.{os.getpid()}")


def _keep_ahead_log(database: Path) -> None:
    """Switch a database that nobody uses to a write-ahead log; the file remembers it."""
    with contextlib.closing(sqlite3.connect(database)) as opened:
        opened.execute("PRAGMA journal_mode=wal")


def _copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all, readable by its owner only."""
    beside = target.with_name(f".{target.name}.copy-{os.getpid()}")
    shutil.copyfile(source, beside)
    beside.chmod(0o600)
    beside.replace(target)
