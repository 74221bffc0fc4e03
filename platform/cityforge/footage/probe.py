"""Says exactly what a file is: a still photograph, a film, or neither, and why not."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cityforge.errors import FootageError
from cityforge.footage.film import (
    MOST_PIXELS,
    Clock,
    Damage,
    clock_of,
    decode_film,
    is_damaged,
    open_film,
    picture_stream,
    rate_of,
    unreadable,
    upright_size,
)
from cityforge.footage.recordings import is_plausible
from cityforge.footage.stills import depth_of, open_still

ID_LENGTH = 16  # characters of a sha256 that name a file
# A rate is variable where more than this share of the distances between frames is further than
# this share from their median.
UNEVEN_SHARE, UNEVEN = 0.05, 0.2
# How files begin that name other files or addresses, and what they are.
SCRIPTS = (
    (b"#EXTM3U", "an HLS playlist"),
    (b"ffconcat", "an ffconcat script"),
    (b"v=0", "an SDP file"),
    (b"<?xml", "an XML file"),
    (b"[playlist]", "a playlist"),
    (b"[Reference]", "a list of references"),
)


@dataclass(frozen=True)
class Probe:
    """What one file is. Width and height are pixels after rotation."""

    footage_id: str
    still: bool
    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    rotation: int  # degrees counter-clockwise that are undone
    frames: int  # that decode
    errors: int  # packets that did not
    partial: int  # frames that decode in part only
    error_times: tuple[float, ...]  # s since the first frame, at most 100
    duration_s: float  # 0 for a still
    fps: float | None
    variable_rate: bool
    divisible: bool  # its parts can be read each for itself
    started_at: datetime | None
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """One sentence: fine, or usable with so many errors at these times."""
        return verdict(self.errors, self.error_times)


def verdict(errors: int, times: Sequence[float]) -> str:
    """What a person reads of a file that can be used.

    >>> verdict(0, [])
    'fine'
    >>> verdict(7, [2.7, 3.0, 3.3, 8.1, 8.2, 9.0])
    'usable with 7 errors, at 2.7, 3.0, 3.3, 8.1, 8.2, … s'
    """
    if not errors:
        return "fine"
    shown = ", ".join(f"{each:.1f}" for each in times[:5])
    more = ", …" if errors > 5 else ""
    return f"usable with {errors} error{'s' if errors > 1 else ''}, at {shown}{more} s"


def content_id(path: Path) -> str:
    """First 16 characters of the sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:ID_LENGTH]


def probe(path: Path, footage_id: str = "") -> Probe:
    """Look at one file; a film is decoded to its end.

    Args:
        footage_id: its `content_id`, where that is known already.

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
    if found is None:
        found = _probe_film(path)
    return replace(found, footage_id=footage_id or content_id(path))


def _probe_still(path: Path) -> Probe | None:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with open_still(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise FootageError(
                    f"at most {MOST_PIXELS:,} pixels",
                    found=f"{image.width}×{image.height}",
                    where=str(path),
                )
            if image.format == "JPEG" and _goes_on(path, image):
                return None
            codec, mode = str(image.format).lower(), image.mode
            taken, notes = _plausible(_taken_at(image))
            turn = {3: 180, 6: -90, 8: 90}.get(image.getexif().get(0x0112, 1), 0)
            upright = ImageOps.exif_transpose(image)  # decodes: a truncated file fails here
            width, height = upright.size
            notes += _depth_notes(upright, path)
    except UnidentifiedImageError:
        return None
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError) as error:
        raise FootageError(
            "a whole picture", found=str(error), where=str(path), do="copy it again from its source"
        ) from error
    except Image.DecompressionBombError as error:
        raise FootageError(
            f"at most {MOST_PIXELS:,} pixels", found=str(error), where=str(path)
        ) from error
    return Probe(
        "", True, codec, codec, mode, width, height, turn,
        1, 0, 0, (), 0.0, None, False, False, taken, notes,
    )  # fmt: skip


def _depth_notes(image: Any, path: Path) -> tuple[str, ...]:
    """What a person should know of a picture's depth; refuses one that has no known scale."""
    depth = depth_of(image)
    if depth is None:
        raise FootageError(
            "a picture of 8 or 16 bits a channel",
            found=f"one of mode {image.mode} whose range is not known",
            where=str(path),
            do="save it with 8 bits a channel",
        )
    return (f"32 bits a pixel; read as {depth} bits",) if image.mode == "I" else ()


def _goes_on(path: Path, image: Any) -> bool:
    """Whether a JPEG is the first of many: a film as cameras send it (MJPEG), with no container."""
    if path.suffix.lower() not in (".mjpeg", ".mjpg"):
        return False
    return bool(image.width * image.height <= MOST_PIXELS)


def _plausible(moment: datetime | None) -> tuple[datetime | None, tuple[str, ...]]:
    """The time that a file states, or none where it cannot be so, and a note that says it."""
    if moment is None or is_plausible(moment):
        return moment, ()
    return None, (f"it says that it is of the year {moment.year}; its time is taken as unknown",)


