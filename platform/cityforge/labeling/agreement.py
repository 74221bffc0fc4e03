"""How well people agree who labelled the same frames: per pair, per class, and what they confuse.

F1 of two people's objects, matched one to one by IoU, takes neither for the truth; where most of
a picture is background it is the limit of Cohen's kappa (Hripcsak and Rothschild, 2005, Agreement,
the F-measure, and reliability in information retrieval, JAMIA 12(3)).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cityforge.cards.labeling import Labeling
from cityforge.labeling.looks import Looks

Array = npt.NDArray[np.float64]
Name = TypeVar("Name", bound=Hashable)

# Of two objects that overlap about as well, the one of the same class is the match.
SAME_CLASS = 1e-3
# Points are matched as squares of this side, in shares of the frame's longer one: at IoU 0.5
# two points that lie up to 2 % apart along one axis are the same.
POINT_SIDE = 0.06


@dataclass(frozen=True)
class PairAgreement:
    """Two people, over the frames that both annotated."""

    one: str
    other: str
    frames: int
    f1: float | None  # 0 to 1; None: neither drew anything
    mean_iou: float | None  # of matched objects, 0 to 1; None without any or without places
    kappa: float | None  # -1 to 1; classes of whole pictures, where one holds
    count_difference: float | None  # points: mean difference of their number a frame


@dataclass(frozen=True)
class ClassAgreement:
    """One class, over all pairs of people."""

    cls: str
    drawn: int  # by both sides together
    matched: int  # pairs
    f1: float | None
    mean_iou: float | None


@dataclass(frozen=True)
class Confusion:
    """Objects that one called `one` and another called `other`."""

    one: str
    other: str
    count: int


@dataclass(frozen=True)
class Agreement:
    """How well people agree; empty lists where no frame was annotated twice."""

    frames: int  # that at least two people annotated
    pairs: list[PairAgreement] = field(default_factory=list)
    classes: list[ClassAgreement] = field(default_factory=list)
    confusions: list[Confusion] = field(default_factory=list)  # the most frequent first


@dataclass
class Tally:
    """Matches counted so far of one pair, one class or one annotator."""

    frames: int = 0
    matched: int = 0  # of the same class
    one: int = 0  # objects of the one side
    other: int = 0
    overlap: float = 0.0  # sum of the IoU of matched objects of the same class
    difference: int = 0  # sum of the absolute difference in number, a frame
    answers: Counter[tuple[int, int]] = field(default_factory=Counter)  # of single classes

    @property
    def f1(self) -> float | None:
        """2 · matched / (one + other)."""
        drawn = self.one + self.other
        return 2 * self.matched / drawn if drawn else None

    @property
    def mean_iou(self) -> float | None:
        """Of matched objects of the same class."""
        return self.overlap / self.matched if self.matched else None


def agreement(looks: Looks, labeling: Labeling) -> Agreement:
    """Agreement of all who annotated the same frames."""
    pairs: dict[tuple[str, str], Tally] = {}
    classes = [Tally() for _ in looks.classes]
    confused: Counter[tuple[int, int]] = Counter()
    frames = 0
    for frame, of_frame in looks.by_frame():
        said = [look for look in of_frame if looks.says_something(look)]
        frames += len(said) > 1
        for a, b in combinations(said, 2):
            one, other = sorted((a, b), key=lambda look: _who(looks, look))
            key = _who(looks, one), _who(looks, other)
            tally = pairs.setdefault(key, Tally())
            tally_frame(looks, labeling, frame, one, other, tally, classes, confused)
    return Agreement(
        frames=frames,
        pairs=[_of_pair(key, pairs[key], labeling) for key in sorted(pairs)],
        classes=_of_classes(looks.classes, classes, labeling),
        confusions=[
            Confusion(looks.classes[a], looks.classes[b], count)
            for (a, b), count in sorted(confused.items(), key=lambda each: (-each[1], each[0]))
        ],
    )


def tally_frame(
    looks: Looks,
    labeling: Labeling,
    frame: int,
    one: int,
    other: int,
    tally: Tally,
    classes: Sequence[Tally],
    confused: Counter[tuple[int, int]],
) -> None:
    """Count what two looks at one frame have in common."""
    ours, theirs = looks.rows(one), looks.rows(other)
    matches = match_looks(looks, labeling, frame, ours, theirs)
    count_matches(looks.cls[ours], looks.cls[theirs], matches, tally, classes, confused)


def match_looks(
    looks: Looks, labeling: Labeling, frame: int, ours: slice, theirs: slice
) -> list[tuple[int, int, float]]:
    """Objects of two looks that are the same ones: their places in both, and IoU."""
    size = looks.sizes[frame]
    return match_labels(
        looks.xyxy[ours], looks.cls[ours], looks.xyxy[theirs], looks.cls[theirs], labeling, size
    )


def match_labels(
    one: Array,
    one_cls: npt.NDArray[np.int32],
    other: Array,
    other_cls: npt.NDArray[np.int32],
    labeling: Labeling,
    size: npt.NDArray[np.int32],
) -> list[tuple[int, int, float]]:
    """Match boxes, points or classes of one frame; see `match`.

    Classes of the whole picture match where they are the same; where the card asks for one, two
    that differ are the same object, called by two names.
    """
    if labeling.kind == "classes":
        known = {cls: place for place, cls in enumerate(other_cls.tolist())}
        same = [(i, known[cls], 1.0) for i, cls in enumerate(one_cls.tolist()) if cls in known]
        single = not labeling.several_classes and len(one_cls) == len(other_cls) == 1
        return same or ([(0, 0, 1.0)] if single else [])
    if labeling.kind == "points":
        one, other = as_squares(one, size), as_squares(other, size)
    same_class = one_cls[:, None] == other_cls[None, :]
    return match(one, other, labeling.match_iou, same_class)


def match(
    one: Array, other: Array, at_least: float, same_class: npt.NDArray[np.bool_] | None = None
) -> list[tuple[int, int, float]]:
    """Match boxes (N, 4) and (M, 4) one to one so that the sum of their IoU is greatest.

    The Hungarian method (Kuhn, 1955), over pairs of an IoU of `at_least`; regardless of class,
    which decides only between pairs that overlap about as well.
    """
    if not len(one) or not len(other):
        return []
    from scipy.optimize import linear_sum_assignment

    overlap = iou(one, other)
    gain = np.where(overlap >= at_least, overlap, 0.0)
    if same_class is not None:
        gain = np.where((gain > 0) & same_class, gain + SAME_CLASS, gain)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [
        (int(i), int(j), float(overlap[i, j]))
        for i, j in zip(rows, columns, strict=True)
        if gain[i, j] > 0
    ]


def iou(one: Array, other: Array) -> Array:
    """Intersection over union of boxes (N, 4) and (M, 4) xyxy: (N, M), 0 to 1."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other)]
    return np.asarray(both / (areas[0][:, None] + areas[1][None, :] - both))


