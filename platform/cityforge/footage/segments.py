"""Cuts a live stream into Matroska segments, packets copied as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from cityforge.errors import ServiceError
from cityforge.footage.live import Live
from cityforge.footage.spool import PART, Segment, finish, segment_name
from cityforge.footage.timeline import Placed, WallClock

MILLISECOND = Fraction(1, 1000)  # Matroska's time base
# A segment waits for a keyframe that nothing before it needs, up to this many times its length.
PATIENCE = 3
# A cluster is written once it is complete: a recorder that is killed loses this much, ms.
OPTIONS = {"cluster_time_limit": "1000", "flush_packets": "1"}


@dataclass
class Totals:
    """What a recorder has done so far."""

    seconds: float = 0.0
    packets: int = 0
    bytes: int = 0
    segments: int = 0
    reconnects: int = 0


class SegmentWriter:
    """One segment under way: `….mkv.part`, readable wherever it is cut off."""

    def __init__(
        self, folder: Path, camera: str, stream: Any, started_at: datetime, first_pts: int
    ) -> None:
        import av

        self.start = self._end = first_pts  # ms of the connection
        self._packets = 0
        self._camera = camera
        self._path, self._started_at = _free_name(folder, camera, started_at)
        with _disk_faults(self._path):
            self._container = av.open(
                f"file:{self._path}", "w", format="matroska", options=dict(OPTIONS)
            )
            # opaque: the codec is copied, so that no encoder for it is needed
            self._stream = self._container.add_stream_from_template(stream, opaque=True)
            self._container.metadata.update(
                {
                    "creation_time": self._started_at.isoformat(timespec="milliseconds"),
                    "title": camera,
                }
            )

    @property
    def seconds(self) -> float:
        """Length so far."""
        return (self._end - self.start) / 1000

    def write(self, placed: Placed) -> bool:
        """Add a packet; False for one that lies before the start, or that no file can hold."""
        import av

        if placed.pts < self.start:
            return False
        packet = placed.packet
        length = round((packet.duration or 0) * packet.time_base * 1000)
        packet.stream = self._stream
        packet.time_base = MILLISECOND
        packet.pts, packet.dts = placed.pts - self.start, placed.dts - self.start
        packet.duration = length
        try:
            with _disk_faults(self._path):
                self._container.mux_one(packet)
        except av.FFmpegError:  # broken on its way: it costs itself only
            return False
        self._end = max(self._end, placed.pts + length)
        self._packets += 1
        return True

    def close(self) -> Segment:
        """Write length and index, and take `.part` off the name."""
        with _disk_faults(self._path):
            self._container.close()
        path = finish(self._path)
        return Segment(path, self._camera, self._started_at, self.seconds, self._packets)


class Segments:
    """Cuts what one connection sends into segments, each from a keyframe on."""

    def __init__(
        self,
        live: Live,
        folder: Path,
        camera: str,
        seconds: float,
        clock: WallClock,
        totals: Totals,
        on_segment: Callable[[Segment], None],
    ) -> None:
        self._stream, self._folder, self._camera = live.stream, folder, camera
        self._clock, self._totals, self._on_segment = clock, totals, on_segment
        self._length = seconds * 1000
        self._writer: SegmentWriter | None = None
        self._held: Placed | None = None  # a keyframe that may start a segment
        self._jumped = False

    def take(self, placed: Placed) -> None:
        """Write a packet; what comes before the first keyframe cannot be shown, and is dropped."""
        held, self._held = self._held, None
        if held is not None:
            self._settle(held, is_needed_before=placed.pts < held.pts)
        self._jumped = self._jumped or placed.jumped
        if self._may_cut(placed):
            self._held = placed
        elif self._writer is not None:
            self._write(self._writer, placed)

    def close(self) -> None:
        """Finish the segment that is being written."""
        held, self._held = self._held, None
        if held is not None:
            self._settle(held, is_needed_before=False)
        writer, self._writer = self._writer, None
        if writer is not None:
            self._on_segment(writer.close())

    def _may_cut(self, placed: Placed) -> bool:
        if not placed.packet.is_keyframe:
            return False
        writer = self._writer
        return writer is None or self._jumped or placed.pts - writer.start >= self._length

    def _settle(self, held: Placed, is_needed_before: bool) -> None:
        """Cut at a keyframe, unless pictures follow that lie before it: they need both sides."""
        writer = self._writer
        patient = writer is not None and held.pts - writer.start < PATIENCE * self._length
        if writer is None or not (is_needed_before and patient):
            writer = self._cut(held)
        self._write(writer, held)

    def _cut(self, first: Placed) -> SegmentWriter:
        self._jumped = False
        old, self._writer = self._writer, None
        if old is not None:
            self._on_segment(old.close())
        started_at = self._clock.at(first.dts)
        writer = SegmentWriter(self._folder, self._camera, self._stream, started_at, first.pts)
        self._writer = writer
        self._totals.segments += 1
        return writer

    def _write(self, writer: SegmentWriter, placed: Placed) -> None:
        before = writer.seconds
        if writer.write(placed):
            self._totals.packets += 1
            self._totals.bytes += placed.packet.size
            self._totals.seconds += writer.seconds - before


def _free_name(folder: Path, camera: str, started_at: datetime) -> tuple[Path, datetime]:
    """Path of a new part, and its start to the millisecond; two segments never share one."""
    moment = started_at.replace(microsecond=started_at.microsecond // 1000 * 1000)
    while True:
        path = folder / segment_name(camera, moment)
        part = path.with_name(path.name + PART)
        if not path.exists() and not part.exists():
            return part, moment
        moment += timedelta(milliseconds=1)


@contextmanager
def _disk_faults(path: Path) -> Iterator[None]:
    """What goes wrong while a segment is written is the disk's fault, not the camera's."""
    try:
        yield
    except OSError as error:  # av.FFmpegError of the system among them
        raise ServiceError(
            "room for a segment",
            found=error.strerror or type(error).__name__,
            where=str(path),
            do="free some disk; what was recorded is kept and added at the next start",
        ) from error
