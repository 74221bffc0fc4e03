"""Near-duplicates by perceptual hash."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# Points of the picture that is transformed, and of the lowest frequencies that are kept.
HASH_POINTS, HASH_SIZE = 32, 8


def perceptual_hash(grey: NDArray[np.uint8]) -> str:
    """64 bits of a grey picture (H, W) uint8 as 16 hexadecimal digits.

    Each bit says whether one of the lowest 8×8 frequencies of the picture at 32×32 (discrete
    cosine transform) is above their median: C. Zauner, "Implementation and Benchmarking of
    Perceptual Image Hash Functions", 2010; the bits of `imagehash.phash`, whose scipy takes a
    second to import in every process.
    """
    import cv2

    points = cv2.resize(grey, (HASH_POINTS, HASH_POINTS), interpolation=cv2.INTER_AREA)
    lowest = cv2.dct(points.astype(np.float32))[:HASH_SIZE, :HASH_SIZE]
    lowest[0] *= np.sqrt(2)  # OpenCV scales the first row and column down; imagehash does not
    lowest[:, 0] *= np.sqrt(2)
    bits = (lowest > np.median(lowest)).ravel()
    return np.packbits(bits).tobytes().hex()


class NearDuplicates:
    """Remembers the hashes that were kept; a new one differs from each in more than `bits` bits."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._kept: NDArray[np.uint64] = np.empty(64, np.uint64)
        self._count = 0

    def is_new(self, phash: str) -> bool:
        """Whether this hash is no near-duplicate; then it is kept."""
        value = np.uint64(int(phash, 16))
        distances = np.bitwise_count(self._kept[: self._count] ^ value)
        if self._count and int(distances.min()) <= self._bits:
            return False
        if self._count == len(self._kept):
            self._kept = np.concatenate([self._kept, np.empty_like(self._kept)])
        self._kept[self._count] = value
        self._count += 1
        return True


def without_near_duplicates(frames: pa.Table, bits: int, films: set[str]) -> pa.Table:
    """FRAMES less those of a film of `films` that are near one kept before in the same film.

    A frame that shows that the picture stands still is kept.
    """
    ordered = frames.sort_by([("footage_id", "ascending"), ("pts_s", "ascending")])
    kept, film, seen = [], None, NearDuplicates(bits)
    columns = ordered.select(["footage_id", "phash", "faults"]).to_pydict()
    for footage_id, phash, faults in zip(*columns.values(), strict=True):
        if footage_id != film:
            film, seen = footage_id, NearDuplicates(bits)
        kept.append(footage_id not in films or seen.is_new(phash) or "frozen" in faults)
    return ordered.filter(pa.array(kept, pa.bool_()))
