"""One thing in a trace: what it is, what it came from, what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Node:
    """A thing with its neighbours on both sides.

    Attributes:
        kind: request, version, snapshot, subset, annotator, annotation, label, frame, film,
            weights, endpoint, bento or answers.
        id: by which `cityforge trace` finds it.
        text: one line for a person.
        facts: what is known of it; of many labels or frames columns, each a list.
        back: what it rests on.
        forward: what rests on it.
    """

    kind: str
    id: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    back: list[Node] = field(default_factory=list)
    forward: list[Node] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        own = {"kind": self.kind, "id": self.id, **self.facts}
        for name, nodes in (("back", self.back), ("forward", self.forward)):
            if nodes:
                own[name] = [each.as_dict() for each in nodes]
        return own


def number_of(count: int, one: str, many: str = "") -> str:
    """A count with its noun.

    >>> number_of(1, "label"), number_of(2000, "label")
    ('1 label', '2,000 labels')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def seconds(first: float, last: float) -> str:
    """A stretch of a film, such as `at 1.5 s` or `from 0.0 to 33.5 s`."""
    return f"at {first:.1f} s" if first == last else f"from {first:.1f} to {last:.1f} s"
