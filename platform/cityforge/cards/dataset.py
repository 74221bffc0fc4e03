"""What a dataset is: its classes, cameras, law and checks (`datasets/<name>/dataset.yaml`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from cityforge.cards.yaml_files import Card

FolderName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{2,63}$")]
ShownName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]


class OntologyClass(Card):
    """One class, with a definition that an annotator can decide by."""

    name: ShownName
    definition: Annotated[str, Field(min_length=1)]


class Camera(Card):
    """One camera; the height and pitch are what later judges an algorithm's envelope."""

    name: ShownName
    site: ShownName
    height_m: Annotated[float, Field(gt=0, le=500)] | None = None
    pitch_deg: Annotated[float, Field(ge=-90, le=90)] | None = None  # 90 looks straight down


class Privacy(Card):
    """The law a dataset stands on, and what must be removed before a frame is stored."""

    grade: Literal["public", "internal", "personal", "sensitive"]
    lawful_basis: Annotated[str, Field(min_length=1)]
    redact: list[Literal["face", "plate"]]
    retention_days: Annotated[int, Field(ge=1, le=36500)]


class Sampling(Card):
    """Which frames of a film are taken; a still photograph is always taken."""

    policy: Literal["every"]
    seconds: Annotated[float, Field(ge=0, le=3600)]  # 0 takes every frame


class Checks(Card):
    """Floors under which no snapshot is made."""

    min_frames: Annotated[int, Field(ge=1)]
    min_boxes_per_class: Annotated[int, Field(ge=0)]
    min_box_px: Annotated[float, Field(ge=0)]
    max_rejected_share: Annotated[float, Field(ge=0, le=1)]


class Dataset(Card):
    """The card of one dataset."""

    name: FolderName
    title: ShownName
    classes: Annotated[list[OntologyClass], Field(min_length=1)]
    cameras: Annotated[list[Camera], Field(min_length=1)]
    privacy: Privacy
    licence: Annotated[str, Field(min_length=1)]
    sampling: Sampling
    checks: Checks

    @field_validator("classes")
    @classmethod
    def _class_names_differ(cls, classes: list[OntologyClass]) -> list[OntologyClass]:
        _no_doubles([entry.name for entry in classes])
        return classes

    @field_validator("cameras")
    @classmethod
    def _camera_names_differ(cls, cameras: list[Camera]) -> list[Camera]:
        _no_doubles([camera.name for camera in cameras])
        return cameras

    @property
    def class_names(self) -> list[str]:
        """Names of the ontology, in the card's order."""
        return [entry.name for entry in self.classes]


def _no_doubles(names: list[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"names that differ; '{doubled[0]}' stands twice")
