"""Files that mean harm, or are no footage: refused in one line, and nothing they name is read."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import struct
import wave
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cityforge.cards.dataset import Sampling
from cityforge.errors import FootageError
from cityforge.footage.probe import probe
from cityforge.footage.sample import sample_film

Make = Callable[..., Path]
EVERY = Sampling(policy="every", seconds=0)


class Trap:
    """A film beside the file under test, and sockets: notices who opens or calls them."""

    OPENED = 0x20  # inotify's IN_OPEN
    NON_BLOCKING = 0o4000

    def __init__(self, canary: Path) -> None:
        self.canary = canary
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._watch = self._libc.inotify_init1(self.NON_BLOCKING)
        self.watch(canary)
        self._called = socket.create_server(("127.0.0.1", 0))
        self._called.setblocking(False)
        self._sent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sent.bind(("127.0.0.1", 0))
        self._sent.setblocking(False)

    def watch(self, path: Path) -> None:
        assert self._libc.inotify_add_watch(self._watch, os.fsencode(path), self.OPENED) > 0

    @property
    def port(self) -> int:
        return int(self._called.getsockname()[1])

    @property
    def udp_port(self) -> int:
        return int(self._sent.getsockname()[1])

    def was_opened(self) -> bool:
        try:
            return bool(os.read(self._watch, 4096))
        except BlockingIOError:
            return False

    def was_called(self) -> bool:
        try:
            self._called.accept()[0].close()
        except BlockingIOError:
            try:
                return bool(self._sent.recv(4096))
            except BlockingIOError:
                return False
        return True

    def close(self) -> None:
        os.close(self._watch)
        self._called.close()
        self._sent.close()


@pytest.fixture
def trap(tmp_path: Path, make_film: Make) -> Iterator[Trap]:
    found = Trap(make_film(tmp_path / "canary.ts"))
    yield found
    found.close()


def playlist(trap: Trap) -> str:
    return (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n"
        f"#EXTINF:2.0,\ncanary.ts\n#EXTINF:2.0,\nhttp://127.0.0.1:{trap.port}/2.ts\n"
        "#EXT-X-ENDLIST\n"
    )


def master_playlist(trap: Trap) -> str:
    return (
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\n"
        f"http://127.0.0.1:{trap.port}/live.m3u8\n"
        f"#EXT-X-STREAM-INF:BANDWIDTH=2000\nfile:{trap.canary}\n"
    )


def concat_script(trap: Trap) -> str:
    return (
        f"ffconcat version 1.0\nfile canary.ts\nfile {trap.canary}\n"
        f"file tcp://127.0.0.1:{trap.port}\n"
    )


def concat_script_of_neighbours(trap: Trap) -> str:
    """FFmpeg counts names without a folder as safe."""
    return f"ffconcat version 1.0\nfile {trap.canary.name}\n"


def session_description(trap: Trap) -> str:
    return (
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=live\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=video {trap.udp_port} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
        f"a=control:rtsp://127.0.0.1:{trap.port}/live\r\n"
    )


def dash_manifest(trap: Trap) -> str:
    return (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT2S" minBufferTime="PT1S" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        '<AdaptationSet mimeType="video/mp2t" contentType="video">'
        f'<Representation id="1" bandwidth="1"><BaseURL>file:{trap.canary}</BaseURL>'
        "</Representation><Representation id='2' bandwidth='2'>"
        f"<BaseURL>http://127.0.0.1:{trap.port}/2.ts</BaseURL></Representation>"
        "</AdaptationSet></Period></MPD>\n"
    )


def file_address(trap: Trap) -> str:
    return f"file:{trap.canary}\n"


def concat_address(trap: Trap) -> str:
    return f"concat:{trap.canary}|{trap.canary}\n"


def web_address(trap: Trap) -> str:
    return f"http://127.0.0.1:{trap.port}/live.ts\n"


def movie_playlist(trap: Trap) -> str:
    return (
        '<?xml version="1.0"?>\n<smil><body><video '
        f'src="http://127.0.0.1:{trap.port}/1.mp4"/><video src="canary.ts"/></body></smil>\n'
    )


TEXTS = (
    (playlist, "HLS playlist"), (master_playlist, "HLS playlist"), (concat_script, "concat"),
    (concat_script_of_neighbours, "concat"),
    (session_description, "SDP"), (dash_manifest, "DASH"), (movie_playlist, "XML"),
    (file_address, "text"), (concat_address, "text"), (web_address, "text"),
)  # fmt: skip


each_text = pytest.mark.parametrize(
    ("write", "kind"), TEXTS, ids=[write.__name__ for write, _ in TEXTS]
)


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts", ".txt", ".m3u8", ".sdp", ".jpg"])
@each_text
def test_what_names_other_files_is_refused_and_followed_nowhere(
    tmp_path: Path, trap: Trap, write: Callable[[Trap], str], kind: str, ending: str
) -> None:
    path = tmp_path / f"film{ending}"
    path.write_text(write(trap))
    with pytest.raises(FootageError) as refusal:
        probe(path)
    assert kind in refusal.value.found
    assert refusal.value.where == str(path)
    assert "\n" not in str(refusal.value)
    assert not trap.was_opened()
    assert not trap.was_called()


@pytest.mark.parametrize("ending", [".mp4", ".m3u8", ".sdp"])
@each_text
def test_nor_is_it_followed_when_frames_are_taken(
    tmp_path: Path, trap: Trap, write: Callable[[Trap], str], kind: str, ending: str
) -> None:
    path = tmp_path / f"film{ending}"
    path.write_text(write(trap))
    with pytest.raises(FootageError):
        list(sample_film(path, EVERY))
    assert not trap.was_opened()
    assert not trap.was_called()


@pytest.mark.parametrize(
    ("write", "called"), [(playlist, True), (concat_script_of_neighbours, False)]
)
def test_the_trap_notices_a_reader_that_follows(
    tmp_path: Path, trap: Trap, write: Callable[[Trap], str], called: bool
) -> None:
    """FFmpeg without our lists: it opens what the file names, and this is noticed."""
    import av

    path = tmp_path / "film.m3u8"
    path.write_text(write(trap))
    options = {"protocol_whitelist": "file,http,tcp"}
    with (
        suppress(av.FFmpegError, OSError),
        av.open(str(path), container_options=options, timeout=0.5) as film,
    ):
        for _ in film.demux():
            pass
    assert trap.was_opened()
    assert trap.was_called() is called


@pytest.mark.parametrize("name", ["film%03d.jpg", "film%d.mjpeg", "film*.png", "film%d.mp4"])
def test_a_name_that_is_a_pattern_stands_for_one_file(
    tmp_path: Path, trap: Trap, make_picture: Make, name: str
) -> None:
    """FFmpeg's image2 would read film001.jpg where it is told film%03d.jpg."""
    for other in ("film001.jpg", "film1.mjpeg", "film1.png", "film1.mp4", "film001.png"):
        trap.watch(make_picture(tmp_path / other))
    assert trap.was_opened() is False
    (tmp_path / name).write_text("no picture at all")
    with pytest.raises(FootageError):
        probe(tmp_path / name)
    assert not trap.was_opened()


