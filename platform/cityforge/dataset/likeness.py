"""How alike two pictures are where they differ most: a copy is one, another moment is not.

Two frames of a fixed camera are alike over most of the picture, whatever drives through it, so
that no figure over the whole picture tells a copy from another moment. Here one picture is laid
over the other (a crop and a change of light are undone by least squares: B. Lucas, T. Kanade,
"An Iterative Image Registration Technique", 1981) and the place of the largest difference counts.

Measured with 180 frames of demo_crossing and 105 of `highway`, each against a copy that was
coded anew (JPEG quality 60), cropped by 2 %, made 8 % brighter, brought to 0.6 of its size, and
all of these at once: a likeness of 0.964 or more. 37,502 pairs of other moments of demo_crossing
whose perceptual hashes differ in 10 bits or fewer: 0.930 or less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import DataError

Array = NDArray[Any]

SIDE, GLANCE_SIDE = 64, 32  # points of the pictures that are looked at, and glanced at
BLUR, GLANCE_BLUR = 1.2, 0.8  # points; takes out what coding and scaling change
POOL = 3  # points over which a difference is taken
SATURATED = 235  # grey from which light may have been cut off
CONTRAST, LEAST_CONTRAST = 48.0, 8.0  # deviation of grey that pictures are brought to
STEPS, MOST_MOVED = 5, 0.06  # of the overlay; share of half a side
GAIN = (0.7, 1.4)  # of pictures at equal contrast; at 0 anything would be like a black picture
# What a glance may leave: copies leave 30 at most, 98 of 100 other moments more.
GLANCE_MOST = 36.0
HOPELESS = 60.0  # what is left after the second step, from which no further step helps


def tiny_pictures(
    frame_ids: Sequence[str], widths: Sequence[int], read: Callable[[str], bytes]
) -> Array:
    """Grey pictures (N, 64, 64) uint8 of stored JPEGs, decoded at a part of their size.

    Raises:
        DataError: a frame that is no picture.
    """
    import cv2

    reductions = {8: cv2.IMREAD_REDUCED_GRAYSCALE_8, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
                  2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 1: cv2.IMREAD_GRAYSCALE}  # fmt: skip
    found = np.empty((len(frame_ids), SIDE, SIDE), np.uint8)

    def decode(row: int) -> None:
        # Twice the points at least, of which each point of the small picture is the mean.
        part = next((each for each in reductions if widths[row] >= 2 * SIDE * each), 1)
        data = np.frombuffer(read(frame_ids[row]), np.uint8)
        grey = cv2.imdecode(data, reductions[part])
        if grey is None:
            raise DataError("a stored picture", found="none", where=f"frame {frame_ids[row]}")
        found[row] = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)

    with ThreadPoolExecutor() as pool:  # decoding leaves Python's lock alone
        for _ in pool.map(decode, range(len(frame_ids))):
            pass
    return found


def glances(pictures: Array) -> Array:
    """What `glance` compares: (N, 1024) float16 of pictures (N, 64, 64) uint8."""
    import cv2

    found = np.empty((len(pictures), GLANCE_SIDE**2), np.float16)
    for row, picture in enumerate(pictures):
        small = cv2.resize(picture, (GLANCE_SIDE, GLANCE_SIDE), interpolation=cv2.INTER_AREA)
        found[row] = _levelled(small, GLANCE_BLUR).ravel()
    return found


def glance(one: Array, others: Array) -> Array:
    """Largest difference (K,) of one glance (1024,) from others (K, 1024), after one step.

    Quick, and on the safe side: what it leaves under GLANCE_MOST is worth a look.
    """
    design = _design(one.astype(np.float32).reshape(GLANCE_SIDE, GLANCE_SIDE)).reshape(-1, 6)
    wanted = others.astype(np.float32)
    fitted = np.linalg.solve(_normal(design), design.T @ wanted.T).astype(np.float32)  # (6, K)
    left = wanted - fitted.T @ np.ascontiguousarray(design.T)
    np.abs(left, out=left)
    left.reshape(-1, GLANCE_SIDE, GLANCE_SIDE)[:, _rim(GLANCE_SIDE)] = 0
    return np.asarray(left.max(axis=1) / np.maximum(fitted[4], 0.5))


def likeness(one: Array, other: Array) -> float:
    """How alike two pictures (64, 64) uint8 are where they differ most: 1 is the same picture.

    1 less the largest difference as a share of the range of grey, at equal contrast. The
    outermost points, and those whose light may have been cut off, do not count.
    """
    import cv2

    wanted, moving = _levelled(one, BLUR), _levelled(other, BLUR)
    cut_one, cut_other = _cut_off(one), _cut_off(other)
    moved: Array = np.zeros(4)
    least = np.inf
    for step in range(STEPS):
        at_x, at_y, inside = _places(moved)
        laid = cv2.remap(moving, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        lit = inside & ~(cut_one & (cv2.remap(cut_other.astype(np.uint8), at_x, at_y, 0) > 0))
        inside = lit if lit.sum() >= SIDE else inside
        design = _design(laid)[inside]
        fitted = np.linalg.solve(_normal(design), design.T @ wanted[inside])
        gain = float(np.clip(fitted[4], *GAIN))
        left = np.zeros((SIDE, SIDE), np.float32)
        differing = wanted[inside] - gain * laid[inside]
        left[inside] = np.abs(differing - differing.mean()) / gain
        least = min(least, float(cv2.blur(left, (POOL, POOL)).max()))
        if step and least > HOPELESS:
            break
        moved = np.clip(moved + fitted[:4] / gain, -MOST_MOVED, MOST_MOVED)
    return max(0.0, 1.0 - least / 255.0)


def _levelled(picture: Array, blur: float) -> Array:
    """A picture at mean 0 and equal contrast, so that a night's small differences count."""
    import cv2

    grey = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), blur)
    contrast = max(float(picture.std()), LEAST_CONTRAST)
    return np.asarray((grey - grey.mean()) * (CONTRAST / contrast), np.float32)


