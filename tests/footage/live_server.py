"""Cameras that the tests start and kill (real sockets, real H.264), and what is seen of them."""

from __future__ import annotations

import base64
import io
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from cityforge.footage.record import record
from cityforge.footage.segments import Totals
from cityforge.footage.spool import Segment

RATE = 25
FAST = 4.0  # times the camera's rate
CAMERA = "北门 1"
SIZE = (96, 48)  # width, height: three bands, each a digit of the frame's number
BASE = 12
FIRST_STAMP = 123_456  # of RTP: it begins anywhere


@dataclass(frozen=True)
class Film:
    """Frames as a camera sends them: `units` are H.264 access units, `chunks` MPEG-TS."""

    units: list[bytes]
    chunks: list[bytes]


def make_film(
    numbers: range, gop: int = 5, first_moment: int = 0, options: dict[str, str] | None = None
) -> Film:
    """Encode pictures that show their own number; `first_moment` counts frames."""
    import av

    stream_of_bytes = io.BytesIO()
    units, chunks, sent = [], [], 0
    with av.open(
        stream_of_bytes, "w", format="mpegts", options={"flush_packets": "1"}
    ) as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {
            "tune": "zerolatency", "g": str(gop), "x264-params": "scenecut=0", **(options or {})
        }  # fmt: skip
        for packet in _encoded(stream, numbers, first_moment):
            units.append(bytes(packet))
            container.mux(packet)
            chunks.append(stream_of_bytes.getvalue()[sent:])
            sent = stream_of_bytes.tell()
    return Film(units, chunks)


def _encoded(stream: Any, numbers: range, first_moment: int) -> Iterator[Any]:
    import av

    for place, number in enumerate(numbers):
        frame = av.VideoFrame.from_ndarray(_picture(number), format="rgb24")
        frame.pts, frame.time_base = first_moment + place, Fraction(1, RATE)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _picture(number: int) -> Any:
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for band in range(3):
        grey = 20 + 18 * (number // BASE**band % BASE)
        picture[:, band * 32 : band * 32 + 32] = grey
    return picture


def numbers_in(path: Path) -> list[int]:
    """The numbers that the pictures of a film show, in order of decoding."""
    import av

    numbers = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            grey = frame.to_ndarray(format="gray")
            digits = [round((grey[:, b * 32 + 8 : b * 32 + 24].mean() - 20) / 18) for b in range(3)]
            numbers.append(sum(digit * BASE**band for band, digit in enumerate(digits)))
    return numbers


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def record_all(
    url: str, folder: Path, breaks: int = 1, **changes: Any
) -> tuple[list[Segment], Totals]:
    """Record until the connection has broken off `breaks` times, or a limit is met."""
    segments: list[Segment] = []
    stop, reasons = threading.Event(), []

    def on_break(why: str) -> None:
        reasons.append(why)
        if len(reasons) == breaks:
            stop.set()

    limits = {"seconds": 0.8, "timeout": 1.5, "stop": stop, "on_break": on_break} | changes
    return segments, record(url, folder, CAMERA, on_segment=segments.append, **limits)


def shown(segments: list[Segment]) -> list[list[int]]:
    return [numbers_in(each.path) for each in segments]


@dataclass
class Server:
    """Listens on loopback and serves each connection in a thread of its own, until killed."""

    serve: Callable[[Server, socket.socket], None]
    port: int = 0
    sent: list[int] = field(default_factory=list)  # places of the frames that went out
    first_sent: float = 0.0  # Unix time
    connections: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> Server:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """Close everything; who is connected sees the connection end."""
        for each in [self.listener, *self.connections]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def pace(self, count: int, speed: float = 1.0, burst: int = 0) -> Iterator[int]:
        """Yield 0, 1, … at the camera's rate, and keep book of what was sent.

        The first `burst` go out at once, as from a camera that keeps its last pictures.
        """
        begin = time.monotonic() - burst / RATE / speed
        self.first_sent = self.first_sent or time.time()
        for place in range(count):
            # A camera sends each picture when it is taken, no sooner.
            time.sleep(max(0.0, begin + place / RATE / speed - time.monotonic()))
            yield place
            self.sent.append(place)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            self.serve(self, connection)


def tcp_camera(film: Film, speed: float = 1.0, port: int = 0, burst: int = 0) -> Server:
    """Sends MPEG-TS as soon as somebody connects."""

    def serve(server: Server, connection: socket.socket) -> None:
        for place in server.pace(len(film.chunks), speed, burst):
            connection.sendall(film.chunks[place])

    return Server(serve, port)


def http_camera(film: Film, speed: float = 1.0, port: int = 0) -> Server:
    """Answers any request with MPEG-TS and no length."""

    def serve(server: Server, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
        for place in server.pace(len(film.chunks), speed):
            connection.sendall(film.chunks[place])

    return Server(serve, port)


def raw_camera(film: Film, speed: float = 1.0) -> Server:
    """Sends H.264 without a container, so without times."""

    def serve(server: Server, connection: socket.socket) -> None:
        for place in server.pace(len(film.units), speed):
            connection.sendall(film.units[place])

    return Server(serve)


def jpeg_camera(count: int) -> Server:
    """Answers any request with JPEGs one after another (multipart/x-mixed-replace)."""
    from PIL import Image

    def serve(server: Server, connection: socket.socket) -> None:
        connection.recv(65536)
        kind = b"Content-Type: multipart/x-mixed-replace;boundary=next"
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + kind + b"\r\n\r\n")
        for place in server.pace(count, 0.4):  # 10 pictures a second
            stream = io.BytesIO()
            Image.fromarray(_picture(place)).save(stream, "JPEG", quality=95)
            head = b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
            connection.sendall(head % stream.tell() + stream.getvalue() + b"\r\n")

    return Server(serve)


def http_page(head: str, body: bytes) -> Server:
    """Answers any request with one page."""

    def serve(server: Server, connection: socket.socket) -> None:
        asked = connection.recv(65536)
        server.sent.append(len(asked))
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)

    return Server(serve)


