"""Looks at a film five times a second for a new scene, or for something that moves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.footage.film import TOLERANCE_S

TICK_S = 0.2
LOOK_WIDTH, LOOK_HEIGHT = 160, 90
# Looks before the first of a stretch that a judgement on it depends on.
LOOKED_BACK = 3
# Pictures further apart than this say nothing of what moves.
LONGEST_LOOK_S = 2.0
# A change of luma from which on a point counts as moved: above the noise of night pictures.
MOVED_LUMA = 20


class Looker:
    """Judges the first frame of each tick against the one it looked at before.

    `scene`: FFmpeg's scene score, the smaller of the mean difference of luma and of its change
    since the tick before, as a share of the full range (libavfilter/f_select.c).
    `motion`: the share of points whose luma, smoothed, changed by more than 20 of 255.
    """

    def __init__(self, policy: str, threshold: float) -> None:
        from av.video.reformatter import VideoReformatter

        self._policy = policy
        self._threshold = threshold
        self._reformatter: Any = VideoReformatter()
        self._tick = -1
        self._moment = 0.0
        self._luma: NDArray[np.uint8] | None = None
        self._difference: float | None = None

    def finds(self, moment: float, frame: Any) -> bool:
        """Whether `frame` begins a scene, or shows something moving."""
        tick = math.floor((moment + TOLERANCE_S) / TICK_S)
        if tick == self._tick:
            return False
        near = moment - self._moment <= LONGEST_LOOK_S
        self._tick, self._moment = tick, moment
        before, self._luma = self._luma, self._small(frame)
        if self._policy == "scene":
            return self._new_scene(before)
        return before is not None and near and self._moves(before)

    def _new_scene(self, before: NDArray[np.uint8] | None) -> bool:
        import cv2

        if before is None or self._luma is None:
            return self._tick == 0  # a film begins with a scene
        difference = float(cv2.absdiff(self._luma, before).mean()) / 255
        last, self._difference = self._difference, difference
        change = abs(difference - last) if last is not None else difference
        return min(difference, change) >= self._threshold

    def _moves(self, before: NDArray[np.uint8]) -> bool:
        import cv2

        assert self._luma is not None
        changed = cv2.absdiff(cv2.blur(self._luma, (3, 3)), cv2.blur(before, (3, 3)))
        return float((changed > MOVED_LUMA).mean()) >= self._threshold

    def _small(self, frame: Any) -> NDArray[np.uint8]:
        small = self._reformatter.reformat(
            frame, LOOK_WIDTH, LOOK_HEIGHT, "gray", interpolation="AREA", threads=1
        )
        luma: NDArray[np.uint8] = small.to_ndarray()
        return luma
