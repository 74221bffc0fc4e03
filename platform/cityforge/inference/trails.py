"""What is known of each track of a clip: its class, its path, its speed over the ground."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.inference.events.moment import GONE_S, feet_of
from cityforge.inference.scene import metres_of

SHOWN_POINTS = 60  # of a path, in evidence
WINDOW_S = 1.0  # a speed is that of the last second
RATE_S = 0.05  # a film's rate is seldom whole: a second may be so much longer
LEAST_S = 0.75  # and is none over less
LEAST_POINTS = 3
EDGE_PX = 2.0  # a box that ends at the picture's edge does not show where it stands
KMH = 3.6  # of a metre a second


@dataclass
class Trail:
    """One track."""

    first_s: float
    last_s: float = 0.0
    untold: int = 0  # boxes before it was a track
    told: int = 0  # boxes since
    total: float = 0.0  # of the scores of these
    sure: bool = False  # it had a box that was answered
    votes: dict[int, float] = field(default_factory=dict)  # class: sum of its scores
    path: deque[NDArray[Any]] = field(default_factory=lambda: deque(maxlen=SHOWN_POINTS))
    ground: deque[tuple[float, float, float]] = field(default_factory=deque)  # s, m, m
    speeds: list[float] = field(default_factory=list)  # km/h of each moment


class Trails:
    """Every track of a clip; of one that is gone only its row is kept.

    Args:
        classes: names of the classes.
        size: width and height of the picture, pixels.
        ground: (3, 3) from pixels to metres; None: no speeds.
    """

    def __init__(
        self, classes: list[str], size: tuple[int, int], ground: NDArray[Any] | None
    ) -> None:
        self._classes, self._size, self._ground = classes, size, ground
        self._here: dict[int, Trail] = {}
        self._gone: dict[int, dict[str, Any]] = {}

    def begin(self, track: int, at_s: float, xyxy: NDArray[Any]) -> None:
        """A box (4,) that a track had before it was told."""
        trail = self._here.setdefault(track, Trail(at_s))
        trail.untold += 1
        trail.path.append(feet_of(xyxy[None])[0])
        self._measure(trail, at_s, xyxy, trail.path[-1])

    def follow(
        self, at_s: float, track: NDArray[Any], boxes: NDArray[Any], score: NDArray[Any],
        cls: NDArray[Any], sure: NDArray[Any],
    ) -> tuple[list[str], NDArray[Any]]:  # fmt: skip
        """Take a moment's boxes; track (N,) 0: none, boxes (N, 4) xyxy.

        Returns:
            (N,) class of each one's track, else its own; (N,) km/h, NaN where not known.
        """
        names, kmh = [], np.full(len(track), np.nan)
        feet = feet_of(boxes)
        for row, number in enumerate(track.tolist()):
            if not number:
                names.append(self._classes[int(cls[row])])
                continue
            trail = self._here.setdefault(number, Trail(at_s))
            trail.last_s = at_s
            trail.told += 1
            trail.total += float(score[row])
            trail.votes[int(cls[row])] = trail.votes.get(int(cls[row]), 0.0) + float(score[row])
            trail.sure |= bool(sure[row])
            trail.path.append(feet[row])
            kmh[row] = self._measure(trail, at_s, boxes[row], feet[row])
            names.append(self._class_of(trail))
        self._retire(at_s)
        return names, kmh

    def paths(self, tracks: NDArray[Any]) -> dict[int, NDArray[Any]]:
        """(M, 2) bottom centres of each track up to now, the oldest first."""
        return {n: np.array(self._here[n].path) for n in tracks.tolist() if n in self._here}

    def rows(self) -> list[dict[str, Any]]:
        """Every track that had a sure box, as `Track` of the endpoint's answers."""
        here = {number: self._row(number, each) for number, each in self._here.items()}
        return [row for _, row in sorted({**self._gone, **here}.items()) if row is not None]

    def _retire(self, at_s: float) -> None:
        for number, trail in list(self._here.items()):
            if at_s - trail.last_s > GONE_S:
                del self._here[number]
                row = self._row(number, trail)
                if row is not None:
                    self._gone[number] = row

    def _row(self, number: int, trail: Trail) -> dict[str, Any] | None:
        if not trail.sure:
            return None
        speed = float(np.median(trail.speeds)) if trail.speeds else None
        return {
            "id": number,
            "class_name": self._class_of(trail),
            "score": round(trail.total / trail.told, 5),
            "first_s": round(trail.first_s, 3),
            "last_s": round(trail.last_s, 3),
            "frames": trail.told + trail.untold,
            "kmh": None if speed is None else round(speed, 1),
        }

    def _class_of(self, trail: Trail) -> str:
        return self._classes[max(trail.votes, key=lambda each: trail.votes[each])]

    def _measure(self, trail: Trail, at_s: float, box: NDArray[Any], foot: NDArray[Any]) -> float:
        """Take a point on the ground; km/h of the last second, NaN where it is too short."""
        if self._ground is None or self._at_edge(box):
            return np.nan
        x, y = metres_of(self._ground, foot[None])[0]
        if not np.isfinite(x + y):
            return np.nan
        trail.ground.append((at_s, float(x), float(y)))
        while at_s - trail.ground[0][0] > WINDOW_S + RATE_S:
            trail.ground.popleft()
        speed = kmh_of(np.array(trail.ground))
        if np.isfinite(speed):
            trail.speeds.append(speed)
        return speed

    def _at_edge(self, box: NDArray[Any]) -> bool:
        width, height = self._size
        low = min(box[0], box[1]) < EDGE_PX
        return bool(low or box[2] > width - EDGE_PX or box[3] > height - EDGE_PX)


def kmh_of(points: NDArray[Any]) -> float:
    """Speed of a track from its points on the ground, (N, 3) seconds, metres, metres.

    The median of the slopes between every two points (Theil 1950, Sen 1968), for each axis.

    >>> kmh_of(np.array([[0, 0, 0], [0.5, 5, 0], [1, 10, 0]]))
    36.0
    """
    if len(points) < LEAST_POINTS or points[-1, 0] - points[0, 0] < LEAST_S:
        return float("nan")
    first, second = np.triu_indices(len(points), 1)
    step = points[second] - points[first]
    slopes = step[:, 1:] / np.maximum(step[:, :1], 1e-6)
    return float(np.hypot(*np.median(slopes, axis=0)) * KMH)
