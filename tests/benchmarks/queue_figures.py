"""How many labels the queue saves against random order, on synthetic footage, over seeds.

    make bench-queue                      five seeds; about 15 minutes on two cores
    make bench-queue ARGS="--seeds 1"     a first look
    make bench-queue ARGS="--plot FILE"   also draws the curves

A model that knows three days of daylight stands at a crossing of three cameras. The frames of the
next eight days wait: all those of daylight, every fourth of rain, every eighth of night, as a city
has much more of what it knows than of what it lacks. Each round adds labels, in the queue's order
or in random order, and trains on from the same model with the same settings. mAP50 is measured on
the last two days, in which daylight, rain and night are equal.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "loop"))

from scratch import copy_project  # noqa: E402

from cityforge.cards.params import AugmentParams, DataParams, DetectionLoss, TrainParams  # noqa: E402
from cityforge.dataset.loader import LabelledFrames  # noqa: E402
from cityforge.footage.shards import FrameStore  # noqa: E402
from cityforge.labeling.queue import Frames, bits_of, order  # noqa: E402

ROUNDS = (15, 30, 45, 60)  # labelled frames
PASSES = 6  # each labelled frame is seen so often in a round, those of the first model once
EVERY = {"day": 1, "rain": 4, "night": 8}  # of the waiting frames one in so many is there
SIZE = DataParams(input_width=256, input_height=160, workers=0)
TRAIN = TrainParams(
    epochs=1, minutes=60, batch=8, learning_rate=1.5e-3, weight_decay=0.05, warmup_epochs=0.2,
    ema_decay=0.97, patience=9, validate_every=1, precision="auto", device="cpu", devices=1,
    deterministic=False, weights="scratch", freeze_epochs=0, backbone_rate=1.0, grow_from=1.0,
    grow_until=0.0, loss=DetectionLoss(box_weight=2.0),
    augment=AugmentParams(
        flip=0.0, scale=(0.95, 1.05), mosaic=0.0, colour=0.2, night=0.0, rain=0.0, fog=0.0,
        motion_blur=0.0, compression=0.0,
    ),
    seed=0, seeds=1,
)  # fmt: skip


@dataclass(frozen=True)
class Card:
    """What `make_learner` asks of an algorithm's card."""

    task: str
    network: str
    classes: list[str]


CARD = Card("detection", "detection/nano", ["car", "bus", "truck", "two_wheeler", "pedestrian"])


class World:
    """The crossing: frames by id, parted into those of the first model, waiting, and test."""

    def __init__(self, folder: Path) -> None:
        frames = pq.read_table(folder / "frames" / "frames.parquet")
        footage = pq.read_table(folder / "footage" / "footage.parquet").to_pylist()
        films = {row["footage_id"]: row for row in footage}
        self.store = FrameStore(folder / "frames", frames)
        self.boxes = _boxes(pq.read_table(folder / "labels" / "labels.parquet").to_pylist())
        rows = [row for row in frames.to_pylist() if row["frame_id"] in self.boxes]
        self.phash = {row["frame_id"]: row["phash"] for row in rows}
        self.lighting = {row["frame_id"]: row["lighting"] for row in rows}
        self.camera = {row["frame_id"]: films[row["footage_id"]]["camera"] for row in rows}
        self.condition = {row["frame_id"]: _condition(films[row["footage_id"]]) for row in rows}
        days = sorted({row["captured_at"].date() for row in rows})
        of_day = {row["frame_id"]: days.index(row["captured_at"].date()) for row in rows}
        ids = sorted(of_day)
        self.first = [e for e in ids if of_day[e] < 3 and self.condition[e] == "day"]
        self.test = [e for e in ids if of_day[e] >= len(days) - 2][::3]
        waiting = [e for e in ids if 3 <= of_day[e] < len(days) - 2]
        self.waiting = [
            each
            for condition, step in EVERY.items()
            for each in [e for e in waiting if self.condition[e] == condition][::step]
        ]

    def subset(self, ids: list[str]) -> LabelledFrames:
        return LabelledFrames(
            ids, [(self.boxes[e][:, :4], self.boxes[e][:, 4].astype(int)) for e in ids]
        )

    @cached_property
    def base(self) -> tuple[dict[str, Any], float]:
        """Weights of the first model, and its mAP50."""
        train = TRAIN.model_copy(update={"learning_rate": 3e-3})
        learner, score = self.train(self.first * 12, train, None)
        return learner.network.state_dict(), score

    def train(
        self, ids: list[str], train: TrainParams, start: dict[str, Any] | None
    ) -> tuple[Any, float]:
        """Train one epoch over `ids`, repeated as they stand; returns the learner and mAP50."""
        from cityforge.training.fit import fit, make_learner

        learner = make_learner(CARD, train)
        if start is not None:
            learner.network.load_state_dict(start)
        outcome = fit(
            learner, train_frames=self.subset(ids), val_frames=self.subset(self.test),
            store=self.store, data=SIZE, train=train,
        )  # fmt: skip
        return learner, outcome.history[-1]["val_map50"]


