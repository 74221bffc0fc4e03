"""Which labels and frames each snapshot held, kept after the snapshot is gone.

    lineage/snapshots/<digest>/labels.parquet   what is told of a label, by frame
                               frames.parquet   by frame_id
                               films.parquet    by footage_id
                               ids.parquet      CRC-32 of a label's or an annotation's id, to rows
                               about.json       the dataset, and who drew how much
    lineage/splits/<digest>.parquet             subset of each row of frames.parquet

A snapshot is written once and shared by all that was made of it. Rows are sorted and lie in small
groups, so that a look at one of a million labels reads some thousand; see `lineage_lookup`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cityforge.dataset.snapshot import Snapshot, write_json
from cityforge.project import Project

FORMAT = "cityforge.lineage/1"
LABELS_FILE, FRAMES_FILE, FILMS_FILE = "labels.parquet", "frames.parquet", "films.parquet"
IDS_FILE, ABOUT_FILE = "ids.parquet", "about.json"
SPLIT_KEY = b"cityforge.lineage.split"
ROWS = 8192  # of a row group
OF_LABEL = (
    "label_id", "task", "class", "annotator", "annotation_id", "source", "origin", "updated_at",
)  # fmt: skip
OF_FILM = ("name", "camera", "site", "started_at")


def lineage_root(project: Project) -> Path:
    """Where the lineages of this machine lie."""
    return project.work / "lineage"


def snapshot_folder(root: Path, digest: str) -> Path:
    """Where the lineage of a snapshot lies below `root`, there or not."""
    return root / "snapshots" / digest


def split_path(root: Path, digest: str) -> Path:
    """Where the subsets of a split lie below `root`."""
    return root / "splits" / f"{digest}.parquet"


def write_lineage(
    root: Path, about: Snapshot, frames: pa.Table, labels: pa.Table, footage: pa.Table
) -> Path:
    """Keep what a snapshot holds; one that is kept already stays as it is.

    Args:
        frames: table FRAMES of the snapshot.
        labels: table LABELS of the snapshot.
        footage: table FOOTAGE, for the names and cameras of the films.
    """
    folder = snapshot_folder(root, about.digest)
    if (folder / ABOUT_FILE).is_file():
        return folder
    frames = frames.select(["frame_id", "footage_id", "pts_s"]).sort_by("frame_id")
    frames = frames.combine_chunks()
    labels = _by_frame(frames, labels)
    films = _films(frames, labels, footage)
    said = {
        "format": FORMAT,
        "dataset": about.dataset,
        "snapshot": about.digest,
        "frames": frames.num_rows,
        "labels": labels.num_rows,
        "films": films.num_rows,
        "annotators": _annotators(frames, labels),
        "digest": _digest(about.digest, frames, labels),
    }
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        for name, table in (
            (LABELS_FILE, labels), (FRAMES_FILE, frames), (FILMS_FILE, films),
            (IDS_FILE, _ids(labels)),
        ):  # fmt: skip
            _write(table, beside / name)
        write_json(beside / ABOUT_FILE, said)
        _put(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def write_split(
    root: Path, digest: str, snapshot: str, algorithm: str, dataset: str, split: pa.Table
) -> Path:
    """Keep the subset of each frame; the snapshot's lineage must be there.

    Args:
        digest: of the split, which models name.
        snapshot: digest of the snapshot that it parts.
        split: table SPLIT.
    """
    path = split_path(root, digest)
    if path.is_file():
        return path
    frames = pq.read_table(snapshot_folder(root, snapshot) / FRAMES_FILE, columns=["frame_id"])
    at = pc.index_in(frames["frame_id"], split["frame_id"].combine_chunks())
    said = {"digest": digest, "snapshot": snapshot, "algorithm": algorithm, "dataset": dataset}
    table = pa.table({"subset": split["subset"].take(at)})
    table = table.replace_schema_metadata({SPLIT_KEY: json.dumps(said).encode()})
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write(table, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def key_of(text: str) -> int:
    """What ids.parquet finds an id by: its CRC-32; two ids may share one."""
    return zlib.crc32(text.encode())


def people_of(annotator: str | None) -> list[str]:
    """Who drew a label: one that several agreed on names them all, joined by '+'.

    >>> people_of("li@city+wang@city"), people_of(None)
    (['li@city', 'wang@city'], [])
    """
    return annotator.split("+") if annotator else []


def _by_frame(frames: pa.Table, labels: pa.Table) -> pa.Table:
    """Labels with the row of their frame, by that and by label_id."""
    at = pc.index_in(labels["frame_id"], frames["frame_id"].combine_chunks())
    labels = labels.select(list(OF_LABEL)).append_column("frame", at.cast(pa.int32()))
    return labels.sort_by([("frame", "ascending"), ("label_id", "ascending")]).combine_chunks()


def _films(frames: pa.Table, labels: pa.Table, footage: pa.Table) -> pa.Table:
    counted = frames.group_by("footage_id").aggregate(
        [("frame_id", "count"), ("pts_s", "min"), ("pts_s", "max")]
    )
    counted = counted.sort_by("footage_id").combine_chunks()
    ids = counted["footage_id"].combine_chunks()
    known = pc.index_in(ids, footage["footage_id"].combine_chunks())
    of_label = pc.index_in(frames["footage_id"].take(labels["frame"]), ids)
    drawn = np.bincount(np.asarray(of_label, np.int64), minlength=len(ids))
    return pa.table(
        {
            "footage_id": ids,
            **{name: footage[name].take(known) for name in OF_FILM},
            "frames": counted["frame_id_count"],
            "labels": pa.array(drawn),
            "first_s": counted["pts_s_min"],
            "last_s": counted["pts_s_max"],
        }
    )


def _annotators(frames: pa.Table, labels: pa.Table) -> list[dict[str, Any]]:
    """Who drew how many labels, on how many frames of how many films; "" is nobody named."""
    column = labels["annotator"].combine_chunks().dictionary_encode()
    names = [*column.dictionary.to_pylist(), None]
    codes = np.asarray(pc.fill_null(column.indices, len(names) - 1), np.int64)
    frame = np.asarray(labels["frame"], np.int64)
    film = np.asarray(frames["footage_id"].combine_chunks().dictionary_encode().indices)
    people: dict[str, list[int]] = {}
    for code, name in enumerate(names):
        for person in people_of(name) or [""]:
            people.setdefault(person, []).append(code)
    found = []
    for person, theirs in sorted(people.items()):
        on = frame[np.isin(codes, theirs)]
        if len(on):
            seen = np.unique(on)
            found.append({"annotator": person, "labels": len(on), "frames": len(seen),
                          "films": len(np.unique(film[seen]))})  # fmt: skip
    return found


def _ids(labels: pa.Table) -> pa.Table:
    """Keys of label ids, and of each annotation that is in a label, with the label's row."""
    keys = [key_of(each) for each in labels["label_id"].to_pylist()]
    rows = list(range(len(keys)))
    for row, joined in enumerate(labels["annotation_id"].to_pylist()):
        for each in joined.split("+") if joined else ():
            keys.append(key_of(each))
            rows.append(row)
    key, at = np.array(keys, np.uint32), np.array(rows, np.uint32)
    order = np.lexsort((at, key))
    return pa.table({"key": key[order], "row": at[order]})


def digest_kept(folder: Path) -> str:
    """The digest of a lineage, from its files."""
    about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
    frames, labels = (pq.read_table(folder / name) for name in (FRAMES_FILE, LABELS_FILE))
    return _digest(str(about["snapshot"]), frames, labels)


def _digest(snapshot: str, frames: pa.Table, labels: pa.Table) -> str:
    """sha256 over the content, the same whatever wrote the files."""
    digest = hashlib.sha256(snapshot.encode())
    for table in (frames, labels):
        for name in table.column_names:
            digest.update(f"\n{name}\n".encode())
            text = pc.fill_null(table[name].cast(pa.string()), "")
            digest.update("\n".join(text.to_pylist()).encode())
    return digest.hexdigest()


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=ROWS, compression="zstd")


def _put(beside: Path, folder: Path) -> None:
    try:
        beside.replace(folder)
    except OSError:
        if not (folder / ABOUT_FILE).is_file():  # another process was first
            raise
