"""Labels that were withdrawn: by their own id, by annotation, or all of an annotator.

The journal names them for every machine of the site, and `labels/withdrawn.json` for those that
share the labels without it. No step reads them, and no pull or import brings them back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.errors import DataError
from cityforge.footage.withdrawals import withdrawals

ANNOTATOR, ANNOTATION = "annotator:", "annotation:"  # what ids of an entry begin with


@dataclass(frozen=True)
class Withdrawn:
    """What may not be used any more."""

    ids: frozenset[str]  # of labels; with ANNOTATOR or ANNOTATION in front, of those

    @cached_property
    def annotators(self) -> frozenset[str]:
        """Everything that these people drew, later too."""
        return _named(self.ids, ANNOTATOR)

    @cached_property
    def annotations(self) -> frozenset[str]:
        """Ids of annotations."""
        return _named(self.ids, ANNOTATION)

    @cached_property
    def labels(self) -> frozenset[str]:
        """Ids of labels."""
        return frozenset(each for each in self.ids if not each.startswith((ANNOTATOR, ANNOTATION)))

    def covers(self, label_id: str, annotator: str | None, annotation_id: str | None) -> bool:
        """Whether a label is among them; one of several people is, when one of them is."""
        return (
            label_id in self.labels
            or not self.annotators.isdisjoint((annotator or "").split("+"))
            or not self.annotations.isdisjoint((annotation_id or "").split("+"))
        )

    def rows_of(self, labels: pa.Table) -> pa.ChunkedArray:
        """True where a row of table LABELS is among them."""
        found = pc.is_in(labels["label_id"], pa.array(sorted(self.labels), pa.string()))
        for name, wanted in (("annotator", self.annotators), ("annotation_id", self.annotations)):
            if wanted:
                stated = labels[name].unique().to_pylist()
                theirs = [each for each in stated if each and wanted & {*each.split("+")}]
                found = pc.or_(found, pc.is_in(labels[name], pa.array(theirs, pa.string())))
        return found

    def left(self, labels: pa.Table) -> pa.Table:
        """The rows of table LABELS that may be used."""
        return labels.filter(pc.invert(self.rows_of(labels))) if self.ids else labels


def withdrawn_path(folder: Path) -> Path:
    """Where the dataset in `folder` lists what was withdrawn of its labels."""
    return folder / "labels" / "withdrawn.json"


def read_withdrawn(folder: Path) -> Withdrawn:
    """What was withdrawn of the labels of the dataset in `folder`.

    Raises:
        ServiceError: the journal does not answer: nobody knows what may be used.
        DataError: the list is none.
    """
    journal = {str(each) for entry in withdrawals(folder, "label") for each in entry.body["ids"]}
    listed = {str(each) for row in read_list(folder) for each in row["ids"]}
    return Withdrawn(frozenset(journal | listed))


def read_list(folder: Path) -> list[dict[str, Any]]:
    """The acts in `labels/withdrawn.json`: entry, ids, reason, by, at."""
    path = withdrawn_path(folder)
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise DataError("a JSON list of withdrawals", found=str(error), where=str(path)) from error
    return found


def add_to_list(folder: Path, act: dict[str, Any]) -> None:
    """Add an act to `labels/withdrawn.json`, unless it stands there."""
    listed = read_list(folder)
    if any(each["entry"] == act["entry"] for each in listed):
        return
    path = withdrawn_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps([*listed, act], ensure_ascii=False, indent=1, sort_keys=True)
    beside.write_text(text + "\n", encoding="utf-8")
    beside.replace(path)


def _named(ids: Iterable[str], kind: str) -> frozenset[str]:
    return frozenset(each.removeprefix(kind) for each in ids if each.startswith(kind))
