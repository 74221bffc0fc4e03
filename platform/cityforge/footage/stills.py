"""Still photographs and JPEG: one that is upright already keeps its very bytes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

JPEG_QUALITY = 92
# Formats that Pillow opens; each is one frame. Its MPO (several JPEGs) opens as JPEG.
STILLS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
# Pillow's modes of 8 bits a channel or fewer that it turns into RGB.
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB")


@contextmanager
def open_still(path: Path) -> Iterator[Any]:
    """A still photograph as Pillow reads it; whoever takes one in checks its size at once.

    Pillow's own warning of a large picture is kept back: it begins below our limit.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        opened = Image.open(path, formats=STILLS)
    with opened as image:
        yield image


def depth_of(image: Any) -> int | None:
    """Bits a channel that a picture is read with, 8 or 16; None where its scale is not known.

    32 bits a pixel (mode I) are read with the fewest bits that hold all values of the picture.
    """
    if image.mode in EIGHT_BITS:
        return 8
    if image.mode.startswith("I;16"):
        return 16
    if image.mode == "I":
        least, most = image.getextrema()
        if least >= 0 and most < 1 << 16:
            return 8 if most < 1 << 8 else 16
    return None


def still_jpeg(path: Path) -> bytes:
    """A still photograph as JPEG; one that is an upright JPEG already keeps its very bytes."""
    with open_still(path) as image:
        upright = image.format == "JPEG" and image.mode in ("RGB", "L")
        if upright and image.getexif().get(0x0112, 1) == 1:
            return path.read_bytes()
    return encode_jpeg(still_bgr(path))


def still_bgr(path: Path) -> NDArray[np.uint8]:
    """A still photograph, upright: (H, W, 3) uint8 BGR."""
    from PIL import Image, ImageOps

    with open_still(path) as image:
        turned = ImageOps.exif_transpose(image)
        if depth_of(turned) == 16:  # Pillow would cut 16 bits at 255, not scale them
            turned = Image.fromarray((np.asarray(turned) >> 8).astype(np.uint8))
        return np.ascontiguousarray(np.asarray(turned.convert("RGB"))[:, :, ::-1])


def encode_jpeg(bgr: NDArray[Any]) -> bytes:
    """Encode (H, W, 3) uint8 BGR."""
    import cv2

    done, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"a picture of {bgr.shape} did not encode")
    return bytes(jpeg.tobytes())
