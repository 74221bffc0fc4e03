"""A small case of detection: frames, labels and answers with known figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from cityforge.cards.algorithm import Gate
from cityforge.evaluation.evaluate import evaluate_detection
from cityforge.evaluation.evidence import CreatedFrom, Evidence, EvidenceSource
from cityforge.tables import FOOTAGE, FRAMES, LABELS, PREDICTIONS, from_rows

XYXY = tuple[float, float, float, float]
GATES = {"map50": 0.5, "map50_95": 0.9}  # floors
LATENCY = {"p50_ms": 4.2, "p95_ms": 6.0, "images_per_s": 231.0, "device": "CPU, 8 cores"}
TRAINING = [
    {"epoch": 0, "train_loss": 3.0, "val_map50": 0.1, "lr": 0.01},
    {"epoch": 1, "train_loss": 2.0, "val_map50": 0.4, "lr": 0.005},
]


@dataclass(frozen=True)
class Case:
    """The tables of one evaluation."""

    frames: pa.Table
    labels: pa.Table
    predictions: pa.Table
    footage: pa.Table
    classes: list[str]
    about: EvidenceSource

    def evaluate(self, **changes: object) -> Evidence:
        """Evaluate; `changes` replace arguments."""
        arguments: dict[str, object] = {
            "frames": self.frames,
            "labels": self.labels,
            "predictions": self.predictions,
            "footage": self.footage,
            "classes": self.classes,
            "score_threshold": 0.5,
            "gates": GATES,
            "about": self.about,
            "training": TRAINING,
            "latency": LATENCY,
            "resamples": 20,
            "few": 2,
            "proof": {},
        }
        arguments |= changes
        return evaluate_detection(**{**arguments, "gates": floors(arguments["gates"])})


def floors(gates: object) -> list[Gate]:
    """Gates as a card states them, those on figures that no card may name included."""
    return [Gate.model_construct(metric=name, floor=floor) for name, floor in dict(gates).items()]


def label(frame: str, cls: str | None, xyxy: XYXY | None) -> dict[str, object]:
    x1, y1, x2, y2 = xyxy or (None,) * 4
    return {
        "label_id": f"{frame}/{cls}/{xyxy}", "frame_id": frame, "task": "detection", "class": cls,
        "x1": x1, "y1": y1, "x2": x2, "y2": y2, "source": "by hand", "origin": "human",
    }  # fmt: skip


def prediction(frame: str, cls: str, score: float, xyxy: XYXY) -> dict[str, object]:
    x1, y1, x2, y2 = xyxy
    return {
        "frame_id": frame, "rank": 0, "class": cls, "score": score,
        "x1": x1, "y1": y1, "x2": x2, "y2": y2, "model_digest": "m",
    }  # fmt: skip


def make_case(car: str, bus: str, unseen: str) -> Case:
    """Two cars found, one missed; one bus called a car; a false alarm in an empty frame."""
    a, b, c = (20.0, 20, 140, 140), (200.0, 20, 320, 140), (20.0, 200, 140, 300)
    footage = [
        {
            "footage_id": f, "path": f, "name": f, "camera": camera, "duration_s": 9.0,
            "width": 400, "height": 320, "codec": "h264", "frames": 9, "errors": 0,
            "lighting": light, "lawful_basis": "by hand",
        }
        for f, camera, light in (("f0", "北门", "day"), ("f1", "Old Harbour", "night"))
    ]  # fmt: skip
    frames = [
        {
            "frame_id": f"{f}-{i}", "footage_id": f, "pts_s": i / 1000, "shard": "s", "offset": 0,
            "captured_at": datetime(2026, 3, 1, 8, i, tzinfo=UTC), "bytes": 1, "width": 400,
            "height": 320, "phash": "0" * 16, "sharpness": 1.0, "brightness": 1.0,
            "contrast": 1.0, "lighting": "day", "faults": [], "redactions": [],
        }
        for f, i in (("f0", 0), ("f0", 1), ("f1", 0), ("f1", 1))
    ]  # fmt: skip
    labels = [
        label("f0-0", car, a), label("f0-0", car, b), label("f0-1", car, c),
        label("f1-0", bus, a), label("f1-1", None, None),
    ]  # fmt: skip
    predictions = [
        prediction("f0-0", car, 0.9, a), prediction("f0-0", car, 0.8, b),
        prediction("f1-0", car, 0.7, a), prediction("f1-1", car, 0.6, c),
        prediction("f0-1", car, 0.1, c),
    ]  # fmt: skip
    created_from = CreatedFrom(
        snapshot_digest="5a" * 32, git_commit="c0ffee" * 6, git_dirty=False,
        lock_digest="7c" * 32, model_digest="d1" * 32, mlflow_run_id="run-42",
    )  # fmt: skip
    about = EvidenceSource(
        algorithm="demo", title="Demo", space="road_traffic", task="detection", subset="test",
        created_from=created_from,
    )  # fmt: skip
    return Case(
        frames=from_rows(frames, FRAMES),
        labels=from_rows(labels, LABELS),
        predictions=from_rows(predictions, PREDICTIONS),
        footage=from_rows(footage, FOOTAGE),
        classes=[car, bus, unseen],
        about=about,
    )
