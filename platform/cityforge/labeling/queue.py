"""Which frames people are asked to label next, in which order, and why.

One after another the camera and lighting (day, night, infrared) are chosen that have the fewest
frames labelled or asked, and of their frames the one with the highest sum of three shares, each
0 to 1. Lighting has a part in it because a model that sees nothing at night is not unsure of it.

- novelty: cosine distance to the nearest frame labelled or asked, by the largest one of all
  (greedy k-centre: Sener and Savarese 2018, "Active Learning for Convolutional Neural Networks:
  A Core-Set Approach");
- uncertainty: see `uncertainty_of` (margin: Settles 2009, "Active Learning Literature Survey");
- deficit: how much of a class that has few labels the model expects in it.

Nothing is drawn by chance: the same input gives the same order on every machine of one kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
View = tuple[str, str]  # camera, lighting
DOUBTFUL_BOXES = 5  # a frame is as doubtful as the mean of its so many most doubtful boxes
NEAR_BITS = 2  # of 64: where the card's sampling names no `near_duplicates`


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Frames as the queue sees them; all arrays have one row a frame."""

    frame_ids: Sequence[str]
    cameras: Sequence[str]
    lighting: Sequence[str]
    phash: Array  # (N,) uint64
    embedding: Array  # (N, D) float32 of length 1
    uncertainty: Array | None = None  # (N,) 0 to 1; None: there is no model yet
    expected: Array | None = None  # (N, C) objects of each class that the model expects


@dataclass(frozen=True)
class Asked:
    """One frame of the queue."""

    frame_id: str
    reason: str
    uncertainty: float | None
    novelty: float


@dataclass
class Order:
    """The queue, and what was kept out of it because it is nearly the same picture."""

    asked: list[Asked] = field(default_factory=list)
    alike: dict[str, str] = field(default_factory=dict)  # frame: the one it is nearly the same as


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What each share counts; see `tests/benchmarks/queue_figures.py` for how they were chosen."""

    novelty: float = 1.0
    uncertainty: float = 1.0
    deficit: float = 1.0


def order(
    open_frames: Frames,
    labelled: Frames,
    class_counts: Array,
    classes: Sequence[str],
    *,
    limit: int,
    near_bits: int = NEAR_BITS,
    weights: Weights | None = None,
) -> Order:
    """Order frames that nobody has labelled.

    Args:
        open_frames: candidates.
        labelled: frames with labels; what the model expects in them is not read.
        class_counts: (C,) boxes of each class so far.
        classes: names of the C classes, for the reasons.
        limit: at most so many are asked.
        near_bits: perceptual hashes that differ in so many bits or fewer are nearly the same.
    """
    return _Queue(
        open_frames, labelled, class_counts, classes, near_bits, weights or Weights()
    ).run(limit)


def uncertainty_of(scores: Array) -> float:
    """How unsure a model is of its boxes: 0 when each score is 0 or 1, 1 when all are 0.5.

    The mean of 1 - |2p - 1| over the most doubtful boxes, missing ones counted as 0.

    >>> round(uncertainty_of(np.array([0.5, 0.9])), 3)
    0.24
    """
    doubts = np.sort(1 - np.abs(2 * np.asarray(scores, float) - 1))[::-1][:DOUBTFUL_BOXES]
    return float(doubts.sum() / DOUBTFUL_BOXES)


def expected_of(classes: Array, scores: Array, count: int) -> Array:
    """(C,) objects of each class that a picture's boxes promise: the sum of their scores."""
    return np.bincount(np.asarray(classes, int), np.asarray(scores, float), count)


def bits_of(phash: Sequence[str]) -> Array:
    """(N,) uint64 of hexadecimal perceptual hashes."""
    return np.array([int(each, 16) for each in phash], np.uint64)


