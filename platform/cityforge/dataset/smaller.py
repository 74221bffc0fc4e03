"""Stored frames as small as the network's input, decoded once where they fit into memory."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.multiprocessing
from numpy.typing import NDArray

from cityforge.errors import DataError, InputError
from cityforge.footage.shards import FrameStore
from cityforge.tasks.picture import Fitted, decode_and_fit

# Decoded frames are kept where all of a subset fit in here: 400 of 320 x 320 pixels do.
KEPT_BYTES = 128 << 20


@dataclass(frozen=True)
class Small:
    """A frame (h, w, 3) uint8 RGB that just fits into the input, without a margin."""

    image: NDArray[Any]
    scale: float  # its pixels for each pixel of the stored frame


def fitted_frame(store: FrameStore, frame_id: str, size: tuple[int, int]) -> Fitted:
    """Read a frame and fit it into (width, height), as the endpoint does.

    Raises:
        DataError: the stored frame is no whole picture.
    """
    try:
        return decode_and_fit(store.read(frame_id), *size)
    except InputError as error:
        raise DataError(
            f"a frame that is {error.expected}", found=error.found,
            where=f"frame '{frame_id}' of {store.shard_of(frame_id)}",
            do="ingest its footage again",
        ) from error  # fmt: skip


class SmallFrames:
    """Frames of a subset by their number; the same whether they are kept or decoded anew.

    What is kept is shared by the processes that were forked from this one.
    """

    def __init__(
        self,
        frame_ids: list[str],
        store: FrameStore,
        size: tuple[int, int],
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self.frame_ids = frame_ids
        self.store = store
        self.size = size
        whole = len(frame_ids) * size[0] * size[1] * 3
        self._kept = _Kept(len(frame_ids), size) if 0 < whole <= kept_bytes else None

    def __getitem__(self, index: int) -> Small:
        """Raises DataError: the stored frame is no whole picture."""
        found = self._kept.get(index) if self._kept else None
        if found is None:
            found = self._decoded(index)
            if self._kept:
                self._kept.put(index, found)
        return found

    def _decoded(self, index: int) -> Small:
        fitted = fitted_frame(self.store, self.frame_ids[index], self.size)
        height = max(1, round(fitted.height * fitted.scale))
        width = max(1, round(fitted.width * fitted.scale))
        return Small(fitted.canvas[:height, :width], fitted.scale)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_kept": None}  # shared by forking alone


class _Kept:
    """Pictures in memory that forked processes share; pages are taken as they are written."""

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self._bytes = size[0] * size[1] * 3
        self._pixels = np.frombuffer(mmap.mmap(-1, count * self._bytes), np.uint8)
        # Height, width (0: not kept yet) and scale of each.
        self._about = np.frombuffer(mmap.mmap(-1, count * 24), np.float64).reshape(count, 3)
        # Whoever sees a size must see the pixels, too: taking a lock orders the two.
        self._lock = torch.multiprocessing.get_context("fork").Lock()

    def get(self, index: int) -> Small | None:
        with self._lock:
            height, width, scale = self._about[index].tolist()
        if not height:
            return None
        shape = (int(height), int(width), 3)
        begin = index * self._bytes
        pixels = self._pixels[begin : begin + shape[0] * shape[1] * 3]
        return Small(pixels.reshape(shape), scale)

    def put(self, index: int, small: Small) -> None:
        begin = index * self._bytes
        self._pixels[begin : begin + small.image.size] = small.image.reshape(-1)
        with self._lock:
            self._about[index] = (*small.image.shape[:2], small.scale)
