"""The tables between the steps: one schema each, read and written here alone."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cityforge.errors import TableError

VERSION_KEY = b"cityforge.table"

_TIME = pa.timestamp("us", tz="UTC")

FOOTAGE = pa.schema(
    [
        pa.field("footage_id", pa.string(), nullable=False),  # first 16 of the file's sha256
        pa.field("path", pa.string(), nullable=False),  # stored file, from the dataset's folder
        pa.field("name", pa.string(), nullable=False),  # what its owner called it
        pa.field("other_names", pa.list_(pa.string())),  # of files with the same content
        pa.field("added_at", _TIME),
        pa.field("camera", pa.string(), nullable=False),
        pa.field("site", pa.string()),
        pa.field("started_at", _TIME),
        pa.field("duration_s", pa.float64(), nullable=False),  # 0 for a still photograph
        pa.field("fps", pa.float64()),
        pa.field("width", pa.int32(), nullable=False),  # after rotation
        pa.field("height", pa.int32(), nullable=False),
        pa.field("container", pa.string()),
        pa.field("codec", pa.string(), nullable=False),
        pa.field("pixel_format", pa.string()),  # FFmpeg's name, such as yuv420p10le
        pa.field("rotation", pa.int32()),  # degrees counter-clockwise, already undone in the size
        pa.field("variable_rate", pa.bool_()),
        pa.field("divisible", pa.bool_()),  # its parts can be read each for itself
        pa.field("frames", pa.int64(), nullable=False),
        pa.field("errors", pa.int64(), nullable=False),  # packets or frames that did not decode
        pa.field("partial", pa.int64()),  # frames that decode in part only
        pa.field("error_times", pa.list_(pa.float64())),  # s since the first frame; the first 100
        pa.field("notes", pa.list_(pa.string())),  # what else a person should know of the file
        pa.field("lighting", pa.string()),
        pa.field("weather", pa.string()),
        pa.field("lawful_basis", pa.string(), nullable=False),
        pa.field("retain_until", _TIME),
        pa.field("withdrawn_at", _TIME),  # its frames and labels are sealed since
        pa.field("withdrawn_reason", pa.string()),
    ],
    metadata={VERSION_KEY: b"footage/2"},
)

# One region of a stored frame that was made unreadable.
REDACTION = pa.struct(
    [
        pa.field("kind", pa.string()),  # face, plate
        pa.field("x1", pa.float32()),  # xyxy, pixels of the stored frame, padding included
        pa.field("y1", pa.float32()),
        pa.field("x2", pa.float32()),
        pa.field("y2", pa.float32()),
        pa.field("score", pa.float32()),  # of the detector; of the neighbour for what was held
        pa.field("found", pa.string()),  # detected, held (in a neighbouring frame), checked (after)
    ]
)

FRAMES = pa.schema(
    [
        pa.field("frame_id", pa.string(), nullable=False),  # footage_id-milliseconds
        pa.field("footage_id", pa.string(), nullable=False),
        pa.field("pts_s", pa.float64(), nullable=False),
        pa.field("captured_at", _TIME),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),  # of the JPEG within the shard
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("phash", pa.string(), nullable=False),  # 64 bits, hexadecimal
        pa.field("sharpness", pa.float32(), nullable=False),  # see footage/quality.py
        pa.field("brightness", pa.float32(), nullable=False),  # mean luma, 0 to 255
        pa.field("contrast", pa.float32(), nullable=False),  # standard deviation of luma
        pa.field("lighting", pa.string(), nullable=False),  # day, night, infrared
        # black, frozen, covered, out_of_focus, moved
        pa.field("faults", pa.list_(pa.string()), nullable=False),
        pa.field("redactions", pa.list_(REDACTION), nullable=False),
        pa.field("redacted_by", pa.string()),  # digest of the redactor; null: none was asked for
    ],
    metadata={VERSION_KEY: b"frames/2"},
)

LABELS = pa.schema(
    [
        pa.field("label_id", pa.string(), nullable=False),
        pa.field("frame_id", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("class", pa.string()),  # null: a person looked and found nothing
        pa.field("x1", pa.float64()),  # xyxy, pixels of the stored frame
        pa.field("y1", pa.float64()),
        pa.field("x2", pa.float64()),
        pa.field("y2", pa.float64()),
        pa.field("value", pa.float64()),
        pa.field("track_id", pa.string()),
        pa.field("annotator", pa.string()),
        pa.field("annotation_id", pa.string()),
        pa.field("source", pa.string(), nullable=False),  # the file the label came from
        pa.field("origin", pa.string(), nullable=False),  # human, assisted, imported
        pa.field("lead_time_s", pa.float64()),
        pa.field("updated_at", _TIME),
        pa.field("ground_truth", pa.bool_()),  # a reviewer marked its annotation as the truth
        pa.field("model_version", pa.string()),  # of the prediction it was made from
    ],
    metadata={VERSION_KEY: b"labels/2"},
)

# What people did in Label Studio, as it was exported: one row an annotation, nothing left out.
ANNOTATIONS = pa.schema(
    [
        pa.field("annotation_id", pa.string(), nullable=False),
        pa.field("task_id", pa.int64(), nullable=False),
        pa.field("frame_id", pa.string()),  # null: a task that cityforge did not push, or a video
        pa.field("annotator", pa.string()),  # e-mail; "user 7" where the account is gone
        pa.field("created_at", _TIME),
        pa.field("updated_at", _TIME),
        pa.field("lead_time_s", pa.float64()),
        pa.field("ground_truth", pa.bool_(), nullable=False),
        pa.field("skipped", pa.bool_(), nullable=False),  # cancelled by the annotator
        pa.field("origin", pa.string(), nullable=False),  # human, assisted
        pa.field("model_version", pa.string()),  # of the prediction it was made from
        pa.field("data", pa.string(), nullable=False),  # the task's data, JSON
        pa.field("result", pa.string(), nullable=False),  # JSON list, as Label Studio states it
        pa.field("source", pa.string(), nullable=False),  # label-studio:<project id>
    ],
    metadata={VERSION_KEY: b"annotations/1"},
)

SPLIT = pa.schema(
    [
        pa.field("frame_id", pa.string(), nullable=False),
        pa.field("subset", pa.string(), nullable=False),  # train, val, test, unseen
        pa.field("group", pa.string(), nullable=False),  # frames of one group never part
    ],
    metadata={VERSION_KEY: b"split/1"},
)

PREDICTIONS = pa.schema(
    [
        pa.field("frame_id", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),  # 0 is the highest score of its frame
        pa.field("class", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        # xyxy, pixels of the stored frame; of a class or a count: the whole frame
        pa.field("x1", pa.float32(), nullable=False),
        pa.field("y1", pa.float32(), nullable=False),
        pa.field("x2", pa.float32(), nullable=False),
        pa.field("y2", pa.float32(), nullable=False),
        pa.field("value", pa.float64()),  # density: objects of this class; its score is 1
        pa.field("model_digest", pa.string(), nullable=False),
    ],
    metadata={VERSION_KEY: b"predictions/2"},
)

# What people are asked to label next, in this order.
QUEUE = pa.schema(
    [
        pa.field("frame_id", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),  # 0 is asked first
        # teach (unlabelled), gold (known answer), review (likely mistake), split (class unclear)
        pa.field("purpose", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # one line for a person
        pa.field("uncertainty", pa.float32()),  # 0 to 1, of the current model
        pa.field("novelty", pa.float32()),  # distance to the nearest labelled or queued frame
    ],
    metadata={VERSION_KEY: b"queue/1"},
)

# Older tables that people's work lies in are still read: their new columns are null.
READABLE = {
    "footage/2": ("footage/1",),
    "labels/2": ("labels/1",),
    "predictions/2": ("predictions/1",),
}

REJECTED = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),  # of the import
        pa.field("where", pa.string(), nullable=False),  # file and row
        pa.field("reason", pa.string(), nullable=False),
        pa.field("found", pa.string(), nullable=False),
    ],
    metadata={VERSION_KEY: b"rejected/1"},
)


def from_rows(rows: list[dict[str, object]], schema: pa.Schema) -> pa.Table:
    """Make a table of `schema` from dictionaries; a missing key is a null."""
    return pa.Table.from_pylist(rows, schema=schema)


def write_table(table: pa.Table, schema: pa.Schema, path: Path) -> None:
    """Write `table` beside `path`, then rename, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(table.cast(schema), beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_table(schema: pa.Schema, path: Path) -> pa.Table:
    """Read a table and hold it against its schema.

    Raises:
        TableError: the file is missing, is no Parquet, or has another schema.
    """
    kind = schema.metadata[VERSION_KEY].decode()
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise TableError(f"a table {kind}", found="no file", where=str(path)) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(
            f"a table {kind}", found=f"no Parquet ({error})", where=str(path)
        ) from error
    table = _brought_up(table, schema, kind)
    _hold_against(table, schema, kind, path)
    return table.cast(schema)


def _brought_up(table: pa.Table, schema: pa.Schema, kind: str) -> pa.Table:
    """An older table that is still read, with nulls in the columns it lacks."""
    found = (table.schema.metadata or {}).get(VERSION_KEY, b"").decode()
    if found not in READABLE.get(kind, ()):
        return table
    for place, field in enumerate(schema):
        if table.schema.get_field_index(field.name) < 0 and field.nullable:
            table = table.add_column(place, field, pa.nulls(table.num_rows, field.type))
    return table.replace_schema_metadata(schema.metadata)


def _hold_against(table: pa.Table, schema: pa.Schema, kind: str, path: Path) -> None:
    found = (table.schema.metadata or {}).get(VERSION_KEY, b"no version").decode()
    for field in schema:
        at = table.schema.get_field_index(field.name)
        if at < 0:
            raise TableError(f"column '{field.name}' of {kind}", found=found, where=str(path))
        if table.schema.field(at).type != field.type:
            raise TableError(
                f"column '{field.name}' of type {field.type}",
                found=str(table.schema.field(at).type),
                where=str(path),
            )
    extra = [name for name in table.schema.names if schema.get_field_index(name) < 0]
    if extra:
        raise TableError(f"the columns of {kind}", found=f"also '{extra[0]}'", where=str(path))
    if found != kind:
        raise TableError(f"a table {kind}", found=found, where=str(path))
