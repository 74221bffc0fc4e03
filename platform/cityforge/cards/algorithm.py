"""What an algorithm is: scene, classes, network, gates (`algorithms/<name>/algorithm.yaml`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from cityforge.cards.dataset import FolderName, ShownName, _no_doubles
from cityforge.cards.events import EventRule, refuse_unfit_rules
from cityforge.cards.yaml_files import Card

Space = Literal[
    "road_traffic", "work_places", "living_and_crowds", "street_environment", "internet_content"
]
Range = tuple[float, float]
Task = Literal["detection", "classification", "density"]
# What a gate may ask of each kind of task.
METRICS: dict[str, tuple[str, ...]] = {
    "detection": ("map50", "map50_95", "map75", "ar100"),
    "classification": ("accuracy", "f1", "map"),
    "density": ("mae", "rmse", "relative_mae"),
}

# What a gate may ask of every task, with what it counts.
TRUST: dict[str, str] = {
    "latency_p50_ms": "milliseconds for one picture, median",
    "latency_p95_ms": "milliseconds for one picture, 95 of 100 are quicker",
    "parity_box_px": "largest difference of a box edge between torch and ONNX, pixels",
    "parity_answer": "largest difference of a score or count between torch and ONNX",
    "leak": "share of val and test with a near-duplicate in train",
    "checks_failed": "data checks of the dataset's card that were not met",
    "agreement": "of annotators, 0 to 1",
    "failures_passed": "share of the confirmed field failures that are answered rightly",
    "unseen": "the task's main figure on cameras never trained on",
    "seeds": "trainings that differ by their seed alone",
    "over_seeds": "the task's main figure on val, worse end of its interval over the seeds",
}


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


class PartOf(Card):
    """One slice of the test split."""

    by: Literal["camera", "hour", "lighting", "weather", "size", "crowding"]
    name: str


class Gate(Card):
    """What a version must keep before anyone may approve it: a floor, a ceiling, or a largest drop.

    `metric` is a figure of the task, or one of TRUST.
    """

    metric: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    floor: float | None = None
    ceiling: float | None = None
    # Against the champion: the low end of this version less the champion, paired bootstrap.
    most_drop: Annotated[float, Field(ge=0)] | None = None
    end: Literal["low", "high"] | None = None  # of the figure's interval, instead of the figure
    slice: PartOf | None = None
    device: str | None = None  # of latency: the processor's name, as a glob

    @model_validator(mode="after")
    def _known_and_one_limit(self) -> Gate:
        known = sorted({name for names in METRICS.values() for name in names} | set(TRUST))
        if self.metric not in known:
            raise ValueError(f"a metric ({', '.join(known)})")
        if sum(each is not None for each in (self.floor, self.ceiling, self.most_drop)) != 1:
            raise ValueError("either floor or ceiling, or most_drop")
        if self.metric in TRUST and (self.end or self.slice or self.most_drop is not None):
            raise ValueError(f"floor or ceiling alone beside '{self.metric}'")
        if self.device is not None and not self.metric.startswith("latency"):
            raise ValueError("device beside a latency")
        return self


class Choice(Card):
    """Which point of a tuning's front is taken: accuracy against measured latency."""

    prefer: Literal["best", "fastest"]
    least_score: Annotated[float, Field(ge=0, le=1)] | None = None  # on val
    most_ms: Annotated[float, Field(gt=0)] | None = None  # one picture on one core

    @model_validator(mode="after")
    def _fastest_above_something(self) -> Choice:
        if self.prefer == "fastest" and self.least_score is None:
            raise ValueError("least_score beside prefer: fastest")
        return self


class Algorithm(Card):
    """The card of one algorithm."""

    name: FolderName
    title: ShownName
    space: Space
    task: Task
    dataset: FolderName
    classes: Annotated[list[ShownName], Field(min_length=1)]
    network: Annotated[str, Field(pattern=r"^(own|[a-z]+/[a-z0-9_]+)$")]  # own: its network.py
    choice: Choice
    events: list[EventRule]
    envelope: Envelope
    gates: list[Gate]
    target_devices: Annotated[list[ShownName], Field(min_length=1)]
    owner: ShownName

    @model_validator(mode="after")
    def _parts_fit_the_task(self) -> Algorithm:
        if self.network != "own" and self.network.partition("/")[0] != self.task:
            raise ValueError(f"a network of task {self.task}, found '{self.network}'")
        for gate in self.gates:
            if gate.metric not in TRUST and gate.metric not in METRICS[self.task]:
                known = ", ".join(METRICS[self.task])
                raise ValueError(f"a metric of task {self.task} ({known}), found '{gate.metric}'")
        return self

    @model_validator(mode="after")
    def _events_fit(self) -> Algorithm:
        refuse_unfit_rules(self.events, self.task, self.classes)
        return self

    @field_validator("classes")
    @classmethod
    def _class_names_differ(cls, classes: list[str]) -> list[str]:
        _no_doubles(classes)
        return classes
