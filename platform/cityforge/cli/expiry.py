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
    """Make frames and snapshot anew where they hold what expired or was withdrawn.

    Args:
        last: `ingest` leaves the snapshot as it is.
    """
    stale = {
        stage: len(shut_in(project.dataset_folder(dataset), part))
        for stage, part in OUTPUTS.items()
    }
    labels = 0
    if last == "ingest":
        stale["snapshot"] = 0
    else:
        labels = withdrawn_labels_in(project.dataset_folder(dataset))
        stale["snapshot"] += labels
    if not quietly:
        _say_unsealed(project, dataset)
    if not any(stale.values()):
        return
    for stage, count in stale.items():
        if count and not quietly:
            of_labels = labels if stage == "snapshot" else 0
            files = f"{count - of_labels} expired or withdrawn files"
            said = f"{files} and {of_labels} withdrawn labels" if of_labels else files
            typer.echo(f"{stage}: made anew without {said}")
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


def withdrawn_labels_in(folder: Path) -> int:
    """How many labels of the snapshot were withdrawn since."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from cityforge.labeling.withdrawn import read_withdrawn

    withdrawn = read_withdrawn(folder)
    if not withdrawn.ids:
        return 0
    columns = ["label_id", "annotator", "annotation_id"]
    try:
        table = pq.read_table(folder / "snapshot" / "labels.parquet", columns=columns)
    except (pa.ArrowException, OSError, KeyError):  # DVC knows whether to make it anew
        return 0
    return int(pc.sum(withdrawn.rows_of(table)).as_py() or 0)


def _say_unsealed(project: Project, dataset: str) -> None:
    """Name originals that were withdrawn elsewhere and still lie on this disk."""
    from cityforge.footage.seals import read_seals
    from cityforge.footage.withdrawals import withdrawn_footage

    folder = project.dataset_folder(dataset)
    waiting = withdrawn_footage(folder).keys() - read_seals(folder).keys()
    for footage_id in sorted(waiting):
        if any((folder / "footage").glob(f"{footage_id}*")):
            typer.echo(
                f"{footage_id} was withdrawn and still lies on this disk: "
                f"cityforge footage withdraw {dataset} {footage_id} --reason ... seals it here",
                err=True,
            )


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
