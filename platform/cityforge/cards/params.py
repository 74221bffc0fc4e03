"""How things are made: the tracked values of `params.yaml` files. No defaults here."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

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


class SplitParams(Card):
    """How frames part into train, val and test; frames of one group stay together."""

    group: Literal["footage", "day", "camera", "name"]
    pattern: str  # regular expression with one group, for group: name
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


class TuneParams(Card):
    """The search before the training; 0 trials means the values of `train` as they are."""

    trials: Annotated[int, Field(ge=0)]
    epochs: Annotated[int, Field(ge=1)]
    minutes: Annotated[float, Field(gt=0)]
    train_share: Annotated[float, Field(gt=0, le=1)]
    learning_rate: LowHigh
    weight_decay: LowHigh
    box_weight: LowHigh
    seed: Seed

    @field_validator("learning_rate", "weight_decay", "box_weight")
    @classmethod
    def _a_range(cls, value: LowHigh) -> LowHigh:
        if not 0 < value[0] <= value[1]:
            raise ValueError("two numbers above 0, the lower first")
        return value


class TrainParams(Card):
    """One training. A value that `tune` searched is replaced by what it found."""

    epochs: Annotated[int, Field(ge=1)]
    minutes: Annotated[float, Field(gt=0)]  # stops with the step that passes it
    batch: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    weight_decay: Annotated[float, Field(ge=0)]
    box_weight: Annotated[float, Field(gt=0)]
    warmup_epochs: Annotated[float, Field(ge=0)]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    patience: Annotated[int, Field(ge=1)]  # validations without a better mAP50
    validate_every: Annotated[int, Field(ge=1)]  # epochs
    precision: Literal["auto", "float32", "bfloat16"]
    flip: Share
    scale: LowHigh
    mosaic: Share
    colour: Share
    seed: Seed


class EvaluateParams(Card):
    """From raw network output to answers."""

    score_floor: Share  # under it a box is not even a candidate
    overlap: Share  # IoU over which the weaker box of a class is dropped
    max_boxes: Annotated[int, Field(ge=1, le=1000)]


class ExportParams(Card):
    """The ONNX file and how far it may differ from torch."""

    opset: Annotated[int, Field(ge=13)]
    parity_frames: Annotated[int, Field(ge=1)]
    max_box_difference_px: Annotated[float, Field(gt=0)]
    max_score_difference: Annotated[float, Field(gt=0)]


class AlgorithmParams(Card):
    """`algorithms/<name>/params.yaml`."""

    data: DataParams
    split: SplitParams
    tune: TuneParams
    train: TrainParams
    evaluate: EvaluateParams
    export: ExportParams