def _taken_at(image: object) -> datetime | None:
    exif = image.getexif()  # type: ignore[attr-defined]
    text = exif.get_ifd(0x8769).get(0x9003) or exif.get(0x0132)
    try:
        return datetime.strptime(str(text), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _probe_film(path: Path) -> Probe:
    import av

    if script := _script(path):
        raise FootageError(
            "a picture or a film",
            found=script,
            where=str(path),
            do="add the films themselves; nothing that a file names is opened",
        )
    try:
        with open_film(path) as container:
            return _probe_container(container, path)
    except (av.FFmpegError, MemoryError, ValueError, OverflowError) as error:
        raise unreadable(path, error) from error


def _script(path: Path) -> str | None:
    """What a file is that is text and no film; None for anything else."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    bare = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if bare[:1] == b"<" and b"<MPD" in bare:
        return "a DASH manifest"
    for beginning, name in SCRIPTS:
        if bare[: len(beginning)].lower() == beginning.lower():
            return name
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < 4096 else "ignore")
    except UnicodeDecodeError:
        return None
    return "a text file" if all(sign.isprintable() or sign.isspace() for sign in text) else None


@dataclass
class _Seen:
    """What reading a film to its end has shown."""

    frames: int = 0
    damaged: int = 0
    last: float = 0.0
    size: tuple[int, int] = (0, 0)
    rotation: int = 0
    pixel_format: str = ""
    other_sizes: int = 0
    steps: array[float] = field(default_factory=lambda: array("d"))  # s between frames

    def see(self, moment: float, frame: Any) -> None:
        if self.frames == 0:
            self.size, self.rotation = upright_size(frame), int(frame.rotation)
            self.pixel_format = frame.format.name
        else:
            self.steps.append(moment - self.last)
        self.other_sizes += upright_size(frame) != self.size
        self.damaged += is_damaged(frame)
        self.frames += 1
        self.last = moment


def _probe_container(container: Any, path: Path) -> Probe:
    stream = picture_stream(container, path)
    clock, damage, seen = clock_of(stream), Damage(), _Seen()
    for moment, frame in decode_film(container, stream, damage, clock):
        seen.see(moment, frame)
    width, height = seen.size if seen.frames else (stream.width or 0, stream.height or 0)
    if width * height > MOST_PIXELS:
        raise FootageError(
            f"at most {MOST_PIXELS:,} pixels", found=f"{width}×{height}", where=str(path)
        )
    if seen.frames == seen.damaged:
        raise FootageError(
            "a film with a frame that decodes whole",
            found=f"{damage.errors} broken packets and {seen.damaged} frames in part",
            where=str(path),
            do="copy it again from its source",
        )
    fps = rate_of(stream)
    step = 1 / fps if fps else seen.last / max(seen.frames - 1, 1)
    recorded, dated = _plausible(_recorded_at(container.metadata))
    return Probe(
        "",
        False,
        container.format.name,
        stream.codec_context.codec.canonical_name,
        seen.pixel_format,
        *seen.size,
        seen.rotation,
        seen.frames,
        damage.errors,
        seen.damaged,
        tuple(damage.times),
        seen.last + step,
        fps,
        _is_uneven(seen.steps),
        _is_divisible(path),
        recorded,
        (*_notes(container, stream, clock, damage, seen), *dated),
    )


def _is_uneven(steps: array[float]) -> bool:
    if len(steps) == 0:
        return False
    each = np.array(steps)
    middle = float(np.median(each))
    return bool((np.abs(each - middle) > UNEVEN * middle).mean() > UNEVEN_SHARE)


def _is_divisible(path: Path) -> bool:
    from cityforge.footage.index import read_index

    return read_index(path) is not None


def _notes(container: Any, stream: Any, clock: Clock, damage: Damage, seen: _Seen) -> list[str]:
    """What else a person should know of a film."""
    found = []
    streams = container.streams.video
    if len(streams) > 1:
        found.append(f"{len(streams)} video streams; number {stream.index} is read")
    if clock.jumps:
        times = ", ".join(f"{each:.1f}" for each in clock.jumps[:5])
        found.append(f"the clock jumps {len(clock.jumps)} times, first at {times} s; time goes on")
    if clock.missing:
        found.append(f"{clock.missing} frames without a time; each is one step behind the last")
    if seen.damaged:
        found.append(f"{seen.damaged} frames decode in part only; they are not sampled")
    if seen.other_sizes:
        found.append(f"{seen.other_sizes} frames have another size than the first")
    stated = int(stream.frames or 0)
    if stated > seen.frames + damage.errors:
        found.append(f"the file says {stated} frames; {stated - seen.frames} are missing")
    return found


def _recorded_at(metadata: dict[str, str]) -> datetime | None:
    text = metadata.get("creation_time", "")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
