"""Seals withdrawn footage: original, frames and labels go where no stage reads.

A withdrawal may be cut short at any moment: the catalogue says first that the footage is
withdrawn, so that nothing uses it from then on, and the same call again does what is left.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.errors import DataError, InputError, NameUnknown
from cityforge.footage.build import side_path
from cityforge.footage.catalogue import alone_with, catalogue_path, read_catalogue
from cityforge.footage.lawful import footage_of
from cityforge.footage.seals import (
    FRAMES_FILE,
    LABELS_FILE,
    Sealed,
    close_seal,
    open_seal,
    read_any,
    read_marks,
    sealed_folder,
    with_marks,
)
from cityforge.tables import FOOTAGE, write_table

CLOCKS_APART_S = 2.0  # a file's time and a process's start, by which they may differ
STILLS = "stills-"  # how the names of shards begin that many stills share


def find_footage(footage: pa.Table, text: str, dataset: str) -> dict[str, Any]:
    """The one row of FOOTAGE that has `text` as its id or as a name.

    Raises:
        NameUnknown: there is none.
        InputError: several have that name.
    """
    rows: list[dict[str, Any]] = footage.to_pylist()
    found = [row for row in rows if text == row["footage_id"]] or [
        row for row in rows if text in (row["name"], *(row["other_names"] or ()))
    ]
    if not found:
        raise NameUnknown("footage", text, [str(row["name"]) for row in rows], where=dataset)
    if len(found) > 1:
        ids = ", ".join(str(row["footage_id"]) for row in found)
        raise InputError("one file", found=f"{len(found)} named '{text}'", do=f"name its id: {ids}")
    return found[0]


def withdraw(folder: Path, footage_id: str, reason: str, now: datetime, who: str) -> Sealed:
    """Withdraw one file; see `withdraw_all`."""
    return withdraw_all(folder, {footage_id: reason}, now, who)[0]


def withdraw_all(folder: Path, reasons: Mapping[str, str], now: datetime, who: str) -> list[Sealed]:
    """Withdraw files of the dataset in `folder`, and seal all that it holds of them.

    What is withdrawn already keeps its time and reason; what is left of it is sealed. A shard
    of stills that held one of them is removed: ingest makes it anew without it.

    Args:
        reasons: footage id to the reason that stays on record.

    Raises:
        InputError: a reason without a word; nothing was changed.
        NameUnknown: footage that the catalogue does not name; nothing was changed.
    """
    for footage_id, reason in reasons.items():
        if not reason.strip():
            raise InputError("a reason that stays on record", found="none", where=footage_id)
    rows = _mark(folder, reasons, now)
    marks = read_marks(folder)
    for row in rows:
        open_seal(folder, row, str(marks.get(row["footage_id"], {}).get("by", who)))
    _seal_frames(folder, set(reasons))
    _seal_labels(folder, set(reasons))
    _seal_originals(folder, set(reasons))
    return [close_seal(folder, row) for row in rows]


def _mark(folder: Path, reasons: Mapping[str, str], now: datetime) -> list[dict[str, Any]]:
    """Say in the catalogue that footage is withdrawn; its rows."""
    with alone_with(folder):
        stored = read_catalogue(folder)
        stated = stored.column("footage_id").to_pylist()
        for each in reasons:
            if each not in stated:
                raise NameUnknown("footage", each, stated, where=str(folder))
        asked = {each: {"withdrawn_at": now, "reason": why} for each, why in reasons.items()}
        known = {each: mark for each, mark in read_marks(folder).items() if each in reasons}
        marked = with_marks(stored, asked | known)
        if not marked.equals(stored):
            write_table(marked, FOOTAGE, catalogue_path(folder))
    return [row for row in marked.to_pylist() if row["footage_id"] in reasons]


def _seal_frames(folder: Path, ids: set[str]) -> None:
    stored = folder / "frames"
    _seal_rows(folder, stored / FRAMES_FILE, ids, FRAMES_FILE, "frame_id")
    for shard in sorted(stored.glob(f"{STILLS}*.tar")):
        stills = _stills_in(shard, ids)
        for name, data in stills.items():
            _write(sealed_folder(folder, name.partition("-")[0]) / name, data)
        if stills:
            side_path(shard).unlink(missing_ok=True)
            # Last: while it stands, a second call finds the stills in it.
            shard.unlink(missing_ok=True)
    _clear_leftovers(stored)
    for path in _named_after(stored, ids, "-"):
        with suppress(FileNotFoundError):  # an ingest that knows by now has removed it
            _move(path, sealed_folder(folder, path.name.partition("-")[0]) / path.name)


def _seal_labels(folder: Path, ids: set[str]) -> None:
    """Labels and annotations that stand now, and those that older tables kept."""
    stored = folder / "labels"
    now = (
        stored / name
        for name in (LABELS_FILE, "aside.parquet", "undecided.parquet", "annotations.parquet")
    )
    for path in (*now, *sorted(stored.glob("history/*.parquet"))):
        key = "annotation_id" if path.name.startswith("annotations") else "label_id"
        _seal_rows(folder, path, ids, path.relative_to(stored).as_posix(), key)


def _seal_originals(folder: Path, ids: set[str]) -> None:
    for path in _named_after(folder / "footage", ids, "."):
        _move(path, sealed_folder(folder, path.name.partition(".")[0]) / path.name)


def _seal_rows(folder: Path, path: Path, ids: set[str], name: str, key: str) -> None:
    """Move rows of these files' frames into their seals: written there first, then taken out."""
    if not path.exists():
        return
    table = read_any(path)
    owner = _owner(table)
    gone = pc.is_in(owner, pa.array(sorted(ids), pa.string()))
    parts: dict[str, list[int]] = {}
    taken = table.filter(gone)
    for number, footage_id in enumerate(owner.filter(gone).to_pylist()):
        parts.setdefault(footage_id, []).append(number)
    for footage_id, numbers in parts.items():
        _merge(sealed_folder(folder, footage_id) / name, _as_sealed(taken.take(numbers)), key)
    if parts:
        write_table(table.filter(pc.invert(gone)), table.schema, path)


