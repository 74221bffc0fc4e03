"""Tables: what is written is read, and what is not the schema is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cityforge import tables
from cityforge.errors import TableError
from cityforge.tables import (
    LABELS,
    PREDICTIONS,
    SPLIT,
    VERSION_KEY,
    from_rows,
    read_table,
    write_table,
)

SCHEMAS = [each for each in vars(tables).values() if isinstance(each, pa.Schema)]
VALUES = {
    pa.string(): "路口 A",
    pa.float64(): 0.1,
    pa.float32(): 0.5,
    pa.int32(): -3,
    pa.int64(): 2**40,
    pa.bool_(): True,
    pa.timestamp("us", tz="UTC"): datetime(2026, 11, 22, 8, 30, 0, 5, tzinfo=UTC),
}
ROWS: list[dict[str, object]] = [
    {"frame_id": "a-0", "subset": "train", "group": "a"},
    {"frame_id": "b-0", "subset": "test", "group": "b"},
]


def value(kind: pa.DataType) -> object:
    """Something that a column of this type holds."""
    if pa.types.is_list(kind):
        return [value(kind.value_type), value(kind.value_type)]
    if pa.types.is_struct(kind):
        return {field.name: value(field.type) for field in kind}
    return VALUES[kind]


def stored(tmp_path: Path, table: pa.Table) -> Path:
    path = tmp_path / "split.parquet"
    pq.write_table(table, path)
    return path


def refusal(schema: pa.Schema, path: Path) -> str:
    with pytest.raises(TableError) as caught:
        read_table(schema, path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda s: s.metadata[VERSION_KEY].decode())
def test_what_is_written_is_read(schema: pa.Schema, tmp_path: Path) -> None:
    full = {field.name: value(field.type) for field in schema}
    bare = {name: None if schema.field(name).nullable else full[name] for name in full}
    path = tmp_path / "deep" / "table.parquet"
    write_table(from_rows([full, bare], schema), schema, path)
    found = read_table(schema, path)
    assert found.to_pylist() == [full, bare]
    assert found.schema.equals(schema, check_metadata=True)
    assert [each.name for each in path.parent.iterdir()] == ["table.parquet"]


def test_every_schema_has_a_version_of_its_own() -> None:
    versions = {schema.metadata[VERSION_KEY] for schema in SCHEMAS}
    assert len(versions) == len(SCHEMAS) == 8


def test_empty_table_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    write_table(from_rows([], LABELS), LABELS, path)
    assert read_table(LABELS, path).num_rows == 0


def test_missing_column_is_named(tmp_path: Path) -> None:
    path = stored(tmp_path, from_rows(ROWS, SPLIT).drop_columns("group"))
    assert "expected column 'group' of split/1" in refusal(SPLIT, path)


def test_column_of_another_type_is_named(tmp_path: Path) -> None:
    table = from_rows(ROWS, SPLIT)
    path = stored(tmp_path, table.set_column(1, "subset", pa.array([1, 2])))
    assert "expected column 'subset' of type string, found int64" in refusal(SPLIT, path)


def test_column_too_many_is_named(tmp_path: Path) -> None:
    path = stored(tmp_path, from_rows(ROWS, SPLIT).append_column("fold", pa.array([1, 2])))
    assert "found also 'fold'" in refusal(SPLIT, path)


@pytest.mark.parametrize(
    ("metadata", "found"), [({VERSION_KEY: b"split/2"}, "split/2"), ({}, "no version")]
)
def test_other_version_is_refused(tmp_path: Path, metadata: dict[bytes, bytes], found: str) -> None:
    path = stored(tmp_path, from_rows(ROWS, SPLIT).replace_schema_metadata(metadata))
    assert f"expected a table split/1, found {found}" in refusal(SPLIT, path)


def test_predictions_of_the_first_version_are_read_without_values(tmp_path: Path) -> None:
    fields = [field for field in PREDICTIONS if field.name != "value"]
    row = {field.name: value(field.type) for field in fields}
    old = pa.schema(fields, {VERSION_KEY: b"predictions/1"})
    found = read_table(PREDICTIONS, stored(tmp_path, from_rows([row], old)))
    assert found.to_pylist() == [row | {"value": None}]
    assert found.schema.equals(PREDICTIONS, check_metadata=True)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert "found no file" in refusal(SPLIT, tmp_path / "split.parquet")


def test_file_cut_short_at_any_place_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, from_rows(ROWS, SPLIT))
    whole = path.read_bytes()
    cuts = range(0, len(whole), 37)
    for cut in cuts:
        path.write_bytes(whole[:cut])
        assert "found no Parquet" in refusal(SPLIT, path)
    assert len(cuts) > 20


def test_null_where_none_may_be_is_refused_on_writing(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"frame_id": "a", "subset": None, "group": "a"}]
    with pytest.raises((TableError, ValueError), match="subset"):
        write_table(from_rows(rows, SPLIT), SPLIT, tmp_path / "split.parquet")
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys
from pathlib import Path
from cityforge.tables import SPLIT, from_rows, write_table
row = {"frame_id": "x" * 40, "subset": "train", "group": "g"}
table = from_rows([{**row, "group": str(n)} for n in range(200_000)], SPLIT)
print("ready", flush=True)
while True:
    write_table(table, SPLIT, Path(sys.argv[1]))
"""


def test_killed_writer_leaves_the_old_table_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "split.parquet"
    write_table(from_rows(ROWS, SPLIT), SPLIT, path)
    seen = []
    for wait in (0.0, 0.05, 0.09):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(wait)  # how far the write is when it is killed
            os.kill(writer.pid, signal.SIGKILL)
        seen.append(read_table(SPLIT, path).num_rows)
    assert set(seen) <= {2, 200_000}
    assert len(seen) == 3
