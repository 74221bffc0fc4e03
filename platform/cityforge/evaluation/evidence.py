"""What an evaluation found, as one record: the page, the gates and the registry read it.

The record holds no "now": the same inputs, measured latency included, give the same digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from cityforge.errors import DataError
from cityforge.evaluation.figures import (
    ClassificationFigures,
    Confusion,
    Curves,
    DensityFigures,
    FootagePart,
)
from cityforge.evaluation.proof import (
    Against,
    Calibration,
    DataBasis,
    Device,
    FailureResult,
    Interval,
    Parity,
    Seeds,
    Speed,
    Unseen,
)
from cityforge.evaluation.record import Figure, Record

__all__ = ["Confusion", "Curves", "Evidence", "Figure", "Record", "read_evidence"]


def _nothing(value: object) -> bool:
    return value is None


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

    by: FootagePart | Literal["size", "crowding"]
    name: str  # "" where the footage does not state it
    frames: int
    boxes: int
    map50: Figure
    low: Figure = None  # 95 % of the resamples
    high: Figure = None
    few: bool = False  # too few boxes to believe the figure


class Latency(Record):
    """Time for one picture, from decoded picture to answer."""

    p50_ms: Figure
    p95_ms: Figure
    images_per_s: Figure
    device: str


class GateResult(Record):
    """A floor or a ceiling that the card asks for, and what was reached."""

    name: str  # of the figure
    of: str = ""  # which part or end of it: "lighting night", "low end", "drop from the champion"
    floor: Figure  # null where there is a ceiling
    ceiling: Annotated[Figure, Field(exclude_if=_nothing)] = None
    value: Figure
    passed: bool
    why: str = ""  # it could not be held, such as "no champion yet"


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

    kind: Literal[
        "class_without_box",
        "class_without_label",
        "frames_not_looked_at",
        "frames_without_one_class",
        "labels_of_other_classes",
    ]
    name: str  # of the class; "" where none is meant
    count: int


# What only detection says; the other tasks have a record of their own.
OF_DETECTION = frozenset(
    {"box_count", "per_class", "slices", "curves", "confusion", "best_frames", "worst_frames"}
)


class Evidence(Record):
    """All that one evaluation found. Figures run from 0 to 1 unless their name has a unit.

    `mae`, `rmse`, `bias` and `mean_count` are objects a frame.
    """

    version: Literal[1] = 1
    algorithm: str
    title: str
    space: str
    task: str
    subset: str
    created_from: CreatedFrom
    classes: list[str]
    frame_count: int
    box_count: int = 0
    score_threshold: float
    metrics: Mapping[str, Figure]
    per_class: list[ClassResult] = Field(default_factory=list)
    slices: list[Slice] = Field(default_factory=list)
    curves: Curves = Curves(recall=[], precision={}, threshold=[], f1={}, f1_mean=[])
    confusion: Confusion = Confusion(labels=[], matrix=[])
    training: list[dict[str, Figure]]
    latency: Latency | None
    gates: list[GateResult]
    best_frames: list[FrameResult] = Field(default_factory=list)
    worst_frames: list[FrameResult] = Field(default_factory=list)
    classification: Annotated[ClassificationFigures | None, Field(exclude_if=_nothing)] = None
    density: Annotated[DensityFigures | None, Field(exclude_if=_nothing)] = None
    intervals: Mapping[str, Interval] = Field(default_factory=dict)  # of `metrics`
    calibration: Annotated[Calibration | None, Field(exclude_if=_nothing)] = None
    unseen: Annotated[Unseen | None, Field(exclude_if=_nothing)] = None
    parity: Annotated[Parity | None, Field(exclude_if=_nothing)] = None
    speeds: list[Speed] = Field(default_factory=list)
    device: Annotated[Device | None, Field(exclude_if=_nothing)] = None
    against: Annotated[Against | None, Field(exclude_if=_nothing)] = None
    data: Annotated[DataBasis | None, Field(exclude_if=_nothing)] = None
    seeds: Annotated[Seeds | None, Field(exclude_if=_nothing)] = None  # null: trained once
    failures: list[FailureResult] = Field(default_factory=list)
    notes: list[Note] = Field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every gate was reached; without a gate there is nothing to pass."""
        return bool(self.gates) and all(gate.passed for gate in self.gates)

    def to_json(self) -> str:
        """Write as JSON: sorted keys, two spaces, null for what could not be measured."""
        left_out = None if self.task == "detection" else set(OF_DETECTION)
        data = self.model_dump(mode="json", exclude=left_out)
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
