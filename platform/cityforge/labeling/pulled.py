"""The annotations that were pulled from Label Studio, read so that their number does not matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cityforge.cards.dataset import Dataset
from cityforge.errors import LabelError, TableError
from cityforge.labeling.stored import annotations_path
from cityforge.tables import ANNOTATIONS, VERSION_KEY

BATCH = 512  # annotations whose results are in memory at a time
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Annotation:
    """An annotation without its result; see table ANNOTATIONS."""

    annotation_id: str
    task_id: int
    frame_id: str | None
    annotator: str | None
    updated_at: datetime | None
    lead_time_s: float | None
    ground_truth: bool
    skipped: bool
    origin: str
    model_version: str | None
    source: str

    @property
    def where(self) -> str:
        """For messages."""
        return f"task {self.task_id} annotation {self.annotation_id}"

    @property
    def age(self) -> tuple[datetime, int, str]:
        """Orders annotations from the oldest to the newest, and no two alike."""
        return self.updated_at or NO_TIME, len(self.annotation_id), self.annotation_id


class Pulled:
    """The annotations of one dataset: what is short of all, results batch by batch."""

    def __init__(self, card: Dataset, folder: Path) -> None:
        """Open the table.

        Raises:
            LabelError: nothing was pulled yet.
            TableError: the table has another schema.
        """
        self._path = annotations_path(folder)
        if not self._path.exists():
            raise LabelError(
                "annotations of Label Studio",
                found="none",
                where=f"dataset '{card.name}'",
                do=f"cityforge label pull {card.name}",
            )
        _hold_against_schema(self._path)

    def annotations(self) -> list[Annotation]:
        """All annotations, in the order of the table."""
        names = list(Annotation.__dataclass_fields__)
        one: dict[str, str] = {}  # the same text over and over is held once
        rows: list[Annotation] = []
        with pq.ParquetFile(self._path) as stored:
            for batch in stored.iter_batches(BATCH, columns=names):
                for row in batch.to_pylist():
                    for key in ("annotator", "origin", "model_version", "source"):
                        if row[key] is not None:
                            row[key] = one.setdefault(row[key], row[key])
                    rows.append(Annotation(**row))
        return rows

    def results(self) -> Iterator[tuple[int, list[str], list[str]]]:
        """Place of the first annotation of a batch, then its results and tasks' data (JSON)."""
        start = 0
        with pq.ParquetFile(self._path) as stored:
            for batch in stored.iter_batches(BATCH, columns=["result", "data"]):
                results, data = batch.column("result"), batch.column("data")
                yield start, results.to_pylist(), data.to_pylist()
                start += batch.num_rows


def superseded(rows: list[Annotation]) -> dict[int, str]:
    """Annotations that the same person made anew, each with the later one.

    One that is marked as ground truth yields to no later one that is not.
    """
    best: dict[tuple[str, object], int] = {}
    order = sorted(range(len(rows)), key=lambda row: (rows[row].ground_truth, rows[row].age))
    earlier: list[tuple[int, tuple[str, object]]] = []
    for row in order:
        annotation = rows[row]
        if annotation.skipped or annotation.annotator is None:
            continue
        what = annotation.frame_id or (annotation.source, annotation.task_id)
        key = (annotation.annotator, what)
        if key in best:
            earlier.append((best[key], key))
        best[key] = row
    return {row: rows[best[key]].where for row, key in earlier}


def _hold_against_schema(path: Path) -> None:
    kind = ANNOTATIONS.metadata[VERSION_KEY]
    try:
        found = pq.read_schema(path)
    except pa.ArrowInvalid as error:
        raise TableError(
            f"a table {kind.decode()}", found=f"no Parquet ({error})", where=str(path)
        ) from error
    version = (found.metadata or {}).get(VERSION_KEY, b"no version")
    if version != kind or not found.equals(ANNOTATIONS):
        raise TableError(f"a table {kind.decode()}", found=version.decode(), where=str(path))
