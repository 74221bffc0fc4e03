"""Which footage each snapshot held, kept after the snapshot is gone: one small file a digest.

A file that is there is never changed, so that making a snapshot again leaves the checkout clean.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.dataset.snapshot import write_json
from cityforge.errors import DataError


@dataclass(frozen=True)
class Held:
    """One snapshot, or one split of a snapshot, and the footage ids of its frames."""

    digest: str
    algorithm: str  # whose split it is; empty for the snapshot itself
    footage: frozenset[str]
    snapshot: str  # digest of the snapshot itself


def history_folder(folder: Path) -> Path:
    """Where the records of the dataset in `folder` lie; they belong in git."""
    return folder / "history"


def record_snapshot(folder: Path, digest: str, footage_ids: Iterable[str]) -> None:
    """Keep which footage a snapshot holds."""
    _record(folder, digest, {"footage": sorted(set(footage_ids))})


def record_split(folder: Path, digest: str, algorithm: str, snapshot: str) -> None:
    """Keep which snapshot a split is of: models name the digest of the split."""
    _record(folder, digest, {"algorithm": algorithm, "snapshot": snapshot})


def read_history(folder: Path) -> dict[str, Held]:
    """Every snapshot and split on record, by its digest.

    Raises:
        DataError: a record that is none.
    """
    records = {path.stem: _read(path) for path in sorted(history_folder(folder).glob("*.json"))}
    found: dict[str, Held] = {}
    for digest, record in records.items():
        snapshot = record.get("snapshot", digest)
        source = records.get(snapshot, {})
        if "footage" in source:
            held = frozenset(source["footage"])
            found[digest] = Held(digest, record.get("algorithm", ""), held, snapshot)
    return found


def _record(folder: Path, digest: str, record: dict[str, Any]) -> None:
    path = history_folder(folder) / f"{digest}.json"
    if not path.exists():
        write_json(path, record)


def _read(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            "the record of a snapshot", found=str(error), where=str(path), do="git checkout it"
        ) from error
    return record
