"""Lets footage leave the frames and the snapshot once it has expired.

Time passes without a change of any file, so DVC sees nothing to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cityforge.cli.surroundings import dvc

if TYPE_CHECKING:
    from cityforge.project import Project

# The stages whose outputs name footage, and the folders that these lie in.
OUTPUTS = {"ingest": "frames", "snapshot": "snapshot"}


def leave_expired(
    project: Project, dataset: str, *, last: str = "snapshot", quietly: bool = False
) -> None:
    """Make frames and snapshot anew where they hold expired or withdrawn footage.

    Args:
        last: `ingest` leaves the snapshot as it is.
    """
    stale = {
        stage: len(shut_in(project.dataset_folder(dataset), part))
        for stage, part in OUTPUTS.items()
    }
    if last == "ingest":
        stale["snapshot"] = 0
    if not any(stale.values()):
        return
    for stage, count in stale.items():
        if count and not quietly:
            typer.echo(f"{stage}: made anew without {count} expired or withdrawn files")
        # A snapshot is made of frames that are up to date.
        if count or stage == "ingest":
            force = ["--force"] if count else []
            dvc(project, "repro", *force, "--single-item", f"{stage}@{dataset}", quietly=quietly)


def shut_in(folder: Path, part: str) -> set[str]:
    """Ids of footage that may not be used any more, and that a part of a dataset still names."""
    from datetime import UTC, datetime

    from cityforge.footage.lawful import barred
    from cityforge.footage.seals import FRAMES_FILE, read_with_seals

    named = footage_in(folder / part / FRAMES_FILE)
    return named & barred(read_with_seals(folder), datetime.now(UTC)).keys() if named else set()


def footage_in(path: Path) -> set[str]:
    """Footage ids in a table of any version; of one that cannot be read, none.

    DVC knows whether to make such a table anew.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return set(pq.read_table(path, columns=["footage_id"])["footage_id"].to_pylist())
    except (pa.ArrowException, OSError, KeyError):
        return set()
