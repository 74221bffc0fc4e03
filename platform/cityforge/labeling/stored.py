"""Where the labels of a dataset lie, and how they are replaced: nothing is lost on the way.

`labels/labels.parquet` holds what stands, first what people drew in Label Studio by frame, then
what was imported. `labels/aside.parquet` holds imported labels of frames that people have
labelled since; they stand again when those annotations are gone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cityforge.labeling.formats.rows import Rejected
from cityforge.labeling.withdrawn import read_withdrawn
from cityforge.tables import LABELS, REJECTED, from_rows, read_table, write_table

STUDIO = "label-studio:"  # how the source of a pulled label begins; its project's id follows
ROWS = 8192  # of a row group


@dataclass(frozen=True)
class Stored:
    """What lies in the dataset after its labels were replaced."""

    boxes: int  # labels that name a class
    aside: int  # imported labels that wait behind people's


def labels_path(folder: Path) -> Path:
    """Where the labels of the dataset in `folder` lie."""
    return folder / "labels" / "labels.parquet"


def rejected_path(folder: Path) -> Path:
    """Where the rows that could not be used lie, each with its reason."""
    return folder / "labels" / "rejected.parquet"


def aside_path(folder: Path) -> Path:
    """Where imported labels wait on whose frames people's labels stand."""
    return folder / "labels" / "aside.parquet"


def annotations_path(folder: Path) -> Path:
    """Where the annotations lie that were pulled from Label Studio."""
    return folder / "labels" / "annotations.parquet"


def read_labels(folder: Path) -> pa.Table:
    """Table LABELS of a dataset, without what was withdrawn; empty when nothing was imported."""
    return _read(folder, labels_path(folder))


def read_aside(folder: Path) -> pa.Table:
    """The labels (table LABELS) that wait behind people's, without what was withdrawn."""
    return _read(folder, aside_path(folder))


def read_imported(folder: Path) -> pa.Table:
    """All labels that did not come from Label Studio, those aside too; by label_id."""
    path = labels_path(folder)
    standing = LABELS.empty_table()
    # People's labels are many: they are read only where others stand among them.
    if path.exists() and not pc.all(_of_studio(pq.read_table(path, columns=["source"]))).as_py():
        standing = _read(folder, path)
        standing = standing.filter(pc.invert(_of_studio(standing)))
    aside = read_aside(folder)
    twice = pc.is_in(aside["label_id"], standing["label_id"].combine_chunks())
    return pa.concat_tables([standing, aside.filter(pc.invert(twice))]).sort_by("label_id")


def read_from_studio(folder: Path) -> pa.Table:
    """The labels that came from Label Studio, by frame."""
    labels = read_labels(folder)
    by_frame = [("frame_id", "ascending"), ("label_id", "ascending")]
    return labels.filter(_of_studio(labels)).sort_by(by_frame)


def replace_labels(folder: Path, studio: Iterable[pa.Table], imported: pa.Table) -> Stored:
    """Replace all labels; the table before is kept in `labels/history/`.

    What was withdrawn is left out. Imported labels of a frame on which people's of the same task
    stand go aside. A run that is killed leaves either the labels before or those after, and none
    is in neither table.

    Args:
        studio: tables LABELS that came from Label Studio, sorted by frame_id and label_id.
        imported: table LABELS of all others.
    """
    path = labels_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    withdrawn = read_withdrawn(folder)
    imported = withdrawn.left(imported)
    try:
        with pq.ParquetWriter(beside, LABELS) as writer:
            places, boxes = _write_studio(writer, map(withdrawn.left, studio))
            behind = pc.is_in(_place(imported), pa.array(sorted(places), pa.string()))
            aside, standing = imported.filter(behind), imported.filter(pc.invert(behind))
            for piece in _pieces([standing.sort_by("label_id")]):
                writer.write_table(piece)
        _swap(folder, beside, aside)
    finally:
        beside.unlink(missing_ok=True)
    return Stored(boxes + _named(standing), aside.num_rows)


def _write_studio(writer: pq.ParquetWriter, studio: Iterable[pa.Table]) -> tuple[set[str], int]:
    places: set[str] = set()
    boxes = 0
    for piece in _pieces(studio):
        places.update(_place(piece).unique().to_pylist())
        boxes += _named(piece)
        writer.write_table(piece)
    return places, boxes


def _swap(folder: Path, beside: Path, aside: pa.Table) -> None:
    """Put new labels in the place of the old ones, and the rest aside."""
    before = read_aside(folder)
    returning = before.filter(pc.invert(pc.is_in(before["label_id"], aside["label_id"])))
    if not aside.equals(before):
        # What returns lies aside until it stands again.
        write_table(pa.concat_tables([aside, returning]), LABELS, aside_path(folder))
    path = labels_path(folder)
    if not path.exists() or _digest(path) != _digest(beside):
        keep_history(folder)
        beside.replace(path)
    if returning.num_rows:
        write_table(aside, LABELS, aside_path(folder))


def keep_history(folder: Path) -> None:
    """Keep a copy of the labels as they are now, named by their digest."""
    path = labels_path(folder)
    if not path.exists():
        return
    kept = path.parent / "history" / f"{_digest(path)[:16]}.parquet"
    if kept.exists():
        return
    kept.parent.mkdir(exist_ok=True)
    beside = kept.with_name(f".{kept.name}.{os.getpid()}")
    shutil.copy2(path, beside)
    beside.replace(kept)


def list_rejected(folder: Path, source: str, rejected: Iterable[tuple[str, Rejected]]) -> None:
    """Keep (source, row) of what could not be used, in the place of those listed before.

    Args:
        source: whose earlier rows are replaced; STUDIO for every project there.
    """
    path = rejected_path(folder)
    before = read_table(REJECTED, path) if path.exists() else REJECTED.empty_table()
    again = _of_studio(before) if source == STUDIO else pc.equal(before["source"], source)
    kept = before.filter(pc.invert(again))
    rows: list[dict[str, object]] = [
        {"source": of, "where": each.where, "reason": each.reason, "found": each.found}
        for of, each in rejected
    ]
    listed = pa.concat_tables([kept, from_rows(rows, REJECTED)])
    if not path.exists() or not listed.equals(before):
        write_table(listed, REJECTED, path)


def _read(folder: Path, path: Path) -> pa.Table:
    if not path.exists():
        return LABELS.empty_table()
    return read_withdrawn(folder).left(read_table(LABELS, path))


def _of_studio(table: pa.Table) -> pa.ChunkedArray:
    return pc.starts_with(table["source"], STUDIO)


def _place(table: pa.Table) -> pa.ChunkedArray:
    """What only one of two sources may speak of: a task on a frame."""
    return pc.binary_join_element_wise(table["task"], table["frame_id"], "|")


def _named(table: pa.Table) -> int:
    return int(table.num_rows - table["class"].null_count)


def _pieces(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of ROWS rows, so that the bytes do not depend on how they came."""
    waiting = LABELS.empty_table()
    for table in tables:
        waiting = pa.concat_tables([waiting, table.cast(LABELS)])
        while waiting.num_rows >= ROWS:
            yield waiting.slice(0, ROWS).combine_chunks()
            waiting = waiting.slice(ROWS)
    if waiting.num_rows:
        yield waiting.combine_chunks()


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
