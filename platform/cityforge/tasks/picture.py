"""From a JPEG to what a network sees; the same in training, evaluation and the endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import InputError

# A picture of more pixels than this is refused before it is decoded.
MOST_PIXELS = 100_000_000


@dataclass(frozen=True)
class Fitted:
    """A picture fitted into the network's input, and the way back.

    `canvas` is (H, W, 3) uint8 RGB, the picture in its upper left corner, grey around it.
    """

    canvas: NDArray[Any]
    scale: float  # canvas pixels for each pixel of the picture
    width: int  # of the picture, pixels
    height: int


GREY = 114


def decode(data: bytes, shrink_to: tuple[int, int] | None = None) -> NDArray[Any]:
    """Decode a picture to (H, W, 3) uint8 RGB, turned upright by its EXIF.

    Args:
        shrink_to: (width, height); a JPEG at least twice that size is decoded at half,
            a quarter or an eighth of its size, which is much quicker.

    Raises:
        InputError: no picture, a truncated one, or one too large.
    """
    import cv2

    width, height = picture_size(data)
    if data[8:12] == b"WEBP":  # whose EXIF OpenCV 4.12 does not follow
        return _decode_webp(data)
    flags = cv2.IMREAD_COLOR_RGB
    if shrink_to and data[:2] == b"\xff\xd8":
        factor = min(width / shrink_to[0], height / shrink_to[1])
        for step, reduced in ((8, 64), (4, 32), (2, 16)):
            if factor >= step:
                flags |= reduced
                break
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise InputError("a whole picture", found=f"{len(data)} bytes that do not decode")
    return np.asarray(image)


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height of a picture after its EXIF rotation, read from its header.

    Raises:
        InputError: no picture, or one too large.
    """
    import io

    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "BMP", "TIFF")) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:  # before a PNG is decoded to find its EXIF
                raise InputError(f"at most {MOST_PIXELS:,} pixels", found=f"{width}×{height}")
            # Pillow gives the size of a TIFF upright already.
            turned = image.format != "TIFF" and image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except UnidentifiedImageError as error:
        kind = "an empty file" if not data else f"{len(data)} bytes of something else"
        raise InputError("a picture (JPEG, PNG, WebP, BMP or TIFF)", found=kind) from error
    except (Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise InputError("a whole picture", found=str(error)) from error
    return (height, width) if turned else (width, height)


def _decode_webp(data: bytes) -> NDArray[Any]:
    import io

    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data), formats=("WEBP",)) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError("a whole picture", found=str(error)) from error


def fit(
    image: NDArray[Any], width: int, height: int, full: tuple[int, int] | None = None
) -> Fitted:
    """Fit (H, W, 3) into a canvas of width by height, keeping its shape.

    Args:
        full: width and height of the whole picture, where `image` was decoded smaller.
    """
    import cv2

    full_width, full_height = full or (image.shape[1], image.shape[0])
    scale = min(width / full_width, height / full_height)
    inner = (max(1, round(full_width * scale)), max(1, round(full_height * scale)))
    smaller = inner[0] < image.shape[1]
    resized = cv2.resize(
        image, inner, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )
    canvas = np.full((height, width, 3), GREY, np.uint8)
    canvas[: inner[1], : inner[0]] = resized
    return Fitted(canvas, scale, full_width, full_height)


def decode_and_fit(data: bytes, width: int, height: int) -> Fitted:
    """Decode a picture and fit it into the network's input; see `decode` and `fit`."""
    full = picture_size(data)
    return fit(decode(data, (width, height)), width, height, full)
