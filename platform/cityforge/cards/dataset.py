"""What a dataset is: its classes, cameras, law and checks (`datasets/<name>/dataset.yaml`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from cityforge.cards.labeling import Labeling, OntologyChange
from cityforge.cards.yaml_files import Card

FolderName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{2,63}$")]
ShownName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]


class OntologyClass(Card):
    """One class, with a definition that an annotator can decide by."""

    name: ShownName
    definition: Annotated[str, Field(min_length=1)]
    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] | None = None  # in Label Studio
    hotkey: Annotated[str, Field(pattern=r"^[a-z0-9]$")] | None = None


class Camera(Card):
    """One camera; the height and pitch are what later judges an algorithm's envelope."""

    name: ShownName
    site: ShownName
    height_m: Annotated[float, Field(gt=0, le=500)] | None = None
    pitch_deg: Annotated[float, Field(ge=-90, le=90)] | None = None  # 90 looks straight down
    mobile: bool | None = None  # on a drone or a vehicle: it has no background that stays


Kind = Literal["face", "plate"]


class OnnxDetector(Card):
    """A detector of faces or plates as an ONNX file.

    Layouts of its answer, each for one picture:
    `scores_boxes`: scores (1, A, C) and boxes (1, A, 4) xyxy as shares of the picture; class 0 is
    the background where C is more than one. `yolo`: (1, 4 + C, A) cxcywh in pixels of the input.
    `rows`: (1, A, 6) or (A, 6): xyxy in pixels of the input, score, class.
    """

    path: Annotated[str, Field(min_length=1)]  # from the dataset's folder, or absolute
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    width: Annotated[int, Field(ge=32, le=4096)]
    height: Annotated[int, Field(ge=32, le=4096)]
    layout: Literal["scores_boxes", "yolo", "rows"]
    mean: float  # input = (pixel - mean) / divide_by
    divide_by: Annotated[float, Field(gt=0)]
    colour: Literal["rgb", "bgr"]
    score: Annotated[float, Field(gt=0, lt=1)]  # from here on a find counts
    tiles: Annotated[int, Field(ge=1, le=8)]  # also looks at tiles × tiles overlapping parts


class Redaction(Card):
    """How what must not be seen is made unreadable; OpenCV's cascades where no file is given."""

    method: Literal["blur", "pixelate", "fill"]
    padding: Annotated[float, Field(ge=0, le=1)]  # of the box's size, on each side
    hold_s: Annotated[float, Field(ge=0, le=2)]  # a find also covers frames this much away
    detectors: dict[Kind, OnnxDetector] | None = None


class Privacy(Card):
    """The law a dataset stands on, and what must be removed before a frame is stored."""

    grade: Literal["public", "internal", "personal", "sensitive"]
    lawful_basis: Annotated[str, Field(min_length=1)]
    redact: list[Kind]
    redaction: Redaction | None = None
    retention_days: Annotated[int, Field(ge=1, le=36500)]

    @model_validator(mode="after")
    def _redaction_is_described(self) -> Privacy:
        if self.redact and self.redaction is None:
            raise ValueError("privacy.redaction (method, padding, hold_s), which redact needs")
        if self.redaction and set(self.redaction.detectors or ()) - set(self.redact):
            raise ValueError("detectors only of what redact names")
        return self


class Sampling(Card):
    """Which frames of a film are taken; a still photograph is always taken.

    `every` takes the first frame at or behind each multiple of `seconds` of film time (0: all).
    The others look for something, and take at most one frame in each `seconds`:
    `keyframes` those that stand alone in the stream, `scene` the first of a new scene,
    `motion` those in which something moves.
    """

    policy: Literal["every", "keyframes", "scene", "motion"]
    seconds: Annotated[float, Field(ge=0, le=3600)]
    offset_s: Annotated[float, Field(ge=0, le=3600)] | None = None  # film time of the first one
    # scene: FFmpeg's scene score, 0 to 1; motion: share of the picture that changed, 0 to 1
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    per_hour: Annotated[int, Field(ge=1, le=36000)] | None = None  # at most, a camera
    # Bits of 64 in which a perceptual hash may differ from that of a frame already kept
    near_duplicates: Annotated[int, Field(ge=0, le=32)] | None = None

    @model_validator(mode="after")
    def _looking_has_a_threshold(self) -> Sampling:
        if self.policy in ("scene", "motion") and self.threshold is None:
            raise ValueError(f"sampling.threshold, which policy '{self.policy}' needs")
        return self


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
    labeling: Labeling = Labeling()
    ontology_changes: list[OntologyChange] = Field(default_factory=list)

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