def silent_camera() -> Server:
    """Takes connections, and says nothing."""
    # Longer than anybody waits for it.
    return Server(lambda _, connection: time.sleep(60))


def send_udp(film: Film, port: int, speed: float = 1.0) -> None:
    """Send MPEG-TS in datagrams of 7 packets of 188 bytes, as cameras do."""
    begin = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for place, chunk in enumerate(film.chunks):
            # At the film's own pace, as a camera does.
            time.sleep(max(0.0, begin + place / RATE / speed - time.monotonic()))
            for start in range(0, len(chunk), 1316):
                out.sendto(chunk[start : start + 1316], ("127.0.0.1", port))


def rtsp_camera(film: Film, login: str = "", speed: float = 1.0, port: int = 0) -> Server:
    """An RTSP 1.0 server (RFC 2326) of one H.264 track, interleaved or over UDP.

    Packets are single NAL units or FU-A fragments (RFC 6184). With `login` it wants it (Basic).
    """
    expected = base64.b64encode(login.encode()).decode()

    def serve(server: Server, connection: socket.socket) -> None:
        asked = connection.makefile("rb")
        udp_port = 0
        while request := _read_request(asked):
            method, headers = request
            port_asked = re.search(r"client_port=(\d+)", headers.get("transport", ""))
            udp_port = int(port_asked[1]) if port_asked else udp_port
            if login and headers.get("authorization") != f"Basic {expected}":
                _answer(
                    connection, headers, "401 Unauthorized", 'WWW-Authenticate: Basic realm="c"'
                )
            elif method == "DESCRIBE":
                _answer(connection, headers, "200 OK", "Content-Type: application/sdp", _sdp(film))
            elif method == "SETUP":
                transport = (
                    f"RTP/AVP;unicast;client_port={udp_port}-{udp_port + 1};server_port=6000-6001"
                    if udp_port
                    else "RTP/AVP/TCP;unicast;interleaved=0-1"
                )
                _answer(connection, headers, "200 OK", f"Transport: {transport}\r\nSession: 1")
            else:
                _answer(
                    connection, headers, "200 OK", "Public: DESCRIBE, SETUP, PLAY\r\nSession: 1"
                )
            if method == "PLAY":
                _play(server, connection, film, speed, udp_port)
                return

    return Server(serve, port)


def _read_request(stream: Any) -> tuple[str, dict[str, str]] | None:
    first = stream.readline().decode()
    headers = {}
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return (first.split()[0], headers) if first.strip() else None


def _answer(
    connection: socket.socket, asked: dict[str, str], status: str, head: str, body: str = ""
) -> None:
    text = f"RTSP/1.0 {status}\r\nCSeq: {asked.get('cseq', 0)}\r\n{head}\r\n"
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    connection.sendall(f"{text}{length}\r\n{body}".encode())


def _nal_units(unit: bytes) -> list[bytes]:
    return [each for each in re.split(rb"\x00{2,3}\x01", unit) if each]


def _sdp(film: Film) -> str:
    sets = [each for each in _nal_units(film.units[0]) if each[0] & 31 in (7, 8)]
    coded = ",".join(base64.b64encode(each).decode() for each in sets)
    lines = [
        "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=camera", "c=IN IP4 0.0.0.0", "t=0 0",
        "m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000",
        f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={coded}", "a=control:track0",
    ]  # fmt: skip
    return "".join(f"{line}\r\n" for line in lines)


def _play(
    server: Server, connection: socket.socket, film: Film, speed: float, udp_port: int
) -> None:
    sequence = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        for place in server.pace(len(film.units), speed):
            payloads = [part for nal in _nal_units(film.units[place]) for part in _fragments(nal)]
            for number, payload in enumerate(payloads, start=1):
                marker = 0x80 if number == len(payloads) else 0
                head = bytes([0x80, 96 | marker]) + (sequence % 65536).to_bytes(2, "big")
                packet = (
                    head
                    + (FIRST_STAMP + place * 90000 // RATE).to_bytes(4, "big")
                    + b"\0\0\0\7"
                    + payload
                )
                sequence += 1
                if udp_port:
                    datagrams.sendto(packet, ("127.0.0.1", udp_port))
                else:
                    connection.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)


def _fragments(nal: bytes, most: int = 200) -> list[bytes]:
    if len(nal) <= most:
        return [nal]
    parts = [nal[start : start + most] for start in range(1, len(nal), most)]
    indicator = (nal[0] & 0xE0) | 28
    last = len(parts) - 1
    return [
        bytes([indicator, (nal[0] & 31) | (0x80 * (at == 0)) | (0x40 * (at == last))]) + part
        for at, part in enumerate(parts)
    ]
