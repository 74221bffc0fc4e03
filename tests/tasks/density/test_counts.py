"""Counting people: from labelled frames through a fit to counts of pictures never seen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import AlgorithmParams, DataParams, DensityLoss, TrainParams
from cityforge.cards.yaml_files import read_yaml
from cityforge.dataset.loader import TrainingFrames, collate, labelled_frames
from cityforge.footage.shards import FrameStore, read_shard, write_shard
from cityforge.labeling.formats import registry
from cityforge.synthetic.crowd import PERSON, CrowdPlan, write_crowds
from cityforge.tables import FRAMES, LABELS, from_rows
from cityforge.tasks.density.decode import decode_counts, density_on
from cityforge.tasks.picture import decode_and_fit
from cityforge.training.fit import Outcome, fit, make_learner

SMALL = CrowdPlan(seed=5, pictures=6, fewest=2, most=12, width=96, height=64)
BOX_PX = 6.0


@dataclass(frozen=True)
class Crowds:
    """Frames and labels as ingest and intake leave them; the last ones are held out."""

    frames: pa.Table
    labels: pa.Table
    split: pa.Table
    store: FrameStore


def stored(folder: Path, plan: CrowdPlan, held_out: int, boxed: bool = False) -> Crowds:
    """Draw crowds and store them, each person a point or a box around it."""
    labels_path = write_crowds(folder / "crowds", plan)
    pictures = sorted((folder / "crowds").glob("*.jpg"))
    write_shard(folder / "a.tar", [(each.name, each.read_bytes()) for each in pictures])
    rows = [
        {
            "frame_id": each.name[:-4], "footage_id": each.name[:-4], "pts_s": 0.0,
            "shard": "a.tar", "offset": each.offset, "bytes": len(each.data),
            "width": plan.width, "height": plan.height, "phash": "0" * 16, "sharpness": 1.0,
            "brightness": 120.0, "contrast": 1.0, "lighting": "day", "faults": [],
            "redactions": [],
        }
        for each in read_shard(folder / "a.tar")
    ]  # fmt: skip
    side = BOX_PX / 2 if boxed else 0.0
    labels = [
        {
            "label_id": str(number), "frame_id": box.image[:-4], "class": box.cls,
            "task": "detection" if boxed else box.task, "x1": quarter(box.x1) - side,
            "y1": quarter(box.y1) - side, "x2": quarter(box.x2) + side,
            "y2": quarter(box.y2) + side, "source": "drawn", "origin": "imported",
        }
        for number, box in enumerate(registry.read(labels_path).boxes)
    ]  # fmt: skip
    subsets = ["train"] * (plan.pictures - held_out) + ["val"] * held_out
    split = pa.table({"frame_id": [row["frame_id"] for row in rows], "subset": subsets})
    frames = from_rows(rows, FRAMES)
    return Crowds(frames, from_rows(labels, LABELS), split, FrameStore(folder, frames))


def quarter(edge: float) -> float:
    """To a quarter of a pixel: the middle of a box around a point is then exactly the point."""
    return round(4 * edge) / 4


def params(width: int, height: int, **changes: Any) -> tuple[DataParams, TrainParams]:
    """The parameters that a new algorithm starts with, and those that suit crowds."""
    with as_file(files("cityforge.cards") / "starter_files" / "params.yaml") as path:
        starter = AlgorithmParams.model_validate(read_yaml(path))
    still = dict.fromkeys(type(starter.train.augment).model_fields, 0.0)
    augment = starter.train.augment.model_copy(update={**still, "flip": 0.5, "scale": (1.0, 1.0)})
    loss = DensityLoss(spread_px=5.0, count_weight=0.2)
    values = {
        "loss": loss, "augment": augment, "learning_rate": 3e-3, "precision": "float32",
        "device": "cpu", "batch": 4, "patience": 100, "grow_from": 1.0, "grow_until": 0.0,
    }  # fmt: skip
    data = starter.data.model_copy(
        update={"input_width": width, "input_height": height, "workers": 0}
    )
    return data, starter.train.model_copy(update={**values, **changes})


def card() -> Algorithm:
    values = {
        "name": "crowd", "title": "人群 · Crowd", "space": "living_and_crowds",
        "task": "density", "dataset": "crowd", "classes": [PERSON], "network": "density/small",
    }  # fmt: skip
    return Algorithm.model_construct(**values)


def fitted(
    crowds: Crowds, data: DataParams, train: TrainParams, **told: Any
) -> tuple[Outcome, Any]:
    learner = make_learner(card(), train)
    outcome = fit(
        learner,
        train_frames=labelled_frames(crowds.split, crowds.labels, "train", [PERSON], "density"),
        val_frames=labelled_frames(crowds.split, crowds.labels, "val", [PERSON], "density"),
        store=crowds.store,
        data=data,
        train=train,
        **told,
    )
    return outcome, learner


def test_points_and_boxes_around_them_are_learnt_alike(tmp_path: Path) -> None:
    outcomes = []
    for boxed in (False, True):
        crowds = stored(tmp_path / str(boxed), SMALL, held_out=2, boxed=boxed)
        outcome, _ = fitted(crowds, *params(96, 64, epochs=2, batch=2, deterministic=True))
        outcomes.append(outcome)
    pointed, boxed_too = ([row["train_loss"] for row in each.history] for each in outcomes)
    assert len(pointed) == 2 and np.isfinite(pointed).all()
    np.testing.assert_allclose(pointed, boxed_too, rtol=1e-6)
    last = outcomes[0].history[-1]
    assert {"val_score", "val_mae", "val_rmse", "val_relative_mae"} <= set(last)
    assert last["val_rmse"] >= last["val_mae"] > 0


def test_no_point_gets_lost_on_the_way_to_a_batch(tmp_path: Path) -> None:
    crowds = stored(tmp_path, SMALL, held_out=2)
    frames = labelled_frames(crowds.split, crowds.labels, "train", [PERSON], "density")
    dataset = TrainingFrames(frames, crowds.store, *params(96, 64))
    expected = [len(boxes[1]) for boxes in frames.boxes]
    assert sum(expected) > 8
    for _ in range(2):  # flipped and not
        batch = collate([dataset[index] for index in range(4)])
        assert batch.real.sum(1).tolist() == expected


def errors_on(folder: Path, network: Any, data: DataParams) -> list[tuple[float, int]]:
    """Count found inside the picture, and people drawn, of each picture of a folder."""
    tasks = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    found = []
    for task in tasks:
        picture = decode_and_fit(
            (folder / task["data"]["image"]).read_bytes(), data.input_width, data.input_height
        )
        with torch.inference_mode():
            density = network(torch.from_numpy(picture.canvas)[None])[0][0].numpy()
        inside = density_on(density, picture.scale, picture.width, picture.height)
        counts = decode_counts(inside, score_floor=0.0)
        found.append((float(counts[0]), len(task["annotations"][0]["result"])))
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_synthetic_crowds_are_counted_within_a_tenth(tmp_path: Path) -> None:
    """From scratch, 10 epochs of 320 pictures: about three minutes of one free core."""
    crowds = stored(tmp_path, CrowdPlan(seed=1, pictures=370), held_out=50)
    data, train = params(384, 288, epochs=10, minutes=20, validate_every=5)
    outcome, learner = fitted(crowds, data, train, say=print)
    last = outcome.history[-1]
    assert last["val_relative_mae"] < 0.10
    # Pictures of another seed and of another shape, with a margin below, through decoding.
    write_crowds(tmp_path / "other", CrowdPlan(seed=99, pictures=20, width=384, height=256))
    pairs = np.array(errors_on(tmp_path / "other", learner.network.eval(), data))
    assert np.abs(pairs[:, 0] - pairs[:, 1]).mean() < 0.15 * pairs[:, 1].mean()
