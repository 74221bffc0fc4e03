"""What a picture is like: sharpness, brightness, contrast, lighting, and what is wrong with it.

Everything is measured on a picture reduced to the area of 640×360, so that figures of cameras
of different resolution compare.

Lighting is what the picture says, not the clock. `infrared` is a picture without colour, as a
camera gives that has switched to its infrared lamps; a camera that is always grey (thermal, or a
black-and-white photograph by day) cannot be told from it. `night` is a dark picture, else `day`:
a street lit like day counts as day, a dark room or an underexposed photograph as night. Broad
black bars around a picture do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.footage.views import THUMB_HEIGHT, THUMB_WIDTH, likeness, structure

AREA = 640 * 360  # pixels of the reduced picture, whose sides keep their ratio
SMALL = (160, 90)  # width, height of the picture that frozen and night are told by

# Chroma is the largest less the smallest of B, G and R, its 95th percentile. A grey picture has 0,
# and noise of one step in its stored colour planes 3. The greyest street by day that was seen (wet
# asphalt only) has 4. A coloured caption takes less than the 5 % that are left out.
INFRARED_CHROMA = 3
# Median luma of a dark picture. Seen at night under street lamps: 33 to 59; by day in rain, at
# the darkest: 62. By day, what is dark lies beside sky or sun: where a fifth of the picture is
# lighter than the second figure, it is no night (2 in 100 night pictures have headlights so near).
NIGHT_LUMA = 60
NIGHT_LIGHTS_LUMA = 100
BAR_LUMA = 12  # a row or column at the edge with nothing lighter is a bar

# Cells of a sixteenth by a ninth of the picture; the first and last row, where cameras write time
# and place, are left out.
CELLS = (16, 9)
# A cell is flat when its luma deviates by less. A grey card, a hand on the lens and spray have 0 to
# 2, noise included; bare asphalt by day is flat in 0.90 of the cells at the most, grass in 0.87.
FLAT_DEVIATION = 3.0
FLAT_SHARE = 0.95
# Mean luma of a dark cell. Black is stored as 0, and a sensor's noise lifts it to 16 at the most.
BLACK_LUMA = 20

# A parked street may rest for some seconds; this is the shortest stop that is called a fault.
FROZEN_S = 10.0
# Largest change of any of 160×90 luma values. A recorder that stores the same picture again in good
# quality (H.264, H.265) changes it by 3 at the most, at its key frames; in coarse quality by up to
# 9, which is missed, because an empty hall that is filmed changes by no more than 4 in a second and
# 5 in four. In 10 s of scenes where something moves the least that was seen is 120.
FROZEN_LEVELS = 3

MOST_THUMBS = 64
LEAST_THUMBS = 8
# Mean correlation with their median under which pictures are no single view.
STEADY_VIEW = 0.5


@dataclass(frozen=True)
class Look:
    """What one picture is like.

    sharpness is the variance of the Laplacian (Pech-Pacheco and others, "Diatom autofocusing in
    brightfield microscopy", 2000), brightness mean luma (0 to 255), contrast its standard
    deviation. lighting is day, night or infrared; faults are of black, covered, frozen, sorted.
    """

    sharpness: float
    brightness: float
    contrast: float
    lighting: str
    faults: tuple[str, ...]


@dataclass(frozen=True)
class _Anchor:
    """The first picture of a stretch that has not changed since."""

    small: NDArray[np.uint8]
    moment_s: float
    looks: int


class Watcher:
    """Looks at the frames of one stretch of film in their order.

    What it says depends on the frames given alone.
    """

    def __init__(self, keeps: bool = True) -> None:
        """Without `keeps` what is looked at leaves nothing behind, but for what `keep` is given."""
        self._keeps = keeps
        self._lighting = ""
        self.grey: NDArray[np.uint8] = np.zeros((1, 1), np.uint8)  # reduced, looked at last
        self._anchor: _Anchor | None = None
        self._thumbs: list[tuple[str, NDArray[np.uint8]]] = []  # lighting, (36, 64) luma
        self._usable = 0
        self._every = 1

    def look(self, bgr: NDArray[np.uint8], moment_s: float) -> Look:
        """Judge one picture.

        Args:
            bgr: (H, W, 3).
            moment_s: film time in seconds. Where it does not advance, nothing is frozen.
        """
        import cv2

        grey, colours = _reduce(bgr)
        self.grey = grey
        small = cv2.resize(grey, SMALL, interpolation=cv2.INTER_AREA)
        mean, deviation = cv2.meanStdDev(grey)
        _, edges = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
        fault = _unseen(grey)
        lighting = "night" if fault == "black" else lighting_of(small, colours)
        self._lighting = "" if fault else lighting
        if self._keeps:
            self._keep(self._lighting, small)
        still = self._rests(small, moment_s)
        return Look(
            sharpness=float(edges[0, 0] ** 2),
            brightness=float(mean[0, 0]),
            contrast=float(deviation[0, 0]),
            lighting=lighting,
            faults=(fault,) if fault else ("frozen",) if still else (),
        )

    def keep(self, bgr: NDArray[np.uint8]) -> None:
        """Let the background be made from this picture (H, W, 3), in place of the one looked at."""
        import cv2

        grey, _ = _reduce(bgr)
        self._keep(self._lighting, cv2.resize(grey, SMALL, interpolation=cv2.INTER_AREA))

    def background(self) -> bytes | None:
        """The view without what moves in it: 64×36 uint8 luma, row by row (2304 bytes).

        The median of the pictures of the commonest lighting. None with fewer than 8 of them,
        or when they are no single view: photographs of many places, a camera on a vehicle.
        """
        lightings = [lighting for lighting, _ in self._thumbs]
        commonest = max(sorted(set(lightings)), key=lightings.count, default="")
        kept = [thumb for lighting, thumb in self._thumbs if lighting == commonest]
        if len(kept) < LEAST_THUMBS:
            return None
        middle = np.median(np.stack(kept), axis=0).astype(np.uint8)
        return middle.tobytes() if _is_one_view(kept, middle) else None

    def _keep(self, lighting: str, small: NDArray[np.uint8]) -> None:
        """Keep every n-th thumbnail, n doubled whenever there are too many."""
        import cv2

        if not lighting:
            return  # a fault: it shows no background
        if self._usable % self._every == 0:
            size = (THUMB_WIDTH, THUMB_HEIGHT)
            thumb = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
            self._thumbs.append((lighting, thumb))
        self._usable += 1
        if len(self._thumbs) == MOST_THUMBS:
            self._thumbs = self._thumbs[::2]
            self._every *= 2

    def _rests(self, small: NDArray[np.uint8], moment_s: float) -> bool:
        """Whether nothing has changed for FROZEN_S, with a look in between."""
        import cv2

        anchor = self._anchor
        if anchor is None or moment_s <= anchor.moment_s or _differ(cv2, anchor.small, small):
            self._anchor = _Anchor(small, moment_s, 1)
            return False
        self._anchor = _Anchor(anchor.small, anchor.moment_s, anchor.looks + 1)
        return moment_s - anchor.moment_s >= FROZEN_S and anchor.looks >= 2


def _differ(cv2: Any, one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return bool(cv2.absdiff(one, other).max() > FROZEN_LEVELS)


def _reduce(bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A grey picture of AREA, and about 160×90 pixels of the picture in colour.

    Halved as long as it can be, which is quick and lets nothing alias, then resized.
    """
    import cv2

    height, width = bgr.shape[:2]
    scale = (AREA / (height * width)) ** 0.5
    target = max(1, round(width * scale)), max(1, round(height * scale))
    while bgr.shape[1] >= 2 * target[0] and bgr.shape[0] >= 2 * target[1]:
        half = bgr.shape[1] // 2, bgr.shape[0] // 2
        even = bgr[: 2 * half[1], : 2 * half[0]]
        bgr = cv2.resize(even, half, interpolation=cv2.INTER_AREA)
    grey = cv2.resize(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), target, interpolation=cv2.INTER_LINEAR)
    step = max(1, bgr.shape[0] // SMALL[1])
    return grey, np.ascontiguousarray(bgr[step // 2 :: step, step // 2 :: step])


def _unseen(grey: NDArray[np.uint8]) -> str:
    """`black` or `covered` when nearly every cell is flat, else nothing."""
    import cv2

    luma = grey.astype(np.float32) - 128  # around 0, or the squares lose their last digits
    mean = cv2.resize(luma, CELLS, interpolation=cv2.INTER_AREA)
    square = cv2.resize(luma * luma, CELLS, interpolation=cv2.INTER_AREA)
    flat = (square - mean * mean)[1:-1] < FLAT_DEVIATION**2
    if flat.mean() < FLAT_SHARE:
        return ""
    dark = mean[1:-1] + 128 <= BLACK_LUMA
    return "black" if dark.mean() >= FLAT_SHARE else "covered"


def lighting_of(small: NDArray[np.uint8], colours: NDArray[np.uint8]) -> str:
    """Tell day, night or infrared from a small picture.

    Args:
        small: (h, w) luma.
        colours: (H, W, 3), about as many pixels of it in colour, in any order of the colours.
    """
    one, two, three = colours[..., 0], colours[..., 1], colours[..., 2]
    high = np.maximum(np.maximum(one, two), three)
    chroma = high - np.minimum(np.minimum(one, two), three)
    if _share(chroma <= INFRARED_CHROMA, 95):
        return "infrared"
    seen = _without_bars(small)
    dark = _share(seen < NIGHT_LUMA, 50) and _share(seen < NIGHT_LIGHTS_LUMA, 80)
    return "night" if dark else "day"


def _share(holds: NDArray[np.bool_], percent: int) -> bool:
    """Whether a percentile lies under a limit: it holds for so many in a hundred."""
    return int(np.count_nonzero(holds)) >= holds.size * percent / 100


def _without_bars(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows = np.flatnonzero(small.max(axis=1) > BAR_LUMA)
    columns = np.flatnonzero(small.max(axis=0) > BAR_LUMA)
    if rows.size == 0:
        return small
    return small[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _is_one_view(thumbs: list[NDArray[np.uint8]], middle: NDArray[np.uint8]) -> bool:
    view = structure(middle)
    if view is None:
        return True  # fog, a plain wall: what compares backgrounds will say nothing of it
    seen = [structure(thumb) for thumb in thumbs]
    return bool(np.mean([0 if s is None else likeness(s, view) for s in seen]) >= STEADY_VIEW)
