"""Recording one clip: the world seen by one camera, encoded as H.264 with its labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from cityforge.synthetic.backdrop import Backdrop, render_backdrop
from cityforge.synthetic.cameras import Camera, camera_named, resized
from cityforge.synthetic.conditions import Condition, condition_named
from cityforge.synthetic.labels import label, task
from cityforge.synthetic.painting import Image, in_view, paint
from cityforge.synthetic.sensor import expose, prepare_sensor
from cityforge.synthetic.silhouettes import silhouettes
from cityforge.synthetic.world import moments

WORK_FOLDER = ".parts"
TICKS_PER_SECOND = 90_000  # the usual clock of video transport


@dataclass(frozen=True)
class Clip:
    """One recording to make. `digest` names everything that shapes it."""

    out: Path
    camera: str
    condition: str
    session: int
    seed: int
    started_at: datetime
    frames: int
    fps: float
    width: int
    height: int
    label_every_s: float
    digest: str

    @property
    def file(self) -> str:
        """The clip's path below `out`."""
        stamp = f"{self.started_at:%Y%m%dT%H%M%SZ}"
        return f"{self.camera}/{self.camera}_{stamp}_{self.condition}.mp4"

    @property
    def sidecar(self) -> Path:
        """Where the clip's labels wait until all clips are done."""
        return self.out / WORK_FOLDER / (Path(self.file).stem + ".json")


def backdrop_file(out: Path, camera: Camera, condition: str) -> Path:
    """Where a rendered still view is kept."""
    size = f"{camera.width}x{camera.height}"
    return out / WORK_FOLDER / f"{camera.name}_{condition}_{size}.npz"


def keep_backdrop(out: Path, camera_name: str, condition: str, width: int, height: int) -> Path:
    """Render a still view unless it is kept already."""
    cv2.setNumThreads(1)
    camera = resized(camera_named(camera_name), width, height)
    path = backdrop_file(out, camera, condition)
    if path.exists():
        return path
    backdrop = render_backdrop(camera, condition_named(condition))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".partial")
    with beside.open("wb") as stream:
        np.savez(
            stream, image=backdrop.image, other=backdrop.other,
            occluder=backdrop.occluder, ground=backdrop.ground,
        )  # fmt: skip
    beside.replace(path)
    return path


def load_backdrop(path: Path) -> Backdrop:
    """A still view that `keep_backdrop` wrote."""
    with np.load(path) as kept:
        return Backdrop(kept["image"], kept["other"], kept["occluder"], kept["ground"])


def is_finished(clip: Clip) -> bool:
    """Whether video and labels of exactly this clip are there."""
    if not (clip.out / clip.file).exists() or not clip.sidecar.exists():
        return False
    try:
        kept = json.loads(clip.sidecar.read_text())
    except json.JSONDecodeError:
        return False
    return bool(kept.get("digest") == clip.digest)


def labelled_frames(clip: Clip) -> set[int]:
    """The frames that get labels: those nearest to every `label_every_s`."""
    step = max(1, round(clip.label_every_s * clip.fps))
    return set(range(0, clip.frames, step))


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _picture(
    clip: Clip,
    camera: Camera,
    condition: Condition,
    backdrop: Backdrop,
    tasks: list[dict[str, Any]],
) -> Iterator[Image]:
    """The clip's frames in order; the labels of those that have some are added to `tasks`."""
    sensor_seed = clip.seed * 1009 + clip.session * 31 + sum(map(ord, clip.camera + clip.condition))
    sensor = prepare_sensor(camera, condition, sensor_seed)
    wanted = labelled_frames(clip)
    prefix = f"{clip.started_at:%Y%m%dT%H%MZ}"
    world = moments(
        clip.seed, clip.session, clip.condition, frames=clip.frames, fps=clip.fps, prefix=prefix
    )
    for number, moment in enumerate(world):
        clock = clip.started_at + timedelta(seconds=moment.seconds)
        shown = in_view(silhouettes(moment.actors, camera), backdrop)
        if number in wanted:
            boxes = label(shown, camera, backdrop)
            tasks.append(
                task(clip.file, camera, moment.seconds, _iso(clock), _iso(clip.started_at), boxes)
            )
        painted = paint(camera, backdrop, condition, shown, moment.lights, moment.seconds)
        yield expose(sensor, painted, number, clock)


def _encode(path: Path, frames: Iterator[Image], clip: Clip) -> None:
    """Write frames as H.264 in MP4, one every 1/fps seconds from zero."""
    rate = Fraction(clip.fps).limit_denominator(1001)
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata["creation_time"] = _iso(clip.started_at)
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        stream.options = {
            "crf": "23",
            "preset": "veryfast",
            "threads": "1",
            "bf": "0",
            "x264-params": "subme=1:trellis=0:rc-lookahead=10",
        }
        stream.time_base = Fraction(1, TICKS_PER_SECOND)
        stream.codec_context.time_base = Fraction(1, TICKS_PER_SECOND)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts = round(number * TICKS_PER_SECOND / rate)
            frame.time_base = Fraction(1, TICKS_PER_SECOND)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def record(clip: Clip) -> str:
    """Make one clip and its labels; both appear whole or not at all. Returns the file."""
    cv2.setNumThreads(1)
    camera = resized(camera_named(clip.camera), clip.width, clip.height)
    condition = condition_named(clip.condition)
    backdrop = load_backdrop(
        keep_backdrop(clip.out, clip.camera, clip.condition, clip.width, clip.height)
    )
    path = clip.out / clip.file
    path.parent.mkdir(parents=True, exist_ok=True)
    clip.sidecar.parent.mkdir(parents=True, exist_ok=True)
    clip.sidecar.unlink(missing_ok=True)
    tasks: list[dict[str, Any]] = []
    beside = path.with_suffix(".partial")
    _encode(beside, _picture(clip, camera, condition, backdrop, tasks), clip)
    beside.replace(path)
    waiting = clip.sidecar.with_suffix(".partial")
    waiting.write_text(json.dumps({"digest": clip.digest, "tasks": tasks}))
    waiting.replace(clip.sidecar)
    return clip.file
