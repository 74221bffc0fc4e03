"""The image that a Label Studio task speaks of, out of the paths the server gives it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import parse_qs, quote, unquote, urlsplit

from cityforge.labeling.formats.files import IMAGE_SUFFIXES
from cityforge.labeling.formats.rows import LabelledImage
from cityforge.labeling.formats.values import UnusableError, name, number

# An upload is stored as <8 hex digits>-<name of the file>.
_UPLOAD_MARK = re.compile(r"^[0-9a-f]{8}-(?=.)")


def image_of(data: dict[str, object], where: str) -> LabelledImage:
    """The image that a task's data speaks of, without its size.

    Raises:
        UnusableError: the data names none, or states its film or moment unusably.
    """
    image = image_name(data)
    footage, pts_s = data.get("footage"), data.get("pts_s")
    return LabelledImage(
        name=image,
        footage=None if footage is None else name(footage, "footage"),
        pts_s=None if pts_s is None else number(pts_s, "pts_s"),
        where=where,
    )


def data_of(image: LabelledImage) -> dict[str, object]:
    """The data of a task for an image, as `image_of` reads it back."""
    stated = {
        "width": image.width,
        "height": image.height,
        "footage": image.footage,
        "pts_s": image.pts_s,
    }
    data: dict[str, object] = {"image": f"/data/local-files/?d={quote(image.name, safe='/')}"}
    return data | {field: value for field, value in stated.items() if value is not None}


def image_name(data: dict[str, object]) -> str:
    """Name of the task's image: `data["image"]`, else the first text that names an image.

    Raises:
        UnusableError: the data names none.
    """
    stated = data.get("image")
    if isinstance(stated, str) and stated.strip():
        return name(plain_name(stated), "image")
    for value in data.values():
        if isinstance(value, str) and _names_image(plain_name(value)):
            return name(plain_name(value), "image")
    raise UnusableError("data names no image", data)


def plain_name(reference: str) -> str:
    """Decode a path or URL of Label Studio.

    Folders of local files and of URLs are kept; an upload keeps only its file name.

    >>> plain_name("/data/local-files/?d=a%2Fb.jpg")
    'a/b.jpg'
    >>> plain_name("/data/upload/3/abcd1234-name.jpg")
    'name.jpg'
    >>> plain_name("s3://bucket/train/1%202.jpg?versionId=7")
    'train/1 2.jpg'
    """
    try:
        parts = urlsplit(reference)
    except ValueError:  # such as "http://[a.jpg"
        return reference
    if "/data/local-files" in parts.path:
        # As the server reads it: decoded once, the last value counts.
        return parse_qs(parts.query).get("d", [""])[-1].lstrip("/")
    if "/data/upload/" in parts.path:
        return _UPLOAD_MARK.sub("", PurePosixPath(unquote(parts.path)).name)
    if parts.scheme and parts.netloc:
        return unquote(parts.path).lstrip("/")
    return reference


def _names_image(text: str) -> bool:
    return PurePosixPath(text).suffix.lower() in IMAGE_SUFFIXES
