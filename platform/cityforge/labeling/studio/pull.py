"""Brings people's annotations from Label Studio into `labels/annotations.parquet`.

A pull asks only for what changed since the last one. How far that was stands in the table's own
file, so that both change at once: a pull that is killed leaves the table before it or after it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from cityforge.footage.catalogue import hold
from cityforge.labeling.history import file_digest, keep_annotations
from cityforge.labeling.stored import annotations_path
from cityforge.labeling.studio.client import Studio
from cityforge.labeling.studio.merge import (
    Tally,
    count_foreign,
    merge,
    read_columns,
    read_rows,
    with_times,
    write_rows,
)
from cityforge.labeling.studio.reading import Progress, Reading
from cityforge.labeling.studio.spill import Spill


@dataclass(frozen=True)
class Pulled:
    """What a pull came to; `tasks` and below count all of the project that lies in the table."""

    new: int
    changed: int
    removed: int
    unchanged: int
    tasks: int  # with at least one annotation
    annotations: int
    skipped: int  # annotations by which someone passed over a task
    foreign: int  # annotations on tasks that cityforge did not push
    full_because: str  # empty: only what changed was read
    digest: str  # of the table; see labeling/history.py
    kept: str  # digest of the table before, where it was replaced


def pull(
    studio: Studio,
    project_id: int,
    folder: Path,
    *,
    full: bool = False,
    progress: Progress | None = None,
) -> Pulled:
    """Bring `labels/annotations.parquet` of the dataset in `folder` up to date.

    Args:
        full: read everything, also what seems unchanged.
        progress: told (annotations read, annotations expected).

    Raises:
        NotThere: the project was deleted; the table stays as it is.
        ServiceError: the server fails for longer than the studio is patient.
        DataError: the table holds another project of the same number.
    """
    with _alone_with(folder), Spill() as spill:
        reading = Reading(studio, project_id, annotations_path(folder), spill, progress)
        if full:
            reading.everything("it was asked for")
        elif reading.state is None:
            reading.everything("it is the first pull of this project")
        else:
            reading.what_changed(reading.state)
        return _store(reading, folder)


def _store(reading: Reading, folder: Path) -> Pulled:
    """Merge what was read into the table, or leave the file alone where nothing changed."""
    path, source, tally = reading.path, reading.source, Tally()
    kept = ""
    if reading.tasks or reading.full_because or reading.has_moved():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        now = map(with_times, reading.spill.ordered(reading.versions()))
        rows = merge(read_rows(path), now, source, reading.was_read, tally)
        try:
            write_rows(rows, {**reading.states, source: reading.next_state()}, beside)
            if tally.is_change:
                kept = keep_annotations(folder)
            if tally.is_change or reading.has_moved():
                beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    return _summary(reading, tally, kept)


def _summary(reading: Reading, tally: Tally, kept: str) -> Pulled:
    table = read_columns(reading.path, ["task_id", "skipped"], reading.source)
    return Pulled(
        new=tally.new,
        changed=tally.changed,
        removed=tally.removed,
        unchanged=table.num_rows - tally.new - tally.changed,
        tasks=pc.count_distinct(table["task_id"]).as_py(),
        annotations=table.num_rows,
        skipped=pc.sum(table["skipped"]).as_py() or 0,
        foreign=count_foreign(reading.path, reading.source),
        full_because=reading.full_because,
        digest=file_digest(reading.path),
        kept=kept,
    )


@contextmanager
def _alone_with(folder: Path) -> Iterator[None]:
    """Hold off other pulls into this dataset, and remove what a killed one left behind."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / ".labels.lock"
    held = hold(lock)
    try:
        labels = folder / "labels"
        for left in (
            *labels.glob(".annotations.parquet.*"),
            *(labels / "history").glob(".annotations-*"),
        ):
            left.unlink()
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(held)
