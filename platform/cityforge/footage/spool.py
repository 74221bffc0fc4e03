"""Where segments lie until they are in a catalogue: their names, their owner, what was left."""

from __future__ import annotations

import fcntl
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cityforge.errors import ServiceError

PART = ".part"  # at the end of the name while a segment is being written
REFUSED = ".refused"  # at the end of the name once the catalogue would not have it
LONGEST_NAME_BYTES = 160  # of a camera; file systems take 255 for the whole
NAME = re.compile(r"(?P<camera>.+)-(?P<start>\d{8}T\d{6}\.\d{3})Z\.mkv(\.part)?")


@dataclass(frozen=True)
class Segment:
    """A film of one connection, from a keyframe on."""

    path: Path
    camera: str
    started_at: datetime  # UTC, at the arrival of its first packet
    seconds: float | None = None  # None, as packets: left by a run that was killed
    packets: int | None = None


def safe_name(camera: str) -> str:
    """A camera's name as part of a file name; no two cameras share one.

    >>> safe_name("北门 2")
    '北门 2'
    >>> safe_name("gate/../a:1")
    'gate%2F..%2Fa%3A1'
    """
    safe = re.sub(
        r'[/\\:*?"<>|%\x00-\x1f\x7f]|^[.~ ]', lambda found: f"%{ord(found[0]):02X}", camera
    )
    coded = safe.encode()
    if len(coded) <= LONGEST_NAME_BYTES:
        return safe
    digest = hashlib.sha256(coded).hexdigest()[:12]
    return f"{coded[:LONGEST_NAME_BYTES].decode(errors='ignore')}~{digest}"


def segment_name(camera: str, started_at: datetime) -> str:
    """File name of a segment, which tells its camera and start to the millisecond."""
    moment = started_at.astimezone(UTC)
    return f"{safe_name(camera)}-{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z.mkv"


def finish(part: Path) -> Path:
    """Give a segment that is complete, or will not grow any more, its own name."""
    return part.rename(part.with_name(part.name.removesuffix(PART)))


def leftovers(folder: Path, cameras: list[str]) -> list[Segment]:
    """Segments in `folder` that a run left behind, oldest first, of those `cameras` alone."""
    named = {safe_name(camera): camera for camera in cameras}
    found = []
    for path in folder.glob("*.mkv*"):
        match = NAME.fullmatch(path.name)
        if match and match["camera"] in named:
            start = datetime.strptime(match["start"], "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
            found.append(Segment(path, named[match["camera"]], start))
    return sorted(found, key=lambda segment: (segment.started_at, segment.camera))


@contextmanager
def sole_recorder(folder: Path, camera: str) -> Iterator[None]:
    """Hold a camera's segments; the hold ends with the process, however it ends.

    Raises:
        ServiceError: another process records this camera into this folder.
    """
    with _held(folder / f".{safe_name(camera)}.lock", wait=False) as is_ours:
        if not is_ours:
            raise ServiceError(
                "one recorder of a camera",
                found="another that is at work",
                where=f"camera '{camera}', {folder}",
                do="end that one first",
            )
        yield


@contextmanager
def abandoned(folder: Path, camera: str) -> Iterator[bool]:
    """Hold a camera's segments if no process is recording it; tells whether that is so."""
    with _held(folder / f".{safe_name(camera)}.lock", wait=False) as is_ours:
        yield is_ours


@contextmanager
def sole_adder(folder: Path) -> Iterator[None]:
    """Wait until no other recorder is adding segments of this folder to the catalogue."""
    with _held(folder / ".adding.lock", wait=True):
        yield


@contextmanager
def _held(path: Path, wait: bool) -> Iterator[bool]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
