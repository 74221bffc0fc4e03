"""Opens films without trusting them, and reads their frames in order with repaired times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import FootageError

# Demuxers that read one file and nothing else. Playlists, scripts and descriptions of streams
# (hls, dash, concat, sdp, …) name other files and addresses, so they are not among them.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,nut,dv,ivf,obu,"
    "h264,hevc,vvc,av1,m4v,mjpeg,mpjpeg,dhav,wav,mp3,aac,flac"
)
# A picture of more pixels than this is refused before it is decoded, as in tasks/picture.py:
# one that is stored must be one that a network can be shown.
MOST_PIXELS = 100_000_000
# A step back, or one further than this ahead, is a clock that was set and not a gap.
LONGEST_GAP_S = 24 * 3600.0
# Timestamps are rounded to the stream's time base; a millisecond is no other moment.
TOLERANCE_S = 1e-3
GUESSED_RATE = 25.0
MOST_READ_ERRORS = 100


def open_film(path: Path) -> Any:
    """Open a film that is a file, even one named `08:00:00.mp4`, which reads as an address.

    Raises:
        FootageError: it is none, or nothing of it can be read.
    """
    import av

    av.logging.set_level(av.logging.PANIC)  # its complaints come back as errors
    try:
        return av.open(
            f"file:{path}",
            options={"max_pixels": str(MOST_PIXELS)},
            container_options={"protocol_whitelist": "file", "format_whitelist": CONTAINERS},
            metadata_errors="replace",
        )
    except (av.FFmpegError, MemoryError, ValueError, OverflowError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> FootageError:
    """What a person reads of a film that cannot be opened or read."""
    return FootageError(
        "a picture or a film",
        found=f"neither, or a truncated one ({getattr(error, 'strerror', None) or error})",
        where=str(path),
        do="copy it again from its source",
    )


def picture_stream(container: Any, path: Path) -> Any:
    """The video stream that a player would show: the file's default, else the largest picture.

    A cover picture beside them is none.

    Raises:
        FootageError: sound only.
    """
    from av.stream import Disposition

    streams = [
        each
        for each in container.streams.video
        if each.codec_context is not None and not each.disposition & Disposition.attached_pic
    ]
    stream = max(
        streams,
        key=lambda each: (
            bool(each.disposition & Disposition.default),
            (each.width or 0) * (each.height or 0),
        ),
        default=None,
    )
    if stream is None:
        raise FootageError("a film with a picture", found="sound only", where=str(path))
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    # Threads would report a broken packet late or patch it in another way; the work is spread
    # over processes instead.
    stream.codec_context.thread_count = 1
    return stream


def rate_of(stream: Any) -> float | None:
    """Frames a second as the file says; None where it says nothing that can be so."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0 < rate <= 1000 else None


@dataclass
class Clock:
    """Turns timestamps into seconds since the first frame; time never runs back.

    A missing timestamp is one frame behind the last; where time runs back, or ahead by more
    than a day, it goes on from there.
    """

    time_base: float
    step: float
    by_dts: bool = False  # the container states no time of showing, only the order of decoding
    shift: float = 0.0
    first: float | None = None
    last: float = 0.0
    jumps: list[float] = field(default_factory=list)
    missing: int = 0

    def moment(self, frame: Any) -> float:
        """Seconds since the first frame."""
        stamp = frame.dts if self.by_dts else frame.pts
        if self.first is None:
            self.first = 0.0 if stamp is None else stamp * self.time_base
            self.missing += stamp is None
            return 0.0
        if stamp is None:
            self.missing += not self.by_dts  # the decoder's last frames have none
            self.last += self.step
            return self.last
        moment = stamp * self.time_base - self.first + self.shift
        if moment < self.last - TOLERANCE_S or moment > self.last + LONGEST_GAP_S:
            self.jumps.append(self.last)
            self.shift += self.last + self.step - moment
            moment = self.last + self.step
        self.last = max(moment, self.last)
        return self.last

    def reading(self, packet: Any) -> float:
        """Where `packet` belongs, which gives no frame: seconds since the first frame."""
        stamp = packet.dts if self.by_dts or packet.pts is None else packet.pts
        if stamp is None or self.first is None:
            return self.last
        moment = stamp * self.time_base - self.first + self.shift
        return moment if abs(moment - self.last) < LONGEST_GAP_S else self.last


