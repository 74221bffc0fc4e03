"""How people label a dataset, and how its ontology changed (parts of `dataset.yaml`)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cityforge.cards.yaml_files import Card

LabelKind = Literal["boxes", "classes", "points", "video"]
ConsensusRule = Literal["majority", "every", "any", "newest"]
ClassName = Annotated[str, Field(min_length=1)]


class Labeling(Card):
    """The project in Label Studio, and how several people's work becomes one set of labels.

    Consensus rules, over objects matched by IoU among those who annotated the frame:
    `majority` keeps what more than half of them drew, `every` what all drew, `any` what at least
    one drew, `newest` the annotation that was changed last. An annotation marked as ground truth
    always counts alone.
    """

    kind: LabelKind = "boxes"
    several_classes: bool = False  # classes: more than one may hold of a frame
    annotators: Annotated[int, Field(ge=1, le=20)] = 1  # annotations a frame
    consensus: ConsensusRule = "majority"
    match_iou: Annotated[float, Field(gt=0, lt=1)] = 0.5
    gold_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # of the queue: tasks of known answer
    polygons: Literal["refuse", "box"] = "refuse"  # box: the upright box around each


class SplitRule(Card):
    """Where a label of the old class becomes `to`: all conditions that are given must hold."""

    to: ClassName
    cameras: Annotated[list[str], Field(min_length=1)] | None = None
    min_aspect: Annotated[float, Field(gt=0)] | None = None  # width / height of the box
    max_aspect: Annotated[float, Field(gt=0)] | None = None
    min_height_px: Annotated[float, Field(gt=0)] | None = None
    max_height_px: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> SplitRule:
        if not self.model_fields_set - {"to"}:
            raise ValueError("at least one condition besides `to`")
        return self


class OntologyChange(Card):
    """One change of the classes; changes apply in the order of the card, to older labels only."""

    kind: Literal["rename", "merge", "split"]
    on: date  # labels of this day (UTC) and later are already in the new terms
    old: Annotated[list[ClassName], Field(min_length=1)]
    new: Annotated[list[ClassName], Field(min_length=1)]
    rules: list[SplitRule] = Field(
        default_factory=list
    )  # split: the first that holds decides; else people are asked

    @model_validator(mode="after")
    def _has_its_shape(self) -> OntologyChange:
        shape = {
            "rename": (len(self.old) == 1 and len(self.new) == 1, "one old and one new class"),
            "merge": (len(self.new) == 1, "one new class"),
            "split": (len(self.old) == 1 and len(self.new) > 1, "one old and several new classes"),
        }
        holds, wanted = shape[self.kind]
        if not holds:
            raise ValueError(f"{wanted} in a {self.kind}")
        if self.rules and self.kind != "split":
            raise ValueError("rules only in a split")
        for rule in self.rules:
            if rule.to not in self.new:
                raise ValueError(f"rules that lead to a new class; '{rule.to}' is none")
        return self
