"""The picture files that lie beside labels: which they are, and their size in pixels."""

from __future__ import annotations

from pathlib import Path, PurePath

from cityforge.labeling.formats.files import IMAGE_SUFFIXES
from cityforge.labeling.formats.values import UnusableError


def is_picture(file: PurePath) -> bool:
    """Whether the file's suffix is that of an image."""
    return file.suffix.lower() in IMAGE_SUFFIXES


def header_size(path: Path) -> tuple[int, int]:
    """Width and height as stored; a rotation in EXIF is not applied.

    Raises:
        UnusableError: it is missing or no image.
    """
    from PIL import Image

    faults = (OSError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with Image.open(path) as image:
            return image.size
    except faults as error:
        raise UnusableError(
            "image cannot be opened", f"{type(error).__name__}: {path.name}"
        ) from None
