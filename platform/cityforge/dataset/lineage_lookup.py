"""Finds labels, frames and films in the lineage of a snapshot; reads little of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cityforge.dataset.lineage import (
    ABOUT_FILE,
    FILMS_FILE,
    FRAMES_FILE,
    IDS_FILE,
    LABELS_FILE,
    SPLIT_KEY,
    key_of,
    people_of,
)
from cityforge.errors import DataError


class Lineage:
    """The labels, frames and films that one snapshot held."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._found: dict[str, pa.Table] = {}  # what was looked up, by its id

    @cached_property
    def about(self) -> dict[str, Any]:
        """Dataset, digest of the snapshot, counts, and `annotators`."""
        path = self.folder / ABOUT_FILE
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(
                "the lineage of a snapshot",
                found=str(error),
                where=str(path),
                do="remove its folder; it is fetched or made again",
            ) from error
        return found

    def labels_with(self, text: str) -> pa.Table:
        """Labels whose id this is, or that came from the annotation of this id."""
        if text not in self._found:
            self._found[text] = self._look_up(text)
        return self._found[text]

    def _look_up(self, text: str) -> pa.Table:
        key = key_of(text)
        rows = self._between(IDS_FILE, "key", key, key)["row"]
        found = self._labels_at(np.unique(integers(rows)))
        of_label = pc.equal(found["label_id"], scalar(text))
        return found.filter(pc.or_kleene(of_label, of_annotation(found, text)))

    def frames_of(self, text: str) -> pa.Table:
        """Rows of the frame, or of all frames of the film, of this id; `row` counts frames."""
        if "-" in text:
            return self._between(FRAMES_FILE, "frame_id", text, text)
        return self._between(FRAMES_FILE, "frame_id", f"{text}-", f"{text}-~")

    def labels_on(self, rows: NDArray[Any]) -> pa.Table:
        """Labels on frames that stand behind one another.

        Args:
            rows: of the frames, rising by one.
        """
        if not len(rows):
            return self._with_frames(self._between(LABELS_FILE, "frame", 1, 0))
        return self._with_frames(self._between(LABELS_FILE, "frame", int(rows[0]), int(rows[-1])))

    def labels_of(self, annotator: str) -> pa.Table:
        """Labels that a person drew, alone or with others; "" is of nobody named."""
        table = self._read(LABELS_FILE)
        table = table.append_column("row", numbers(np.arange(table.num_rows)))
        return self._with_frames(table.take(numbers(np.flatnonzero(self._drawn_by(annotator)))))

    def frames_by(self, annotator: str) -> NDArray[Any]:
        """The row of the frame of each label that a person drew, rising."""
        frame = integers(self._read(LABELS_FILE, ["frame"])["frame"])
        found: NDArray[Any] = frame[self._drawn_by(annotator)]
        return found

    def _drawn_by(self, annotator: str) -> NDArray[Any]:
        column = self._column(LABELS_FILE, "annotator")
        wanted = [
            code
            for code, name in enumerate(column.dictionary.to_pylist())
            if annotator in people_of(name)
        ]
        codes = codes_of(column)
        return np.isin(codes, wanted) if annotator else codes < 0

    def labels(self) -> pa.Table:
        """All labels."""
        table = self._read(LABELS_FILE)
        return self._with_frames(table.append_column("row", numbers(np.arange(table.num_rows))))

    @cached_property
    def films(self) -> pa.Table:
        """All films: footage_id, name, camera, site, started_at, counts, first and last second."""
        return self._read(FILMS_FILE)

    def film(self, footage_id: str) -> dict[str, Any]:
        """What is told of a film."""
        rows: list[dict[str, Any]] = self.films.filter(
            pc.equal(self.films["footage_id"], scalar(footage_id))
        ).to_pylist()
        return rows[0] if rows else {"footage_id": footage_id}

    @cached_property
    def codes(self) -> dict[str, Any]:
        """The whole snapshot as arrays: what counting by subset and person needs.

        Returns:
            frame (L,) row of each label's frame; person (L,) index among people, -1 for nobody;
            people; task (L,) index among tasks; tasks; film (F,) row of each frame's film.
        """
        person, task = self._column(LABELS_FILE, "annotator"), self._column(LABELS_FILE, "task")
        film = self._column(FRAMES_FILE, "footage_id")
        order = pc.index_in(film.dictionary, self.films["footage_id"].combine_chunks())
        frame = self._read(LABELS_FILE, ["frame"])["frame"]
        return {
            "frame": integers(frame),
            "person": codes_of(person),
            "people": person.dictionary.to_pylist(),
            "task": integers(task.indices),
            "tasks": task.dictionary.to_pylist(),
            "film": integers(order)[integers(film.indices)],
        }

    def _read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        with pq.ParquetFile(self.folder / name) as file:
            return file.read(columns)

    def _labels_at(self, rows: NDArray[Any]) -> pa.Table:
        with pq.ParquetFile(self.folder / LABELS_FILE) as file:
            return self._with_frames(_taken(file, rows))

    def _with_frames(self, labels: pa.Table) -> pa.Table:
        """Labels with their frame_id, footage_id and second."""
        frames, at = np.unique(integers(labels["frame"]), return_inverse=True)
        with pq.ParquetFile(self.folder / FRAMES_FILE) as file:
            table = _taken(file, frames).take(numbers(at))
        for name in ("frame_id", "footage_id", "pts_s"):
            labels = labels.append_column(name, table[name])
        return labels

    def _column(self, name: str, column: str) -> pa.DictionaryArray:
        with pq.ParquetFile(self.folder / name, read_dictionary=[column]) as file:
            return _whole(file.read([column])[column])

    def _between(self, name: str, column: str, low: Any, high: Any) -> pa.Table:
        """Rows of a table that is sorted by `column`, from low to high, with their number."""

        def overlaps(least: Any, most: Any) -> bool:
            return bool(least <= high and low <= most)

        with pq.ParquetFile(self.folder / name) as file:
            groups = _groups(file, column, overlaps)
            table = file.read_row_groups(groups)
            extents = [np.arange(*_extent(file, each)) for each in groups]
        rows = np.concatenate([np.zeros(0, np.int64), *extents])
        table = table.append_column("row" if name != IDS_FILE else "at", numbers(rows))
        value = table[column]
        return table.filter(
            pc.and_(pc.greater_equal(value, scalar(low)), pc.less_equal(value, scalar(high)))
        )


