"""Small evaluations of classification and density: six frames of two cameras, two classes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa

from cityforge.cards.algorithm import Gate
from cityforge.evaluation.classification import evaluate_classification
from cityforge.evaluation.density import evaluate_density
from cityforge.evaluation.evidence import CreatedFrom, Evidence, EvidenceSource
from cityforge.tables import FOOTAGE, FRAMES, LABELS, PREDICTIONS, from_rows

CLASSES = ["白天", "fog"]
IDS = [f"f{i // 3}-{i % 3}" for i in range(6)]  # three frames of each film


def about(task: str) -> EvidenceSource:
    created_from = CreatedFrom(
        snapshot_digest="5a" * 32, git_commit="c0ffee" * 6, git_dirty=False,
        lock_digest="7c" * 32, model_digest="d1" * 32, mlflow_run_id="run-42",
    )  # fmt: skip
    return EvidenceSource(
        algorithm="demo", title="Demo", space="living_and_crowds", task=task, subset="test",
        created_from=created_from,
    )  # fmt: skip


def frames() -> pa.Table:
    rows = [
        {
            "frame_id": name, "footage_id": name[:2], "pts_s": 0.0, "shard": "s", "offset": 0,
            "captured_at": datetime(2026, 3, 1, 8, tzinfo=UTC), "bytes": 1, "width": 400,
            "height": 320, "phash": "0" * 16, "sharpness": 1.0, "brightness": 1.0,
            "contrast": 1.0, "lighting": "day", "faults": [], "redactions": [],
        }
        for name in IDS
    ]  # fmt: skip
    return from_rows(rows, FRAMES)


def footage() -> pa.Table:
    rows = [
        {
            "footage_id": f, "path": f, "name": f, "camera": camera, "duration_s": 9.0,
            "width": 400, "height": 320, "codec": "h264", "frames": 9, "errors": 0,
            "lawful_basis": "by hand",
        }
        for f, camera in (("f0", "北门"), ("f1", "Old Harbour"))
    ]  # fmt: skip
    return from_rows(rows, FOOTAGE)


def label(frame: str, cls: str | None, task: str, *xy: float, number: int = 0) -> dict[str, object]:
    corners = dict(zip(("x1", "y1", "x2", "y2"), xy * 2 if len(xy) == 2 else xy, strict=False))
    return {
        "label_id": f"{frame}{cls}{task}{number}", "frame_id": frame, "task": task, "class": cls,
        "source": "by hand", "origin": "human", **corners,
    }  # fmt: skip


def predictions(numbers: Sequence[Sequence[float]], column: str) -> pa.Table:
    """Scores or counts of each class, a row a frame."""
    rows = [
        {
            "frame_id": frame, "rank": k, "class": CLASSES[k], "score": 1.0, "x1": 0.0, "y1": 0.0,
            "x2": 400.0, "y2": 320.0, "model_digest": "m", column: number,
        }
        for frame, row in zip(IDS, numbers, strict=True)
        for k, number in enumerate(row)
    ]  # fmt: skip
    return from_rows(rows, PREDICTIONS)


DAY, FOG = "白天", "fog"
# One of each film is wrong; the first surely, the second hardly.
ONE_LABEL = [[0.9, 0.1], [0.8, 0.2], [0.05, 0.95], [0.3, 0.7], [0.4, 0.6], [0.55, 0.45]]
TRUE = [DAY, DAY, DAY, FOG, FOG, FOG]


def classified(**changes: object) -> Evidence:
    arguments: dict[str, object] = {
        "frames": frames(),
        "labels": from_rows(
            [label(f, c, "classification") for f, c in zip(IDS, TRUE, strict=True)], LABELS
        ),
        "predictions": predictions(ONE_LABEL, "score"),
        "footage": footage(),
        "classes": CLASSES,
        "class_thresholds": None,
        "score_threshold": 0.05,
        "gates": [Gate(metric="accuracy", floor=0.5), Gate(metric="map", floor=0.99)],
        "about": about("classification"),
        "training": [
            {"epoch": 1, "train_loss": 0.6, "val_score": 0.5, "val_accuracy": 0.5},
            {"epoch": 2, "train_loss": 0.4},
            {"epoch": 3, "train_loss": 0.3, "val_score": 0.8, "val_accuracy": 0.8},
        ],
        "latency": None,
        "resamples": 20,
        "few": 4,
        "proof": {},
    }
    return evaluate_classification(**{**arguments, **changes})


def labelled_several() -> pa.Table:
    """Both, one, the other, none, one, the other."""
    pairs = [(0, DAY), (0, FOG), (1, DAY), (2, FOG), (3, None), (4, DAY), (5, FOG)]
    return from_rows([label(IDS[i], cls, "classification") for i, cls in pairs], LABELS)


SEVERAL = [[0.9, 0.8], [0.7, 0.1], [0.6, 0.7], [0.1, 0.2], [0.8, 0.3], [0.2, 0.35]]
COUNTS = [[1.5, 0.0], [2.0, 0.0], [4.0, 1.0], [10.0, 0.0], [8.0, 0.0], [0.0, 0.0]]
TRUE_COUNTS = [1, 2, 4, 6, 8, 0]  # of the first class; of the second there is none


def counted(**changes: object) -> Evidence:
    points = [
        label(IDS[i], DAY, "density", 10.0 + k, 20.0, number=k)
        for i, count in enumerate(TRUE_COUNTS)
        for k in range(count)
    ]
    arguments: dict[str, object] = {
        "frames": frames(),
        "labels": from_rows([*points, label(IDS[5], None, "density")], LABELS),
        "predictions": predictions(COUNTS, "value"),
        "footage": footage(),
        "classes": CLASSES,
        "score_threshold": 0.0,
        "gates": [Gate(metric="mae", ceiling=0.5), Gate(metric="relative_mae", ceiling=0.1)],
        "about": about("density"),
        "training": [{"epoch": 1, "train_loss": 0.6, "val_mae": 3.0}],
        "latency": None,
        "resamples": 20,
        "few": 4,
        "proof": {},
    }
    return evaluate_density(**{**arguments, **changes})