def test_a_film_whose_pictures_lie_in_another_file_reads_none_of_it(
    tmp_path: Path, trap: Trap, make_film: Make
) -> None:
    """QuickTime may keep only the index, and name the file that holds the pictures."""
    whole = make_film(tmp_path / "whole.mov").read_bytes()
    inside = b"url \x00\x00\x00\x01"  # the pictures are in this very file
    assert whole.count(inside) == 1
    at = whole.index(inside) - 4
    address = f"file://{trap.canary}".encode() + b"\0"
    entry = struct.pack(">I4sI", 12 + len(address), b"url ", 0) + address
    grown = len(entry) - 12
    changed = bytearray(whole[:at] + entry + whole[at + 12 :])
    for name in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        start = changed.rindex(name, 0, at + 8) - 4
        (size,) = struct.unpack_from(">I", changed, start)
        struct.pack_into(">I", changed, start, size + grown)
    path = tmp_path / "elsewhere.mov"
    path.write_bytes(bytes(changed))
    with suppress(FootageError):
        probe(path)
    with suppress(FootageError):
        list(sample_film(path, EVERY))
    assert not trap.was_opened()


def folder(path: Path) -> None:
    path.mkdir()


def empty(path: Path) -> None:
    path.touch()


def subtitles(path: Path) -> None:
    path.write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n" * 20)


def zeros(path: Path) -> None:
    path.write_bytes(bytes(100_000))


def noise(path: Path) -> None:
    path.write_bytes(b"".join(zlib.crc32(bytes([n % 251, n % 7])).to_bytes(4) for n in range(9999)))


def archive(path: Path) -> None:
    shutil.make_archive(str(path.with_suffix("")), "zip", path.parent, "canary.ts")
    path.with_suffix(".zip").rename(path)


def wave_sound(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))


def aac_sound(path: Path) -> None:
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 44100
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        for number in range(20):
            frame.pts = number * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("write", "name", "reason"),
    [
        (folder, "a.mp4", "folder"), (empty, "a.mp4", "empty"), (empty, "a.jpg", "empty"),
        (subtitles, "a.mp4", ""), (subtitles, "a.jpg", ""), (zeros, "a.mp4", ""),
        (zeros, "a.ts", ""), (noise, "a.mkv", ""), (noise, "a.h264", ""), (noise, "a.jpg", ""),
        (archive, "a.mp4", ""), (wave_sound, "a.wav", "sound"), (wave_sound, "a.mp4", "sound"),
        (aac_sound, "a.m4a", "sound"), (aac_sound, "a.mp4", "sound"),
    ],
)  # fmt: skip
def test_what_is_no_footage_is_refused_in_one_line(
    tmp_path: Path, trap: Trap, write: Callable[[Path], None], name: str, reason: str
) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(FootageError) as refusal:
        probe(path)
    assert reason in refusal.value.found
    assert refusal.value.where == str(path)
    assert "\n" not in str(refusal.value)


def test_a_pipe_or_a_device_is_no_file_to_wait_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path("/dev/zero")):
        with pytest.raises(FootageError):
            probe(path)
