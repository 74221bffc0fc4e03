"""Whether two pictures of a camera that is fixed show the same view, whatever the weather.

Views are compared as thumbnails of 64×36 luma values: their fine structure, each part
weighed by its own contrast, so that sun, shade, rain and exposure count little.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import DataError

THUMB_WIDTH, THUMB_HEIGHT = 64, 36
Floats = NDArray[np.float32]

# Two pixels of a thumbnail are 3 % of the picture's width, or 6 % of its height. Less is a
# camera that shakes, or a picture that was stored in another size.
SHIFT_PX = 2
# Furthest shift that is looked for, a sixth of the picture; behind it is another view.
SEARCH_PX = (10, 6)
# Correlation of structure, -1 to 1, under which it is another view. Seen between backgrounds of the
# same view, from day to day and from sun to rain: 0.73 to 0.98, and 0.55 to 0.68 from day to night.
# Seen of other cameras: at most 0.12, of views turned by 5°: at most 0.35.
OTHER_VIEW = 0.45
# A shift must explain the picture this much better than none does.
BETTER_SHIFTED = 0.15
# Luma levels of fine structure (standard deviation) under which there is nothing to compare: fog.
LEAST_STRUCTURE = 1.5


def from_bytes(background: bytes, where: str) -> Floats:
    """A stored thumbnail, (36, 64).

    Raises:
        DataError: not 2304 bytes.
    """
    if len(background) != THUMB_WIDTH * THUMB_HEIGHT:
        raise DataError(
            f"a background of {THUMB_WIDTH}×{THUMB_HEIGHT} bytes",
            found=f"{len(background)} bytes",
            where=where,
        )
    thumb = np.frombuffer(background, np.uint8).reshape(THUMB_HEIGHT, THUMB_WIDTH)
    return thumb.astype(np.float32)


def structure(thumb: NDArray[Any]) -> Floats | None:
    """Fine structure of a thumbnail (36, 64), weighed by local contrast; None where it has none."""
    import cv2

    luma = thumb.astype(np.float32)
    fine = luma - cv2.GaussianBlur(luma, (0, 0), 3)
    if fine.std() < LEAST_STRUCTURE:
        return None
    # Two levels are added so that the noise of a plain wall is not drawn up to structure.
    weighed: Floats = fine / (np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 5)) + 2)
    return weighed


def likeness(one: Floats, other: Floats) -> float:
    """Correlation of two structures in place, -1 to 1."""
    a, b = one - one.mean(), other - other.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def has_moved(before: Floats, after: Floats) -> bool:
    """Whether `after` is another view than `before`, or the same one shifted."""
    return likeness(before, after) < OTHER_VIEW or _fits_better_shifted(before, after)


def _fits_better_shifted(before: Floats, after: Floats) -> bool:
    import cv2

    right, down = SEARCH_PX
    middle = np.ascontiguousarray(after[down:-down, right:-right])
    fits = cv2.matchTemplate(before, middle, cv2.TM_CCOEFF_NORMED)  # (2 down + 1, 2 right + 1)
    row, column = np.unravel_index(int(fits.argmax()), fits.shape)
    far = max(abs(int(row) - down), abs(int(column) - right)) >= SHIFT_PX
    return far and bool(fits[row, column] - fits[down, right] >= BETTER_SHIFTED)
