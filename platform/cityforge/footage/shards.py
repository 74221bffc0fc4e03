"""Frames in tar shards: deterministic, immutable, read at random by offset."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from cityforge.errors import DataError

END = bytes(2 * tarfile.BLOCKSIZE)
OPEN_SHARDS = 128  # at once; a process may open 1024 files on most machines


@dataclass(frozen=True)
class Member:
    """One JPEG within a shard."""

    name: str
    offset: int
    data: bytes


def write_shard(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write (name, JPEG) pairs as USTAR with no time and no owner; whole or not at all.

    The same members give the same bytes on every machine.
    """
    with begin_shard(path) as shard:
        for name, data in members:
            shard.add(name, data)


class ShardWriter:
    """A shard under way."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, name: str, data: bytes) -> int:
        """Append one JPEG; returns the offset of its bytes within the shard."""
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mode = 0o644
        offset = self._tar.offset + tarfile.BLOCKSIZE  # behind its header
        self._tar.addfile(info, io.BytesIO(data))
        return offset


@contextmanager
def begin_shard(path: Path) -> Iterator[ShardWriter]:
    """Write a shard beside `path`; it stands there once the block has ended without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with tarfile.open(beside, "w", format=tarfile.USTAR_FORMAT) as tar:
            yield ShardWriter(tar)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_shard(path: Path) -> Iterator[Member]:
    """Yield the members of a shard in their order.

    Raises:
        DataError: the shard is no whole tar file.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                stream = tar.extractfile(info)
                if stream is not None:
                    yield Member(info.name, info.offset_data, stream.read())
            _hold_against_end(path, tar.offset)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(
            "a whole tar shard", found=str(error), where=str(path), do="remove it and ingest again"
        ) from error


def _hold_against_end(path: Path, offset: int) -> None:
    """Without two empty blocks behind its members a tar file was cut, or a header is broken."""
    with path.open("rb") as stream:
        stream.seek(offset)
        if stream.read(len(END)) != END:
            raise tarfile.ReadError(f"no end of the archive at byte {offset}")


class FrameStore:
    """Reads stored JPEGs by frame id, through any number of threads and of workers."""

    def __init__(self, folder: Path, frames: pa.Table) -> None:
        self.folder = folder
        columns = frames.select(["frame_id", "shard", "offset", "bytes"]).to_pydict()
        self._at = {
            frame_id: (shard, offset, length)
            for frame_id, shard, offset, length in zip(*columns.values(), strict=True)
        }
        self._opened = _opener(folder)

    def read(self, frame_id: str) -> bytes:
        """The stored JPEG of a frame.

        Raises:
            DataError: no such frame, or its shard is gone or shorter than its table says.
        """
        if frame_id not in self._at:
            raise DataError("a stored frame", found=f"'{frame_id}'", where=str(self.folder))
        shard, offset, length = self._at[frame_id]
        data = self._opened(shard, os.getpid()).read(length, offset)
        if len(data) != length:
            raise DataError(
                f"{length} bytes at {offset}", found=str(len(data)), where=str(self.folder / shard)
            )
        return data

    def shard_of(self, frame_id: str) -> Path:
        """Where a stored frame lies."""
        shard, _, _ = self._at[frame_id]
        return self.folder / str(shard)

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "_at": self._at}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._opened = _opener(self.folder)


class _OpenShard:
    """A shard that is closed once nobody holds it, even while a reader lets another one go."""

    def __init__(self, folder: Path, name: str, process: int) -> None:
        self._process = process  # a forked worker opens its own, and closes no other
        try:
            self._descriptor = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise DataError(
                "a shard", found="no file", where=str(folder / name), do="ingest again"
            ) from error

    def read(self, length: int, offset: int) -> bytes:
        return os.pread(self._descriptor, length, offset)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor") and self._process == os.getpid():
            os.close(self._descriptor)


def _opener(folder: Path) -> Callable[[str, int], _OpenShard]:
    """Opens shards of a folder by name and process; those that were read last stay open."""
    return lru_cache(maxsize=OPEN_SHARDS)(partial(_OpenShard, folder))
