"""Small trainings on drawn squares, for the tests here and for the processes they start."""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import AlgorithmParams, DataParams, TrainParams
from cityforge.cards.yaml_files import read_yaml
from cityforge.dataset.loader import LabelledFrames
from cityforge.footage.shards import FrameStore, read_shard, write_shard
from cityforge.tables import FRAMES, from_rows
from cityforge.training.fit import Outcome, fit, make_learner

SIDE = 64
CARD = Path("algorithms/highway_traffic/algorithm.yaml")


def jpeg(number: int, side: int = SIDE) -> tuple[bytes, tuple[int, int, int, int]]:
    """A red square on grey, and its box."""
    rng = np.random.default_rng([3, number])
    canvas = rng.integers(100, 130, (side, side, 3), np.uint8)
    width = int(rng.integers(20, 32))
    x, y = (int(each) for each in rng.integers(0, side - width, 2))
    canvas[y : y + width, x : x + width] = (220, 20, 20)
    stream = io.BytesIO()
    Image.fromarray(canvas).save(stream, "JPEG", quality=95)
    return stream.getvalue(), (x, y, x + width, y + width)


def stored(folder: Path, pictures: Mapping[str, bytes]) -> FrameStore:
    """Frames as ingest leaves them, in one shard."""
    write_shard(folder / "a.tar", [(f"{name}.jpg", data) for name, data in pictures.items()])
    rows = [
        {
            "frame_id": each.name[:-4], "footage_id": "f", "pts_s": 0.0, "shard": "a.tar",
            "offset": each.offset, "bytes": len(each.data), "width": SIDE, "height": SIDE,
            "phash": "0" * 16, "sharpness": 1.0, "brightness": 120.0, "contrast": 1.0,
            "lighting": "day", "faults": [], "redactions": [],
        }
        for each in read_shard(folder / "a.tar")
    ]  # fmt: skip
    return FrameStore(folder, from_rows(rows, FRAMES))


def squares(folder: Path, count: int = 12) -> dict[str, Any]:
    """The `store` and the frames of a fit: two thirds to train on, one to judge by."""
    drawn = {f"f{number:03d}": jpeg(number) for number in range(count)}
    store = stored(folder, {name: data for name, (data, _) in drawn.items()})
    names, cut = list(drawn), 2 * count // 3
    return {
        "store": store,
        "train_frames": labelled(names[:cut], drawn),
        "val_frames": labelled(names[cut:], drawn),
    }


def labelled(names: list[str], drawn: Mapping[str, Any]) -> LabelledFrames:
    boxes = [(np.array([drawn[name][1]], np.float32), np.zeros(1, np.int64)) for name in names]
    return LabelledFrames(names, boxes)


def starter() -> AlgorithmParams:
    with as_file(files("cityforge.cards") / "starter_files" / "params.yaml") as path:
        return AlgorithmParams.model_validate(read_yaml(path))


def quick(**changes: Any) -> tuple[DataParams, TrainParams]:
    """Parameters of a training of seconds, on the processor, the same each time."""
    params = starter()
    data = params.data.model_copy(
        update={"input_width": SIDE, "input_height": SIDE, "workers": changes.pop("workers", 0)}
    )
    still = params.train.augment.model_copy(update={"mosaic": 0.25, "colour": 0.0})
    values = {
        "epochs": 3, "batch": 4, "device": "cpu", "precision": "float32", "deterministic": True,
        "learning_rate": 2e-3, "augment": still, "patience": 20,
        "grow_from": 1.0, "grow_until": 0.0,
    }  # fmt: skip
    return data, params.train.model_copy(update={**values, **changes})


def card(classes: tuple[str, ...] = ("车",), network: str = "detection/nano") -> Algorithm:
    values = {
        "name": "squares", "title": "Squares", "space": "road_traffic", "task": "detection",
        "dataset": "drawn", "classes": list(classes), "network": network,
    }  # fmt: skip
    return Algorithm.model_construct(**values)


def trained(
    folder: Path,
    *,
    learner: Any = None,
    frames: Mapping[str, Any] | None = None,
    kept: bool = True,
    params: tuple[DataParams, TrainParams] | None = None,
    **options: Any,
) -> tuple[Outcome, Any]:
    """Fit on the squares of `folder`; returns the outcome and the learner."""
    data, train = params or quick()
    learner = learner or make_learner(card(), train)
    outcome = fit(
        learner,
        **(frames or squares(folder / "frames")),
        data=data,
        train=train,
        checkpoints=folder / "work" if kept else None,
        **options,
    )
    return outcome, learner


def weights(path: Path | str) -> dict[str, torch.Tensor]:
    """The averaged weights of a checkpoint, and those that the optimiser works on."""
    found = torch.load(path, weights_only=True)
    current = {f"current.{key}": value for key, value in found["current_model_state"].items()}
    return {**found["state_dict"], **current}


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def figures(outcome: Outcome) -> list[dict[str, float]]:
    """The history less what a clock says."""
    return [
        {key: value for key, value in row.items() if key not in ("seconds", "images_per_second")}
        for row in outcome.history
    ]
