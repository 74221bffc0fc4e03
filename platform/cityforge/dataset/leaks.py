"""Near-duplicates across groups and across subsets: found, left out, measured.

Two ways lead to a pair: perceptual hashes that differ in few bits, and the nearest neighbour by
a small embedding. Whether a pair is a near-duplicate, `likeness` says alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cityforge.cards.params import NearParams
from cityforge.dataset.likeness import GLANCE_MOST, glance, glances, likeness, tiny_pictures
from cityforge.dataset.neighbours import embedding, near_hashes, nearest_of
from cityforge.errors import CheckFailed

Array = NDArray[Any]

TRAIN, EVALUATED = "train", ("val", "test", "unseen")
# A frame gives way to one of a subset further on.
RANK = {"train": 0, "val": 1, "test": 2, "unseen": 2}
SHOWN = 20
CLOSEST = 32  # pairs whose likeness is stated whatever a glance says
MOST_ROUNDS = 10


@dataclass(frozen=True)
class NearPair:
    """Two frames and how alike they are, 0 to 1; of a pair left out, `frame` is the one."""

    frame: str
    near: str
    likeness: float


@dataclass(frozen=True)
class Leak:
    """What of the evaluated subsets was as good as seen in training."""

    share: float  # of val, test and unseen frames: those with a near-duplicate in train
    nearest: float  # highest likeness of a pair between train and these, 0 to 1
    pairs: list[NearPair] = field(default_factory=list)  # the worst, evaluated frame first


class Nearness:
    """Finds near-duplicates among the frames of a snapshot; takes 10 KB of memory a frame.

    Args:
        frames: table FRAMES, sorted by frame_id.
        cameras: (N,) camera of each frame.
        read: the stored JPEG of a frame.
    """

    def __init__(
        self,
        near: NearParams,
        frames: pa.Table,
        cameras: Sequence[str],
        read: Callable[[str], bytes],
    ) -> None:
        self.ids: list[str] = frames["frame_id"].to_pylist()
        self._near = near
        self._hashes = np.array([int(each, 16) for each in frames["phash"].to_pylist()], np.uint64)
        self._pictures = tiny_pictures(self.ids, frames["width"].to_pylist(), read)
        self._glances = glances(self._pictures)
        self._embedded = embedding(self._pictures, cameras)
        self._alike: dict[tuple[int, int], float] = {}

    def across(self, groups: Sequence[str]) -> dict[tuple[int, int], float]:
        """Near-duplicates (row, row) of different groups by their hashes, and their likeness."""
        _, group = np.unique(np.asarray(groups, object).astype(str), return_inverse=True)
        found: dict[tuple[int, int], float] = {}
        for row, mates in near_hashes(self._hashes, self._near.bits):
            found |= self._near_of(row, mates[group[mates] != group[row]])
        return found

    def between(self, train: Array, evaluated: Array) -> dict[tuple[int, int], float]:
        """Likeness of each evaluated row and its neighbour in train, where one is worth a look."""
        if not len(train) or not len(evaluated):
            return {}
        rows, closeness = nearest_of(self._embedded[evaluated], self._embedded[train])
        found: dict[tuple[int, int], float] = {}
        for place in np.argsort(-closeness)[:CLOSEST]:
            pair = _ordered(int(evaluated[place]), int(train[rows[place]]))
            found[pair] = self._likeness(pair)
        for row, mate in zip(evaluated, train[rows], strict=True):
            found |= self._near_of(int(row), np.array([mate]), keep_all=True)
        return found

    def is_near(self, alike: float) -> bool:
        """Whether this likeness makes a near-duplicate."""
        return alike >= self._near.likeness

    def _near_of(
        self, row: int, mates: Array, keep_all: bool = False
    ) -> dict[tuple[int, int], float]:
        if not len(mates):
            return {}
        left = glance(self._glances[row], self._glances[mates])
        pairs = [_ordered(row, int(mate)) for mate in mates[left <= GLANCE_MOST]]
        found = {pair: self._likeness(pair) for pair in pairs}
        return {p: alike for p, alike in found.items() if keep_all or self.is_near(alike)}

    def _likeness(self, pair: tuple[int, int]) -> float:
        if pair not in self._alike:
            self._alike[pair] = likeness(*(self._pictures[row] for row in pair))
        return self._alike[pair]


def leave_out(
    nearness: Nearness,
    known: Mapping[tuple[int, int], float],
    subsets: Sequence[str],
    since: Sequence[int],
) -> tuple[dict[int, NearPair], Leak]:
    """Take frames out until no near-duplicate lies across subsets, and measure what is left.

    Of a pair, the frame whose group came later goes; else that of train, then that of val.

    Args:
        known: near-duplicates across groups, by rows.
        subsets: subset of each row.
        since: round in which the group of each row got its subset.
    """
    out: dict[int, NearPair] = {}
    for _ in range(MOST_ROUNDS):
        train, evaluated = (_rows(subsets, kind, out) for kind in ((TRAIN,), EVALUATED))
        pairs = nearness.between(train, evaluated) | dict(known)
        before = len(out)
        near = {pair: alike for pair, alike in pairs.items() if nearness.is_near(alike)}
        _drop(near, subsets, since, nearness.ids, out)
        if len(out) == before:
            break
    return out, measured(nearness, pairs, subsets, out)


def measured(
    nearness: Nearness,
    pairs: Mapping[tuple[int, int], float],
    subsets: Sequence[str],
    out: Mapping[int, NearPair],
) -> Leak:
    """The leak by these pairs of rows, less those with a frame that was left out."""
    across: list[NearPair] = []
    for rows, alike in pairs.items():
        first, other = sorted(rows, key=lambda row: subsets[row] == TRAIN)
        crosses = subsets[first] != TRAIN and subsets[other] == TRAIN
        if crosses and first not in out and other not in out:
            across.append(NearPair(nearness.ids[first], nearness.ids[other], alike))
    across.sort(key=lambda pair: (-pair.likeness, pair.frame, pair.near))
    leaking = {pair.frame for pair in across if nearness.is_near(pair.likeness)}
    evaluated = len(_rows(subsets, EVALUATED, out))
    share = len(leaking) / evaluated if evaluated else 0.0
    return Leak(share, across[0].likeness if across else 0.0, across[:SHOWN])


def refuse_leak(leak: Leak, most: float, where: str) -> None:
    """Refuse a split whose evaluated frames were as good as seen in training.

    Raises:
        CheckFailed: the leak is over `most`.
    """
    if leak.share > most:
        worst = leak.pairs[0]
        raise CheckFailed(
            f"at most {most:.2%} of val and test with a near-duplicate in train",
            found=f"{leak.share:.2%}, such as {worst.frame} and {worst.near} "
            f"(likeness {worst.likeness:.3f})",
            where=where,
            do="group otherwise (split.group), or join what is near (split.near)",
        )


def _drop(
    near: Mapping[tuple[int, int], float],
    subsets: Sequence[str],
    since: Sequence[int],
    ids: Sequence[str],
    out: dict[int, NearPair],
) -> None:
    """Add to `out` one frame of each pair across subsets, the most alike first."""
    for rows, alike in sorted(near.items(), key=lambda each: (-each[1], each[0])):
        first, other = (RANK[subsets[row]] for row in rows)
        if first == other or rows[0] in out or rows[1] in out:
            continue
        gone, kept = sorted(rows, key=lambda row: (-since[row], RANK[subsets[row]]))
        out[gone] = NearPair(ids[gone], ids[kept], alike)


def _rows(subsets: Sequence[str], kinds: Iterable[str], out: Mapping[int, NearPair]) -> Array:
    wanted = set(kinds)
    return np.array(
        [row for row, subset in enumerate(subsets) if subset in wanted and row not in out], np.int64
    )


def _ordered(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)
