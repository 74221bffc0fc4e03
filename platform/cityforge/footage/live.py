"""Reads a live stream: which addresses are taken, each packet, and when it truly arrived."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import SplitResult, urlsplit

from cityforge.errors import InputError, ServiceError

SCHEMES = ("rtsp", "rtsps", "http", "https", "tcp", "udp", "rtp")
PROTOCOLS = "rtsp,rtp,udp,tcp,http,https,tls"
# Formats that hold their own pictures. Playlists and scripts, which name other files and
# addresses (hls, dash, concat, sdp), are not among them.
FORMATS = (
    "rtsp,rtp,mpegts,mpeg,matroska,webm,mov,mp4,flv,live_flv,nut,asf,ivf,obu,av1,"
    "mpjpeg,mjpeg,h264,hevc,m4v,mpegvideo"
)
# These carry no timestamps: FFmpeg then counts frames at an assumed rate, which is no time.
TIMELESS = ("mpjpeg", "mjpeg", "h264", "hevc", "m4v", "mpegvideo", "obu", "av1")
MOST_ANALYSED_S = 8.0
NOTHING = "nothing within {:g} s"
END = "the end of the stream"

SECRETS = re.compile(r"(?i)((?:pass(?:word|wd)?|pwd|token|secret|key|auth)=)[^&;#]*")


def masked(url: str) -> str:
    """An address that may be shown: passwords are stars.

    >>> masked("rtsp://admin:s3cret@10.0.0.8/ch1?channel=1&password=abc")
    'rtsp://admin:***@10.0.0.8/ch1?channel=1&password=***'
    >>> masked("tcp://10.0.0.8:9000")
    'tcp://10.0.0.8:9000'
    """
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    login, at, host = authority.rpartition("@")
    if not at and "@" in path:  # a password with an unescaped slash
        before, at, host = rest.rpartition("@")
        login, slash, path = before, "", ""
    user, colon, _ = login.partition(":")
    shown = f"{user}{colon}{'***' if colon else ''}{at}{host}{slash}{path}"
    return SECRETS.sub(r"\1***", f"{scheme}{separator}{shown}")


def check_address(url: str) -> None:
    """Hold an address against what is recorded from.

    Raises:
        InputError: a file, a script, another protocol, or no host and port.
    """
    try:
        parts = urlsplit(url)
        fit = parts.scheme in SCHEMES and _names_a_place(parts) and url.isprintable()
    except ValueError:  # a port that is none
        fit = False
    if not fit:
        raise InputError(
            f"the address of a live stream ({', '.join(SCHEMES)})",
            found=f"'{masked(url)}'",
            do="rtsp://HOST/PATH, http://HOST/PATH, tcp://HOST:PORT or udp://HOST:PORT; "
            "a file goes in with `cityforge footage add`",
        )


def _names_a_place(parts: SplitResult) -> bool:
    if parts.scheme in ("tcp", "udp", "rtp"):
        return bool(parts.port) and (bool(parts.hostname) or parts.scheme == "udp")
    return bool(parts.hostname)


@dataclass
class Live:
    """A connection that is open. `why_ended` is set once its packets have come to an end."""

    url: str
    container: Any
    stream: Any
    timeout: float
    asked_at: float  # Unix time
    is_a_file: bool = False  # a size or length is named: what is sent ends for good
    why_ended: str = ""

    def __enter__(self) -> Live:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.container.close()

    @property
    def has_no_times(self) -> bool:
        """The format carries no timestamps, so that those FFmpeg gives are made up."""
        return self.container.format.name in TIMELESS

    def packets(self) -> Iterator[tuple[Any, float]]:
        """Yield (packet, arrival as Unix time) of the picture until the connection ends."""
        import av

        last = time.monotonic()
        try:
            # All streams: were sound alone left, the picture's silence would not be noticed.
            for packet in self.container.demux():
                if packet.stream.index == self.stream.index and packet.size:
                    last = time.monotonic()
                    yield packet, time.time()
                elif time.monotonic() - last > self.timeout:
                    self.why_ended = f"no picture for {self.timeout:g} s"
                    return
            self.why_ended = END
        except (av.FFmpegError, OSError) as error:
            self.why_ended = _reason(error, self.timeout)


def open_live(url: str, timeout: float, udp: bool = False) -> Live:
    """Connect, and learn what the stream holds; packets met on the way are kept.

    Args:
        url: an address that `check_address` takes.
        timeout: longest wait for the connection, and then for each packet, s.
        udp: ask an RTSP server for UDP in place of TCP.

    Raises:
        ServiceError: no connection, nothing sent in time, or no picture in what was sent.
    """
    import av

    av.logging.set_level(av.logging.PANIC)  # its complaints come back as errors
    asked_at, begin = time.time(), time.monotonic()
    try:
        container = av.open(
            url, container_options=_options(timeout, udp), timeout=(timeout, timeout)
        )
    except (av.FFmpegError, OSError) as error:
        waited = time.monotonic() - begin >= timeout  # RTSP calls it invalid data
        reason = NOTHING.format(timeout) if waited else _reason(error, timeout)
        raise no_stream(url, reason) from error
    stream = container.streams.best("video")
    if stream is None or stream.codec_context is None or not stream.codec_context.width:
        found = "sound only" if container.streams.audio else "no picture that can be read"
        container.close()
        raise no_stream(url, found)
    is_a_file = (container.size or 0) > 0 or (container.duration or 0) > 0
    return Live(url, container, stream, timeout, asked_at, is_a_file)


def _options(timeout: float, udp: bool) -> dict[str, str]:
    return {
        "protocol_whitelist": PROTOCOLS,
        "format_whitelist": FORMATS,
        "rtsp_transport": "udp" if udp else "tcp",
        "timeout": str(int(timeout * 1e6)),  # µs, of each socket
        # No frames are waited for to guess a rate, but a keyframe may be some seconds away.
        "fpsprobesize": "0",
        "analyzeduration": str(int(min(timeout * 0.8, MOST_ANALYSED_S) * 1e6)),  # µs
        "buffer_size": str(4 << 20),  # of UDP sockets
        "overrun_nonfatal": "1",
    }


def no_stream(url: str, found: str) -> ServiceError:
    """What to raise where nothing can be recorded."""
    return ServiceError(
        "a live stream",
        found=found,
        where=masked(url),
        do="check the address, and that the camera sends",
    )


def _reason(error: Exception, timeout: float) -> str:
    import av

    if isinstance(error, av.ExitError | av.TimeoutError):
        return NOTHING.format(timeout)
    if isinstance(error, av.InvalidDataError | av.ArgumentError):  # not in the list of formats
        return "no format that is recorded (playlists and scripts are not)"
    return str(getattr(error, "strerror", None) or type(error).__name__)
