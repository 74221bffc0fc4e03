"""Real clips of nine makers: what each is, and which frames are taken out of it.

The figures were counted with `ffprobe -count_frames` and its frame times (FFmpeg 5.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cityforge.cards.dataset import Sampling
from cityforge.footage.probe import probe
from cityforge.footage.sample import sample_film

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class Clip:
    """What is expected of one clip; width and height are pixels after rotation."""

    name: str
    container: str
    codec: str
    width: int
    height: int
    frames: int  # that decode
    fps: float
    span_s: float  # from the first frame to the last
    moments_ms: tuple[int, ...]  # frames taken one a second
    errors: int = 0
    rotation: int = 0  # degrees counter-clockwise

    def __str__(self) -> str:
        return self.name


def every(step: int, count: int) -> tuple[int, ...]:
    return tuple(range(0, step * count, step))


# At 12.5 frames a second there is none at odd seconds: the next one is taken, 40 ms later.
TWELVE_AND_A_HALF = tuple(second * 1000 + 40 * (second % 2) for second in range(31))
NTSC, NTSC_FILM = 30000 / 1001, 24000 / 1001
MP4, MKV = "mp4", "matroska"
CLIPS = (
    Clip("decord_corrupted.mp4", MP4, "h264", 1280, 720, 49, 10.0, 4.9,
         (0, 1000, 2000, 3100, 4000), errors=1),
    Clip("decord_rot90.mov", MP4, "h264", 320, 568, 3, 30.0, 0.0667, (0,), rotation=270),
    Clip("intel_car-detection.mp4", MP4, "h264", 768, 432, 377, 12.5, 30.08, TWELVE_AND_A_HALF),
    Clip("intel_one-by-one-person.mp4", MP4, "h264", 768, 432, 1394, 10.0, 139.3,
         every(1000, 140)),
    Clip("opossum_intro.webm", MKV, "vp8", 1280, 720, 163, NTSC, 5.405, every(1001, 6)),
    Clip("people_arcade.mp4", MP4, "h264", 800, 450, 460, NTSC_FILM, 19.1441, every(1001, 20)),
    Clip("tc_av1.mkv", MKV, "av1", 640, 360, 125, 25.0, 4.96, every(1000, 5)),
    Clip("tc_h265.mp4", MP4, "hevc", 128, 128, 10, 10.0, 0.9, (0,)),
    Clip("traffic_topdown.mp4", MP4, "h264", 640, 360, 480, 2997 / 125, 19.9783,
         every(1001, 20)),
    Clip("drone_person/footage.mp4", MP4, "h264", 640, 360, 558, 558000000 / 18585233, 18.5852,
         every(1001, 19)),
)  # fmt: skip
each_clip = pytest.mark.parametrize("clip", CLIPS, ids=str)
Find = Callable[[str], Path]


def path_of(clip: Clip, real_data: Find) -> Path:
    part, _, name = clip.name.rpartition("/")
    return real_data(part or "footage") / name


def test_the_table_covers_every_clip(real_data: Find) -> None:
    named = sorted(clip.name for clip in CLIPS if "/" not in clip.name)
    assert named == sorted(path.name for path in real_data("footage").iterdir())
    assert len(CLIPS) == 10


@each_clip
def test_what_a_clip_is(real_data: Find, clip: Clip) -> None:
    found = probe(path_of(clip, real_data))
    assert (found.still, found.codec, found.pixel_format) == (False, clip.codec, "yuv420p")
    assert clip.container in found.container
    assert (found.width, found.height, found.rotation % 360) == (
        clip.width, clip.height, clip.rotation
    )  # fmt: skip
    assert (found.frames, found.errors) == (clip.frames, clip.errors)
    assert found.fps == pytest.approx(clip.fps, rel=1e-4)
    # Containers round the last frame's length in their own ways.
    assert found.duration_s == pytest.approx(clip.span_s + 1 / clip.fps, abs=0.5 / clip.fps)
    assert len(found.error_times) == clip.errors


@each_clip
def test_one_frame_a_second(real_data: Find, clip: Clip) -> None:
    path = path_of(clip, real_data)
    sampling = Sampling(policy="every", seconds=1)
    taken = [(each.milliseconds, each.bgr.shape) for each in sample_film(path, sampling)]
    assert tuple(moment for moment, _ in taken) == clip.moments_ms
    assert {shape for _, shape in taken} == {(clip.height, clip.width, 3)}


@pytest.mark.parametrize("clip", [clip for clip in CLIPS if clip.codec != "av1"], ids=str)
def test_the_first_frame_looks_as_opencv_shows_it(real_data: Find, clip: Clip) -> None:
    """OpenCV has an FFmpeg of its own, without AV1, and turns frames by their metadata.

    Its colours are those of BT.601 whatever the size, so that only greys are compared.
    """
    import cv2

    path = path_of(clip, real_data)
    read, expected = cv2.VideoCapture(str(path)).read()
    assert read
    first = next(iter(sample_film(path, Sampling(policy="every", seconds=1)))).bgr
    assert (first.dtype, first.shape) == (np.uint8, expected.shape)
    ours, theirs = (cv2.cvtColor(each, cv2.COLOR_BGR2GRAY) for each in (first, expected))
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98


def test_the_error_is_found_where_it_is(real_data: Find) -> None:
    """The broken packet is the frame that is missing from an even grid of 0.1 s: at 3.0 s."""
    found = probe(real_data("footage") / "decord_corrupted.mp4")
    assert found.error_times == pytest.approx((3.0,), abs=0.11)