def _boxes(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, list[tuple[float, ...]]] = {}
    for row in rows:
        boxes = found.setdefault(row["frame_id"], [])
        if row["class"]:
            boxes.append(
                (*(row[e] for e in ("x1", "y1", "x2", "y2")), CARD.classes.index(row["class"]))
            )
    return {key: np.array(boxes, np.float32).reshape(-1, 5) for key, boxes in found.items()}


def _condition(film: dict[str, Any]) -> str:
    return (
        "night" if film["lighting"] == "night" else "rain" if film["weather"] == "rain" else "day"
    )


def curve(world: World, seed: int, by: str) -> list[float]:
    """mAP50 after each round."""
    train = TRAIN.model_copy(update={"seed": seed})
    shuffled = [str(each) for each in np.random.default_rng(seed).permutation(world.waiting)]
    start, _ = world.base
    labelled: list[str] = []
    network: Any = None
    scores = []
    for count in ROUNDS:
        if by == "random":
            labelled = shuffled[:count]
        else:
            labelled += _ask(world, network or _network(start), labelled, count - len(labelled))
        learner, score = world.train(labelled * PASSES + world.first, train, start)
        network = learner.network
        scores.append(score)
        mix = {c: sum(world.condition[e] == c for e in labelled) for c in EVERY}
        boxes = sum(len(world.boxes[e]) for e in labelled)
        say(f"seed {seed} {by:6} {count:4} frames {boxes:5} boxes {mix} mAP50 {score:.3f}")
    return scores


def _network(weights: dict[str, Any]) -> Any:
    from cityforge.tasks.detection.network import build

    network = build(CARD.network, len(CARD.classes))
    network.load_state_dict(weights)
    return network


def _ask(world: World, network: Any, labelled: list[str], count: int) -> list[str]:
    """The queue's next frames by the product's own code, on the exported model."""
    from cityforge.export.onnx import export_onnx
    from cityforge.inference.package import About, Package
    from cityforge.registry.looks import look_at

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(network.eval().float(), SIZE, 18, path)
        model = path.read_bytes()
    about = About.model_construct(
        input_width=SIZE.input_width, input_height=SIZE.input_height, overlap=0.5, max_boxes=100,
        classes=CARD.classes,
    )  # fmt: skip
    known = [*labelled, *world.first]
    waiting = [each for each in world.waiting if each not in set(labelled)]
    ids = [*waiting, *known]
    looks = look_at(Package(about, model, "bench"), world.store, ids, 0.05)

    def part(rows: slice) -> Frames:
        return Frames(
            frame_ids=ids[rows], cameras=[world.camera[e] for e in ids[rows]],
            lighting=[world.lighting[e] for e in ids[rows]],
            phash=bits_of([world.phash[e] for e in ids[rows]]), embedding=looks.embedding[rows],
            uncertainty=looks.uncertainty[rows], expected=looks.expected[rows],
        )  # fmt: skip

    counts = np.bincount(
        np.concatenate([world.boxes[e][:, 4] for e in known]).astype(int), minlength=5
    )
    found = order(
        part(slice(len(waiting))), part(slice(len(waiting), None)), counts, CARD.classes,
        limit=count,
    )  # fmt: skip
    return [each.frame_id for each in found.asked]