def clock_of(stream: Any) -> Clock:
    """A clock for a stream from its first frame on."""
    step = 1 / (rate_of(stream) or GUESSED_RATE)
    return Clock(float(stream.time_base), step, states_no_pts(stream))


def states_no_pts(stream: Any) -> bool:
    """AVI knows no time of showing: what FFmpeg makes up is wrong where frames are reordered."""
    return stream.container.format.name == "avi" and bool(stream.codec_context.has_b_frames)


@dataclass
class Damage:
    """What did not decode, met while a film was read."""

    errors: int = 0
    times: list[float] = field(default_factory=list)

    def meet(self, moment: float) -> None:
        """Count one broken packet at `moment`; the first 100 times are kept."""
        self.errors += 1
        if len(self.times) < 100:
            self.times.append(round(moment, 3))


def packets_of(container: Any, stream: Any, damage: Damage, clock: Clock) -> Iterator[Any]:
    """Demux `stream`; where reading fails it is tried again behind the fault."""
    import av

    failures = 0
    while failures < MOST_READ_ERRORS:
        try:
            for packet in container.demux(stream):
                failures = 0
                yield packet
            return
        except (av.FFmpegError, OSError) as error:
            failures += 1
            if failures == 1:
                damage.meet(clock.last)
            if isinstance(error, EOFError):
                return


def decode_film(container: Any, stream: Any, damage: Damage, clock: Clock) -> Iterator[Any]:
    """Yield (moment, frame) of every frame in order.

    A broken packet costs its own frames only: it is counted, and reading goes on behind it.
    """
    for packet in packets_of(container, stream, damage, clock):
        for frame in decode_packet(packet, damage, clock):
            yield clock.moment(frame), frame


def decode_packet(packet: Any, damage: Damage, clock: Clock) -> list[Any]:
    """Frames that come out when `packet` goes in."""
    import av

    try:
        return list(packet.decode())
    except (av.FFmpegError, MemoryError, ValueError):
        damage.meet(max(0.0, clock.reading(packet)))
        return []


def drain(context: Any, damage: Damage, clock: Clock) -> list[Any]:
    """Frames that the decoder still holds back at the end of a run of packets."""
    import av

    try:
        return list(context.decode(None))
    except (av.FFmpegError, MemoryError, ValueError):
        damage.meet(clock.last)
        return []


def is_damaged(frame: Any) -> bool:
    """The decoder patched a part of this frame, or its packet is marked as broken."""
    return bool(frame.is_corrupt)


def upright_size(frame: Any) -> tuple[int, int]:
    """Width and height of a decoded frame after its rotation, pixels."""
    if frame.rotation % 180:
        return frame.height, frame.width
    return frame.width, frame.height


class Upright:
    """Turns decoded frames into upright pictures; keeps FFmpeg's converter between frames."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter: Any = VideoReformatter()

    def bgr(self, frame: Any) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 BGR, full range.

        A film that does not name its colour matrix is read as players do: BT.709 from 720
        lines on, else BT.601.
        """
        matrix = None
        if int(frame.colorspace) in (0, 2, 3):  # RGB, unspecified, reserved
            matrix = "ITU709" if min(frame.height, frame.width) >= 720 else "ITU601"
        turned = self._reformatter.reformat(
            frame, format="bgr24", src_colorspace=matrix, dst_colorspace=matrix, threads=1
        )
        picture: NDArray[np.uint8] = turned.to_ndarray()
        # FFmpeg's display matrix turns counter-clockwise, as np.rot90 does.
        return np.ascontiguousarray(np.rot90(picture, frame.rotation // 90 % 4))
