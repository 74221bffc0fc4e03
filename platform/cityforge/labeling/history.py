"""The earlier states of a dataset's labels and annotations: each can be read exactly again.

`labels/history/annotations-<digest>.parquet` is a state of what was pulled from Label Studio,
`labels/history/<digest>.parquet` one of the labels; the digest is that of the file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from cityforge.errors import DataError, NameUnknown
from cityforge.labeling.stored import annotations_path, labels_path
from cityforge.tables import ANNOTATIONS, LABELS, read_table

Kind = Literal["annotations", "labels"]

_PREFIX = {"annotations": "annotations-", "labels": ""}
_SCHEMA = {"annotations": ANNOTATIONS, "labels": LABELS}


@dataclass(frozen=True)
class State:
    """One state of a table, now or earlier."""

    kind: Kind
    digest: str  # first 16 of the file's sha256
    changed_at: datetime  # when the file was written
    rows: int
    current: bool


def file_digest(path: Path) -> str:
    """First 16 of a file's sha256; of any size, a piece at a time."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def keep_annotations(folder: Path) -> str:
    """Keep the annotations as they are now, before they are replaced; their digest, or nothing."""
    path = annotations_path(folder)
    if not path.exists():
        return ""
    digest = file_digest(path)
    kept = _kept(folder, "annotations", digest)
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        beside = kept.with_name(f".{kept.name}.{os.getpid()}")
        try:
            os.link(path, beside)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, beside)
        beside.replace(kept)
    return digest


def states(folder: Path) -> list[State]:
    """Every state that can be read: those that stand, then the earlier ones, the newest first."""
    found: dict[tuple[Kind, str], State] = {}
    for kind, path in _files(folder):
        state = _state(kind, path, current=path.parent.name != "history")
        before = found.get((kind, state.digest))
        if before is None or state.current:
            found[kind, state.digest] = state
    return sorted(found.values(), key=lambda each: (each.current, each.changed_at), reverse=True)


def read_state(folder: Path, kind: Kind, digest: str) -> pa.Table:
    """Read the table that has this digest, or the only one whose digest begins so.

    Raises:
        NameUnknown: no state of that digest, or several that begin so.
        DataError: the file is not any more what its name says.
    """
    known = {each.digest: each for each in states(folder) if each.kind == kind}
    matching = [each for each in known if digest and each.startswith(digest)]
    if len(matching) != 1:
        where = str(folder / "labels" / "history")
        raise NameUnknown(f"a state of the {kind}", digest, known, where=where)
    state = known[matching[0]]
    current = annotations_path(folder) if kind == "annotations" else labels_path(folder)
    path = current if state.current else _kept(folder, kind, state.digest)
    return read_table(_SCHEMA[kind], path)


def _kept(folder: Path, kind: Kind, digest: str) -> Path:
    return folder / "labels" / "history" / f"{_PREFIX[kind]}{digest}.parquet"


def _files(folder: Path) -> list[tuple[Kind, Path]]:
    now: list[tuple[Kind, Path]] = [
        ("annotations", annotations_path(folder)),
        ("labels", labels_path(folder)),
    ]
    kept: list[tuple[Kind, Path]] = [
        ("annotations" if path.name.startswith(_PREFIX["annotations"]) else "labels", path)
        for path in sorted((folder / "labels" / "history").glob("[!.]*.parquet"))
    ]
    return [each for each in now if each[1].exists()] + kept


def _state(kind: Kind, path: Path, current: bool) -> State:
    digest = file_digest(path)
    if not current and path.stem != f"{_PREFIX[kind]}{digest}":
        raise DataError(
            "a file with the digest of its name",
            found=digest,
            where=str(path),
            do="dvc checkout brings back the file as it was",
        )
    changed_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return State(kind, digest, changed_at, pq.read_metadata(path).num_rows, current)
