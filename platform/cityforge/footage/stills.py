"""Still photographs and JPEG: one that is upright already keeps its very bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

JPEG_QUALITY = 92


def still_jpeg(path: Path) -> bytes:
    """A still photograph as JPEG; one that is an upright JPEG already keeps its very bytes."""
    from PIL import Image

    with Image.open(path) as image:
        upright = image.format == "JPEG" and image.mode in ("RGB", "L")
        if upright and image.getexif().get(0x0112, 1) == 1:
            return path.read_bytes()
    return encode_jpeg(still_bgr(path))


def still_bgr(path: Path) -> NDArray[np.uint8]:
    """A still photograph, upright: (H, W, 3) uint8 BGR."""
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        turned = ImageOps.exif_transpose(image)
        if turned.mode.startswith("I;16"):  # Pillow would cut 16 bits at 255, not scale them
            turned = Image.fromarray((np.asarray(turned) >> 8).astype(np.uint8))
        return np.ascontiguousarray(np.asarray(turned.convert("RGB"))[:, :, ::-1])


def encode_jpeg(bgr: NDArray[Any]) -> bytes:
    """Encode (H, W, 3) uint8 BGR."""
    import cv2

    done, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"a picture of {bgr.shape} did not encode")
    return bytes(jpeg.tobytes())
