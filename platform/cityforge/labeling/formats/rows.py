"""What a label file says, before it is matched with stored frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Task = Literal["detection", "classification", "density"]


@dataclass(frozen=True, kw_only=True)
class LabelledBox:
    """One label as its file states it: xyxy in pixels of the image the file speaks of.

    `task` says what it is: "detection" a box; "density" a point, x1 = x2 and y1 = y2;
    "classification" a class of the whole image, all four coordinates 0.
    """

    image: str  # the image as the file names it
    cls: str
    x1: float
    y1: float
    x2: float
    y2: float
    where: str  # file and row, for messages
    track_id: str | None = None
    annotator: str | None = None
    annotation_id: str | None = None
    lead_time_s: float | None = None
    updated_at: datetime | None = None
    origin: str = "imported"  # human, assisted, imported
    task: Task = "detection"


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """One image that a label file speaks of, with boxes or without any."""

    name: str
    width: int | None = None  # pixels, where the file states them
    height: int | None = None
    footage: str | None = None  # name of the film, or its id, where the image is a moment of one
    pts_s: float | None = None
    where: str = ""
    every_frame: bool = False  # a clip: stands for each stored frame of its footage


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row that cannot be used, and why."""

    where: str
    reason: str
    found: str
    image: str | None = None  # the image whose labels are incomplete without this row


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """All that one label file (or folder) says; nothing in it is dropped in silence."""

    source: str
    images: list[LabelledImage] = field(default_factory=list)
    boxes: list[LabelledBox] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