class Subsets:
    """Which subset each frame of a snapshot is in, by one split."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.about: dict[str, str] = json.loads(pq.read_schema(path).metadata[SPLIT_KEY])

    @property
    def names(self) -> list[str]:
        """The subsets."""
        found: list[str] = self._column.dictionary.to_pylist()
        return found

    @cached_property
    def codes(self) -> NDArray[Any]:
        """(F,) index among names; -1 for a frame that the split leaves out."""
        return codes_of(self._column).astype(np.int8)

    @cached_property
    def _column(self) -> pa.DictionaryArray:
        with pq.ParquetFile(self._path, read_dictionary=["subset"]) as file:
            return _whole(file.read()["subset"])

    def of(self, rows: NDArray[Any]) -> list[str]:
        """The subset of each of these frames; "" of one that is in none."""
        return [self.names[code] if code >= 0 else "" for code in self.codes[rows].tolist()]


def numbers(values: NDArray[Any]) -> pa.Int64Array:
    """The same as an array of Arrow; `pa.array` would import pandas first."""
    whole = np.ascontiguousarray(values, np.int64)
    return pa.Int64Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)])


def integers(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """The same as an int64 array of numpy, without pandas; see `numbers`. There are no nulls."""
    parts = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    found: list[NDArray[Any]] = [np.zeros(0, np.int64)]
    for part in parts:
        whole = part.cast(pa.int64())
        flat = np.frombuffer(whole.buffers()[1] or b"", np.int64)
        found.append(flat[whole.offset : whole.offset + len(whole)])
    return np.concatenate(found)


def codes_of(column: pa.DictionaryArray) -> NDArray[Any]:
    """Index of each row's value in the dictionary; -1 for a null."""
    return integers(pc.coalesce(column.indices.cast(pa.int64()), scalar(-1)))


def scalar(value: str | int) -> pa.Scalar:
    """The same as a scalar of Arrow, without pandas; see `numbers`."""
    if isinstance(value, int):
        return numbers(np.array([value]))[0]
    text = value.encode()
    ends = np.array([0, len(text)], np.int32)
    return pa.StringArray.from_buffers(1, pa.py_buffer(ends), pa.py_buffer(text))[0]


def of_annotation(labels: pa.Table, annotation: str) -> pa.ChunkedArray:
    """True where a label came from an annotation, alone or with others; null where from none."""
    pattern = rf"(^|\+){re.escape(annotation)}(\+|$)"
    return pc.match_substring_regex(labels["annotation_id"], pattern)


def _whole(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """One array with one dictionary."""
    found = column.unify_dictionaries().combine_chunks()
    return found if isinstance(found, pa.DictionaryArray) else found.chunk(0)


def _groups(file: pq.ParquetFile, column: str, wanted: Callable[[Any, Any], bool]) -> list[int]:
    place = file.schema_arrow.get_field_index(column)
    found = []
    for number in range(file.num_row_groups):
        told = file.metadata.row_group(number).column(place).statistics
        if told is None or not told.has_min_max or wanted(told.min, told.max):
            found.append(number)
    return found


def _extent(file: pq.ParquetFile, group: int) -> tuple[int, int]:
    counts = [file.metadata.row_group(each).num_rows for each in range(group + 1)]
    return sum(counts[:-1]), sum(counts)


def _taken(file: pq.ParquetFile, rows: NDArray[Any]) -> pa.Table:
    """Rows of a file by their number (rising), with it; only the groups that hold them are read."""
    counts = [file.metadata.row_group(each).num_rows for each in range(file.num_row_groups)]
    ends = np.cumsum(counts)
    groups = np.unique(np.searchsorted(ends, rows, side="right"))
    table = file.read_row_groups(groups.tolist())
    extents = [np.arange(ends[each] - counts[each], ends[each]) for each in groups.tolist()]
    there = np.concatenate([np.zeros(0, np.int64), *extents])
    found = table.take(numbers(np.searchsorted(there, rows)))
    return found.append_column("row", numbers(rows))
