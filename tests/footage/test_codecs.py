"""Films of every codec and container that can be made here: what they are, which frames they give.

The reference decodes every frame with PyAV, in order, and takes the first one at or behind each
multiple of the card's seconds. What sampling gives must be the same frames, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scheduling import kept_scheduling

from cityforge.cards.dataset import Sampling
from cityforge.footage.probe import probe
from cityforge.footage.sample import sample_film

WIDTH, HEIGHT = 128, 96
PATCHES = {  # place of a patch of one colour, y and x in sixths: BGR
    (0, 0): (40, 40, 200), (0, 5): (60, 180, 60), (5, 0): (200, 60, 40), (5, 5): (128, 128, 128),
}  # fmt: skip
NO_WORDS = {"x264-params": "log-level=none", "x265-params": "log-level=none"}
# Frames that are shown in another order than stored, built on others across keyframes.
OPEN_GOP = "keyint=12:min-keyint=12:scenecut=0:bframes=3:b-pyramid=normal:open-gop=1:log-level=none"
OPEN_GOP_265 = "keyint=12:min-keyint=12:scenecut=0:bframes=3:b-pyramid=1:open-gop=1:log-level=none"


@dataclass(frozen=True)
class Film:
    """How to make one film, and what probing it must say."""

    name: str
    encoder: str
    codec: str
    pixels: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    rate: Fraction = Fraction(25)
    count: int = 40
    tolerance: int = 10  # of 255, in the middle of a patch of one colour
    # Where its timestamps come from; without stored ones the reference counts frames.
    times: Literal["stored", "made up by FFmpeg", "none"] = "stored"

    def __str__(self) -> str:
        order = "-reordered" if "x264-params" in self.options or "bf" in self.options else ""
        return f"{self.encoder}-{self.pixels}-{self.name}{order}-{self.rate}"


H264, HEVC, AV1 = ("libx264", "h264"), ("libx265", "hevc"), ("libsvtav1", "av1")
FAST = {"preset": "ultrafast", "g": "12"}
REORDERED = {"x264-params": OPEN_GOP}
FILMS = (
    Film("a.mp4", *H264, options=FAST),
    Film("a.mov", *H264, "yuv422p", FAST),
    Film("a.mkv", *H264, "yuv444p", FAST, tolerance=6),
    Film("b.mkv", *H264, "yuv420p10le", FAST),
    Film("b.mp4", *H264, "yuvj420p", FAST),
    Film("a.avi", *H264, options=FAST),
    Film("a.ts", *H264, options=FAST),
    Film("a.flv", *H264, options=FAST),
    Film("a.h264", *H264, options=FAST, times="none"),
    Film("c.mp4", *H264, options=REORDERED),
    Film("c.mov", *H264, options=REORDERED),
    Film("c.mkv", *H264, options=REORDERED),
    Film("c.avi", *H264, options=REORDERED, times="made up by FFmpeg"),
    Film("c.ts", *H264, options=REORDERED),
    Film("c.h264", *H264, options=REORDERED, times="none"),
    Film("a.mp4", *HEVC, options=FAST),
    Film("a.mkv", *HEVC, "yuv420p10le", FAST),
    Film("c.mp4", *HEVC, options={"x265-params": OPEN_GOP_265}),
    Film("c.mkv", *HEVC, options={"x265-params": OPEN_GOP_265}),
    Film("c.ts", *HEVC, options={"x265-params": OPEN_GOP_265}),
    Film("a.hevc", *HEVC, options=FAST, times="none"),
    Film("c.hevc", *HEVC, options={"x265-params": OPEN_GOP_265}, times="none"),
    Film("a.mp4", *AV1, options={"preset": "12", "g": "12"}),
    Film("a.webm", *AV1, "yuv420p10le", {"preset": "12", "g": "12"}),
    Film("a.webm", "libvpx", "vp8", options={"deadline": "realtime", "g": "12"}),
    Film("b.webm", "libvpx", "vp8", options={"auto-alt-ref": "1", "lag-in-frames": "10"}),
    Film("a.webm", "libvpx-vp9", "vp9", options={"deadline": "realtime", "g": "12"}),
    Film("a.mp4", "libvpx-vp9", "vp9", "yuv444p", {"deadline": "realtime"}, tolerance=6),
    Film("c.mkv", "libvpx-vp9", "vp9", options={"auto-alt-ref": "1", "lag-in-frames": "10"}),
    Film("a.mp4", "mpeg4", "mpeg4", options={"g": "12", "q": "3"}),
    Film("a.avi", "mpeg4", "mpeg4", options={"g": "12", "q": "3"}),
    Film("c.avi", "mpeg4", "mpeg4", options={"g": "12", "bf": "2"}, times="made up by FFmpeg"),
    Film("c.mkv", "mpeg4", "mpeg4", options={"g": "12", "bf": "2"}),
    Film("a.mpg", "mpeg2video", "mpeg2video", options={"g": "12", "bf": "2"}),
    Film("a.ts", "mpeg2video", "mpeg2video", options={"g": "12", "bf": "2"}),
    Film("a.mp4", "mjpeg", "mjpeg", "yuvj420p"),
    Film("a.avi", "mjpeg", "mjpeg", "yuvj422p"),
    Film("a.mkv", "mjpeg", "mjpeg", "yuvj444p", tolerance=6),
    Film("a.mjpeg", "mjpeg", "mjpeg", "yuvj420p", times="made up by FFmpeg"),
    *(
        Film(f"rate{number}.{ending}", *H264, options=REORDERED, rate=rate)
        for number, rate in enumerate(
            (Fraction(30000, 1001), Fraction(24000, 1001), Fraction(7), Fraction(25, 2),
             Fraction(60000, 1001), Fraction(1, 2))
        )
        for ending in ("mp4", "mkv", "ts")
    ),
)  # fmt: skip
each_film = pytest.mark.parametrize("film", FILMS, ids=str)


def picture(number: int) -> NDArray[np.uint8]:
    """(96, 128, 3) RGB: patches of one colour, a grey that grows and a bar that moves."""
    pixels = np.full((HEIGHT, WIDTH, 3), 40 + number * 4 % 170, np.uint8)
    bar = 24 + number * 3 % 72
    pixels[32:64, bar : bar + 8] = 255
    for (down, right), colour in PATCHES.items():
        y, x = down * (HEIGHT - 32) // 5, right * (WIDTH - 32) // 5
        pixels[y : y + 32, x : x + 32] = colour[::-1]
    return pixels


def write_film(path: Path, film: Film, moments: list[int] | None = None) -> Path:
    import av

    with kept_scheduling(), av.open(str(path), "w") as container:
        stream: Any = container.add_stream(film.encoder, film.rate, options=NO_WORDS | film.options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, film.pixels
        for number in range(film.count):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts = moments[number] if moments else number
            frame.time_base = 1 / film.rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def every_frame(path: Path, film: Film) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """(seconds since the first frame, BGR) of all frames, by plain PyAV."""
    import av

    with av.open(str(path)) as container:
        first = None
        for number, frame in enumerate(container.decode(video=0)):
            moment = number / film.rate
            if film.times == "stored":
                assert frame.pts is not None and frame.time_base is not None
                first = frame.pts if first is None else first
                moment = (frame.pts - first) * frame.time_base
            pixels = frame.to_ndarray(format="bgr24")
            yield float(moment), np.rot90(pixels, frame.rotation // 90 % 4)


def expected(path: Path, film: Film, seconds: float) -> list[tuple[int, NDArray[np.uint8]]]:
    """The first frame at or behind each multiple of `seconds`; a millisecond is no other moment."""
    due, found = 0.0, []
    for moment, pixels in every_frame(path, film):
        if moment < due - 1e-3:
            continue
        found.append((round(moment * 1000), pixels))
        while seconds and due <= moment + 1e-3:
            due += seconds
    return found


def taken(path: Path, seconds: float) -> list[tuple[int, NDArray[np.uint8]]]:
    sampling = Sampling(policy="every", seconds=seconds)
    return [(each.milliseconds, each.bgr) for each in sample_film(path, sampling)]


def assert_same(path: Path, film: Film, seconds: float) -> int:
    """Sampling gives what the reference gives; how many frames were compared."""
    ours, theirs = taken(path, seconds), expected(path, film, seconds)
    assert len(ours) == len(theirs)
    for (moment, our), (at, their) in zip(ours, theirs, strict=True):
        assert abs(moment - at) <= 1  # half a millisecond may be rounded up or down
        assert np.array_equal(our, their), f"{film} at {moment} ms"
    return len(ours)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


def made(folder: Path, film: Film) -> Path:
    """The film, made once for all tests of this module."""
    path = folder / str(film).replace("/", "-") / film.name
    if not path.exists():
        path.parent.mkdir()
        write_film(path, film)
    return path


@each_film
def test_what_it_is(folder: Path, film: Film) -> None:
    found = probe(made(folder, film))
    assert (found.still, found.codec, found.width, found.height) == (
        False, film.codec, WIDTH, HEIGHT
    )  # fmt: skip
    assert found.pixel_format == film.pixels
    assert (found.frames, found.errors, found.error_times) == (film.count, 0, ())
    assert found.variable_rate is False
    assert found.fps == pytest.approx(float(film.rate), rel=0.01)
    assert found.duration_s == pytest.approx(float(film.count / film.rate), rel=0.02)
    if film.times == "none":
        assert any("without a time" in note for note in found.notes)
    else:
        assert found.notes == ()


@each_film
def test_colours_are_those_that_were_filmed(folder: Path, film: Film) -> None:
    frames = [bgr for _, bgr in taken(made(folder, film), 0)]
    assert len(frames) == film.count
    for number in (0, 1, film.count // 2, film.count - 1):
        for (down, right), colour in PATCHES.items():
            y, x = 16 + down * (HEIGHT - 32) // 5, 16 + right * (WIDTH - 32) // 5
            seen = frames[number][y - 6 : y + 6, x - 6 : x + 6].mean(axis=(0, 1))
            assert seen == pytest.approx(colour, abs=film.tolerance), (number, down, right)
        grey = frames[number][4:28, 48:80].mean()
        assert grey == pytest.approx(40 + number * 4 % 170, abs=film.tolerance)


@each_film
def test_the_frames_taken_are_those_of_a_plain_decode(folder: Path, film: Film) -> None:
    path = made(folder, film)
    compared = sum(assert_same(path, film, seconds) for seconds in (0.0, 0.3, 1.0, 2.5))
    assert compared > film.count


LONG = (
    Film("long.mp4", *H264, options=REORDERED, count=900),
    Film("long.mkv", *H264, options=REORDERED, count=900),
    Film("long.ts", *H264, options=REORDERED, count=900),
    Film("long.avi", *H264, options=FAST, count=900),
    Film("one_keyframe.mp4", *H264, options={"preset": "ultrafast", "g": "9999"}, count=900),
    Film("one_keyframe.ts", *H264, options={"preset": "ultrafast", "g": "9999"}, count=900),
    Film("long.mkv", *HEVC, options={"x265-params": OPEN_GOP_265 + ":preset=ultrafast"}, count=900),
    Film("long.webm", "libvpx-vp9", "vp9", options={"deadline": "realtime", "g": "12"}, count=900),
    Film("long.h264", *H264, options=REORDERED, count=900, times="none"),
)


@pytest.mark.parametrize("film", LONG, ids=str)
def test_so_they_are_where_a_reader_seeks(folder: Path, film: Film) -> None:
    """Far enough apart that going to a keyframe pays, and not on one."""
    path = made(folder, film)
    assert assert_same(path, film, 9.7) == 4
    assert assert_same(path, film, 12.0) == 3


UNEVEN = [0, 1, 2, 5, 6, 20, 21, 22, 50, 51, 52, 53, 54, 90, 91, 140, 141, 142, 143, 200]


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "ts", "webm"])
@pytest.mark.parametrize("reordered", [False, True])
def test_frames_at_uneven_distances(tmp_path: Path, ending: str, reordered: bool) -> None:
    encoder = ("libvpx-vp9", "vp9") if ending == "webm" else H264
    options = {"deadline": "realtime"} if ending == "webm" else REORDERED if reordered else FAST
    film = Film(f"a.{ending}", *encoder, options=options, count=len(UNEVEN))
    path = write_film(tmp_path / film.name, film, UNEVEN)
    found = probe(path)
    assert (found.frames, found.errors, found.variable_rate) == (len(UNEVEN), 0, True)
    assert found.duration_s == pytest.approx(8.0, abs=1.0)
    assert [moment for moment, _ in taken(path, 1)] == [0, 2000, 3600, 5600, 8000]
    for seconds in (0.0, 0.25, 1.0, 3.0):
        assert assert_same(path, film, seconds)


# Nine numbers of a track's display matrix: what a player does, and the same by numpy.
TURNS = {
    0: ((1, 0, 0, 1), 0), 90: ((0, -1, 1, 0), 1), 180: ((-1, 0, 0, -1), 2), 270: ((0, 1, -1, 0), 3),
}  # fmt: skip


@pytest.mark.parametrize("degrees", TURNS)
@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_a_film_is_turned_upright(tmp_path: Path, degrees: int, seconds: float) -> None:
    film = Film("a.mp4", *H264, options=FAST)
    path = write_film(tmp_path / film.name, film)
    level = [bgr for _, bgr in taken(path, seconds)]
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(with_matrix(path.read_bytes(), TURNS[degrees][0]))
    found = probe(turned)
    size = (WIDTH, HEIGHT) if degrees % 180 == 0 else (HEIGHT, WIDTH)
    assert (found.width, found.height, found.rotation % 360) == (*size, degrees)
    frames = [bgr for _, bgr in taken(turned, seconds)]
    assert len(frames) == len(level) > 1
    for frame, flat in zip(frames, level, strict=True):
        assert np.array_equal(frame, np.rot90(flat, TURNS[degrees][1]))


def with_matrix(data: bytes, turn: tuple[int, ...]) -> bytes:
    """The MP4 with another matrix in its track header."""
    a, b, c, d = (each << 16 for each in turn)
    at = data.index(b"tkhd") + 44
    matrix = b"".join(
        each.to_bytes(4, "big", signed=True) for each in (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    )
    assert data[at : at + 4] == (1 << 16).to_bytes(4, "big")
    return data[:at] + matrix + data[at + len(matrix) :]


@pytest.mark.parametrize(("matrix", "number"), [("ITU709", 1), ("ITU601", 5)])
@pytest.mark.parametrize("full", [False, True])
def test_a_film_that_names_its_colour_matrix_and_range(
    tmp_path: Path, matrix: str, number: int, full: bool
) -> None:
    import av

    path, spread = tmp_path / "a.mp4", 2 if full else 1
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", 25, options=NO_WORDS | FAST)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = number, spread
        frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24").reformat(
            format="yuv420p", dst_colorspace=matrix, dst_color_range="JPEG" if full else "MPEG"
        )
        for at in range(10):
            frame.pts = at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    _, first = taken(path, 0)[0]
    for (down, right), colour in PATCHES.items():
        y, x = 16 + down * (HEIGHT - 32) // 5, 16 + right * (WIDTH - 32) // 5
        assert first[y - 6 : y + 6, x - 6 : x + 6].mean(axis=(0, 1)) == pytest.approx(colour, abs=8)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize("large_first", [False, True])
def test_of_two_pictures_the_larger_is_read(tmp_path: Path, ending: str, large_first: bool) -> None:
    """Cameras store a small second stream beside the one that counts; MP4 marks its first one."""
    path = tmp_path / f"two.{ending}"
    sizes = [(WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2)]
    write_two(path, sizes if large_first else sizes[::-1])
    found = probe(path)
    width, height = sizes[1] if ending == "mp4" and not large_first else sizes[0]
    assert (found.width, found.height, found.frames) == (width, height, 40)
    assert any("2 video streams" in note for note in found.notes)
    assert {bgr.shape for _, bgr in taken(path, 0.3)} == {(height, width, 3)}


def write_two(path: Path, sizes: list[tuple[int, int]]) -> None:
    import av

    with av.open(str(path), "w") as container:
        streams: list[Any] = []
        for width, height in sizes:
            streams.append(container.add_stream("libx264", 25, options=NO_WORDS | FAST))
            streams[-1].width, streams[-1].height, streams[-1].pix_fmt = width, height, "yuv420p"
        for number in range(40):
            whole = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            for stream in streams:
                frame = whole.reformat(stream.width, stream.height, "yuv420p")
                frame.pts = number
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))


def test_a_cover_picture_is_not_the_film(tmp_path: Path) -> None:
    """It is larger than the film, comes first, and is one frame."""
    import av
    from av.stream import Disposition

    path = tmp_path / "covered.mp4"
    with av.open(str(path), "w") as container:
        cover: Any = container.add_stream("mjpeg", 25)
        cover.width, cover.height, cover.pix_fmt = 4 * WIDTH, 4 * HEIGHT, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        stream: Any = container.add_stream("libx264", 25, options=NO_WORDS | FAST)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        whole = av.VideoFrame.from_ndarray(picture(0), format="rgb24")
        large = whole.reformat(4 * WIDTH, 4 * HEIGHT, "yuvj420p")
        container.mux(cover.encode(large))
        container.mux(cover.encode(None))
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = probe(path)
    assert (found.codec, found.width, found.height) == ("h264", WIDTH, HEIGHT)
    assert (found.frames, len(taken(path, 0))) == (40, 40)


def test_a_film_replaced_under_its_name_is_read_anew(tmp_path: Path) -> None:
    film = Film("a.mp4", *H264, options=FAST, count=20)
    path = write_film(tmp_path / film.name, film)
    assert assert_same(path, film, 0.0) == 20
    longer = Film("a.mp4", *H264, options=REORDERED, count=33)
    write_film(path, longer)
    assert assert_same(path, longer, 0.0) == 33