def embedding_of_bits(phash: Array) -> Array:
    """(N, 64) of length 1: what stands in for an embedding as long as there is no model."""
    bits = (phash[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    return (bits.astype(np.float32) * 2 - 1) / 8


class _Queue:
    def __init__(
        self,
        frames: Frames,
        labelled: Frames,
        class_counts: Array,
        classes: Sequence[str],
        near_bits: int,
        weights: Weights,
    ) -> None:
        # Sorted by id, so that ties never hang on the order in which frames were handed in.
        self._by_id = np.argsort(np.array(frames.frame_ids, dtype=object), kind="stable")
        self._ids = [frames.frame_ids[row] for row in self._by_id]
        views = list(zip(frames.cameras, frames.lighting, strict=True))
        self._views = [views[row] for row in self._by_id]
        self._rows_of = {view: np.array(rows) for view, rows in _grouped(self._views).items()}
        self._phash = frames.phash[self._by_id]
        self._embedding = frames.embedding[self._by_id]
        self._doubt = None if frames.uncertainty is None else frames.uncertainty[self._by_id]
        self._free = np.ones(len(self._ids), bool)
        self._distance = np.full(len(self._ids), 2.0, np.float32)  # the largest that there is
        self._near_bits, self._weights, self._classes = near_bits, weights, classes
        self._deficit, self._wanted = self._lack(frames, class_counts)
        self._order = Order()
        self._had = dict.fromkeys(self._rows_of, 0)
        for view in zip(labelled.cameras, labelled.lighting, strict=True):
            if view in self._had:
                self._had[view] += 1
        for row, frame_id in enumerate(labelled.frame_ids):
            self._pass(frame_id, labelled.phash[row], labelled.embedding[row])

    def _lack(self, frames: Frames, counts: Array) -> tuple[Array, Array]:
        """(N,) 0 to 1, and (N,) the class that is lacking most in each frame."""
        nothing = np.zeros(len(self._ids), np.float32), np.zeros(len(self._ids), int)
        if frames.expected is None or not len(self._classes):
            return nothing
        most = max(float(counts.max(initial=0)), 1.0)
        lack = 1 - counts / most  # (C,)
        each = np.minimum(frames.expected[self._by_id], 1) * lack  # (N, C)
        return each.max(1).astype(np.float32), each.argmax(1)

    def run(self, limit: int) -> Order:
        while len(self._order.asked) < limit and self._free.any():
            row = self._best_of(self._next_view())
            self._ask(row)
        return self._order

    def _next_view(self) -> View:
        free = (view for view, rows in self._rows_of.items() if self._free[rows].any())
        return min(free, key=lambda view: (self._had[view], view))

    def _best_of(self, view: View) -> int:
        rows = self._rows_of[view]
        rows = rows[self._free[rows]]
        value = self._weights.novelty * self._novelty()[rows]
        value = value + self._weights.deficit * self._deficit[rows]
        if self._doubt is not None:
            value = value + self._weights.uncertainty * self._doubt[rows]
        # Rounded, so that the last bit of a sum does not decide.
        return int(rows[np.argmax(np.round(value, 6))])

    def _novelty(self) -> Array:
        furthest = float(self._distance[self._free].max(initial=0.0))
        return np.clip(self._distance / max(furthest, 1e-6), 0, 1)

    def _ask(self, row: int) -> None:
        self._order.asked.append(
            Asked(
                self._ids[row],
                self._reason(row),
                None if self._doubt is None else float(self._doubt[row]),
                float(self._distance[row]),
            )
        )
        self._free[row] = False
        self._had[self._views[row]] += 1
        self._pass(self._ids[row], self._phash[row], self._embedding[row])

    def _reason(self, row: int) -> str:
        shares = {"unlike any frame so far": self._weights.novelty * float(self._novelty()[row])}
        if self._doubt is not None:
            doubt = f"the model is unsure ({self._doubt[row]:.2f})"
            shares[doubt] = self._weights.uncertainty * float(self._doubt[row])
        if self._deficit[row] > 0:
            lacking = f"likely shows '{self._classes[self._wanted[row]]}', which has few labels"
            shares[lacking] = self._weights.deficit * float(self._deficit[row])
        most = max(shares.values())
        told = [words for words, share in shares.items() if share >= most / 2]
        camera, lighting = self._views[row]
        return "; ".join([*told, f"camera '{camera}' by {lighting}"])

    def _pass(self, frame_id: str, phash: Any, embedding: Array) -> None:
        """Take note of a frame that is labelled or asked: others like it teach less."""
        bits = np.bitwise_count(self._phash ^ np.uint64(phash))
        for row in np.flatnonzero(self._free & (bits <= self._near_bits)):
            self._free[row] = False
            self._order.alike[self._ids[row]] = frame_id
        away = 1 - self._embedding @ embedding
        np.minimum(self._distance, away, out=self._distance)


def _grouped(views: Sequence[View]) -> dict[View, list[int]]:
    rows: dict[View, list[int]] = {}
    for row, view in enumerate(views):
        rows.setdefault(view, []).append(row)
    return dict(sorted(rows.items()))
