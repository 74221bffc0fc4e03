"""Pictures with what they show written in: classes, counts, and the heat of a density map."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.tasks.fonts import load_font

QUALITY = 80  # of a JPEG
MOST_LINES = 8
# Share of the picture's colour that the densest cell hides.
OPAQUE = 0.65


def caption(jpeg: bytes, lines: Sequence[str]) -> bytes:
    """Write lines on a dark ground into the upper left corner of a JPEG."""
    from PIL import Image, ImageDraw

    picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
    pen = ImageDraw.Draw(picture, "RGBA")
    size = max(11, round(max(picture.size) / 32))
    text = "\n".join(lines[:MOST_LINES])
    if text:
        place, font = (size // 2, size // 2), load_font(size)
        left, top, right, bottom = pen.multiline_textbbox(place, text, font=font)
        edge = size // 3
        pen.rectangle((left - edge, top - edge, right + edge, bottom + edge), fill="#000000b0")
        pen.multiline_text(place, text, font=font, fill="#ffffff")
    return _encode(picture)


def heat_over(jpeg: bytes, density: NDArray[Any], cell_px: float) -> bytes:
    """Lay a density map over its picture: clear where nothing is, yellow, then red.

    Args:
        density: (h, w) objects a cell, from the picture's upper left corner.
        cell_px: side of a cell, pixels of the picture.
    """
    from PIL import Image

    picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
    heat = density.astype(np.float32) / max(float(density.max(initial=0.0)), 1e-9)
    size = (round(heat.shape[1] * cell_px), round(heat.shape[0] * cell_px))
    grown = Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR)
    share = np.zeros((picture.height, picture.width), np.float32)
    inside = np.asarray(grown)[: picture.height, : picture.width]
    share[: inside.shape[0], : inside.shape[1]] = inside
    colour = np.stack([np.full_like(share, 255), 220 * (1 - share), np.zeros_like(share)], -1)
    alpha = (OPAQUE * np.sqrt(share))[..., None]
    mixed = np.asarray(picture) * (1 - alpha) + colour * alpha
    return _encode(Image.fromarray(mixed.round().astype(np.uint8)))


def _encode(picture: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return stream.getvalue()
