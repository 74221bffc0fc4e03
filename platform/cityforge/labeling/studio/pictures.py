"""The pictures that Label Studio shows: stored JPEGs, one file a frame, in the folder it serves.

`<files>/<dataset>/<first 2 of the frame id>/<frame id>.jpg`. Only frames that may be used go
there; what may no longer be used is taken away again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.errors import DataError
from cityforge.footage.shards import FrameStore

FRAME_ID = re.compile(r"[0-9a-z]{4,64}-[0-9]{1,15}")


def picture_name(dataset: str, frame_id: str) -> str:
    """Path of a frame's picture below the folder that the server serves.

    >>> picture_name("cross", "00c66ade1f52f103-1500")
    'cross/00/00c66ade1f52f103-1500.jpg'

    Raises:
        DataError: the id is no frame id, and could lead elsewhere.
    """
    if not FRAME_ID.fullmatch(frame_id):
        raise DataError("a frame id", found=f"{frame_id!r}", where=f"dataset '{dataset}'")
    return f"{dataset}/{frame_id[:2]}/{frame_id}.jpg"


@dataclass(frozen=True)
class Pictures:
    """The pictures of one dataset."""

    files: Path  # the folder that the server serves
    dataset: str
    store: FrameStore

    def write(self, frames: Iterable[Mapping[str, Any]]) -> int:
        """Put the stored JPEGs of rows of FRAMES there; how many were not there already.

        A picture of the same size that is no older than its shard is left as it is.

        Raises:
            OSError: no disk, or no right to write.
            DataError: a frame that is not stored.
        """
        written = 0
        made: dict[str, float] = {}  # shard to the moment it was made
        for frame in frames:
            path = self.files / picture_name(self.dataset, frame["frame_id"])
            shard = frame["shard"]
            if shard not in made:
                made[shard] = _age_and_size(self.store.folder / shard)[0]
            age, size = _age_and_size(path)
            if size != frame["bytes"] or age < made[shard]:
                _write(path, self.store.read(frame["frame_id"]))
                written += 1
        return written

    def keep_only(self, frame_ids: Collection[str]) -> int:
        """Take away every file of the dataset that is no picture of these frames."""
        kept = frozenset(frame_ids)
        gone = [
            path
            for path in _files_below(self.files / self.dataset)
            if path.suffix != ".jpg" or path.stem not in kept
        ]
        return _remove(gone)


def remove_pictures(
    files: Path,
    dataset: str,
    *,
    frame_ids: Collection[str] = (),
    footage_ids: Collection[str] = (),
) -> int:
    """Take away the pictures of frames, and of all frames of footage; how many there were."""
    gone = [files / picture_name(dataset, each) for each in frame_ids]
    for each in footage_ids:
        below = Path(files / picture_name(dataset, f"{each}-0")).parent
        gone += [
            path for path in _files_below(below) if path.name.lstrip(".").startswith(f"{each}-")
        ]
    return _remove(gone)


def _age_and_size(path: Path) -> tuple[float, int]:
    """When a file was changed last, and its bytes; (0, -1) where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0.0, -1
    return found.st_mtime, found.st_size


def _write(path: Path, data: bytes) -> None:
    """Write beside, then rename; the folder is made when it is missing."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            beside.write_bytes(data)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(data)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _files_below(folder: Path) -> Iterator[Path]:
    for here, _, names in os.walk(folder):
        yield from (Path(here, name) for name in names)


def _remove(paths: Iterable[Path]) -> int:
    removed = 0
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()
            removed += 1
    return removed
