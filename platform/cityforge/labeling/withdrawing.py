"""Takes withdrawn labels out of a dataset and seals them; see `labeling.withdrawn`.

It may be cut short at any moment: what the journal names is not read from then on, and the same
call again does what is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.errors import NameUnknown
from cityforge.footage.seals import read_any, sealed_folder
from cityforge.labeling.stored import (
    annotations_path,
    aside_path,
    labels_path,
    read_from_studio,
    read_imported,
    read_labels,
    replace_labels,
)
from cityforge.labeling.withdrawn import ANNOTATION, ANNOTATOR, Withdrawn
from cityforge.tables import LABELS, write_table

FOLDER = "labels"  # below `sealed`


@dataclass(frozen=True)
class Taken:
    """What was withdrawn of a dataset's labels, all acts together."""

    labels: int
    frames: int
    unlabelled_frames: int  # that no label stands on any more: they leave the next snapshot
    folder: Path  # where they are sealed


def sealed_labels(folder: Path) -> Path:
    """Where withdrawn labels lie that stood in the dataset in `folder`."""
    return sealed_folder(folder, FOLDER) / "labels.parquet"


def asked_for(
    labels: Iterable[str], annotators: Iterable[str], annotations: Iterable[str]
) -> Withdrawn:
    """What a command names."""
    ids = {*labels, *(f"{ANNOTATOR}{each}" for each in annotators),
           *(f"{ANNOTATION}{each}" for each in annotations)}  # fmt: skip
    return Withdrawn(frozenset(ids))


def refuse_unknown(folder: Path, asked: Withdrawn) -> None:
    """Refuse ids that no label of the dataset has, standing, aside, sealed or pulled.

    Raises:
        NameUnknown: with the first such id.
    """
    known = _known(folder)
    for kind, names in (
        ("label_id", asked.labels), ("annotator", asked.annotators),
        ("annotation_id", asked.annotations),
    ):  # fmt: skip
        for name in sorted(names):
            if name not in known[kind]:
                raise NameUnknown(
                    f"a label with this {kind.replace('_', ' ')}", name, known[kind],
                    where=str(labels_path(folder)),
                )  # fmt: skip


def take_out(folder: Path, withdrawn: Withdrawn) -> Taken:
    """Move withdrawn labels from the dataset in `folder` under seal.

    The state before is kept in `labels/history/`, as at every change of labels.

    Args:
        withdrawn: `withdrawn.read_withdrawn`, after the act is on record.
    """
    path = sealed_labels(folder)
    found = [read_any(each) for each in _files(folder)]
    rows = [each.filter(withdrawn.rows_of(each)) for each in found]
    gone = pa.concat_tables(rows, promote_options="default") if rows else LABELS.empty_table()
    if gone.num_rows:
        _seal(path, gone)
        replace_labels(folder, [read_from_studio(folder)], read_imported(folder))
    sealed = read_any(path) if path.exists() else LABELS.empty_table()
    frames = set(sealed["frame_id"].to_pylist())
    left = set(read_labels(folder)["frame_id"].to_pylist())
    return Taken(sealed.num_rows, len(frames), len(frames - left), path.parent)


def _seal(path: Path, gone: pa.Table) -> None:
    for each in (path.parent.parent, path.parent):
        each.mkdir(exist_ok=True)
        each.chmod(0o700)
    before = read_any(path) if path.exists() else LABELS.empty_table()
    new = pc.invert(pc.is_in(gone["label_id"], before["label_id"].combine_chunks()))
    whole = pa.concat_tables([before, gone.filter(new)], promote_options="default")
    write_table(whole.sort_by("label_id"), whole.schema, path)
    path.chmod(0o600)


def _files(folder: Path) -> list[Path]:
    return [each for each in (labels_path(folder), aside_path(folder)) if each.exists()]


def _known(folder: Path) -> dict[str, set[str]]:
    """Ids of labels, annotators and annotations, those that are joined by '+' apart."""
    known: dict[str, set[str]] = {"label_id": set(), "annotator": set(), "annotation_id": set()}
    pulled = annotations_path(folder)
    for path in (*_files(folder), sealed_labels(folder), pulled):
        if not path.exists():
            continue
        table = read_any(path)
        for name, ids in known.items():
            if name in table.column_names:
                stated = table[name].unique().to_pylist()
                ids |= {one for each in stated if each for one in each.split("+")}
    return known
