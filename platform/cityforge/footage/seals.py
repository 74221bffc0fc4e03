"""What lies under seal of withdrawn footage, and the mark that the catalogue bears for it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cityforge.errors import DataError, TableError
from cityforge.footage.catalogue import read_catalogue
from cityforge.footage.withdrawals import withdrawn_footage
from cityforge.tables import FOOTAGE, from_rows

REASON_FILE = "reason.json"
FRAMES_FILE = "frames.parquet"
LABELS_FILE = "labels.parquet"


@dataclass(frozen=True)
class Sealed:
    """What lies under seal of one withdrawn file; nothing else of the dataset holds it."""

    footage_id: str
    name: str
    folder: Path
    withdrawn_at: datetime
    reason: str
    by: str
    original: bool  # False: it was not on this machine
    shards: int
    frames: int
    labels: int


def sealed_folder(folder: Path, footage_id: str) -> Path:
    """Where what was withdrawn of the dataset in `folder` lies; only its owner may look in."""
    return folder / "sealed" / footage_id


def read_seals(folder: Path) -> dict[str, dict[str, Any]]:
    """What each seal of a dataset says of itself: footage_id, name, withdrawn_at, reason, by."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(sealed_folder(folder, "").glob(f"*/{REASON_FILE}")):
        try:
            seal = json.loads(path.read_text(encoding="utf-8"))
            seal["withdrawn_at"] = datetime.fromisoformat(seal["withdrawn_at"])
        except (ValueError, KeyError) as error:
            raise DataError("a seal's reason", found=str(error), where=str(path)) from error
        found[path.parent.name] = seal
    return found


def read_marks(folder: Path) -> dict[str, Mapping[str, Any]]:
    """All that was withdrawn of a dataset, sealed here or not: withdrawn_at, reason, by."""
    return {**withdrawn_footage(folder), **read_seals(folder)}


def read_with_seals(folder: Path) -> pa.Table:
    """The catalogue, in which all is withdrawn that is sealed here or that the journal names.

    An older catalogue that was checked out again does not know of a later withdrawal, nor does
    that of a colleague who has not fetched it yet.
    """
    return with_marks(read_catalogue(folder), read_marks(folder))


def with_marks(footage: pa.Table, marks: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    """Table FOOTAGE with the withdrawals in `marks`: id to withdrawn_at and reason.

    A row that is withdrawn already stays as it is.
    """
    rows = footage.to_pylist()
    for row in rows:
        mark = marks.get(row["footage_id"])
        if mark and row["withdrawn_at"] is None:
            row["withdrawn_at"], row["withdrawn_reason"] = mark["withdrawn_at"], mark["reason"]
    return from_rows(rows, FOOTAGE)


def open_seal(folder: Path, row: Mapping[str, Any], who: str) -> None:
    """Make the folder of a seal, and say in it who sealed the footage, when and why."""
    seal = sealed_folder(folder, str(row["footage_id"]))
    for each in (seal.parent, seal):
        each.mkdir(exist_ok=True)
        each.chmod(0o700)
    path = seal / REASON_FILE
    if path.exists():
        return
    about = {
        "footage_id": row["footage_id"],
        "name": row["name"],
        "withdrawn_at": row["withdrawn_at"].isoformat(),
        "reason": row["withdrawn_reason"],
        "by": who,
    }
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def close_seal(folder: Path, row: Mapping[str, Any]) -> Sealed:
    """Let nobody but the owner read what is sealed, and count it."""
    footage_id = str(row["footage_id"])
    seal = sealed_folder(folder, footage_id)
    for path in seal.rglob(".*"):  # half written by a call that was cut short
        path.unlink()
    inside = sorted(seal.rglob("*"))
    for path in inside:
        path.chmod(0o700 if path.is_dir() else 0o600)
    frames, labels = seal / FRAMES_FILE, seal / LABELS_FILE
    return Sealed(
        footage_id=footage_id,
        name=str(row["name"]),
        folder=seal,
        withdrawn_at=row["withdrawn_at"],
        reason=str(row["withdrawn_reason"]),
        by=str(json.loads((seal / REASON_FILE).read_text(encoding="utf-8"))["by"]),
        original=any(path.name.partition(".")[0] == footage_id for path in inside),
        shards=sum(path.suffix == ".tar" for path in inside),
        frames=read_any(frames).num_rows if frames.exists() else 0,
        labels=read_any(labels).num_rows if labels.exists() else 0,
    )


def read_any(path: Path) -> pa.Table:
    """A table of any version: what is withdrawn is sealed as it stands."""
    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise TableError("a table", found=f"no Parquet ({error})", where=str(path)) from error
