"""What an endpoint answers: the names of its JSON, and `.raw`, the JSON itself.

Boxes are xyxy in pixels of the picture as it was sent; a clip's of its upright frames.
A key that this version does not know is in `.raw` only.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from cityforge_client.errors import BadAnswer

T = TypeVar("T")


def raw_json() -> Any:
    return field(default_factory=dict, repr=False, compare=False)


def several(kind: type) -> Any:
    return field(metadata={"of": kind})


def perhaps(kind: type) -> Any:
    return field(default=None, metadata={"of": kind})


@dataclass(frozen=True)
class Box:
    """One object; `score` from 0 to 1."""

    class_name: str
    score: float
    x1: float
    y1: float
    x2: float
    y2: float
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class ClassScore:
    """A class of the whole picture."""

    name: str
    score: float
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class Count:
    """How many objects of a class; an estimate, so not a whole number."""

    name: str
    count: float
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class DensityMap:
    """Where they are: `values` has a list for each class, row after row from the upper left."""

    width: int
    height: int
    cell: float  # side in pixels of the picture
    values: tuple[list[float], ...]
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class Mark:
    """A condition the algorithm was not proven in."""

    what: str
    found: str
    proven: str
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class Picture:
    """The answer to one picture: `boxes`, `classes` or `counts`, as the model's task is."""

    name: str
    width: int
    height: int
    outside: tuple[Mark, ...] = several(Mark)
    boxes: tuple[Box, ...] | None = perhaps(Box)
    classes: tuple[ClassScore, ...] | None = perhaps(ClassScore)
    counts: tuple[Count, ...] | None = perhaps(Count)
    map: DensityMap | None = perhaps(DensityMap)
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class Prediction:
    """The answer to pictures, in the order they were sent."""

    model: str
    version: int
    digest: str
    request_id: str
    pictures: tuple[Picture, ...] = several(Picture)
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class TrackedBox:
    """One object in a frame; `track` is none while it is not sure."""

    class_name: str
    score: float
    x1: float
    y1: float
    x2: float
    y2: float
    track: int | None = None
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class Frame:
    """One frame of a clip, `at_s` seconds of film time."""

    at_s: float
    boxes: tuple[TrackedBox, ...] | None = perhaps(TrackedBox)
    classes: tuple[ClassScore, ...] | None = perhaps(ClassScore)
    counts: tuple[Count, ...] | None = perhaps(Count)
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class Track:
    """One object followed through a clip; `kmh` where the camera's ground is known."""

    id: int
    class_name: str
    score: float
    first_s: float
    last_s: float
    frames: int
    kmh: float | None = None
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class Evidence:
    """A frame of an event, drawn."""

    at_s: float
    jpeg: str  # base64
    raw: dict[str, Any] = raw_json()

    @property
    def picture(self) -> bytes:
        """The bytes of the JPEG."""
        return base64.b64decode(self.jpeg)


@dataclass(frozen=True)
class Event:
    """Something that a rule of the algorithm asks for, that happened."""

    kind: str
    rule: str
    start_s: float
    end_s: float
    tracks: tuple[int, ...]
    going_on: bool
    confidence: float
    evidence: tuple[Evidence, ...] = several(Evidence)
    class_name: str | None = None
    zone: str | None = None
    direction: str | None = None
    value: float | None = None
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class LineTotal:
    """How many tracks of a class crossed a line in each direction."""

    rule: str
    line: str
    class_name: str
    forward: int
    backward: int
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class Skipped:
    """A rule that could not be held against this clip."""

    rule: str
    why: str
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class Clip:
    """The clip as it was read; `cut` says why its end was not looked at."""

    name: str
    width: int
    height: int
    seconds: float
    frames: int
    damaged: int
    cut: str = ""
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class Analysis:
    """The answer to a clip."""

    model: str
    version: int
    digest: str
    request_id: str
    clip: Clip = several(Clip)
    frames: tuple[Frame, ...] = several(Frame)
    tracks: tuple[Track, ...] = several(Track)
    events: tuple[Event, ...] = several(Event)
    totals: tuple[LineTotal, ...] = several(LineTotal)
    skipped: tuple[Skipped, ...] = several(Skipped)
    outside: tuple[Mark, ...] = several(Mark)
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class About:
    """The model, what it was approved on, and how the endpoint runs."""

    model: str
    version: int
    digest: str
    title: str
    task: str
    classes: tuple[str, ...]
    input_width: int
    input_height: int
    score_threshold: float
    envelope: dict[str, Any]
    events: tuple[dict[str, Any], ...]
    cameras: tuple[str, ...]
    approval: dict[str, Any]
    trust: str
    refused: str
    open: bool
    capture: str
    limits: dict[str, float]
    class_thresholds: dict[str, float] | None = None  # in place of score_threshold
    raw: dict[str, Any] = raw_json()


@dataclass(frozen=True)
class Thanks:
    """Feedback that was stored."""

    request_id: str
    stored: bool
    raw: dict[str, Any] = raw_json()


def read(kind: type[T], raw: Any) -> T:
    """An answer of `kind` from its JSON.

    Raises:
        BadAnswer: it is none.

    >>> read(Count, {"name": "person", "count": 41.7})
    Count(name='person', count=41.7)
    """
    if not isinstance(raw, dict):
        raise BadAnswer(f"expected {kind.__name__} as a JSON object, found {raw!r:.60}")
    values: dict[str, Any] = {"raw": raw}
    for each in fields(kind):  # type: ignore[arg-type]
        if each.name in raw:
            values[each.name] = converted(raw[each.name], each.metadata.get("of"))
    try:
        return kind(**values)
    except TypeError as error:
        raise BadAnswer(f"expected the keys of {kind.__name__}, found: {error}") from error


def converted(value: Any, of: type | None) -> Any:
    if isinstance(value, list):
        return tuple(value if of is None else (read(of, each) for each in value))
    return value if of is None or value is None else read(of, value)
