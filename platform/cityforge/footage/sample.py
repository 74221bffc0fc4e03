"""Takes frames out of films and stills, upright, as JPEG."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

JPEG_QUALITY = 92
# Timestamps are rounded to the stream's time base; a millisecond is no other moment.
TOLERANCE_S = 1e-3


def open_film(path: Path) -> Any:
    """Open a film that is a file, even one named `08:00:00.mp4`, which reads as an address."""
    import av

    return av.open(f"file:{path}", container_options={"protocol_whitelist": "file"})


def decode_film(container: Any) -> Iterator[Any | None]:
    """Yield every frame of the first video stream, and None for each packet that is broken.

    A broken packet costs its own frames only: reading goes on behind it.
    """
    import av

    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.InvalidDataError:
            yield None


def upright_size(frame: Any) -> tuple[int, int]:
    """Width and height of a decoded frame after its rotation, pixels."""
    if frame.rotation % 180:
        return frame.height, frame.width
    return frame.width, frame.height


def sample_film(path: Path, seconds: float) -> Iterator[tuple[int, bytes]]:
    """Yield (milliseconds since the film's first frame, JPEG) every `seconds`; 0 takes all.

    The first frame at or behind each multiple of `seconds` is taken, by timestamp.
    """
    with open_film(path) as container:
        first: float | None = None
        due = 0.0
        last = -1
        for frame in decode_film(container):
            if frame is None or frame.time is None:
                continue
            first = frame.time if first is None else first
            moment = frame.time - first
            milliseconds = round(moment * 1000)
            if moment < due - TOLERANCE_S or milliseconds <= last:
                continue  # not due, or time stands still or runs back: its name is taken
            yield milliseconds, encode_jpeg(_upright_bgr(frame))
            last = milliseconds
            if seconds > 0:
                due = (int((moment + TOLERANCE_S) / seconds) + 1) * seconds


def still_jpeg(path: Path) -> bytes:
    """A still photograph as JPEG; one that is an upright JPEG already keeps its very bytes."""
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        upright = image.format == "JPEG" and image.mode in ("RGB", "L")
        if upright and image.getexif().get(0x0112, 1) == 1:
            return path.read_bytes()
        turned = ImageOps.exif_transpose(image)
        if turned.mode.startswith("I;16"):  # Pillow would cut 16 bits at 255, not scale them
            turned = Image.fromarray((np.asarray(turned) >> 8).astype(np.uint8))
        rgb = turned.convert("RGB")
    return encode_jpeg(np.asarray(rgb)[:, :, ::-1])


def encode_jpeg(bgr: NDArray[Any]) -> bytes:
    """Encode (H, W, 3) uint8 BGR."""
    import cv2

    done, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"a picture of {bgr.shape} did not encode")
    return bytes(jpeg.tobytes())


def _upright_bgr(frame: Any) -> NDArray[Any]:
    bgr: NDArray[Any] = frame.to_ndarray(format="bgr24")
    # FFmpeg's display matrix turns counter-clockwise, as np.rot90 does.
    return np.ascontiguousarray(np.rot90(bgr, frame.rotation // 90 % 4))
