"""Several people's labels of one frame to one set, by the rule of the card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from cityforge.cards.labeling import Labeling
from cityforge.labeling.agreement import match_labels
from cityforge.labeling.fitting import XYXY
from cityforge.labeling.looks import Looks


@dataclass(frozen=True)
class Agreed:
    """One object as those who drew it put it together."""

    cls: int
    xyxy: XYXY  # coordinate-wise median
    members: list[tuple[int, int]]  # look and row of its labels, of the oldest look first


@dataclass(frozen=True)
class Verdict:
    """What stands on one frame."""

    voters: list[int]  # the looks that counted, the oldest first
    objects: list[Agreed]
    outvoted: int  # objects that the rule left out
    people: int  # who said something of the frame, those whom the rule left out too
    empty: bool  # people found nothing there, by the same rule
    by_truth: bool  # one look that is marked as ground truth decided alone

    @property
    def disputed(self) -> bool:
        """Whether neither an object nor emptiness found enough of them."""
        return bool(self.voters) and not self.objects and not self.empty


def decide(looks: Looks, frame: int, of_frame: Sequence[int], labeling: Labeling) -> Verdict:
    """Put the looks at one frame (the oldest first) together by the card's rule.

    Objects are matched regardless of class. An object's class is that of most of those who drew
    it, of several the newest one's. Of whole pictures with one class, `every` asks that all name
    the same; the other rules take that of most. A frame is empty when as many as the rule asks
    for found nothing on it. A look all of whose regions had to be refused does not count.
    """
    said = [look for look in of_frame if looks.says_something(look)]
    people = len(said)
    truths = [look for look in said if looks.by(look).ground_truth]
    if truths:
        said = truths[-1:]
    elif labeling.consensus == "newest":
        said = said[-1:]
    groups = _groups(looks, frame, said, labeling)
    single = labeling.kind == "classes" and not labeling.several_classes
    kept = []
    for members in groups:
        one_name = len({int(looks.cls[row]) for _, row in members}) == 1
        agreed = one_name or not (single and labeling.consensus == "every")
        if agreed and _enough(len(members), len(said), labeling):
            kept.append(_put_together(looks, members))
    blank = sum(looks.first[look] == looks.first[look + 1] for look in said)
    empty = not kept and blank > 0 and _enough(int(blank), len(said), labeling)
    kept.sort(key=lambda each: (each.cls, each.xyxy))
    return Verdict(said, kept, len(groups) - len(kept), people, empty, bool(truths))


def _enough(those: int, of: int, labeling: Labeling) -> bool:
    if labeling.consensus == "majority":
        return 2 * those > of
    return those == of if labeling.consensus == "every" else those > 0


def _groups(
    looks: Looks, frame: int, said: Sequence[int], labeling: Labeling
) -> list[list[tuple[int, int]]]:
    """Labels that are the same object: look and row each, of every look one at most.

    Looks come in one after the other, the oldest first; each is matched with the medians of the
    groups so far.
    """
    groups: list[list[tuple[int, int]]] = []
    for look in said:
        rows = np.arange(looks.first[look], looks.first[look + 1])
        # The order in which a person drew does not matter.
        rows = rows[np.lexsort((looks.cls[rows], *looks.xyxy[rows].T))]
        free = set(range(len(rows)))
        if groups and len(rows):
            so_far = [_put_together(looks, members) for members in groups]
            matches = match_labels(
                np.array([each.xyxy for each in so_far]),
                np.array([each.cls for each in so_far], np.int32),
                looks.xyxy[rows],
                looks.cls[rows],
                labeling,
                looks.sizes[frame],
            )
            for group, at, _ in matches:
                groups[group].append((look, int(rows[at])))
                free.discard(at)
        groups += [[(look, int(rows[at]))] for at in sorted(free)]
    return groups


def _put_together(looks: Looks, members: list[tuple[int, int]]) -> Agreed:
    if len(members) == 1:
        row = members[0][1]
        return Agreed(int(looks.cls[row]), _xyxy(looks.xyxy[row].tolist()), members)
    named = [int(looks.cls[row]) for _, row in members]
    votes = Counter(named)
    most = max(votes.values())
    cls = next(each for each in reversed(named) if votes[each] == most)
    drawn = looks.xyxy[[row for _, row in members]].tolist()
    return Agreed(cls, _xyxy([median(edge) for edge in zip(*drawn, strict=True)]), members)


def _xyxy(edges: list[float]) -> XYXY:
    x1, y1, x2, y2 = edges
    return x1, y1, x2, y2
