"""A project on disk with drawn frames, snapshot and split, and a search over few trials."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.dataset import Dataset
from cityforge.cards.params import AlgorithmParams
from cityforge.cards.yaml_files import check, read_yaml
from cityforge.dataset.snapshot import describe, write_json, write_snapshot
from cityforge.footage.shards import FrameStore, read_shard, write_shard
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.tables import FRAMES, LABELS, SPLIT, from_rows, write_table
from cityforge.training.data import TrainingData, open_training_data

NAME, CLASSES = "bins", ["垃圾桶", "car"]
COLOURS = ((40, 160, 40), (200, 40, 40))
SIZE = (192, 192)
CARD = {
    "name": NAME, "title": "垃圾桶识别", "space": "street_environment", "task": "detection",
    "dataset": "streets", "classes": CLASSES, "network": "detection/nano",
    "choice": {"prefer": "best"}, "events": [], "gates": [], "owner": "test",
    "envelope": {"camera_height_m": [2, 9], "pitch_deg": [5, 60], "illumination": ["day"],
                 "smallest_object_px": 8},
    "target_devices": ["2 CPU cores"],
}  # fmt: skip
DATASET = {
    "name": "streets", "title": "街道", "cameras": [{"name": "北门", "site": "gate"}],
    "classes": [{"name": each, "definition": "One."} for each in CLASSES],
    "privacy": {"grade": "public", "lawful_basis": "drawn", "redact": [], "retention_days": 30},
    "licence": "Apache-2.0", "sampling": {"policy": "every", "seconds": 0.5},
    "checks": {"min_frames": 1, "min_boxes_per_class": 1, "min_box_px": 2,
               "max_rejected_share": 0.1},
}  # fmt: skip
SEARCH: dict[str, Any] = {"learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}}


@dataclass(frozen=True)
class Streets:
    """What `tune` takes."""

    project: Project
    settings: Settings
    card: Algorithm
    params: AlgorithmParams
    data: TrainingData
    out: Path

    def tune(self, say: Any = lambda line: None, **values: Any) -> dict[str, Any]:
        """Run the stage with other values of `tune`."""
        from cityforge.training.tune import tune

        asked = check(
            AlgorithmParams,
            {**self.params.model_dump(mode="json"),
             "tune": {**self.params.tune.model_dump(mode="json"), **values}},
            Path("params.yaml"),
        )  # fmt: skip
        return tune(self.project, self.settings, self.card, asked, self.data, self.out, say)

    def with_choice(self, **choice: Any) -> Streets:
        card = check(Algorithm, {**CARD, "choice": choice}, Path("algorithm.yaml"))
        return replace(self, card=card)


def make_streets(root: Path, frames: int = 48, storage: str = "") -> Streets:
    """Write the project: a third of the frames to judge by, the rest to train on."""
    project = Project(root)
    dataset = project.dataset_folder("streets")
    rng = np.random.default_rng(5)
    members, labels = [], []
    for number in range(frames):
        name = f"a{number:03d}-0"
        jpeg, boxes = _draw(rng)
        members.append((f"{name}.jpg", jpeg))
        labels += [_label(name, cls, box) for cls, box in zip(CLASSES, boxes, strict=True)]
    write_shard(dataset / "frames" / "a.tar", members)
    rows = [_frame(each) for each in read_shard(dataset / "frames" / "a.tar")]
    stored, labelled = from_rows(rows, FRAMES), from_rows(labels, LABELS)
    about = describe(
        check(Dataset, DATASET, Path("dataset.yaml")), stored, labelled,
        FrameStore(dataset / "frames", stored),
    )  # fmt: skip
    write_snapshot(dataset / "snapshot", about, stored, labelled)
    split = [
        {"frame_id": row["frame_id"], "subset": "train" if i % 3 else "val", "group": "g"}
        for i, row in enumerate(rows)
    ]
    folder = project.build(NAME) / "split"
    write_table(from_rows(split, SPLIT), SPLIT, folder / "split.parquet")
    write_json(folder / "snapshot.json", {"digest": about.digest})
    _write_cards(root)
    card = check(Algorithm, CARD, Path("algorithm.yaml"))
    settings = Settings(tuning_storage=storage, tracking_uri="")
    data = open_training_data(project, card)
    return Streets(project, settings, card, _params(), data, project.build(NAME) / "tune")


def _write_cards(root: Path) -> None:
    params = _params().model_dump(mode="json")
    for path, content in (
        ("dvc.yaml", {}),
        ("params.yaml", {"algorithms": {NAME: "streets"}, "datasets": ["streets"]}),
        ("datasets/streets/dataset.yaml", DATASET),
        (f"algorithms/{NAME}/algorithm.yaml", CARD),
        (f"algorithms/{NAME}/params.yaml", params),
    ):
        write_json(root / path, content)


def _params() -> AlgorithmParams:
    with as_file(files("cityforge.cards") / "starter_files" / "params.yaml") as path:
        content = read_yaml(path)
    content["data"] = {"input_width": 96, "input_height": 96, "workers": 0}
    content["train"] |= {"batch": 8, "device": "cpu", "precision": "float32"}
    content["train"]["augment"]["mosaic"] = 0.0
    content["tune"] = {
        "trials": 2, "minutes": 10, "workers": 1, "epochs": 1, "train_share": 1.0,
        "objectives": ["score"], "search": SEARCH, "seed": 5,
    }  # fmt: skip
    return check(AlgorithmParams, content, Path("params.yaml"))


def _draw(rng: np.random.Generator) -> tuple[bytes, list[list[int]]]:
    picture = rng.integers(90, 130, (SIZE[1], SIZE[0], 3), np.uint8)
    boxes = []
    for number, colour in enumerate(COLOURS):
        width, height = (int(each) for each in rng.integers(24, 64, 2))
        x = int(rng.integers(0, SIZE[0] // 2 - width)) + SIZE[0] // 2 * number
        y = int(rng.integers(0, SIZE[1] - height))
        picture[y : y + height, x : x + width] = colour
        boxes.append([x, y, x + width, y + height])
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=95)
    return stream.getvalue(), boxes


def _label(frame: str, cls: str, box: list[int]) -> dict[str, Any]:
    return {
        "label_id": f"{frame}{cls}", "frame_id": frame, "task": "detection", "class": cls,
        "x1": box[0], "y1": box[1], "x2": box[2], "y2": box[3], "source": "drawn",
        "origin": "human",
    }  # fmt: skip


def _frame(member: Any) -> dict[str, Any]:
    return {
        "frame_id": member.name[:-4], "footage_id": member.name[:-6], "pts_s": 0.0,
        "shard": "a.tar", "offset": member.offset, "bytes": len(member.data),
        "width": SIZE[0], "height": SIZE[1], "phash": "0" * 16, "sharpness": 1.0,
        "brightness": 120.0, "contrast": 1.0, "lighting": "day", "faults": [], "redactions": [],
    }  # fmt: skip
