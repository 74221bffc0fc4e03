"""Reads tracks as MOT text and scores them: CLEAR MOT and identities.

MOTA is that of Bernardin and Stiefelhagen (2008), IDF1 that of Ristani et al. (2016); both count
a box as found from an intersection over union of 0.5 on, as the MOT Challenge does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import LabelError
from cityforge.inference.pairing import overlaps

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

OVERLAP = 0.5
FIELDS = 7  # frame, track, left, top, width, height, confidence; what follows is not read


@dataclass(frozen=True)
class Tracks:
    """Boxes with the tracks they belong to, one row a box.

    Attributes:
        frame: (N,) number of the frame.
        track: (N,) number of the track.
        xyxy: (N, 4) pixels.
        score: (N,) confidence as the file has it; -1 where it has none.
    """

    frame: Numbers
    track: Numbers
    xyxy: Floats
    score: Floats

    def where(self, mask: NDArray[np.bool_]) -> Tracks:
        """Return the rows of a mask (N,)."""
        return Tracks(self.frame[mask], self.track[mask], self.xyxy[mask], self.score[mask])


@dataclass(frozen=True)
class MotScore:
    """What was counted in one film, or in several together."""

    objects: int  # boxes of the truth
    found: int  # boxes of the tracker
    missed: int
    false: int
    switches: int  # an object's box given to another track than the last one found for it
    matched_ids: int  # boxes that agree when each object may have one track only

    @property
    def mota(self) -> float:
        """1 less what is missed, false or switched, in shares of the objects; NaN without any."""
        wrong = self.missed + self.false + self.switches
        return 1 - wrong / self.objects if self.objects else math.nan

    @property
    def idf1(self) -> float:
        """F1 of the boxes that agree in identity; NaN without boxes."""
        boxes = self.objects + self.found
        return 2 * self.matched_ids / boxes if boxes else math.nan


def together(scores: Iterable[MotScore]) -> MotScore:
    """Several films as one: counts are added, so long films weigh more."""
    rows = [
        (s.objects, s.found, s.missed, s.false, s.switches, s.matched_ids) for s in scores
    ]  # fmt: skip
    return MotScore(*(sum(column) for column in zip(*rows, strict=True)))


def read_mot(path: Path) -> Tracks:
    """Read `frame,track,left,top,width,height,confidence,…`, one line a box.

    Raises:
        LabelError: a line that is no box, or a track twice in a frame.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError("a file of MOT text", found=str(error), where=str(path)) from error
    rows = [_row(line, f"{path}:{n}") for n, line in enumerate(lines, start=1) if line.strip()]
    table = np.array(rows, np.float64).reshape(-1, FIELDS)
    frame, track = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    seen: set[tuple[int, int]] = set()
    for pair in zip(frame.tolist(), track.tolist(), strict=True):
        if pair in seen:
            raise LabelError(
                "each track once in a frame",
                found=f"track {pair[1]} twice in frame {pair[0]}",
                where=str(path),
            )
        seen.add(pair)
    xyxy = np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1)
    return Tracks(frame, track, xyxy, table[:, 6])


def _row(line: str, where: str) -> list[float]:
    expected = "frame,track,left,top,width,height,confidence as numbers"
    try:
        row = [float(each) for each in line.split(",")[:FIELDS]]
    except ValueError as error:
        raise LabelError(expected, found=f"'{line[:60]}'", where=where) from error
    whole = len(row) == FIELDS and all(map(math.isfinite, row))
    if not whole or any(each != int(each) for each in row[:2]) or min(row[4:6]) < 0:
        raise LabelError(expected, found=f"'{line[:60]}'", where=where)
    return row


def score_tracks(truth: Tracks, found: Tracks, overlap: float = OVERLAP) -> MotScore:
    """Hold the tracks that were found against the true ones."""
    last: dict[int, int] = {}  # track last found for each object
    missed = false = switches = 0
    agree: dict[tuple[int, int], int] = {}  # frames in which an object and a track overlap
    for frame in np.union1d(truth.frame, found.frame):
        real, seen = truth.where(truth.frame == frame), found.where(found.frame == frame)
        iou = overlaps(real.xyxy, seen.xyxy)  # (N, M)
        iou = np.where(iou >= overlap, iou, 0.0)
        for row, column in zip(*np.nonzero(iou), strict=True):
            both = (int(real.track[row]), int(seen.track[column]))
            agree[both] = agree.get(both, 0) + 1
        pairs, switched = _frame(real.track, seen.track, iou, last)
        missed += len(real.track) - pairs
        false += len(seen.track) - pairs
        switches += switched
    ids = _matched_ids(agree)
    return MotScore(len(truth.frame), len(found.frame), missed, false, switches, ids)


def _frame(real: Numbers, seen: Numbers, iou: Floats, last: dict[int, int]) -> tuple[int, int]:
    """Pairs and switches of one frame; `last` is brought up to date.

    A pair of the frames before stays while it overlaps; the rest is matched anew.
    """
    iou, pairs, switched = iou.copy(), 0, 0
    for row, one in enumerate(real.tolist()):
        for column in np.flatnonzero(seen == last.get(one)):
            if iou[row, column] > 0:
                iou[row, :], iou[:, column] = 0.0, 0.0
                pairs += 1
    for row, column in _best(iou):
        one, track = int(real[row]), int(seen[column])
        switched += one in last
        last[one] = track
        pairs += 1
    return pairs, switched


def _best(iou: Floats) -> list[tuple[int, int]]:
    """As many pairs as can be, and of those the ones that overlap most."""
    from scipy.optimize import linear_sum_assignment

    if not iou.any():
        return []
    cost = np.where(iou > 0, 1 - iou, 1.0 + min(iou.shape))
    rows, columns = linear_sum_assignment(cost)
    good = iou[rows, columns] > 0
    return list(zip(rows[good].tolist(), columns[good].tolist(), strict=True))


def _matched_ids(agree: dict[tuple[int, int], int]) -> int:
    """Boxes that agree when objects and tracks are paired once for the whole film."""
    from scipy.optimize import linear_sum_assignment

    if not agree:
        return 0
    objects = {one: row for row, one in enumerate(sorted({one for one, _ in agree}))}
    tracks = {one: row for row, one in enumerate(sorted({one for _, one in agree}))}
    table = np.zeros((len(objects), len(tracks)))
    for (one, track), frames in agree.items():
        table[objects[one], tracks[track]] = frames
    rows, columns = linear_sum_assignment(table, maximize=True)
    return int(table[rows, columns].sum())
