"""Rules that turn what a network finds into events (`events` of an algorithm's card)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from cityforge.cards.dataset import ShownName
from cityforge.cards.yaml_files import Card

Seconds = Annotated[float, Field(gt=0, le=86400)]


class Rule(Card):
    """What every rule has: its own name, and the classes it looks at (none named: all)."""

    name: ShownName
    classes: Annotated[list[ShownName], Field(min_length=1)] | None = None


class LineCount(Rule):
    """Counts tracks that cross a line; each crossing is an event with its direction.

    `forward` is from the line's left to its right, looking from its first point to its second.
    """

    kind: Literal["line_count"]
    line: ShownName


class Dwell(Rule):
    """A track stays in a zone for `seconds` or more."""

    kind: Literal["dwell"]
    zone: ShownName
    seconds: Seconds


class Crowding(Rule):
    """More than `most` objects at once, for `seconds`; in a zone, or anywhere in the picture.

    Of a density algorithm the counted objects; it has no zones.
    """

    kind: Literal["crowding"]
    zone: ShownName | None = None
    most: Annotated[int, Field(ge=0)]
    seconds: Seconds


class WrongDirection(Rule):
    """A track moves against the direction allowed in a zone.

    `allowed_deg` is clockwise from the picture's right (90 is downwards); more than
    `tolerance_deg` off is wrong, once the track has gone `least_lengths` of its own box's
    longer side.
    """

    kind: Literal["wrong_direction"]
    zone: ShownName
    allowed_deg: Annotated[float, Field(ge=0, lt=360)]
    tolerance_deg: Annotated[float, Field(gt=0, lt=180)]
    least_lengths: Annotated[float, Field(gt=0)]


class Stopped(Rule):
    """A track moves less than a tenth of its box's longer side for `seconds`, anywhere or in a zone."""  # noqa: E501

    kind: Literal["stopped"]
    zone: ShownName | None = None
    seconds: Seconds


class IllegalParking(Rule):
    """A track stands still for `seconds` in a zone where parking is forbidden."""

    kind: Literal["illegal_parking"]
    zone: ShownName
    seconds: Seconds


class Absence(Rule):
    """Nobody of the classes is in the zone, a post, for `seconds`."""

    kind: Literal["absence"]
    zone: ShownName
    seconds: Seconds


class Presence(Rule):
    """Something of the classes is seen for `seconds`: an overflowing bin, a head without a helmet.

    In a zone or anywhere; of a classification algorithm the class itself, which has no zone.
    `gap_s` is how long it may be unseen in between.
    """

    kind: Literal["presence"]
    zone: ShownName | None = None
    seconds: Seconds
    gap_s: Annotated[float, Field(ge=0, le=3600)]


class Speed(Rule):
    """A track goes faster than `over_kmh`; needs the ground points of the camera's card."""

    kind: Literal["speed"]
    zone: ShownName | None = None
    over_kmh: Annotated[float, Field(gt=0)]


EventRule = Annotated[
    LineCount
    | Dwell
    | Crowding
    | WrongDirection
    | Stopped
    | IllegalParking
    | Absence
    | Presence
    | Speed,
    Field(discriminator="kind"),
]

# Tasks other than detection know no boxes: the one kind of rule they can answer, without a zone.
WITHOUT_BOXES = {"classification": "presence", "density": "crowding"}


def refuse_unfit_rules(rules: Sequence[EventRule], task: str, classes: Sequence[str]) -> None:
    """Hold rules against the task and classes of their algorithm.

    Raises:
        ValueError: a name twice, a class that is none, or a rule that the task cannot answer.
    """
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"names of events that differ, found '{name}' twice")
    for rule in rules:
        unknown = sorted(set(rule.classes or ()) - set(classes))
        if unknown:
            raise ValueError(f"classes of the algorithm in event '{rule.name}', found {unknown[0]}")
        only = WITHOUT_BOXES.get(task)
        if only and (rule.kind != only or getattr(rule, "zone", None)):
            raise ValueError(f"of task {task} only {only} without a zone, found '{rule.name}'")
