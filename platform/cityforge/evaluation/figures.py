"""What classification and density find out beyond what every evaluation says."""

from __future__ import annotations

from typing import Literal

from cityforge.evaluation.record import Figure, Record

FootagePart = Literal["camera", "hour", "lighting", "weather"]


class Curves(Record):
    """Precision over recall and F1 over the score threshold, by class."""

    recall: list[Figure]  # 101 levels
    precision: dict[str, list[Figure]]  # 101 values a class; empty for a class without truth
    threshold: list[Figure]  # 101 thresholds; none where the likeliest class is the answer
    f1: dict[str, list[Figure]]
    f1_mean: list[Figure]


class Confusion(Record):
    """Truth (rows) against answers (columns); of boxes the last of each is the background."""

    labels: list[str]  # classes, without the background
    matrix: list[list[int]]


class ClassOfFrames(Record):
    """One class of classification; null where undefined."""

    name: str
    frames: int  # of the class
    answered: int  # frames that were given the class
    precision: Figure
    recall: Figure
    f1: Figure
    ap: Figure


class ClassSlice(Record):
    """Frames of one camera, light or weather, with the task's main figure."""

    by: FootagePart
    name: str  # "" where the footage does not state it
    frames: int
    value: Figure
    low: Figure = None  # 95 % of the resamples
    high: Figure = None
    few: bool = False


class ClassifiedFrame(Record):
    """A frame worth looking at."""

    frame_id: str
    camera: str | None
    captured_at: str | None  # ISO 8601, UTC
    truth: list[str]  # classes that people gave it
    answered: list[str]
    score: Figure  # how sure the model was of the answer, or of its worst mistake


class ClassificationFigures(Record):
    """Classes of frames against what people said. Figures run from 0 to 1."""

    several_labels: bool
    main: Literal["accuracy", "map"]  # the figure of the slices
    thresholds: dict[str, Figure]  # of several labels, chosen on val; else empty
    per_class: list[ClassOfFrames]
    confusion: Confusion | None  # null with several labels
    curves: Curves
    slices: list[ClassSlice]
    best_frames: list[ClassifiedFrame]
    worst_frames: list[ClassifiedFrame]


class CountedClass(Record):
    """One class of density; errors in objects a frame."""

    name: str
    objects: int  # in all frames
    frames: int  # that hold at least one
    mae: Figure
    rmse: Figure
    relative_mae: Figure
    bias: Figure
    mean_count: Figure


class CountPairs(Record):
    """True and estimated counts of one class in the same frames, evenly taken where many."""

    name: str
    truth: list[Figure]
    found: list[Figure]


class CountSlice(Record):
    """Frames of one camera, light or weather; errors in objects a frame."""

    by: FootagePart
    name: str  # "" where the footage does not state it
    frames: int
    mae: Figure
    mean_count: Figure
    low: Figure = None  # of mae, 95 % of the resamples
    high: Figure = None
    few: bool = False


class CountedFrame(Record):
    """A frame worth looking at; objects of all classes."""

    frame_id: str
    camera: str | None
    captured_at: str | None  # ISO 8601, UTC
    truth: int
    found: Figure
    error: Figure  # absolute, summed over the classes


class DensityFigures(Record):
    """Counts against those of people."""

    per_class: list[CountedClass]
    pairs: list[CountPairs]
    slices: list[CountSlice]
    best_frames: list[CountedFrame]
    worst_frames: list[CountedFrame]
