"""What a second detector still finds in stored frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cityforge.errors import DataError, FootageError
from cityforge.footage.detectors import Detector, Find
from cityforge.footage.redact import decode_jpeg
from cityforge.footage.shards import FrameStore

HIDDEN = 0.5  # share of a find that a covered region must hold for it to count as covered


@dataclass(frozen=True)
class Remainder:
    """One find in a stored frame; xyxy in pixels of that frame."""

    frame_id: str
    find: Find
    covered: float  # share of its area that lies in regions which redaction covered

    @property
    def in_the_open(self) -> bool:
        """Not a covered region that still has the outline of what it hides."""
        return self.covered < HIDDEN

    def to_row(self) -> dict[str, Any]:
        """For a table or JSON."""
        box = [round(each, 1) for each in (self.find.x1, self.find.y1, self.find.x2, self.find.y2)]
        return {
            "frame_id": self.frame_id,
            "kind": self.find.kind,
            "score": round(self.find.score, 4),
            "xyxy": box,
            "covered": round(self.covered, 4),
        }


@dataclass(frozen=True)
class AuditResult:
    """What was looked at, and what was found in it."""

    frames: int  # looked at
    stored: int
    kinds: tuple[str, ...]  # looked for
    remainders: list[Remainder]  # by frame_id, then the best score first

    @property
    def frames_with_a_find(self) -> int:
        """Of the frames looked at."""
        return len({each.frame_id for each in self.remainders})

    def counts(self, in_the_open: bool = False) -> dict[str, int]:
        """Finds of each kind looked for; all of them, or those in no covered region."""
        counted = Counter(
            each.find.kind for each in self.remainders if each.in_the_open or not in_the_open
        )
        return {kind: counted[kind] for kind in self.kinds}


def audit(
    frames: pa.Table,
    store: FrameStore,
    detectors: Sequence[Detector],
    count: int,
    seed: int,
    advance: Callable[[int, int], None] | None = None,
) -> AuditResult:
    """Look at `count` stored frames, the same ones for the same seed and table.

    Args:
        frames: table FRAMES.
        store: reads their JPEGs.
        detectors: others than those that redacted, else nothing is to be seen.
        advance: is told (done, all).

    Raises:
        DataError: there is no frame, or a stored one is missing or does not decode.
    """
    if frames.num_rows == 0:
        raise DataError("stored frames", found="none", where=str(store.folder), do="ingest first")
    columns = frames.select(["frame_id", "redactions"]).to_pydict()
    regions = dict(zip(columns["frame_id"], columns["redactions"], strict=True))
    chosen = sample(sorted(regions), count, seed)
    remainders: list[Remainder] = []
    for done, frame_id in enumerate(chosen, start=1):
        bgr = _decode_stored(store, frame_id)
        remainders += [
            Remainder(frame_id, find, covered_share(find, regions[frame_id] or []))
            for detector in detectors
            for find in detector.find(bgr)
        ]
        if advance:
            advance(done, len(chosen))
    kinds = tuple(dict.fromkeys(each.kind for each in detectors))
    remainders.sort(key=lambda each: (each.frame_id, -each.find.score))
    return AuditResult(len(chosen), len(regions), kinds, remainders)


def sample(names: Sequence[str], count: int, seed: int) -> list[str]:
    """At most `count` of `names`, in their order, each as likely as another."""
    if count >= len(names):
        return list(names)
    chosen = np.random.default_rng(seed).choice(len(names), count, replace=False)
    return [names[place] for place in np.sort(chosen).tolist()]


def _decode_stored(store: FrameStore, frame_id: str) -> NDArray[Any]:
    try:
        return decode_jpeg(store.read(frame_id))
    except FootageError as error:
        raise DataError("a stored JPEG", found=error.found, where=frame_id) from error


def covered_share(find: Find, regions: Sequence[dict[str, Any]]) -> float:
    """Share of a find that lies in the regions together, counted by its pixels.

    >>> find = Find("face", 0, 0, 10, 10, 0.9, "detected")
    >>> covered_share(find, [{"x1": 0, "y1": 0, "x2": 5, "y2": 20}])
    0.5
    """
    left, top, right, bottom = floor(find.x1), floor(find.y1), ceil(find.x2), ceil(find.y2)
    mask = np.zeros((bottom - top, right - left), bool)
    for each in regions:
        x1, y1 = max(0, round(each["x1"]) - left), max(0, round(each["y1"]) - top)
        x2, y2 = max(0, round(each["x2"]) - left), max(0, round(each["y2"]) - top)
        mask[y1:y2, x1:x2] = True
    return float(mask.mean())
