"""Follows boxes from frame to frame, so that an object in a clip is one object.

Sure boxes are given to tracks first and weak ones continue what is left over, as in ByteTrack
(Zhang et al. 2022). What belongs together is told by a Kalman filter over real time rather than
by overlap alone: at a few frames a second a fast vehicle's boxes do not touch each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.inference.motion import ALONE, Motion
from cityforge.inference.pairing import overlaps, pairs
from cityforge.inference.ways import Ways

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Pairs = list[tuple[int, int]]  # row of a track, number of a box

TENTATIVE_S = 0.65  # how long a track without an id waits for its next box
MOST_FORKS = 4  # second boxes that are tried for one first box
WEAK_S = 0.5  # weak boxes continue only what was seen so lately, or in the frame before
SURE_OF_CLASS = 0.75  # share of the scores from which a track's class is no longer in doubt
LEARNT_FROM = 4  # boxes from which a track's first speed is known well
SETTLED = 3  # boxes before which every class is in doubt
DENIED = 1.0  # sum of scores of another class on a track that makes its class doubtful again
OTHER_CLASS = 4.0  # what another class costs, in squared standard deviations
SAME_PLACE = 0.7  # intersection over union from which two boxes are one object


@dataclass(frozen=True)
class Sighting:
    """Where a track was before it had an id; xyxy (4,) in pixels."""

    at_s: float
    xyxy: NDArray[np.float32]


class Tracker:
    """Follows boxes from frame to frame (ByteTrack, Zhang et al. 2022: sure boxes first, weak boxes continue tracks).

    Frames may come at any rate, and at an uneven one; two of them no more than `lost_s` apart.
    Boxes of different classes are not matched unless a track's class is in doubt: few boxes so
    far, a quarter of its scores for other classes, or only another class seen where it is.

    A track is told with its second box, or with its third where more than one may be the second;
    `earlier` then has those before, for whoever counts.

        >>> tracker = Tracker(sure=0.5)
        >>> for at_s in (0.0, 0.2, 0.4):
        ...     box = np.array([[100 * at_s, 0, 100 * at_s + 40, 20]], np.float32)
        ...     tracker.update(at_s, box, np.array([0.9]), np.array([0])).tolist()
        [0]
        [1]
        [1]

    Args:
        sure: score from which a box may begin a track; weaker ones only continue one.
        lost_s: how long a track that is not seen is looked for, seconds.
    """  # noqa: E501

    def __init__(self, sure: float, lost_s: float = 1.5) -> None:
        self._sure = sure
        self._lost_s = lost_s
        self._motion, self._ways = Motion(), Ways()
        self._id: Rows = np.zeros(0, np.int64)  # (T,) 0: not told yet
        self._boxes: Rows = np.zeros(0, np.int64)  # (T,) how many it has had
        self._seen: Floats = np.zeros(0)  # (T,) seconds
        self._votes: Floats = np.zeros((0, 1))  # (T, C) sums of scores
        self._denied: Floats = np.zeros(0)  # (T,) see DENIED
        self._first: list[list[Sighting]] = []
        self._keys: Rows = np.zeros((0, 2), np.int64)  # (T, 2) its first boxes, numbered; 0: none
        self._numbered = 0
        self._at_s = self._before_s = 0.0  # this frame and the one before
        self._told = 0
        # Of the ids that the last update told for the first time: where they were before.
        self.earlier: dict[int, list[Sighting]] = {}

    def update(
        self, at_s: float, xyxy: NDArray[Any], score: NDArray[Any], cls: NDArray[Any]
    ) -> Rows:
        """Take the boxes of the next frame.

        Args:
            at_s: time of the frame, seconds; never less than before.
            xyxy: (K, 4) pixels.
            score: (K,) 0 to 1.
            cls: (K,) index of the class.

        Returns:
            (K,) the track of each box, from 1; 0: no track (yet). An id is never used twice.
        """
        boxes, score = np.asarray(xyxy, np.float64).reshape(-1, 4), np.asarray(score, np.float64)
        cls = np.asarray(cls, np.int64)
        self._forget(at_s)
        self._motion.advance(max(0.0, at_s - self._at_s))
        self._before_s, self._at_s = self._at_s, max(self._at_s, at_s)
        self._motion.see(boxes)
        self._widen_votes(cls)
        row_of, forks = self._assigned(boxes, score, cls)  # (K,) row of the track, -1: none
        taken = np.flatnonzero(row_of >= 0)
        self._continue(row_of[taken], boxes[taken], score[taken], cls[taken])
        key = self._numbered + 1 + np.arange(len(boxes))
        self._numbered += len(boxes)
        self._fork(forks, boxes, score, cls, key)
        self._begin(boxes, score, cls, key, row_of)
        ids = np.where(row_of >= 0, self._id[row_of], 0) if len(self._id) else row_of * 0
        return np.asarray(ids, np.int64)

    def class_of(self, track: int) -> int:
        """The class with the highest sum of scores of a track that is still followed.

        Raises:
            KeyError: no such track, or one that is lost for good.
        """
        rows = np.flatnonzero(self._id == track)
        if track < 1 or not len(rows):
            raise KeyError(f"Expected a track that is followed, but got {track}.")
        return int(self._votes[rows[0]].argmax())

    def _forget(self, at_s: float) -> None:
        """Drop what was not seen for too long."""
        patience = np.where(self._id > 0, self._lost_s, min(TENTATIVE_S, self._lost_s))
        kept = np.flatnonzero(at_s - self._seen <= patience + 1e-6)
        if len(kept) < len(self._id):
            self._keep(kept)
            self._motion.keep(kept)

    def _keep(self, rows: Rows) -> None:
        """Leave these tracks in this order; one named twice is there twice."""
        self._id, self._boxes = self._id[rows], self._boxes[rows]
        self._seen, self._denied = self._seen[rows], self._denied[rows]
        self._votes, self._keys = self._votes[rows], self._keys[rows]
        self._first = [list(self._first[row]) for row in rows]

    def _widen_votes(self, cls: Rows) -> None:
        missing = int(cls.max(initial=0)) + 1 - self._votes.shape[1]
        if missing > 0:
            self._votes = np.pad(self._votes, ((0, 0), (0, missing)))

    def _assigned(self, boxes: Floats, score: Floats, cls: Rows) -> tuple[Rows, Pairs]:
        """The track of each box (K,): sure boxes to told tracks, weak ones, then the untold.

        And pairs of a track with one box and a box that may be its second, where there are others.
        """
        row_of = np.full(len(boxes), -1)
        if not len(boxes) or not len(self._id):
            return row_of, []
        cost = self._motion.costs(boxes) + self._cost_of_class(cls)  # (T, K)
        sure, told = score >= self._sure, self._id > 0
        free = np.ones(len(told), bool)
        lately = self._seen >= min(self._at_s - WEAK_S, self._before_s)
        for tracks, among in ((told, sure), (told & lately, ~sure)):
            rows, columns = np.flatnonzero(tracks & free), np.flatnonzero(among & (row_of < 0))
            for row, column in pairs(cost[np.ix_(rows, columns)], ALONE):
                row_of[columns[column]] = rows[row]
                free[rows[row]] = False
        self._third_boxes(cost, row_of)
        return row_of, self._second_boxes(cost, row_of)

    def _third_boxes(self, cost: Floats, row_of: Rows) -> None:
        """Tracks with two boxes that a third one follows are true; what shares a box is not."""
        rows = np.flatnonzero((self._id == 0) & (self._boxes == 2))
        columns = np.flatnonzero(row_of < 0)
        if not len(rows) or not len(columns):
            return
        found = pairs(cost[np.ix_(rows, columns)], ALONE)
        used: set[int] = set()
        for row, column in sorted(found, key=lambda p: cost[rows[p[0]], columns[p[1]]]):
            keys = set(self._keys[rows[row]].tolist())
            if not keys & used:
                row_of[columns[column]] = rows[row]
                used |= keys
        self._drop_others(used, row_of)

    def _second_boxes(self, cost: Floats, row_of: Rows) -> Pairs:
        """Give second boxes where nothing else is near; the other pairs in reach are forks."""
        rows = np.flatnonzero((self._boxes == 1) & np.isfinite(self._seen))
        columns = np.flatnonzero(row_of < 0)
        if not len(rows) or not len(columns):
            return []
        near = cost[np.ix_(rows, columns)]  # (R, C)
        near = np.where(near < ALONE, near, np.inf)
        reach = np.isfinite(near)
        only = reach & (reach.sum(axis=1) == 1)[:, None] & (reach.sum(axis=0) == 1)[None]
        for row, column in zip(*np.nonzero(only), strict=True):
            row_of[columns[column]] = rows[row]
        near[only] = np.inf
        order = near.argsort(axis=1)[:, :MOST_FORKS]
        return [
            (int(rows[row]), int(columns[column]))
            for row, best in enumerate(order)
            for column in best
            if np.isfinite(near[row, column])
        ]

    def _drop_others(self, used: set[int], row_of: Rows) -> None:
        """Untold tracks that share a box with a true one go, as soon as the next frame comes."""
        if not used:
            return
        shares = np.isin(self._keys, list(used)).any(axis=1) & (self._id == 0)
        shares[row_of[row_of >= 0]] = False
        self._seen[shares] = -np.inf

    def _cost_of_class(self, cls: Rows) -> Floats:
        """(T, K): nothing for its own class, a little in doubt, else more than any match is worth."""  # noqa: E501
        top, total = self._votes.max(axis=1), self._votes.sum(axis=1)
        doubt = (top < SURE_OF_CLASS * total) | (self._boxes < SETTLED) | (self._denied >= DENIED)
        other = self._votes.argmax(axis=1)[:, None] != cls[None]
        return np.where(other, np.where(doubt, OTHER_CLASS, np.inf)[:, None], 0.0)

    def _continue(self, rows: Rows, boxes: Floats, score: Floats, cls: Rows) -> None:
        self._motion.correct(rows, boxes)
        self._seen[rows] = self._at_s
        self._boxes[rows] += 1
        self._votes[rows, cls] += score
        self._denied[rows] = 0.0
        self._learn(rows, boxes)
        self.earlier = {}
        for row in rows[self._id[rows] == 0].tolist():
            self._told += 1
            self._id[row] = self._told
            self.earlier[self._told] = self._first[row]
            self._keys[row] = 0

    def _fork(self, forks: Pairs, boxes: Floats, score: Floats, cls: Rows, key: Rows) -> None:
        """Try a second box: a track beside its first one's, which another second may continue."""
        if not forks:
            return
        parents, columns = np.array(forks).T
        before = len(self._id)
        rows = np.arange(before, before + len(forks))
        self._keep(np.append(np.arange(before), parents))
        self._motion.copy(parents)
        self._motion.correct(rows, boxes[columns])
        self._boxes[rows], self._seen[rows] = 2, self._at_s
        self._votes[rows, cls[columns]] += score[columns]
        self._keys[rows, 1] = key[columns]
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            self._first[row].append(Sighting(self._at_s, boxes[column].astype(np.float32)))

    def _learn(self, rows: Rows, boxes: Floats) -> None:
        """Remember which way those went that have enough boxes to tell."""
        for row, box in zip(rows.tolist(), boxes, strict=True):
            if self._boxes[row] != LEARNT_FROM:
                continue
            first = self._first[row][0]
            began = first.xyxy.astype(np.float64)
            moved = (box[:2] + box[2:] - began[:2] - began[2:]) / 2
            speed = moved / max(self._at_s - first.at_s, 1e-3)
            self._ways.learn(began[None], speed[None])

    def _begin(self, boxes: Floats, score: Floats, cls: Rows, key: Rows, row_of: Rows) -> None:
        """Begin tracks with the sure boxes that are left; `row_of` is brought up to date."""
        new = np.flatnonzero((row_of < 0) & (score >= self._sure))
        new = new[self._stands_alone(boxes[new], score[new], cls[new])]
        count = len(new)
        row_of[new] = np.arange(len(self._id), len(self._id) + count)
        self._motion.add(boxes[new], self._ways.from_here(boxes[new]))
        votes = np.zeros((count, self._votes.shape[1]))
        votes[np.arange(count), cls[new]] = score[new]
        self._votes = np.vstack([self._votes, votes])
        self._id = np.append(self._id, np.zeros(count, np.int64))
        self._boxes = np.append(self._boxes, np.ones(count, np.int64))
        self._seen = np.append(self._seen, np.full(count, self._at_s))
        self._denied = np.append(self._denied, np.zeros(count))
        self._keys = np.vstack([self._keys, np.stack([key[new], key[new] * 0], axis=1)])
        self._first += [[Sighting(self._at_s, box.astype(np.float32))] for box in boxes[new]]

    def _stands_alone(self, boxes: Floats, score: Floats, cls: Rows) -> NDArray[np.bool_]:
        """(K,): not where something is followed; such a box is a vote on its class instead."""
        followed = np.flatnonzero(self._id > 0)
        alone = np.ones(len(boxes), bool)
        if len(boxes) and len(followed):
            overlap = overlaps(self._motion.xyxy()[followed], boxes)  # (T, K)
            alone = overlap.max(axis=0) < SAME_PLACE
            for column in np.flatnonzero(~alone):
                row = followed[overlap[:, column].argmax()]
                self._votes[row, cls[column]] += score[column]
                self._denied[row] += score[column]
        twice = np.triu(overlaps(boxes, boxes) >= SAME_PLACE, 1)  # of two the first one stays
        return np.asarray(alone & ~(twice & alone[:, None]).any(axis=0))
