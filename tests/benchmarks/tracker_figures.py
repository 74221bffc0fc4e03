"""How well the tracker follows and counts, in one table.

    .venv/bin/python tests/benchmarks/tracker_figures.py             about five minutes
    .venv/bin/python tests/benchmarks/tracker_figures.py PACKAGE     and with a trained network

PACKAGE is the folder of a package of demo_crossing: its network looks at rendered clips of the
crossing. The walkers need CITYFORGE_REAL_DATA. Seeds are others than the constants were chosen on.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "inference"))
sys.path.insert(0, str(HERE.parents[1] / "evaluation"))

import numpy as np  # noqa: E402
from counting import (  # noqa: E402
    CROSSING_LINES,
    HEAVY_S,
    LIGHT_S,
    LINE_OF,
    ROAD_VIEW,
    SIDE_VIEW,
    Frame,
    counted,
    crossing,
    crossings,
    detected,
    line_in,
    road,
    true_paths,
)

from cityforge.inference.tracking import Tracker  # noqa: E402
from cityforge.synthetic.actors import CLASSES  # noqa: E402
from cityforge.synthetic.cameras import Camera, camera_named  # noqa: E402

Row = tuple[str, str]
SEEDS = range(30, 36)
SECONDS = 60


def walkers() -> list[Row]:
    """MOTA and IDF1 of the published tracker and of ours on the same boxes."""
    from test_mot import PUBLISHED, tracked_anew

    from cityforge.evaluation.mot import read_mot, score_tracks, together

    stated = os.environ.get("CITYFORGE_REAL_DATA")
    if not stated:
        return [("walkers", "not measured: no CITYFORGE_REAL_DATA")]
    theirs, ours = [], []
    for name in PUBLISHED:
        truth, found = (read_mot(Path(stated) / "mot" / name / f) for f in ("gt.txt", "test.txt"))
        theirs.append(score_tracks(truth, found))
        ours.append(score_tracks(truth, tracked_anew(found)))
    return [
        (f"TUD, {who}", f"MOTA {s.mota:.4f}, IDF1 {s.idf1:.4f}, {s.switches} switches")
        for who, s in (("the published tracker", together(theirs)), ("ours", together(ours)))
    ]


def lanes(gap_s: float, camera: Camera, fps: float) -> str:
    """Counts over the line of a road of six lanes."""
    rows = []
    for seed in SEEDS:
        frames = road(seed, camera, SECONDS, gap_s, fps)
        found = detected(frames, 10 * seed, camera)
        rows.append(held(frames, found, line_in(camera, LINE_OF[camera.name])))
    return said(rows)


def junction(name: str) -> str:
    """Counts over two lines of the demo's crossing, where traffic stops, turns and hides."""
    rows = []
    camera = camera_named(name)
    for seed in SEEDS:
        frames = crossing(seed, name, SECONDS)
        found = detected(frames, 10 * seed, camera)
        rows += [held(frames, found, line_in(camera, line)) for line in CROSSING_LINES]
    return said(rows)


def held(
    frames: Sequence[Frame], found: Sequence[Frame], line: np.ndarray, sure: float = 0.5
) -> tuple[int, int]:
    """True crossings, and how many more or fewer were counted, each direction by itself."""
    truth, count = crossings(true_paths(frames), line), counted(found, line, sure)
    return sum(truth), sum(abs(a - b) for a, b in zip(truth, count, strict=True))


def said(rows: Sequence[tuple[int, int]]) -> str:
    true, wrong = (sum(column) for column in zip(*rows, strict=True))
    worst = max(off / max(1, each) for each, off in rows)
    exact = sum(not off for _, off in rows)
    return (
        f"{true} true, {wrong} wrong: {wrong / max(1, true):.1%}; worst count {worst:.1%}; "
        f"{exact} of {len(rows)} exact"
    )


def with_network(package: Path, name: str, seeds: Sequence[int]) -> str:
    """The same, from the boxes that a trained network finds in rendered clips."""
    from cityforge.inference.package import open_package
    from cityforge.inference.runtime import Model

    model = Model(open_package(package), threads=1)
    camera, rows = camera_named(name), []
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            frames = crossing(seed, name, SECONDS)
            found = looked_at(model, Path(folder), name, seed)
            for line in CROSSING_LINES:
                sure = model.about.score_threshold
                rows.append(held(frames, found, line_in(camera, line), sure))
    return said(rows)


def looked_at(model: object, folder: Path, name: str, seed: int) -> list[Frame]:
    """Render the clip whose truth `crossing` gives, and let the network find its boxes."""
    from cityforge.cards.dataset import Sampling
    from cityforge.footage.sample import sample_film
    from cityforge.synthetic.clips import Clip, record
    from cityforge.tasks.picture import fit

    start = datetime(2024, 5, 6, 8, tzinfo=UTC)
    clip = Clip(folder, name, "day", 0, seed, start, SECONDS * 5, 5.0, 640, 360, 1e6, "")
    about, found = model.about, []  # type: ignore[attr-defined]
    for sample in sample_film(folder / record(clip), Sampling(policy="every", seconds=0.2)):
        rgb = np.ascontiguousarray(sample.bgr[:, :, ::-1])
        fitted = fit(rgb, about.input_width, about.input_height)
        answer = model.answer_fitted([fitted], 0.5 * about.score_threshold)[0]  # type: ignore[attr-defined]
        cls = np.array([CLASSES.index(about.classes[each]) for each in answer.cls], np.int64)
        found.append(
            Frame(sample.milliseconds / 1000, answer.xyxy.astype(np.float64), cls, cls * 0,
                  answer.score)
        )  # fmt: skip
    return found


def speed() -> str:
    """Time of one update with 20 boxes."""
    rng = np.random.default_rng(0)
    start, going = rng.uniform(0, 1000, (20, 2)), rng.uniform(-80, 80, (20, 2))
    tracker, took = Tracker(0.5), []
    for number in range(500):
        at = start + going * (number / 5)
        xyxy = np.concatenate([at, at + np.array([60, 40])], axis=1) + rng.normal(0, 1.5, (20, 4))
        began = time.perf_counter()
        tracker.update(number / 5, xyxy.astype(np.float32), np.full(20, 0.9), np.zeros(20, int))
        took.append(1000 * (time.perf_counter() - began))
    return f"{np.median(took):.2f} ms a frame with 20 boxes, p95 {np.percentile(took, 95):.2f}"


def main(words: Sequence[str]) -> None:
    for name, figure in walkers():
        print(f"{name:44} {figure}", flush=True)
    print(f"{'time':44} {speed()}", flush=True)
    for fps in (5.0, 10.0):
        for what, gap_s in (("light", LIGHT_S), ("heavy", HEAVY_S)):
            for camera in (ROAD_VIEW, SIDE_VIEW):
                title = f"{what} traffic, {camera.name}, {fps:g} a second"
                print(f"{title:44} {lanes(gap_s, camera, fps)}", flush=True)
    for name in ("crossing_roof", "crossing_east"):
        print(f"{name + ', true boxes with noise':44} {junction(name)}", flush=True)
        if words:
            figure = with_network(Path(words[0]), name, list(SEEDS)[:2])
            print(f"{name + ', trained network':44} {figure}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
