"""The clips that annotators see in video tasks, made of nothing but stored frames.

A clip is WebM with VP8 (libvpx, BSD), which every browser plays, also those built without
H.264; PyAV's encoder of H.264 is x264, which is GPL. VP8 takes odd sizes as they are, so a
percentage of the clip is one of the stored frame. Each frame is a key frame: a browser that
seeks to any moment decodes one picture, the right one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cityforge.errors import DataError, InputError
from cityforge.footage.shards import FrameStore
from cityforge.tasks.picture import decode

if TYPE_CHECKING:
    from av import VideoFrame

RECIPE = "cityforge.clip/1"  # changes whenever the same frames would give another clip
# Label Studio reads a rate below 1 as seconds a frame, and seeks 1 to 3 ms behind the start of a
# frame; WebM states moments in whole ms.
SLOWEST_FPS, FASTEST_FPS = 1.0, 100.0
SMPTE_170M, BT_709, SRGB = 6, 1, 13  # matrix, primaries, transfer: ITU-T H.273
MOST_PIXELS_A_SIDE = 16383  # VP8, RFC 6386, 9.1
# A fixed quantiser, 0 the best and 63 the worst: the same quality whatever the frame rate is.
OPTIONS = {
    "deadline": "realtime", "cpu-used": "4", "g": "1", "qmin": "6", "qmax": "6", "b": "200M",
    "auto-alt-ref": "0", "lag-in-frames": "0",
}  # fmt: skip


@dataclass(frozen=True)
class Clip:
    """A film of stored frames: frame k (from 0) is `frame_ids[k]`, shown from k / fps on.

    Label Studio counts from 1: its frame n is `frame_ids[n - 1]`.
    """

    path: Path
    footage_id: str
    fps: float  # of the clip; the task's data and the Video tag's frameRate state it
    frame_ids: tuple[str, ...]
    width: int  # pixels, of the clip and of each stored frame
    height: int


def clips_of(
    frames: pa.Table, store: FrameStore, folder: Path, fps: float, longest: int
) -> list[Clip]:
    """Write the clips of one footage; those that stand there already are kept.

    A clip holds at most `longest` frames of one size, in the order of their moments. The same
    frames give the same bytes and the same name. Beside each stands a JSON file with what
    `Clip` states; a clip without it is not whole, and is written again.

    Args:
        frames: FRAMES of one footage that may be seen; see `footage.stored.lawful_frames`.

    Raises:
        InputError: a frame rate or a length that no clip can have.
        DataError: frames of several footages, or a stored frame that cannot be read.
    """
    if not SLOWEST_FPS <= fps <= FASTEST_FPS:
        raise InputError(
            f"a clip of {SLOWEST_FPS:g} to {FASTEST_FPS:g} frames a second", found=f"{fps:g}"
        )
    if longest < 1:
        raise InputError("a clip of at least 1 frame", found=str(longest))
    columns = ["footage_id", "frame_id", "pts_s", "width", "height"]
    rows = sorted(
        frames.select(columns).to_pylist(), key=lambda row: (row["pts_s"], row["frame_id"])
    )
    footage_ids = sorted({str(row["footage_id"]) for row in rows})
    if len(footage_ids) > 1:
        raise DataError("frames of one footage", found=", ".join(footage_ids[:3]))
    folder.mkdir(parents=True, exist_ok=True)
    return [_clip(part, store, folder, fps) for part in _parts(rows, longest)]


def read_clip(path: Path) -> Clip:
    """The clip at `path`, as the JSON file beside it states.

    Raises:
        DataError: there is none, or it is broken.
    """
    beside = path.with_suffix(".json")
    try:
        stated = json.loads(beside.read_text(encoding="utf-8"))
        if stated.pop("recipe") != RECIPE:
            raise ValueError("of another recipe")
        stated["frame_ids"] = tuple(stated["frame_ids"])
        return Clip(path=path, **stated)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            "the JSON file of a clip", found=str(error), where=str(beside), do="push it again"
        ) from error


def _parts(rows: list[dict[str, Any]], longest: int) -> Iterator[list[dict[str, Any]]]:
    """Runs of frames of one size, none longer than `longest`."""
    for _, run in groupby(rows, key=lambda row: (row["width"], row["height"])):
        same = list(run)
        yield from (same[start : start + longest] for start in range(0, len(same), longest))


def _clip(rows: list[dict[str, Any]], store: FrameStore, folder: Path, fps: float) -> Clip:
    first = rows[0]
    frame_ids = tuple(str(row["frame_id"]) for row in rows)
    clip = Clip(
        path=folder / f"{first['frame_id']}-{_digest(frame_ids, store, fps)}.webm",
        footage_id=str(first["footage_id"]),
        fps=fps,
        frame_ids=frame_ids,
        width=first["width"],
        height=first["height"],
    )
    stated = clip.path.with_suffix(".json")
    if not (clip.path.is_file() and stated.is_file()):
        _write_whole(clip.path, lambda beside: _encode(beside, clip, store))
        _write_whole(stated, lambda beside: beside.write_text(_stated(clip), encoding="utf-8"))
    return clip


def _digest(frame_ids: Sequence[str], store: FrameStore, fps: float) -> str:
    """Digest of all that a clip is made of."""
    digest = hashlib.sha256(json.dumps([RECIPE, OPTIONS, fps, frame_ids]).encode())
    for frame_id in frame_ids:
        digest.update(hashlib.sha256(store.read(frame_id)).digest())
    return digest.hexdigest()[:16]


def _stated(clip: Clip) -> str:
    stated = {"recipe": RECIPE, **asdict(clip)}
    del stated["path"]
    return json.dumps(stated, indent=1) + "\n"


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _encode(path: Path, clip: Clip, store: FrameStore) -> None:
    """Encode on one thread and without a time or a random id, so that the bytes repeat."""
    import av
    from av.codec.context import Flags
    from av.video.reformatter import ColorRange

    if max(clip.width, clip.height) > MOST_PIXELS_A_SIDE:
        raise DataError(
            f"frames of at most {MOST_PIXELS_A_SIDE} pixels a side",
            found=f"{clip.width}×{clip.height}",
            where=clip.frame_ids[0],
        )
    rate = Fraction(clip.fps).limit_denominator(1001)
    with av.open(str(path), "w", format="webm", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libvpx", rate=rate, options=OPTIONS)
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        stream.codec_context.time_base = 1 / rate
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= Flags.bitexact
        # Stated, because a browser else takes 720 lines and more for BT.709.
        stream.codec_context.colorspace = SMPTE_170M
        stream.codec_context.color_primaries = BT_709
        stream.codec_context.color_trc = SRGB
        stream.codec_context.color_range = ColorRange.MPEG
        for number, frame_id in enumerate(clip.frame_ids):
            frame = _picture(store.read(frame_id), frame_id, clip)
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _picture(jpeg: bytes, frame_id: str, clip: Clip) -> VideoFrame:
    """The stored frame in the colours of VP8: YUV 4:2:0, BT.601, 16 to 235."""
    from av import VideoFrame

    rgb = decode(jpeg)
    if rgb.shape[:2] != (clip.height, clip.width):
        raise DataError(
            f"a stored frame of {clip.width}×{clip.height}",
            found=f"{rgb.shape[1]}×{rgb.shape[0]}",
            where=frame_id,
            do="ingest again",
        )
    frame = VideoFrame.from_ndarray(rgb, format="rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG")