def _owner(table: pa.Table) -> pa.ChunkedArray:
    """The footage id of each row; a video task names it in its data."""
    owner = footage_of(table.column("frame_id"))
    if "data" not in table.column_names:
        return owner
    stated = pc.extract_regex(table.column("data"), r'"footage_id": ?"(?P<id>[0-9a-f]{16})"')
    return pc.coalesce(owner, pc.struct_field(stated, "id"))


def _as_sealed(rows: pa.Table) -> pa.Table:
    """A still's row names its JPEG in the seal, as its shard is not there any more."""
    if "shard" not in rows.column_names:
        return rows
    shard, offset = rows.column("shard"), rows.column("offset")
    still = pc.starts_with(shard, STILLS)
    own = pc.binary_join_element_wise(rows.column("frame_id"), ".jpg", "")
    for name, values in (
        ("shard", pc.if_else(still, own, shard)),
        ("offset", pc.if_else(still, pa.scalar(0, offset.type), offset)),
    ):
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(name), values)
    return rows


def _merge(path: Path, rows: pa.Table, key: str) -> None:
    """Add rows to a sealed table; one that is there already is replaced."""
    if path.exists():
        before = read_any(path)
        again = pc.is_in(before.column(key), rows.column(key))
        rows = pa.concat_tables([before.filter(pc.invert(again)), rows], promote_options="default")
    write_table(rows.sort_by(key), rows.schema, path)


def _stills_in(shard: Path, ids: set[str]) -> dict[str, bytes]:
    """Name and JPEG of those members of a shard that are of these files."""
    import tarfile

    found: dict[str, bytes] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for info in tar:
                stream = tar.extractfile(info) if info.name.partition("-")[0] in ids else None
                if stream is not None:
                    found[info.name] = stream.read()
    except FileNotFoundError:  # an ingest that knows by now has removed it
        return {}
    except (tarfile.TarError, EOFError) as error:
        raise DataError(
            "a whole tar shard", found=str(error), where=str(shard), do="remove it, then run again"
        ) from error
    return found


def _named_after(folder: Path, ids: set[str], mark: str) -> list[Path]:
    """Files whose name is an id, then `mark`; what killed runs left half written is removed."""
    found: list[Path] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.removeprefix(".").partition(mark)[0] not in ids:
            continue
        if path.name.startswith("."):
            path.unlink(missing_ok=True)
        else:
            found.append(path)
    return found


def _clear_leftovers(stored: Path) -> None:
    """Remove what killed writers left half written: the stills in it are not told by its name.

    A writer that still runs finds out of the withdrawal itself; see `ingest`.
    """
    for path in stored.glob(".*.*"):
        writer = path.suffix[1:]
        if writer.isdecimal() and not _writes_still(int(writer), path):
            path.unlink(missing_ok=True)


def _writes_still(process: int, path: Path) -> bool:
    """Whether the process lives, and is not a later one with the same number."""
    import psutil

    try:
        writer = psutil.Process(process)
        lives = writer.status() != psutil.STATUS_ZOMBIE
        return bool(lives and writer.create_time() <= path.stat().st_mtime + CLOCKS_APART_S)
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False


def _write(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(data)
    beside.replace(path)


def _move(source: Path, target: Path) -> None:
    """Rename; a link, or a file that DVC's cache shares, is copied first and then let go."""
    known = source.lstat()
    if source.is_symlink() or known.st_nlink > 1 or known.st_dev != target.parent.stat().st_dev:
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(source, beside)
        beside.replace(target)
        source.unlink()
    else:
        source.replace(target)
