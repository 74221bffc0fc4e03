"""Pictures that say, or are, more than memory holds: refused before they are decoded."""

from __future__ import annotations

import io
import json
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from cityforge.cards.dataset import Sampling
from cityforge.footage.probe import probe
from cityforge.footage.sample import sample_film

SIDE = 32_000  # pixels
FILM_SIDE = 12_800  # FFmpeg decodes up to about 16,000 where nobody sets a limit
MOST_BYTES = 300 << 20  # resident; a start of av and Pillow takes 80 MB


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(side: int, bits: int, colour: int) -> bytes:
    """A whole, valid, black PNG, square; `colour` 0 is grey, 2 is RGB."""
    row = bytes(1 + side * bits * (1 + colour) // 8)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    rows = deflate.compress(row * 64) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = (len(row) * side % 65521) << 16 | 1  # Adler-32 of so many zeros
    data = b"\x78\x01" + rows * (side // 64) + b"\x03\x00" + struct.pack(">I", checksum)
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_bomb(side: int) -> bytes:
    """A small JPEG that says it is a large square."""
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(stream, "JPEG")
    start = b"\xff\xc0\x00\x11\x08"
    small, huge = struct.pack(">HH", 48, 64), struct.pack(">HH", side, side)
    assert stream.getvalue().count(start + small) == 1
    return stream.getvalue().replace(start + small, start + huge)


def still_png(path: Path) -> None:
    path.write_bytes(png_bomb(SIDE, 1, 0))


def still_jpeg(path: Path) -> None:
    path.write_bytes(jpeg_bomb(SIDE))


def jpegs_in_a_row(path: Path) -> None:
    path.write_bytes(jpeg_bomb(FILM_SIDE) * 3)


def jpegs_in_a_film(path: Path) -> None:
    mux(path, "mjpeg", jpeg_bomb(FILM_SIDE))


def larger_jpegs_in_a_film(path: Path) -> None:
    mux(path, "mjpeg", jpeg_bomb(SIDE))


def pngs_in_mp4(path: Path) -> None:
    mux(path, "png", png_bomb(FILM_SIDE, 8, 2))


def mux(path: Path, codec: str, picture: bytes) -> None:
    """One frame, in a container that says it is small."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_mux_stream(codec, rate=1, width=64, height=48)
        packet = av.Packet(picture)
        packet.stream, packet.time_base = stream, Fraction(1, 1)
        packet.pts = packet.dts = 0
        packet.is_keyframe = True
        container.mux(packet)


def element(key: str, data: bytes) -> bytes:
    """One EBML element; `key` is its id in hexadecimal."""
    return bytes.fromhex(key) + struct.pack(">Q", len(data) | 1 << 56) + data


def pngs_in_matroska(path: Path) -> None:
    """One frame, written by hand: no muxer puts PNG there, but demuxers take it out."""
    bitmap = struct.pack("<IiiHH4sIiiII", 40, 64, 48, 1, 24, b"MPNG", 0, 0, 0, 0, 0)
    video = element("e0", element("b0", b"\x40") + element("ba", b"\x30"))
    track = element(
        "ae",
        element("d7", b"\1") + element("73c5", b"\1") + element("83", b"\1")
        + element("86", b"V_MS/VFW/FOURCC") + element("63a2", bitmap) + video,
    )  # fmt: skip
    block = element("a3", b"\x81\x00\x00\x80" + png_bomb(FILM_SIDE, 8, 2))
    segment = element("1549a966", element("2ad7b1", (1_000_000).to_bytes(3, "big")))
    segment += element("1654ae6b", track) + element("1f43b675", element("e7", b"\0") + block)
    path.write_bytes(
        element("1a45dfa3", element("4282", b"matroska")) + element("18538067", segment)
    )


BOMBS: tuple[tuple[Callable[[Path], None], str], ...] = (
    (still_png, "a.png"), (still_png, "a.mp4"), (still_jpeg, "a.jpg"), (jpegs_in_a_row, "a.mjpeg"),
    (jpegs_in_a_film, "a.avi"), (jpegs_in_a_film, "a.mkv"), (larger_jpegs_in_a_film, "a.avi"),
    (pngs_in_mp4, "a.mp4"), (pngs_in_matroska, "a.mkv"),
)  # fmt: skip


@pytest.mark.parametrize(("write", "name"), BOMBS)
def test_a_picture_too_large_for_memory_is_refused_before_it_is_decoded(
    tmp_path: Path, write: Callable[[Path], None], name: str
) -> None:
    path = tmp_path / name
    write(path)
    assert path.stat().st_size < 5 << 20
    told, sampled, peak = in_a_process_of_its_own(path)
    assert told.startswith("FootageError: "), told
    assert sampled.startswith("FootageError: ") or sampled == "0", sampled
    assert peak < MOST_BYTES


@pytest.mark.parametrize("write", [pngs_in_mp4, pngs_in_matroska])
def test_the_bomb_goes_off_in_a_reader_without_a_limit(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    """Else the test above would pass whatever the code does."""
    path = tmp_path / ("a.mp4" if write is pngs_in_mp4 else "a.mkv")
    write(path)
    assert in_a_process_of_its_own(path, "plain")[2] > 1.5 * MOST_BYTES


def in_a_process_of_its_own(path: Path, how: str = "ours") -> tuple[str, str, int]:
    """What probing and sampling say, and the peak of resident memory in bytes."""
    done = subprocess.run(
        [sys.executable, __file__, how, str(path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told, sampled, peak = json.loads(done.stdout)
    return str(told), str(sampled), int(peak)


def tell(how: str, path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    looks = (frames_by_av,) if how == "plain" else (probe, frames_by_us)
    told = []
    for look in looks:
        try:
            told.append(str(look(path)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            told.append(f"{type(error).__name__}: {error}")
    # Not ru_maxrss, which counts the peak of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    sys.stdout.write(json.dumps([told[0], told[-1], peak]))


def frames_by_us(path: Path) -> int:
    return sum(1 for _ in sample_film(path, Sampling(policy="every", seconds=0)))


def frames_by_av(path: Path) -> int:
    import av

    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


if __name__ == "__main__":
    tell(sys.argv[1], Path(sys.argv[2]))
