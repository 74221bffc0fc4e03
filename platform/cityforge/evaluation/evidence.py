"""What an evaluation found, as one record: the page, the gates and the registry read it.

The record holds no "now": the same inputs, measured latency included, give the same digest.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from cityforge.errors import DataError

DECIMALS = 6  # of every figure, so that the last bits of a sum do not change the digest


def _figure(value: object) -> object:
    """Round a number; nan and infinity become null, which JSON can hold."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return value
    number = float(value)
    return round(number, DECIMALS) if math.isfinite(number) else None


Figure = Annotated[float | None, BeforeValidator(_figure)]


class Record(BaseModel):
    """A frozen part of the evidence; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CreatedFrom(Record):
    """What it takes to make this evidence again."""

    snapshot_digest: str
    git_commit: str
    git_dirty: bool
    lock_digest: str
    model_digest: str
    mlflow_run_id: str | None = None


class EvidenceSource(Record):
    """Which algorithm was evaluated, on which subset, and from what it came."""

    algorithm: str
    title: str
    space: str
    task: str
    subset: str
    created_from: CreatedFrom


class ClassResult(Record):
    """One class; precision, recall and F1 at the score threshold, null where undefined."""

    name: str
    boxes: int
    frames: int  # that hold at least one box of the class
    ap50: Figure
    ap50_95: Figure
    precision: Figure
    recall: Figure
    f1: Figure


class Slice(Record):
    """A part of the subset: one camera, one kind of light, weather or size."""

    by: Literal["camera", "lighting", "weather", "size"]
    name: str  # "" where the footage does not state it
    frames: int
    boxes: int
    map50: Figure


class Curves(Record):
    """Precision over recall and F1 over the score threshold, by class."""

    recall: list[Figure]  # 101 levels
    precision: dict[str, list[Figure]]  # 101 values a class; empty for a class without a box
    threshold: list[Figure]  # 101 thresholds
    f1: dict[str, list[Figure]]
    f1_mean: list[Figure]


class Confusion(Record):
    """Truth (rows) against detections (columns); the last of each is the background."""

    labels: list[str]  # classes, without the background
    matrix: list[list[int]]


class Latency(Record):
    """Time for one picture, from decoded picture to boxes."""

    p50_ms: Figure
    p95_ms: Figure
    images_per_s: Figure
    device: str


class GateResult(Record):
    """A floor that the card asks for, and what was reached."""

    name: str
    floor: Figure
    value: Figure
    passed: bool


class FrameResult(Record):
    """A frame worth looking at. `score`: missed + the sum of its false alarms' scores."""

    frame_id: str
    camera: str | None
    captured_at: str | None  # ISO 8601, UTC
    missed: int
    false_alarms: int
    score: Figure


class Note(Record):
    """Something a reader must know before believing a figure."""

    kind: Literal["class_without_box", "frames_not_looked_at", "labels_of_other_classes"]
    name: str  # of the class; "" where none is meant
    count: int


class Evidence(Record):
    """All that one evaluation found. Figures run from 0 to 1 unless their name has a unit."""

    version: Literal[1] = 1
    algorithm: str
    title: str
    space: str
    task: str
    subset: str
    created_from: CreatedFrom
    classes: list[str]
    frame_count: int
    box_count: int
    score_threshold: float
    metrics: Mapping[str, Figure]
    per_class: list[ClassResult]
    slices: list[Slice]
    curves: Curves
    confusion: Confusion
    training: list[dict[str, Figure]]
    latency: Latency | None
    gates: list[GateResult]
    best_frames: list[FrameResult]
    worst_frames: list[FrameResult]
    notes: list[Note] = Field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every gate was reached; without a gate there is nothing to pass."""
        return bool(self.gates) and all(gate.passed for gate in self.gates)

    def to_json(self) -> str:
        """Write as JSON: sorted keys, two spaces, null for what could not be measured."""
        data = self.model_dump(mode="json")
        return (
            json.dumps(data, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
        )

    def digest(self) -> str:
        """Return the sha256 of the JSON, hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def read_evidence(path: Path) -> Evidence:
    """Read evidence that `Evidence.to_json` wrote.

    Raises:
        DataError: the file is missing or is no evidence.
    """
    try:
        return Evidence.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(
            "the evidence of an evaluation", found="no file", where=str(path)
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DataError(
            "the evidence of an evaluation",
            found=f"{first['msg']} at '{key}'",
            where=str(path),
            do="run the stage 'evaluate' again",
        ) from error
