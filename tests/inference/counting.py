"""Traffic with known counts over a line, and detections as a network would make them of it.

The road users and their boxes are those of `cityforge.synthetic`: a crossing with lights, and
a road of six lanes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.events import LineCount
from cityforge.inference.events.lines import LineWatch
from cityforge.inference.events.moment import Moment, Weak, feet_of
from cityforge.inference.tracking import Tracker
from cityforge.synthetic.actors import CLASSES, Actor
from cityforge.synthetic.backdrop import Backdrop
from cityforge.synthetic.cameras import Camera, camera_named, project
from cityforge.synthetic.labels import label
from cityforge.synthetic.silhouettes import silhouettes
from cityforge.synthetic.traffic import LENGTH_M
from cityforge.synthetic.world import moments

Floats = NDArray[np.float64]
Line = tuple[tuple[float, float], tuple[float, float]]

SURE = 0.5
ROAD_VIEW = Camera("bridge", -14.0, -2.0, 9.0, 90.0, 17.0, 700.0)
SIDE_VIEW = Camera("mast", 8.0, -24.0, 12.0, 20.0, 24.0, 560.0)
# Metres; over all lanes, well inside the views.
LINE_OF = {"bridge": ((34.0, -11.5), (34.0, 11.5)), "mast": ((16.0, -11.5), (16.0, 11.5))}
# Over two arms of the crossing, between its middle and the zebra.
CROSSING_LINES = (((-6.0, 8.0), (6.0, 8.0)), ((8.0, -6.0), (8.0, 6.0)))
HEAVY_S = 1.55  # mean time between the vehicles of a lane: 1,900 an hour, where roads clog
LIGHT_S = 15.0
REACH_M = 120.0  # of the road that is simulated, each way


@dataclass(frozen=True)
class Frame:
    """One moment: xyxy (K, 4) pixels, class (K,), true track or score (K,)."""

    at_s: float
    xyxy: Floats
    cls: NDArray[np.int64]
    track: NDArray[np.int64]  # 0: of no road user
    score: Floats


def crossing(seed: int, camera: str, seconds: float, fps: float = 5.0) -> list[Frame]:
    """The demo's crossing: light traffic, which stops, turns and is hidden by other traffic."""
    world = moments(seed, 0, "day", frames=int(seconds * fps), fps=fps, prefix="x")
    return _seen(((m.seconds, m.actors) for m in world), camera_named(camera))


def road(seed: int, camera: Camera, seconds: float, gap_s: float, fps: float = 5.0) -> list[Frame]:
    """Six lanes, three each way, at 45 to 80 km/h; `gap_s` is the mean time between vehicles.

    The road is empty at both ends of the time: everyone is seen to come and to go.
    """
    rng = np.random.default_rng(seed)
    lanes = [_lane(rng, number, seconds, gap_s) for number in range(6)]
    times = np.arange(int(seconds * fps)) / fps
    return _seen(((float(t), tuple(_at(lanes, float(t)))) for t in times), camera)


@dataclass(frozen=True)
class _Lane:
    number: int
    north_m: float
    heading: float
    speed: float
    kinds: list[str]
    looks: list[int]
    start_m: Floats  # along the lane at time 0


def _lane(rng: np.random.Generator, number: int, seconds: float, gap_s: float) -> _Lane:
    """One lane, everyone at the lane's speed and never less than 0.85 s behind another."""
    east = number < 3
    offset = 1.75 + 3.5 * (number % 3)
    speed = float(rng.uniform(12.5, 22.0))
    kinds: list[str] = []
    start, at = [], -REACH_M - speed * float(rng.uniform(0, gap_s))
    while at > REACH_M - speed * seconds:
        kinds.append(str(rng.choice(["car", "truck", "bus"], p=[0.8, 0.13, 0.07])))
        start.append(at)
        at -= LENGTH_M[kinds[-1]] + speed * (0.85 + float(rng.exponential(gap_s - 0.85)))
    looks = rng.integers(1 << 16, size=len(kinds)).tolist()
    north, heading = (-offset, 0.0) if east else (offset, np.pi)
    return _Lane(number, north, heading, speed, kinds, looks, np.array(start))


def _at(lanes: Sequence[_Lane], seconds: float) -> Iterator[Actor]:
    for lane in lanes:
        along = lane.start_m + lane.speed * seconds
        for number in np.flatnonzero(np.abs(along) < REACH_M).tolist():
            kind = lane.kinds[number]
            east = float(along[number] - LENGTH_M[kind] / 2) * (1 if lane.heading == 0 else -1)
            yield Actor(
                f"{lane.number}-{number:04d}", kind, lane.looks[number], east, lane.north_m,
                lane.heading, lane.speed, 0.0, False,
            )  # fmt: skip


