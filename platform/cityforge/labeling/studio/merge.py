"""What was pulled before and what was read now, as one table: row by row, neither held whole.

Both come sorted by source and by the number of the annotation, and so does what is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cityforge.errors import TableError
from cityforge.labeling.studio.annotation_rows import Row
from cityforge.tables import ANNOTATIONS, VERSION_KEY, from_rows

STATE_KEY = b"cityforge.pull"  # in the schema's metadata, beside the table's version
READ_ROWS = 200
WRITE_ROWS = 1000
WRITE_CHARACTERS = 4_000_000  # of results and data in a row group
FILM = '"frame_ids":['  # in the data of a video task that cityforge pushed
GONE = "user "  # how an account is called that the server no longer knows


@dataclass(frozen=True)
class PullState:
    """Up to where a project was pulled."""

    url: str
    made: str  # when the project was made: another one may get its number later
    safe: str  # every change up to this moment of the server's clock is in the table
    later: dict[str, str]  # tasks changed after it that are in the table, too: id and change
    pulled_at: str


@dataclass
class Tally:
    """How rows of one source changed."""

    new: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0

    @property
    def is_change(self) -> bool:
        """Something has to be written."""
        return bool(self.new or self.changed or self.removed)


def merge(
    before: Iterable[Row],
    now: Iterable[Row],
    source: str,
    was_read: Callable[[int], bool],
    tally: Tally,
) -> Iterator[Row]:
    """All rows as they stand after a pull of `source`, sorted; rows of other sources stay.

    Args:
        was_read: whether a task was read now, so that `now` holds all its annotations.
    """
    coming = iter(now)
    following = next(coming, None)
    for row in before:
        while following is not None and _place(following) < _place(row):
            tally.new += 1
            yield following
            following = next(coming, None)
        if following is not None and _place(following) == _place(row):
            following["annotator"] = _maker(following["annotator"], row["annotator"])
            same = following == row
            tally.unchanged += same
            tally.changed += not same
            yield following
            following = next(coming, None)
        elif row["source"] == source and was_read(row["task_id"]):
            tally.removed += 1
        else:
            tally.unchanged += row["source"] == source
            yield row
    while following is not None:
        tally.new += 1
        yield following
        following = next(coming, None)


def _place(row: Row) -> tuple[str, int]:
    return row["source"], int(row["annotation_id"])


def _maker(now: str | None, before: str | None) -> str | None:
    """Who made an annotation stays known when the account is deleted."""
    gone = now is None or now.startswith(GONE)
    return before if gone and before else now


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a table ANNOTATIONS, a few at a time; none where there is no file.

    Raises:
        TableError: the file is no such table, or is not sorted.
    """
    if not path.exists():
        return
    last = ("", -1)
    with _opened(path) as table:
        for batch in _batches(table, ANNOTATIONS.names):
            for row in batch.to_pylist():
                place = _place(row)
                if place <= last:
                    raise _damaged(path, f"annotation {place[1]} behind {last[1]}")
                last = place
                yield row


def read_columns(path: Path, columns: list[str], source: str) -> pa.Table:
    """Some columns of the rows of one source; empty where there is no file."""
    if not path.exists():
        return ANNOTATIONS.empty_table().select(columns)
    with _opened(path) as table:
        found = table.read([*columns, "source"])
    return found.filter(pc.equal(found["source"], source)).select(columns)


def count_foreign(path: Path, source: str) -> int:
    """Annotations on tasks that cityforge did not push: of no frame, and of no film's frames."""
    count = 0
    with _opened(path) as table:
        for batch in _batches(table, ["source", "frame_id", "data"]):
            ours = pc.or_(pc.is_valid(batch["frame_id"]), pc.match_substring(batch["data"], FILM))
            rows = pc.and_(pc.equal(batch["source"], source), pc.invert(ours))
            count += pc.sum(rows).as_py() or 0
    return count


def read_states(path: Path) -> dict[str, PullState]:
    """Up to where each project was pulled, by source."""
    if not path.exists():
        return {}
    with _opened(path) as table:
        text = (table.schema_arrow.metadata or {}).get(STATE_KEY, b"{}")
    known = {each.name for each in fields(PullState)}
    try:
        return {
            source: PullState(**{key: state[key] for key in known})
            for source, state in json.loads(text).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"no state of the pull ({error})") from error


def write_rows(rows: Iterable[Row], states: dict[str, PullState], path: Path) -> None:
    """Write a table ANNOTATIONS that also says up to where each project was pulled."""
    text = json.dumps({key: vars(each) for key, each in states.items()}, sort_keys=True)
    schema = ANNOTATIONS.with_metadata({**ANNOTATIONS.metadata, STATE_KEY: text.encode()})
    with pq.ParquetWriter(path, schema) as writer:
        for group in _groups(rows):
            writer.write_table(from_rows(group, schema))


def with_times(row: Row) -> Row:
    """A row as it comes from a Spill, its ISO texts as moments."""
    for column in ("created_at", "updated_at"):
        row[column] = datetime.fromisoformat(row[column])
    return row


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    characters = 0
    for row in rows:
        group.append(row)
        characters += len(row["result"]) + len(row["data"])
        if len(group) >= WRITE_ROWS or characters >= WRITE_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def _batches(table: Any, columns: list[str]) -> Iterator[Any]:
    """A few rows at a time, and one row group: pyarrow reads ahead where it is given several."""
    for group in range(table.num_row_groups):
        yield from table.iter_batches(READ_ROWS, [group], columns, use_threads=False)


def _opened(path: Path) -> Any:
    try:
        table = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(path, f"no Parquet ({error})") from error
    metadata = table.schema_arrow.metadata or {}
    if metadata.get(VERSION_KEY) != ANNOTATIONS.metadata[VERSION_KEY]:
        raise _damaged(path, metadata.get(VERSION_KEY, b"no version").decode())
    if not table.schema_arrow.equals(ANNOTATIONS):
        raise _damaged(path, "other columns")
    return table


def _damaged(path: Path, found: str) -> TableError:
    kind = ANNOTATIONS.metadata[VERSION_KEY].decode()
    return TableError(
        f"a table {kind} as cityforge label pull writes it",
        found=found,
        where=str(path),
        do="dvc checkout brings it back as it was",
    )
