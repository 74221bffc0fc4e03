"""Digests of content: the same on every machine, whatever the files look like."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa


def digest_of(value: Any) -> str:
    """sha256 over JSON with sorted keys, hexadecimal."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """sha256 of a file's bytes, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest_of_lines(lines: Iterable[str]) -> str:
    """sha256 over sorted lines, hexadecimal."""
    digest = hashlib.sha256()
    for line in sorted(lines):
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def digest_of_frames(frames: pa.Table, read: Callable[[str], bytes]) -> str:
    """sha256 over the sorted frame ids, each with the sha256 of its stored JPEG."""
    ids = frames.column("frame_id").to_pylist()
    return digest_of_lines(f"{each} {hashlib.sha256(read(each)).hexdigest()}" for each in ids)


def digest_of_labels(labels: pa.Table) -> str:
    """sha256 over the sorted labels: frame, class, box to a thousandth of a pixel, track."""
    columns = labels.select(["frame_id", "class", "x1", "y1", "x2", "y2", "track_id"]).to_pydict()
    return digest_of_lines(
        json.dumps([frame, name, *(None if v is None else f"{v:.3f}" for v in box), track])
        for frame, name, *box, track in zip(*columns.values(), strict=True)
    )
