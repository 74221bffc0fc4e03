"""Says exactly what a file is: a still photograph, a film, or neither."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cityforge.errors import FootageError

# Formats that Pillow opens; each is one frame. Its MPO (several JPEGs) opens as JPEG.
STILLS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
# A picture of more pixels than this is refused before it is decoded, as in tasks/picture.py:
# one that is stored must be one that a network can be shown.
MOST_PIXELS = 100_000_000
READ_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Probe:
    """What one file is. Width and height are pixels after rotation."""

    footage_id: str
    still: bool
    codec: str
    width: int
    height: int
    frames: int
    errors: int  # packets that did not decode
    duration_s: float  # 0 for a still
    fps: float | None
    started_at: datetime | None


def content_id(path: Path) -> str:
    """First 16 characters of the sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(READ_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()[:16]


def probe(path: Path) -> Probe:
    """Look at one file.

    Raises:
        FootageError: missing, empty, or neither picture nor film, with the reason.
    """
    if path.is_dir():
        raise FootageError("a picture or a film", found="a folder", where=str(path))
    if not path.is_file():
        raise FootageError("a picture or a film", found="no file", where=str(path))
    if path.stat().st_size == 0:
        raise FootageError("a picture or a film", found="an empty file", where=str(path))
    found = _probe_still(path)
    return found if found is not None else _probe_film(path)


def _probe_still(path: Path) -> Probe | None:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path, formats=STILLS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise FootageError(
                    f"at most {MOST_PIXELS:,} pixels",
                    found=f"{image.width}×{image.height}",
                    where=str(path),
                )
            codec = str(image.format).lower()
            taken = _taken_at(image)
            upright = ImageOps.exif_transpose(image)  # decodes: a truncated file fails here
            width, height = upright.size
    except UnidentifiedImageError:
        return None
    except (OSError, SyntaxError, ValueError) as error:
        raise FootageError(
            "a whole picture", found=str(error), where=str(path), do="copy it again from its source"
        ) from error
    except Image.DecompressionBombError as error:
        raise FootageError(
            f"at most {MOST_PIXELS:,} pixels", found=str(error), where=str(path)
        ) from error
    return Probe(content_id(path), True, codec, width, height, 1, 0, 0.0, None, taken)


def _taken_at(image: object) -> datetime | None:
    exif = image.getexif()  # type: ignore[attr-defined]
    text = exif.get_ifd(0x8769).get(0x9003) or exif.get(0x0132)
    try:
        return datetime.strptime(str(text), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _probe_film(path: Path) -> Probe:
    import av

    from cityforge.footage.sample import open_film

    try:
        with open_film(path) as container:
            return _probe_container(container, path)
    except av.FFmpegError as error:
        raise FootageError(
            "a picture or a film",
            found=f"neither, or a truncated one ({error.strerror})",
            where=str(path),
            do="copy it again from its source",
        ) from error


def _probe_container(container: object, path: Path) -> Probe:
    from cityforge.footage.sample import decode_film, upright_size

    if not container.streams.video:  # type: ignore[attr-defined]
        raise FootageError("a film with a picture", found="sound only", where=str(path))
    stream = container.streams.video[0]  # type: ignore[attr-defined]
    frames = errors = 0
    first = last = 0.0
    size = (0, 0)
    for frame in decode_film(container):
        if frame is None:
            errors += 1
            continue
        moment = float(frame.time or 0.0)
        if frames == 0:
            first, size = moment, upright_size(frame)
        last = max(last, moment)
        frames += 1
    if frames == 0:
        raise FootageError(
            "a film with a frame that decodes", found=f"{errors} broken packets", where=str(path)
        )
    fps = float(stream.average_rate) if stream.average_rate else None
    duration = last - first + (1 / fps if fps else 0.0)
    return Probe(
        content_id(path),
        False,
        stream.codec_context.codec.canonical_name,
        *size,
        frames,
        errors,
        duration,
        fps,
        _recorded_at(container.metadata),  # type: ignore[attr-defined]
    )


def _recorded_at(metadata: dict[str, str]) -> datetime | None:
    text = metadata.get("creation_time", "")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