def _seen(world: Iterator[tuple[float, tuple[Actor, ...]]], camera: Camera) -> list[Frame]:
    """True boxes of whoever is in view; nothing but other road users hides anybody."""
    size = (camera.height, camera.width)
    open_view = Backdrop(*[np.zeros((*size, 3), np.uint8)] * 2, np.full(size, np.inf, np.float32), np.zeros(size, np.uint8))  # noqa: E501  # fmt: skip
    names: dict[str, int] = {}
    frames = []
    for at_s, actors in world:
        boxes = label(silhouettes(actors, camera), camera, open_view)
        track = [names.setdefault(box.track_id, len(names) + 1) for box in boxes]
        xyxy = np.array([box.xyxy for box in boxes], np.float64).reshape(-1, 4)
        cls = np.array([CLASSES.index(box.kind) for box in boxes], np.int64)
        frames.append(Frame(at_s, xyxy, cls, np.array(track, np.int64), np.ones(len(boxes))))
    return frames


def detected(
    frames: Sequence[Frame], seed: int, camera: Camera, missed: float = 0.1, false: float = 0.1
) -> list[Frame]:
    """What a network would find: sides that tremble by 3 %, boxes missed, and false ones.

    Scores of true boxes are mostly above `SURE`, one in seven below; of false ones mostly below.
    """
    rng = np.random.default_rng([seed, 77])
    found = []
    for frame in frames:
        kept = rng.random(len(frame.track)) >= missed
        sides = frame.xyxy[kept, 2:] - frame.xyxy[kept, :2]
        shaken = frame.xyxy[kept] + rng.normal(0, 0.03, (len(sides), 4)) * np.tile(sides, 2)
        shaken = np.clip(shaken, 0, [camera.width, camera.height] * 2)
        score = np.clip(rng.beta(5, 2, len(sides)) * 1.05, 0.15, 0.99)
        extra = rng.poisson(false)
        low = rng.uniform(0, (camera.width - 60, camera.height - 60), (extra, 2))
        wrong = np.concatenate([low, low + rng.uniform(12, 60, (extra, 2))], axis=1)
        found.append(
            Frame(
                frame.at_s,
                np.concatenate([shaken, wrong]),
                np.append(frame.cls[kept], rng.integers(len(CLASSES), size=extra)),
                np.append(frame.track[kept], np.zeros(extra, np.int64)),
                np.append(score, rng.beta(3, 4, extra)),
            )
        )
    return found


def tracked(frames: Sequence[Frame], sure: float = SURE) -> dict[int, list[tuple[float, Floats]]]:
    """The boxes of each track in order, those before it was told included."""
    tracker = Tracker(sure)
    paths: dict[int, list[tuple[float, Floats]]] = {}
    for frame in frames:
        ids = tracker.update(frame.at_s, frame.xyxy.astype(np.float32), frame.score, frame.cls)
        for track, before in tracker.earlier.items():
            paths[track] = [(each.at_s, each.xyxy.astype(np.float64)) for each in before]
        for row in np.flatnonzero(ids):
            paths[int(ids[row])].append((frame.at_s, frame.xyxy[row]))
    return paths


def counted(frames: Sequence[Frame], line: Floats, sure: float = SURE) -> tuple[int, int]:
    """Crossings as the rule `line_count` counts them over our tracks: forward, backward."""
    tracker = Tracker(sure)
    watch = LineWatch(LineCount(name="count", kind="line_count", line="line"), line)
    for frame in frames:
        xyxy = frame.xyxy.astype(np.float32)
        track = tracker.update(frame.at_s, xyxy, frame.score, frame.cls)
        earlier = {
            number: [(each.at_s, feet_of(each.xyxy[None])[0]) for each in seen]
            for number, seen in tracker.earlier.items()
        }
        watch.look(
            Moment(
                frame.at_s, track, ["one"] * len(track), frame.score, xyxy,
                np.full(len(track), np.nan), Weak(), earlier,
            )
        )  # fmt: skip
    forward, backward = watch.counts.get("one", [0, 0])
    return forward, backward


def true_paths(frames: Sequence[Frame]) -> dict[int, list[tuple[float, Floats]]]:
    paths: dict[int, list[tuple[float, Floats]]] = {}
    for frame in frames:
        for row, track in enumerate(frame.track.tolist()):
            paths.setdefault(track, []).append((frame.at_s, frame.xyxy[row]))
    return paths


def line_in(camera: Camera, metres: Line) -> Floats:
    """A line on the ground as pixels (2, 2)."""
    pixels, _ = project(camera, np.array([(*end, 0.0) for end in metres]))
    return pixels


def crossings(paths: dict[int, list[tuple[float, Floats]]], line: Floats) -> tuple[int, int]:
    """Tracks whose bottom middle goes over the line in the end: left to right, right to left.

    Left and right are those of someone who looks from the line's first point to its second, in
    the picture. Who goes over and back again is not counted.
    """
    forward = backward = 0
    for path in paths.values():
        feet = np.array([((b[0] + b[2]) / 2, b[3]) for _, b in path])
        net = sum(_over(first, second, line) for first, second in pairwise(feet))
        forward += net > 0
        backward += net < 0
    return forward, backward


def _over(first: Floats, second: Floats, line: Floats) -> int:
    """1 over the line to its right, -1 to its left, 0 not over it."""

    def side(a: Floats, b: Floats, point: Floats) -> float:
        return float((b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]))

    start, end = side(line[0], line[1], first) > 0, side(line[0], line[1], second) > 0
    if start == end:
        return 0
    between = (side(first, second, line[0]) > 0) != (side(first, second, line[1]) > 0)
    return (1 if end else -1) if between else 0
