"""Clips that are none, or that try to read what is not theirs."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np

SIZE = (64, 48)
HOURS = 10


@cache
def film(frames: int = 10, form: str = "mp4", codec: str = "libx264", last_s: int = 0) -> bytes:
    """A small film of 10 frames a second; `last_s`: when its last frame is shown."""
    stream = io.BytesIO()
    with av.open(stream, "w", format=form) as container:
        video: Any = container.add_stream(codec, rate=10)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        for number in range(frames):
            pixels = np.full((SIZE[1], SIZE[0], 3), 20 * number % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            if last_s and number == frames - 1:
                frame.pts = last_s * 10
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return stream.getvalue()


def sound() -> bytes:
    """A film without a picture."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        audio: Any = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "fltp", "mono")
        frame.sample_rate = 16_000
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return stream.getvalue()


def claiming(box: bytes, offset: int, number: int) -> bytes:
    """A film in which a box of its index says another number (ISO/IEC 14496-12)."""
    data = bytearray(film())
    start = data.index(box) + 4 + offset
    data[start : start + 4] = struct.pack(">I", number)
    return bytes(data)


def by_hand() -> Iterator[tuple[str, bytes]]:
    """Name and bytes; none of them may stop an endpoint."""
    whole = film()
    yield from {
        "nothing": b"",
        "words": b"these are words\n" * 50,
        "random after its head": whole[:40] + random.Random(3).randbytes(20_000),
        "half": whole[: len(whole) // 2],
        "its first 100 bytes": whole[:100],
        "one frame": film(1),
        f"two frames, {HOURS} hours apart": film(2, last_s=HOURS * 3600),
        "without a picture": sound(),
        "2^31 frames of one length": claiming(b"stts", 8, 2**31),
        "2^31 sizes of frames": claiming(b"stsz", 8, 2**31),
        "2^32 - 1 lengths": claiming(b"stts", 4, 2**32 - 1),
        "a box of 4 GiB": claiming(b"moov", -8, 2**32 - 1),
        "65,535×65,535 pixels": claiming(b"avc1", 24, 2**32 - 1),
        "an AVI": film(form="avi", codec="mpeg4"),
        "a Matroska": film(form="matroska"),
        "an MPEG transport stream": film(form="mpegts"),
        # What tells a reader of films to open something else.
        "a playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n",
        "a playlist of an address": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n",
        "a list to join": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "a session": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 9 RTP/AVP 96\r\n",
        "a manifest": b'<?xml version="1.0"?><MPD><Period><BaseURL>file:///etc/passwd</BaseURL>'
                      b"</Period></MPD>",
        "subtitles": b"1\n00:00:00,000 --> 00:00:02,000\nhello\n",
        "a playlist in an AVI": film(form="avi", codec="mpeg4")[:300] + b"#EXTM3U\nfile:///etc\n",
    }.items()  # fmt: skip


def from_seed(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Damaged films; the same for the same seed."""
    random_of = random.Random(seed)
    kinds = [film(), film(form="matroska"), film(form="mpegts"), film(form="avi", codec="mpeg4")]
    for number in range(count):
        data = bytearray(random_of.choice(kinds))
        for _ in range(random_of.choice((1, 4, 40))):
            data[random_of.randrange(len(data))] = random_of.randrange(256)
        if number % 3 == 0:
            del data[random_of.randrange(len(data)) :]
        yield f"damaged film {number}", bytes(data)
