"""A project in a folder whose algorithm can be judged: split, export and training are done.

Every model here answers any picture alike; see `MODELS` in tests/conftest.py.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import AlgorithmParams
from cityforge.dataset.snapshot import Snapshot, write_json, write_snapshot
from cityforge.export.found import Device, Int8, Parity, Side, Speed, write_found
from cityforge.footage.shards import begin_shard
from cityforge.inference.package import Package, open_package
from cityforge.project import Project
from cityforge.starters import new_algorithm, new_dataset
from cityforge.tables import FOOTAGE, FRAMES, LABELS, SPLIT, from_rows, write_table

NAME, DATASET, SIZE = "yard_cars", "yard", (64, 48)
CAR, BUS = "汽车", "bus"
FOUND = (8.0, 6.0, 40.0, 30.0)  # the one box that a detection model here answers
SUBSETS = ("train", "train", "val", "val", "test", "test", "test", "test", "unseen")
DIGEST = "5a" * 32


def jpeg(grey: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((*SIZE[::-1], 3), grey, np.uint8)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def make_project(root: Path, task: str = "detection", subsets: Sequence[str] = SUBSETS) -> Project:
    """Nine frames of as many films; in each a car, where the model finds one, but in the last
    of the test split, where there is nothing."""
    root.mkdir(parents=True)
    (root / "params.yaml").write_text("algorithms: {}\ndatasets: []\n", encoding="utf-8")
    project = Project(root)
    new_dataset(project, DATASET, "院子", [CAR, BUS], ["北门", "港口"])
    new_algorithm(project, NAME, "院内车辆", DATASET, "road_traffic", [CAR, BUS], "我", task=task)
    folder = project.dataset_folder(DATASET)
    footage, frames, labels, split = [], [], [], []
    with begin_shard(folder / "frames" / "s.tar") as shard:
        for k, subset in enumerate(subsets):
            film, picture = f"{k:016x}", jpeg(20 + 25 * k)
            offset = shard.add(f"{film}.jpg", picture)
            at = datetime(2026, 3, 1, 8, tzinfo=UTC) + timedelta(hours=4 * k)
            empty = k == len(subsets) - 2
            footage.append(_film(film, "港口" if subset == "unseen" else "北门", k))
            frames.append(_frame(film, offset, len(picture), at))
            labels.append(_label(f"{film}-0", None if empty else CAR, task, k))
            split.append({"frame_id": f"{film}-0", "subset": subset, "group": film})
    tables = from_rows(frames, FRAMES), from_rows(labels, LABELS)
    write_table(from_rows(footage, FOOTAGE), FOOTAGE, folder / "footage" / "footage.parquet")
    write_table(tables[0], FRAMES, folder / "frames" / "frames.parquet")
    about = Snapshot(DATASET, "5b" * 32, len(frames), 0, 0, {}, {})
    write_snapshot(folder / "snapshot", about, *tables)
    results = {"results": [{"success": True}, {"success": True}]}
    write_json(folder / "checks" / "checks.json", {"frames": results, "labels": results})
    made = project.build(NAME) / "split"
    write_table(from_rows(split, SPLIT), SPLIT, made / "split.parquet")
    leak = {"share": 0.0, "nearest": 0.41}
    said = {"digest": DIGEST, "dataset": asdict(about), "leak": leak}
    write_json(made / "snapshot.json", said)
    return project


def opened(project: Project, **evaluated: Any) -> tuple[Algorithm, AlgorithmParams]:
    """Card and parameters; the input is as small as the models of the tests want it."""
    params = project.algorithm_params(NAME)
    data = params.data.model_copy(update={"input_width": SIZE[0], "input_height": SIZE[1]})
    wanted = {"resamples": 50, "few": 1, "score_floor": 0.01, **evaluated}
    return project.algorithm(NAME), params.model_copy(
        update={"data": data, "evaluate": params.evaluate.model_copy(update=wanted)}
    )


def export(project: Project, model: bytes) -> None:
    """What the stages train and export leave behind."""
    params = project.algorithm_params(NAME)
    build = project.build(NAME)
    (build / "export").mkdir(parents=True, exist_ok=True)
    (build / "export" / "model.onnx").write_bytes(model)
    torch, onnx = Side("torch", 0.9), Side("onnx", 0.9, box_px=0.001, answer=1e-6)
    speeds = [Speed("torch", 9.0, 12.0, 100.0), Speed("onnx", 4.0, 6.0, 231.0)]
    device = Device("Xeon 8481C", 2, "onnxruntime 1.31", ["CPUExecutionProvider"])
    write_json(build / "export" / "parity.json", {"frames": 2, "scores": 1e-6})
    write_found(
        build / "export", Parity(2, [torch, onnx]), device, speeds, Int8(False, "it is slower")
    )
    spread = {"mean": 0.8, "deviation": 0.02, "low": 0.75, "high": 0.85}
    trained = {
        "seeds": {"count": 3, "figures": {"val_map50": spread, "val_score": spread}},
        "snapshot_digest": DIGEST, "mlflow_run_id": "run-42", "history": [{"epoch": 1}],
        "params": params.train.model_dump(mode="json"),
    }  # fmt: skip
    write_json(build / "train" / "train.json", trained)


def package_of(make: Callable[..., Path], folder: Path, score: float, **changes: Any) -> Package:
    """A package for this project; `make` is the fixture `make_package`."""
    changes = {"snapshot_digest": DIGEST, **changes}
    return open_package(make(folder, NAME, None, score, **changes))


def set_gates(project: Project, gates: list[dict[str, Any]]) -> None:
    from ruamel.yaml import YAML

    yaml, path = YAML(), project.algorithm_folder(NAME) / "algorithm.yaml"
    content = yaml.load(path.read_text(encoding="utf-8"))
    content["gates"] = json.loads(json.dumps(gates))
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)


def _film(film: str, camera: str, k: int) -> dict[str, Any]:
    return {
        "footage_id": film, "path": film, "name": f"{k}.mp4", "camera": camera, "duration_s": 9.0,
        "width": SIZE[0], "height": SIZE[1], "codec": "h264", "frames": 9, "errors": 0,
        "lighting": "night" if k % 2 else "day", "lawful_basis": "by hand",
    }  # fmt: skip


def _frame(film: str, offset: int, length: int, at: datetime) -> dict[str, Any]:
    return {
        "frame_id": f"{film}-0", "footage_id": film, "pts_s": 0.0, "captured_at": at,
        "shard": "s.tar", "offset": offset, "bytes": length, "width": SIZE[0], "height": SIZE[1],
        "phash": "0" * 16, "sharpness": 1.0, "brightness": 1.0, "contrast": 1.0,
        "lighting": "day", "faults": [], "redactions": [],
    }  # fmt: skip


def _label(frame: str, cls: str | None, task: str, k: int) -> dict[str, Any]:
    corners = dict(zip(("x1", "y1", "x2", "y2"), FOUND, strict=True)) if cls else {}
    return {
        "label_id": frame, "frame_id": frame, "task": task, "class": cls, "source": "by hand",
        "origin": "human", "annotator": "王芳" if k % 2 else "李雷", **corners,
    }  # fmt: skip