def as_squares(points: Array, size: npt.NDArray[np.int32]) -> Array:
    """Points (N, 4), x1 = x2 and y1 = y2, as the squares that they are matched by."""
    half = POINT_SIDE * float(size.max()) / 2
    return np.asarray(points + np.array([-half, -half, half, half]))


def count_matches(
    one_cls: npt.NDArray[np.int32],
    other_cls: npt.NDArray[np.int32],
    matches: Iterable[tuple[int, int, float]],
    tally: Tally,
    classes: Sequence[Tally],
    confused: Counter[tuple[int, int]],
) -> None:
    """Add the matches of one frame to what was counted."""
    tally.frames += 1
    tally.one += len(one_cls)
    tally.other += len(other_cls)
    tally.difference += abs(len(one_cls) - len(other_cls))
    for cls in one_cls.tolist():
        classes[cls].one += 1
    for cls in other_cls.tolist():
        classes[cls].other += 1
    if len(one_cls) == len(other_cls) == 1:
        tally.answers[int(one_cls[0]), int(other_cls[0])] += 1
    for i, j, overlap in matches:
        a, b = int(one_cls[i]), int(other_cls[j])
        if a != b:
            confused[min(a, b), max(a, b)] += 1
            continue
        for each in (tally, classes[a]):
            each.matched += 1
            each.overlap += overlap


def cohens_kappa(answers: Mapping[tuple[Name, Name], int]) -> float | None:
    """Agreement of two people beyond chance (Cohen, 1960): (seen - chance) / (1 - chance).

    Args:
        answers: how often the one said the first and the other the second.

    >>> cohens_kappa({("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15})
    0.4
    """
    total = sum(answers.values())
    if not total:
        return None
    one: Counter[Name] = Counter()
    other: Counter[Name] = Counter()
    for (a, b), count in answers.items():
        one[a] += count
        other[b] += count
    seen = sum(count for (a, b), count in answers.items() if a == b) * total
    chance = sum(one[each] * other[each] for each in one)
    if chance == total * total:
        return None  # both always said the same one thing: chance alone explains it
    return (seen - chance) / (total * total - chance)


def _who(looks: Looks, look: int) -> str:
    annotation = looks.by(look)
    return annotation.annotator or f"unknown ({annotation.where})"


def _of_pair(key: tuple[str, str], tally: Tally, labeling: Labeling) -> PairAgreement:
    kind = labeling.kind
    single = kind == "classes" and not labeling.several_classes
    return PairAgreement(
        one=key[0],
        other=key[1],
        frames=tally.frames,
        f1=tally.f1,
        mean_iou=None if kind in ("classes", "points") else tally.mean_iou,
        kappa=cohens_kappa(tally.answers) if single else None,
        count_difference=tally.difference / tally.frames if kind == "points" else None,
    )


def _of_classes(
    names: Sequence[str], tallies: Sequence[Tally], labeling: Labeling
) -> list[ClassAgreement]:
    placeless = labeling.kind in ("classes", "points")
    return [
        ClassAgreement(
            cls=name,
            drawn=tally.one + tally.other,
            matched=tally.matched,
            f1=tally.f1,
            mean_iou=None if placeless else tally.mean_iou,
        )
        for name, tally in zip(names, tallies, strict=True)
        if tally.one + tally.other
    ]
