"""What an approver needs beside accuracy: intervals, parity, the champion, the data it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from cityforge.evaluation.record import Figure, Record


class Interval(Record):
    """95 of 100 resamples of the subset give a figure between these."""

    low: Figure
    high: Figure


class CalibrationBin(Record):
    """Answers of about one score: how sure they were, and how often they were right."""

    score: Figure  # mean
    right: Figure  # share
    answers: int


class Calibration(Record):
    """How far scores can be taken as probabilities."""

    ece: Figure  # expected calibration error: mean of |score - right|, weighted by answers
    bins: list[CalibrationBin]


class Unseen(Record):
    """Cameras that neither training nor choice of thresholds ever saw."""

    cameras: list[str]
    frames: int
    boxes: int
    metrics: Mapping[str, Figure]
    intervals: Mapping[str, Interval] = Field(default_factory=dict)


class Side(Record):
    """One way to run the same network on the same frames, held against torch."""

    name: Literal["torch", "onnx", "int8", "endpoint"]
    score: Figure  # the task's main figure: map50, accuracy or map, mae
    slices: Mapping[str, Figure] = Field(default_factory=dict)  # "lighting night": main figure
    box_px: Figure = None  # largest difference of a box edge, pixels of the frame
    answer: Figure = None  # largest difference of a score, or of a count a cell
    unmatched: int = 0  # boxes that one side has over the threshold and the other not


class Parity(Record):
    """The same frames through every way the model is run."""

    frames: int
    sides: list[Side]


class Speed(Record):
    """Time for one picture, from decoded picture to answer."""

    name: Literal["torch", "onnx", "int8"]
    p50_ms: Figure
    p95_ms: Figure
    images_per_s: Figure


class Device(Record):
    """The machine that speeds were measured on."""

    processor: str
    threads: int
    runtime: str  # onnxruntime and its version
    providers: list[str]


class Change(Record):
    """A figure of this version less that of the champion, on the same frames."""

    champion: Figure
    this: Figure
    difference: Figure
    low: Figure  # of the difference, paired bootstrap, 95 %
    high: Figure


class Against(Record):
    """This version against the champion at the time of the evaluation."""

    version: int
    package_digest: str
    frames: int
    changes: Mapping[str, Change]


class DataBasis(Record):
    """The data and the labels that this rests on."""

    frames: Mapping[str, int]  # by subset
    boxes: Mapping[str, int]
    films: int
    cameras: list[str]
    first: str | None  # time of capture, ISO 8601, UTC
    last: str | None
    annotators: Mapping[str, int]  # labels of each
    lawful_basis: list[str]
    leak: Figure  # share of val and test with a near-duplicate in train
    nearest: Figure  # likeness of the nearest pair between train and test, 0 to 1
    agreement: Figure  # of annotators, 0 to 1; null where nobody labelled twice
    checks_failed: int


class Spread(Record):
    """A figure over trainings that differ by their seed alone."""

    mean: Figure
    deviation: Figure  # of one training
    low: Figure  # of the mean, 95 %, by Student's t
    high: Figure


class Seeds(Record):
    """Several trainings that differ by their seed alone; the package is the first of them."""

    count: int
    figures: Mapping[str, Spread]  # on val, each training at its best epoch


class FailureResult(Record):
    """A confirmed field failure: answered rightly by this version, or not."""

    failure_id: str
    said: str  # why it was a failure, in words
    passed: bool
    found: str  # what the version answered
