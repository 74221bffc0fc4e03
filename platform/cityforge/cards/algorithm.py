"""What an algorithm is: scene, classes, network, gates (`algorithms/<name>/algorithm.yaml`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from cityforge.cards.dataset import FolderName, ShownName, _no_doubles
from cityforge.cards.yaml_files import Card

Space = Literal[
    "road_traffic", "work_places", "living_and_crowds", "street_environment", "internet_content"
]
Range = tuple[float, float]


class Envelope(Card):
    """Conditions the algorithm was made for."""

    camera_height_m: Range
    pitch_deg: Range
    illumination: Annotated[list[Literal["day", "dusk", "night", "infrared"]], Field(min_length=1)]
    smallest_object_px: Annotated[int, Field(ge=1)]

    @field_validator("camera_height_m", "pitch_deg")
    @classmethod
    def _low_before_high(cls, value: Range) -> Range:
        if value[0] > value[1]:
            raise ValueError("the lower number first")
        return value


class Gate(Card):
    """A floor that a version must reach before anyone may approve it."""

    metric: Literal["map50", "map50_95", "map75", "ar100"]
    floor: Annotated[float, Field(ge=0, le=1)]


class Algorithm(Card):
    """The card of one algorithm."""

    name: FolderName
    title: ShownName
    space: Space
    task: Literal["detection"]
    dataset: FolderName
    classes: Annotated[list[ShownName], Field(min_length=1)]
    network: Annotated[str, Field(pattern=r"^[a-z]+/[a-z0-9_]+$")]
    events: list[dict[str, Any]]
    envelope: Envelope
    gates: list[Gate]
    target_devices: Annotated[list[ShownName], Field(min_length=1)]
    owner: ShownName

    @field_validator("classes")
    @classmethod
    def _class_names_differ(cls, classes: list[str]) -> list[str]:
        _no_doubles(classes)
        return classes
