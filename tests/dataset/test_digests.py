"""A digest is that of the content: no order, no file, no rounding noise changes it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cityforge.dataset.digests import (
    digest_of,
    digest_of_file,
    digest_of_frames,
    digest_of_labels,
    digest_of_lines,
)
from cityforge.tables import LABELS, from_rows


def changed(labels: pa.Table, column: str, value: object) -> pa.Table:
    """The table with one cell of its first row replaced."""
    rows = labels.to_pylist()
    rows[0][column] = value
    return from_rows(rows, LABELS)


def turned(table: pa.Table) -> pa.Table:
    return table.take(list(range(table.num_rows))[::-1])


def test_digest_of_a_value_does_not_depend_on_the_order_of_keys() -> None:
    text = '{"a":[1,2],"名":"北门"}'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert digest_of({"名": "北门", "a": [1, 2]}) == expected
    assert digest_of(json.loads(text)) == expected
    assert digest_of({"名": "北门", "a": [2, 1]}) != expected


def test_digest_of_lines_does_not_depend_on_their_order() -> None:
    expected = hashlib.sha256(b"a\nb\n").hexdigest()
    assert digest_of_lines(["b", "a"]) == digest_of_lines(iter(["a", "b"])) == expected
    assert digest_of_lines(["ab"]) != digest_of_lines(["a", "b"])


def test_digest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 5000)
    assert digest_of_file(tmp_path / "a") == hashlib.sha256(b"x" * 5000).hexdigest()


def test_frames_in_another_order_have_the_same_digest(scenes: Any) -> None:
    expected = digest_of_frames(scenes.frames, scenes.store.read)
    assert digest_of_frames(turned(scenes.frames), scenes.store.read) == expected


def test_one_changed_byte_of_a_frame_changes_the_digest(scenes: Any) -> None:
    def read(frame_id: str) -> bytes:
        data = bytearray(scenes.store.read(frame_id))
        data[200] ^= frame_id == "f3-0"
        return bytes(data)

    before = digest_of_frames(scenes.frames, scenes.store.read)
    assert digest_of_frames(scenes.frames, read) != before


def test_a_frame_less_changes_the_digest(scenes: Any) -> None:
    before = digest_of_frames(scenes.frames, scenes.store.read)
    assert digest_of_frames(scenes.frames.slice(1), scenes.store.read) != before


def test_labels_in_another_order_have_the_same_digest(scenes: Any) -> None:
    assert digest_of_labels(turned(scenes.labels)) == digest_of_labels(scenes.labels)


@pytest.mark.parametrize(
    ("column", "value"),
    [("x1", 10.002), ("class", "bus"), ("frame_id", "f5-0"), ("track_id", "7"), ("y2", None)],
)
def test_one_changed_label_changes_the_digest(scenes: Any, column: str, value: object) -> None:
    other = changed(scenes.labels, column, value)
    assert digest_of_labels(other) != digest_of_labels(scenes.labels)


@pytest.mark.parametrize(
    ("column", "value"), [("x1", 10.0001), ("source", "elsewhere"), ("label_id", "other")]
)
def test_what_is_no_content_leaves_the_digest(scenes: Any, column: str, value: object) -> None:
    other = changed(scenes.labels, column, value)
    assert digest_of_labels(other) == digest_of_labels(scenes.labels)