def _design(picture: Array) -> Array:
    """(S, S, 6): how the picture changes with shift and scale in x and y, gain and offset."""
    x, y = _grid(len(picture))
    down, right = np.gradient(picture)
    half = (len(picture) - 1) / 2
    parts = [right * half, right * half * x, down * half, down * half * y]
    return np.stack([*parts, picture, np.ones_like(picture)], -1)


def _normal(design: Array) -> Array:
    """The normal matrix; a ridge keeps a picture without edges where it is."""
    found = design.T @ design
    ridge = 1e-3 * float(np.trace(found[:4, :4])) / 4 + 1
    found[np.arange(4), np.arange(4)] += ridge
    found[[4, 5], [4, 5]] += 1e-3
    return np.asarray(found)


def _places(moved: Array) -> tuple[Array, Array, Array]:
    """Where each point lies in the other picture, and whether it lies within it."""
    x, y = _grid(SIDE)
    half = (SIDE - 1) / 2
    at_x = ((x * (1 + moved[1]) + moved[0] + 1) * half).astype(np.float32)
    at_y = ((y * (1 + moved[3]) + moved[2] + 1) * half).astype(np.float32)
    inside = (at_x >= 1) & (at_x <= SIDE - 2) & (at_y >= 1) & (at_y <= SIDE - 2)
    inside[:2] = inside[-2:] = inside[:, :2] = inside[:, -2:] = False
    return at_x, at_y, inside


def _cut_off(picture: Array) -> Array:
    import cv2

    cut = (picture >= SATURATED).astype(np.uint8)
    return np.asarray(cv2.dilate(cut, np.ones((3, 3), np.uint8)) > 0)


@cache
def _rim(side: int) -> Array:
    """Which points (S, S) are the outermost."""
    found = np.ones((side, side), bool)
    found[1:-1, 1:-1] = False
    return found


@cache
def _grid(side: int) -> tuple[Array, Array]:
    """x and y of each point, -1 to 1."""
    places = np.linspace(-1, 1, side, dtype=np.float32)
    return tuple(np.meshgrid(places, places))  # type: ignore[return-value]
