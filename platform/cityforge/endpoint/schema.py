"""What an endpoint is asked and what it answers; the OpenAPI description is made from this."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Box(BaseModel):
    """One object; xyxy in pixels of the picture as it was sent."""

    class_name: str = Field(examples=["car"])
    score: float = Field(ge=0, le=1, examples=[0.87])
    x1: float = Field(examples=[12.5])
    y1: float = Field(examples=[40.0])
    x2: float = Field(examples=[220.0])
    y2: float = Field(examples=[160.25])


class ClassScore(BaseModel):
    """A class of the whole picture."""

    name: str = Field(examples=["night"])
    score: float = Field(ge=0, le=1, examples=[0.97])


class Count(BaseModel):
    """How many objects of a class a picture shows; an estimate, so not a whole number."""

    name: str = Field(examples=["person"])
    count: float = Field(ge=0, examples=[41.7])


class DensityMap(BaseModel):
    """Where they are, one map for each class in the order of `counts`."""

    width: int = Field(description="cells in a row")
    height: int = Field(description="rows")
    cell: float = Field(description="side of a cell in pixels of the picture", examples=[16.0])
    values: list[list[float]] = Field(
        description="objects a cell, row after row from the upper left; one list for each class"
    )


class Mark(BaseModel):
    """A condition the algorithm was not proven in."""

    what: Literal["too_dark", "too_small", "camera_height", "camera_pitch", "camera_unmeasured"] = (
        Field(examples=["too_dark"])
    )
    found: str = Field(examples=["night"])
    proven: str = Field(examples=["day, dusk"])


class Sent(BaseModel):
    """One picture, in the order they were sent."""

    name: str = Field(examples=["frame.jpg"])
    width: int = Field(examples=[1280])
    height: int = Field(examples=[720])
    outside: list[Mark] = Field(description="conditions the algorithm was not proven in")


class Picture(Sent):
    """The answer of detection to one picture."""

    boxes: list[Box]


class ClassifiedPicture(Sent):
    """The answer of classification to one picture; without several labels the first counts."""

    classes: list[ClassScore]


class CountedPicture(Sent):
    """The answer of density to one picture."""

    counts: list[Count]


class MappedPicture(CountedPicture):
    """The answer of density with `?map=true`."""

    map: DensityMap


class Named(BaseModel):
    """Which model answers."""

    model: str = Field(examples=["demo_crossing"])
    version: int = Field(examples=[1])
    digest: str = Field(description="sha256 of the model's package")


class Prediction(Named):
    """The answer to one request."""

    request_id: str
    pictures: list[Picture | ClassifiedPicture | MappedPicture | CountedPicture] = Field(
        description="each as the model's task answers; /info says which task"
    )


class TrackedBox(Box):
    """One object in a frame of a clip."""

    track: int | None = Field(description="its track; none while it is not sure", examples=[7])


class Frame(BaseModel):
    """What one frame of a clip shows: `boxes`, `classes` or `counts`, as the task answers."""

    at_s: float = Field(description="film time of the frame, seconds", examples=[1.2])
    boxes: list[TrackedBox] | None = None
    classes: list[ClassScore] | None = None
    counts: list[Count] | None = None


class Track(BaseModel):
    """One object followed through a clip."""

    id: int = Field(examples=[7])
    class_name: str = Field(examples=["car"])
    score: float = Field(ge=0, le=1, description="mean of its boxes")
    first_s: float = Field(examples=[0.4])
    last_s: float = Field(examples=[3.8])
    frames: int = Field(description="in which it was seen", examples=[17])
    kmh: float | None = Field(default=None, description="median speed over the ground")


class Evidence(BaseModel):
    """A frame of an event, drawn: zone or line, the event's tracks with their paths."""

    at_s: float = Field(examples=[2.4])
    jpeg: str = Field(description="JPEG, base64")


class Event(BaseModel):
    """Something a rule of the algorithm asks for, that happened."""

    kind: str = Field(examples=["line_count"])
    rule: str = Field(description="its name in the algorithm's card", examples=["northbound"])
    start_s: float = Field(description="film time, seconds", examples=[2.4])
    end_s: float = Field(examples=[2.6])
    tracks: list[int] = Field(examples=[[7]])
    class_name: str | None = Field(default=None, examples=["car"])
    zone: str | None = Field(default=None, description="zone or line", examples=["stop line"])
    direction: Literal["forward", "backward"] | None = None
    value: float | None = Field(
        default=None, description="km/h of speed, most at once of crowding, degrees off a direction"
    )
    going_on: bool = Field(description="it had not ended when the clip did")
    confidence: float = Field(ge=0, le=1, description="mean score of its boxes")
    evidence: list[Evidence]


class LineTotal(BaseModel):
    """How many tracks of a class crossed a line in each direction."""

    rule: str
    line: str
    class_name: str
    forward: int
    backward: int


class Skipped(BaseModel):
    """A rule of the algorithm that could not be held against this clip."""

    rule: str
    why: str = Field(examples=["expected a zone 'post', found none in the request or the camera"])


class Clip(BaseModel):
    """The clip as it was read."""

    name: str
    width: int = Field(description="pixels, upright")
    height: int
    seconds: float = Field(description="film time from the first to the last frame looked at")
    frames: int = Field(description="that were looked at")
    damaged: int = Field(description="frames that did not decode")
    cut: str = Field(default="", description="why the end was not looked at; empty: it was")


class Analysis(Named):
    """The answer to one clip."""

    request_id: str
    clip: Clip
    frames: list[Frame]
    tracks: list[Track]
    events: list[Event]
    totals: list[LineTotal]
    skipped: list[Skipped]
    outside: list[Mark]


class About(Named):
    """The model, what it was approved on, and how this endpoint runs."""

    title: str
    task: str = Field(examples=["detection"])
    classes: list[str]
    input_width: int
    input_height: int
    score_threshold: float
    class_thresholds: dict[str, float] | None = Field(
        default=None,
        description="of each class, in place of score_threshold, where a picture may have several",
    )
    envelope: dict[str, Any]
    events: list[dict[str, Any]] = Field(description="rules of the algorithm's card")
    cameras: list[str] = Field(description="cameras whose card this endpoint has")
    approval: dict[str, Any] = Field(
        description="who approved it, when, why, and whether under a gate"
    )
    trust: str = Field(description="whose keys were asked: of the site, or those built in")
    refused: str = Field(
        description="why a newer release is not served; empty when none is refused"
    )
    open: bool = Field(description="anyone may call: no token is asked for")
    capture: str = Field(description="whether pictures are kept, and why not any more")
    limits: dict[str, float]


class CorrectedBox(BaseModel):
    """A box as it should have been; xyxy in pixels of the picture as it was sent."""

    model_config = ConfigDict(extra="forbid")

    class_name: str = Field(max_length=200, examples=["car"])
    x1: float = Field(ge=0, le=100_000, examples=[12.5])
    y1: float = Field(ge=0, le=100_000, examples=[40.0])
    x2: float = Field(ge=0, le=100_000, examples=[220.0])
    y2: float = Field(ge=0, le=100_000, examples=[160.25])


class Feedback(BaseModel):
    """Whether an answer was right, and what would have been."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(max_length=200)
    right: bool
    picture: int = Field(default=0, ge=0, le=1000, description="which of the request's pictures")
    boxes: list[CorrectedBox] | None = Field(default=None, max_length=1000)
    note: str = Field(default="", max_length=2000)


class Thanks(BaseModel):
    """Feedback that was stored."""

    request_id: str
    stored: bool


class Problem(BaseModel):
    """Why a request was refused."""

    error: str
    request_id: str