def labels_needed(scores: list[float], base: float, wanted: float) -> float | None:
    """Labels at which a curve first reaches `wanted`, on straight lines between its rounds."""
    at, before = 0.0, base
    for count, score in zip(ROUNDS, scores, strict=True):
        if score >= wanted:
            return at + (count - at) * max(wanted - before, 0) / max(score - before, 1e-9)
        at, before = count, score
    return None


def report(curves: dict[str, list[list[float]]], base: float) -> None:
    """The savings, over the mean curves and for each seed."""
    mean = {
        by: [statistics.mean(each) for each in zip(*rows, strict=True)]
        for by, rows in curves.items()
    }
    say(f"\nbefore: mAP50 {base:.3f}\nlabels   " + "  ".join(f"{count:6}" for count in ROUNDS))
    for by, scores in mean.items():
        spread = [statistics.pstdev(each) for each in zip(*curves[by], strict=True)]
        shown = (f"{s:.3f}±{d:.3f}" for s, d in zip(scores, spread, strict=True))
        say(f"{by:8} " + "  ".join(shown))
    needed = labels_needed(mean["queue"], base, mean["random"][-1])
    say(f"to random's mAP50 with {ROUNDS[-1]}: {_saved(needed)}")
    for number, (queue, other) in enumerate(zip(curves["queue"], curves["random"], strict=True)):
        say(f"  seed {number}: {_saved(labels_needed(queue, base, other[-1]))}")


def _mean(rows: list[list[float]]) -> list[float]:
    return [statistics.mean(each) for each in zip(*rows, strict=True)]


def _saved(needed: float | None) -> str:
    if needed is None:
        return f"not reached with {ROUNDS[-1]} labels"
    return f"{needed:.0f} labels, {1 - needed / ROUNDS[-1]:.0%} fewer"


def draw(curves: dict[str, list[list[float]]], base: float, path: Path) -> None:
    """Mean and single seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.8), dpi=120)
    for (by, rows), colour in zip(curves.items(), ("#888888", "#0072b2"), strict=True):
        for row in rows:
            axes.plot((0, *ROUNDS), (base, *row), color=colour, alpha=0.25, linewidth=1)
        axes.plot((0, *ROUNDS), (base, *_mean(rows)), color=colour, marker="o", label=f"{by} order")
    axes.set_xlabel("labelled frames added")
    axes.set_ylabel("mAP50 on day, rain and night alike")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})


def say(line: str) -> None:
    print(line, flush=True)


def make_world(folder: Path) -> World:
    """The demo's footage and labels, in a scratch project."""
    import os

    from cityforge.cli.demo import NAME, make_footage, take_in
    from cityforge.project import Project
    from cityforge.settings import load_settings

    project = Project(copy_project(folder / "city"))
    os.chdir(project.root)
    settings = load_settings(project.root)
    take_in(project, settings, make_footage(project, settings))
    return World(project.dataset_folder(NAME))


def main() -> None:
    parser = argparse.ArgumentParser(description="labels that the queue saves")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--dataset", type=Path, help="the demo's dataset, where it is made already")
    chosen = parser.parse_args()
    plot = chosen.plot.resolve() if chosen.plot else None
    warnings.filterwarnings("ignore")
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        world = World(chosen.dataset) if chosen.dataset else make_world(Path(folder))
        say(
            f"{len(world.first)} frames known, {len(world.waiting)} waiting, {len(world.test)} test"
        )
        _, base = world.base
        curves: dict[str, list[list[float]]] = {"random": [], "queue": []}
        for seed in range(chosen.seeds):
            for by, rows in curves.items():
                rows.append(curve(world, seed, by))
    report(curves, base)
    say(json.dumps({"rounds": ROUNDS, "base": base, **curves}))
    if plot:
        draw(curves, base, plot)


if __name__ == "__main__":
    main()
