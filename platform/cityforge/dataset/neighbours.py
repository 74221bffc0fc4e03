"""Which frames may be near: by perceptual hash, and by an embedding of tiny pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ROWS, COLUMNS = 64, 8192  # of hashes compared at once: what stays in the processor's cache
TINY = 32  # points of a side
FEW_OF_CAMERA = 8  # frames, under which a camera has no mean picture
LEAST_NORM = 64.0  # grey levels over a tiny picture; an empty street is no direction


def near_hashes(hashes: Array, bits: int) -> Iterator[tuple[int, Array]]:
    """Each row of hashes (N,) uint64, with the later rows that differ in at most so many bits.

    Every pair is compared, 64 by 8,192 at a time: 100,000 hashes take 6 s on one core. Tables
    of parts of the hash save nothing: with 10 bits that may differ, the parts are too short.
    """
    for first in range(0, len(hashes), ROWS):
        block = hashes[first : first + ROWS, None]
        hits: list[list[Array]] = [[] for _ in range(len(block))]
        for column in range(first, len(hashes), COLUMNS):
            differing = np.bitwise_count(block ^ hashes[None, column : column + COLUMNS])
            rows, mates = np.divmod(np.flatnonzero(differing <= bits), differing.shape[1])
            for row in np.unique(rows):
                hits[row].append(mates[rows == row] + column)
        for row, parts in enumerate(hits):
            later = np.concatenate([np.empty(0, np.int64), *parts])
            yield first + row, later[later > first + row]


def embedding(pictures: Array, cameras: Sequence[str]) -> Array:
    """Tiny pictures less the mean of their camera, whose background does not count then.

    A. Torralba, R. Fergus, W. Freeman, "80 Million Tiny Images", 2008.

    Args:
        pictures: (N, 64, 64) uint8.

    Returns:
        (N, 1024) float32 of mean 0 and length 1; shorter where hardly anything is left.
    """
    count = len(pictures)
    tiny = pictures.reshape(count, TINY, 2, TINY, 2).mean(axis=(2, 4), dtype=np.float32)
    found = tiny.reshape(count, -1)
    _, camera, frames = np.unique(
        np.asarray(cameras, object).astype(str), return_inverse=True, return_counts=True
    )
    for number in np.flatnonzero(frames >= FEW_OF_CAMERA):
        found[camera == number] -= found[camera == number].mean(axis=0)
    found -= found.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.maximum(norm, LEAST_NORM))


def nearest_of(queries: Array, among: Array) -> tuple[Array, Array]:
    """Row (Q,) of the nearest of `among` (M, D) for each query (Q, D), and its inner product."""
    rows = np.zeros(len(queries), np.int64)
    best = np.full(len(queries), -np.inf, np.float32)
    for start in range(0, len(among), COLUMNS):
        for first in range(0, len(queries), 1024):
            part = slice(first, first + 1024)
            product = queries[part] @ among[start : start + COLUMNS].T
            top = product.argmax(axis=1)
            value = product[np.arange(len(top)), top]
            better = value > best[part]
            rows[part] = np.where(better, top + start, rows[part])
            best[part] = np.maximum(value, best[part])
    return rows, best
