"""How things are made: the tracked values of `params.yaml` files. No defaults here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from cityforge.cards.dataset import FolderName
from cityforge.cards.yaml_files import VARIANT, Card

Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
LowHigh = tuple[float, float]


class ProjectParams(Card):
    """`params.yaml` at the root: what is active, and what all share."""

    algorithms: dict[FolderName, FolderName]  # active algorithm: its dataset
    datasets: list[FolderName]  # active datasets


class DataParams(Card):
    """The picture a network sees."""

    input_width: Annotated[int, Field(ge=64, le=2048, multiple_of=32)]
    input_height: Annotated[int, Field(ge=64, le=2048, multiple_of=32)]
    workers: Annotated[int, Field(ge=0, le=64)]  # processes that decode; 0 decodes in line


class NamedPart(Card):
    """A subset given by the names of its footage, as a glob."""

    names: str


class SharePart(Card):
    """A subset as a share of the groups: the latest ones, or drawn by seed."""

    share: Share
    pick: Literal["latest", "random"]


def _kind_of_part(value: Any) -> str:
    named = isinstance(value, NamedPart) or (isinstance(value, dict) and "names" in value)
    return f"{VARIANT}names" if named else f"{VARIANT}share"


Part = Annotated[
    Annotated[NamedPart, Tag(f"{VARIANT}names")] | Annotated[SharePart, Tag(f"{VARIANT}share")],
    Discriminator(_kind_of_part),
]


class NearParams(Card):
    """Which frames of two groups are near-duplicates, and what becomes of them."""

    bits: Annotated[int, Field(ge=0, le=32)]  # of the perceptual hash that may differ
    likeness: Annotated[float, Field(gt=0, le=1)]  # of the pictures, see dataset/leaks.py
    act: Literal["join", "leave_out"]  # their groups become one, or the frame is used nowhere


class SplitParams(Card):
    """How frames part into train, val and test; frames of one group stay together."""

    group: Literal["footage", "day", "camera", "name", "camera_time"]
    block_minutes: Annotated[float, Field(gt=0)]  # of group: camera_time
    pattern: str  # regular expression with one group, for group: name
    unseen_cameras: list[str]  # left out of train, val and test; measured by themselves
    near: NearParams
    most_leak: Share  # of val and test: frames with a near-duplicate in train
    test: Part
    val: Part
    seed: Seed

    @field_validator("pattern")
    @classmethod
    def _a_regular_expression(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"a regular expression ({error})") from error
        return value


class RangeOf(Card):
    """A number to search between two others, both included."""

    low: float
    high: float
    log: bool  # drawn evenly over the logarithm: for step sizes and weights

    @model_validator(mode="after")
    def _low_before_high(self) -> RangeOf:
        if self.low > self.high or (self.log and self.low <= 0):
            raise ValueError("the lower number first, and above 0 where log is true")
        return self


class ChoiceOf(Card):
    """A value to search among these."""

    choices: Annotated[list[str | int | float], Field(min_length=1)]


def _kind_of_search(value: Any) -> str:
    chosen = isinstance(value, ChoiceOf) or (isinstance(value, dict) and "choices" in value)
    return f"{VARIANT}choices" if chosen else f"{VARIANT}range"


Searched = Annotated[
    Annotated[ChoiceOf, Tag(f"{VARIANT}choices")] | Annotated[RangeOf, Tag(f"{VARIANT}range")],
    Discriminator(_kind_of_search),
]


class TuneParams(Card):
    """The search before the training; 0 trials means the values of `train` as they are."""

    trials: Annotated[int, Field(ge=0)]
    minutes: Annotated[float, Field(gt=0)]  # no trial begins after it
    workers: Annotated[int, Field(ge=1, le=64)]  # processes on one study
    epochs: Annotated[int, Field(ge=1)]  # of one trial
    train_share: Annotated[float, Field(gt=0, le=1)]
    objectives: Annotated[list[Literal["score", "latency"]], Field(min_length=1, max_length=2)]
    # What is searched: keys of `train` (learning_rate, loss.box_weight), `network`, and
    # `data.input_width`, which the height follows.
    search: dict[str, Searched]
    seed: Seed

    @field_validator("objectives")
    @classmethod
    def _score_first(cls, value: list[str]) -> list[str]:
        if value not in (["score"], ["score", "latency"]):
            raise ValueError("[score] or [score, latency]")
        return value


class DetectionLoss(Card):
    """The box loss against the score loss."""

    box_weight: Annotated[float, Field(gt=0)]


class ClassificationLoss(Card):
    """One class a frame, or several; label smoothing (Szegedy et al. 2016, section 7)."""

    several_labels: bool  # a frame may have several classes, or none
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]


class DensityLoss(Card):
    """How wide one object is spread over the map, and the count's loss against the map's."""

    spread_px: Annotated[float, Field(gt=0)]  # deviation of its Gaussian, pixels of the input
    count_weight: Annotated[float, Field(ge=0)]


LOSS_OF_TASK: dict[str, type[Card]] = {
    "detection": DetectionLoss,
    "classification": ClassificationLoss,
    "density": DensityLoss,
}


def _kind_of_loss(value: Any) -> str:
    keys = value if isinstance(value, dict) else type(value).model_fields
    for key, tag in (("label_smoothing", "classification"), ("spread_px", "density")):
        if key in keys:
            return f"{VARIANT}{tag}"
    return f"{VARIANT}detection"


Loss = Annotated[
    Annotated[DetectionLoss, Tag(f"{VARIANT}detection")]
    | Annotated[ClassificationLoss, Tag(f"{VARIANT}classification")]
    | Annotated[DensityLoss, Tag(f"{VARIANT}density")],
    Discriminator(_kind_of_loss),
]


class AugmentParams(Card):
    """Which share of the frames is changed in training, and how; 0 is never."""

    flip: Share
    scale: LowHigh  # drawn evenly over the logarithm; 1 is as it was
    mosaic: Share  # four frames around a common corner
    colour: Share
    night: Share
    rain: Share
    fog: Share
    motion_blur: Share
    compression: Share


class TrainParams(Card):
    """One training. A value that `tune` searched is replaced by what it found."""

    epochs: Annotated[int, Field(ge=1)]
    minutes: Annotated[float, Field(gt=0)]  # stops with the step that passes it
    batch: Annotated[int, Field(ge=1)]  # frames a step; taken in parts where memory is short
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    weight_decay: Annotated[float, Field(ge=0)]
    warmup_epochs: Annotated[float, Field(ge=0)]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    patience: Annotated[int, Field(ge=1)]  # validations without a better score
    validate_every: Annotated[int, Field(ge=1)]  # epochs
    precision: Literal["auto", "float32", "bfloat16"]
    device: Literal["auto", "cpu", "gpu"]
    devices: Annotated[int, Field(ge=1, le=64)]  # processes, one for each device
    deterministic: bool  # the same weights from the same seed; `minutes` is no limit then
    # scratch; timm; a .safetensors or .ckpt file; models:/ALGORITHM/VERSION of the registry
    weights: Annotated[str, Field(min_length=1)]
    freeze_epochs: Annotated[float, Field(ge=0)]  # the backbone stays as it came
    backbone_rate: Annotated[float, Field(gt=0, le=1)]  # its step size, as a share
    grow_from: Annotated[float, Field(gt=0, le=1)]  # side of the first inputs, as a share
    grow_until: Share  # of the training: from here on the input has its full size
    loss: Loss
    augment: AugmentParams
    seed: Seed
    # trainings with seed, seed + 1, ...: their spread is reported, the first one's weights kept
    seeds: Annotated[int, Field(ge=1, le=32)]


class BoxAnswers(Card):
    """From raw network output to boxes, and how sure its figures are to be."""

    score_floor: Share  # under it a box is not even a candidate
    overlap: Share  # IoU over which the weaker box of a class is dropped
    max_boxes: Annotated[int, Field(ge=1, le=1000)]
    resamples: Annotated[int, Field(ge=0, le=100_000)]  # of the bootstrap; 0 states no interval
    few: Annotated[int, Field(ge=1)]  # a slice of fewer boxes is called too few


class ScoreAnswers(Card):
    """From raw network output to classes of a frame, or to counts."""

    score_floor: Share  # a class under it is not answered; objects a cell under it do not count
    resamples: Annotated[int, Field(ge=0, le=100_000)]  # of the bootstrap; 0 states no interval
    few: Annotated[int, Field(ge=1)]  # a slice of fewer frames is called too few


def _kind_of_answers(value: Any) -> str:
    boxes = "overlap" in (value if isinstance(value, dict) else type(value).model_fields)
    return f"{VARIANT}boxes" if boxes else f"{VARIANT}scores"


EvaluateParams = Annotated[
    Annotated[BoxAnswers, Tag(f"{VARIANT}boxes")]
    | Annotated[ScoreAnswers, Tag(f"{VARIANT}scores")],
    Discriminator(_kind_of_answers),
]


ANSWERS_OF_TASK: dict[str, type[Card]] = {
    "detection": BoxAnswers,
    "classification": ScoreAnswers,
    "density": ScoreAnswers,
}


class Int8Params(Card):
    """The smaller model beside the exact one: kept when it is quicker and about as good."""

    offer: bool
    frames: Annotated[int, Field(ge=1)]  # of train, from which its ranges are taken
    most_drop: Share  # of the task's main figure on val


class ExportParams(Card):
    """The ONNX file and how far each of its outputs may differ from torch."""

    opset: Annotated[int, Field(ge=13)]
    parity_frames: Annotated[int, Field(ge=1)]
    max_difference: dict[str, Annotated[float, Field(gt=0)]]  # by the output's name
    most_score_difference: Annotated[float, Field(gt=0)]  # of the main figure, torch to ONNX
    int8: Int8Params


class AlgorithmParams(Card):
    """`algorithms/<name>/params.yaml`."""

    data: DataParams
    split: SplitParams
    tune: TuneParams
    train: TrainParams
    evaluate: EvaluateParams
    export: ExportParams

    def faults_for(self, task: str, path: Path) -> tuple[str, ...]:
        """A line for each value that belongs to another task."""
        faults = []
        for key, value, kinds in (
            ("train.loss", self.train.loss, LOSS_OF_TASK),
            ("evaluate", self.evaluate, ANSWERS_OF_TASK),
        ):
            wanted = kinds[task]
            if not isinstance(value, wanted):
                names, found = ", ".join(wanted.model_fields), ", ".join(type(value).model_fields)
                faults.append(
                    f"expected {names} (task {task}), found {found}, in {path}, key '{key}'"
                )
        return tuple(faults)
