"""Footage of the synthetic crossing: clips of three cameras, their labels and their list.

    plan = FootagePlan(seed=7, sessions=3, seconds=20.0)
    generate(Path("footage"), plan)

writes `<camera>/<camera>_<start>_<condition>.mp4`, `labels.json` (Label Studio's JSON
export) and `footage.csv` below `footage/`.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cityforge.synthetic.cameras import CAMERAS
from cityforge.synthetic.clips import Clip, is_finished, keep_backdrop, record
from cityforge.synthetic.conditions import condition_named

FIRST_DAY = datetime(2026, 3, 2, tzinfo=UTC)
LOOK_VERSION = 1  # raise when the pictures or the traffic change, so that clips are made anew

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FootagePlan:
    """What to record: `sessions` days, on each one clip per camera and condition.

    `seconds` is the length of a clip; labels are given every `label_every_s` seconds.
    """

    seed: int
    sessions: int
    seconds: float
    fps: float = 10
    width: int = 640
    height: int = 360
    label_every_s: float = 0.5
    conditions: tuple[str, ...] = ("day", "rain", "night")

    def __post_init__(self) -> None:
        for name in ("sessions", "seconds", "fps", "label_every_s", "width", "height"):
            if getattr(self, name) <= 0:
                raise ValueError(f"Expected `{name}` above 0, but got {getattr(self, name)}.")
        if self.width % 2 or self.height % 2:
            raise ValueError(
                f"Expected an even size for H.264, but got {self.width}x{self.height}."
            )
        for condition in self.conditions:
            condition_named(condition)


def plan_clips(out: Path, plan: FootagePlan) -> list[Clip]:
    """All clips of a plan, sorted by file."""
    clips = []
    for session in range(plan.sessions):
        for condition in plan.conditions:
            started = FIRST_DAY + timedelta(days=session, hours=condition_named(condition).hour)
            for camera in CAMERAS:
                clips.append(_clip(out, plan, session, condition, camera.name, started))
    return sorted(clips, key=lambda clip: clip.file)


def _clip(
    out: Path, plan: FootagePlan, session: int, condition: str, camera: str, started: datetime
) -> Clip:
    shape = {
        **asdict(plan), "sessions": 0, "conditions": condition, "session": session,
        "camera": camera, "look": LOOK_VERSION,
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()
    frames = max(1, round(plan.seconds * plan.fps))
    return Clip(
        out, camera, condition, session, plan.seed, started, frames, float(plan.fps),
        plan.width, plan.height, plan.label_every_s, digest,
    )  # fmt: skip


def generate(
    out: Path, plan: FootagePlan, *, workers: int = 2, progress: Progress | None = None
) -> Path:
    """Record the plan below `out`; clips that are finished are kept. Returns labels.json.

    `progress` is called with (finished clips, all clips). With `workers` of 1 all runs in
    this process.
    """
    out.mkdir(parents=True, exist_ok=True)
    clips = plan_clips(out, plan)
    missing = [clip for clip in clips if not is_finished(clip)]
    done = len(clips) - len(missing)
    if progress is not None:
        progress(done, len(clips))
    _sweep(out)
    for number in _recorded(missing, workers):
        if progress is not None:
            progress(done + number, len(clips))
    _write(out / "footage.csv", _listing(clips))
    _write(out / "labels.json", _export(clips))
    return out / "labels.json"


def _recorded(missing: Sequence[Clip], workers: int) -> Iterator[int]:
    """Record clips, yielding how many are finished after each."""
    if workers <= 1 or len(missing) <= 1:
        for number, clip in enumerate(missing, start=1):
            record(clip)
            yield number
        return
    views = sorted({(c.out, c.camera, c.condition, c.width, c.height) for c in missing})
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=workers, mp_context=context) as pool:
        for still in as_completed([pool.submit(keep_backdrop, *view) for view in views]):
            still.result()
        jobs = [pool.submit(record, clip) for clip in missing]
        for number, job in enumerate(as_completed(jobs), start=1):
            job.result()
            yield number


def _sweep(out: Path) -> None:
    """Remove what a killed run left half written."""
    for leftover in out.rglob("*.partial"):
        leftover.unlink()


def _listing(clips: Sequence[Clip]) -> str:
    """The text of footage.csv."""
    rows: list[list[str]] = [["file", "camera", "started_at", "lighting", "weather"]]
    for clip in clips:
        condition = condition_named(clip.condition)
        started = clip.started_at.isoformat().replace("+00:00", "Z")
        rows.append([clip.file, clip.camera, started, condition.lighting, condition.weather])
    return "".join(",".join(row) + "\n" for row in rows)


def _export(clips: Sequence[Clip]) -> str:
    """The text of labels.json: all tasks, numbered from 1 in the order of file and time."""
    tasks: list[dict[str, Any]] = []
    for clip in clips:
        tasks.extend(json.loads(clip.sidecar.read_text())["tasks"])
    for number, task in enumerate(tasks, start=1):
        task["id"] = number
        task["annotations"][0]["id"] = number
    return json.dumps(tasks, indent=1, sort_keys=True) + "\n"


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".partial")
    beside.write_text(text)
    beside.replace(path)
