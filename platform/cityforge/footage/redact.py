"""Makes faces and plates unreadable before a frame is stored, and looks again at what is stored."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, floor, hypot, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.dataset import Privacy, Redaction
from cityforge.errors import CheckFailed, FootageError
from cityforge.footage.detectors import (
    CASCADES,
    NEIGHBOURS,
    SAME_THING,
    Find,
    open_detectors,
    read_model,
    within,
)
from cityforge.footage.stills import encode_jpeg

Array = NDArray[Any]

REDACTION_VERSION = 1  # raised with every change of this file that gives other pictures
CELLS = 4  # at most 4×4 colours of a region survive
GREY = 128  # of what is filled
ROUNDS = 6  # of looking at the stored picture again
GROWTH = 0.25  # of a find's size, on each side and more in each round from the third on
# Two finds of the frames before and after are one thing that moved, where it moved by at most
# so many of its sizes and grew at most so many times.
REACH = 3.0
GROWN = 2.0


@dataclass(frozen=True)
class Redacted:
    """A frame as it may be stored, and the regions that were covered, padding included."""

    jpeg: bytes
    finds: list[Find]


def redactor_digest(privacy: Privacy, folder: Path) -> str | None:
    """16 hexadecimal digits that change with all that changes the result; None: nothing asked.

    Loads no model.

    Raises:
        CheckFailed: a detector's file is missing, or is another one than the card says.
    """
    if not privacy.redact:
        return None
    redaction = _asked(privacy)
    given = redaction.detectors or {}
    looks: dict[str, Any] = {}
    for kind in privacy.redact:
        if kind in given:
            read_model(given[kind], folder)
            looks[kind] = given[kind].model_dump(exclude={"path"})
        else:
            looks[kind] = _cascades(kind)
    said = {"version": REDACTION_VERSION, "looks": looks}
    said |= redaction.model_dump(exclude={"detectors"})
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _cascades(kind: str) -> list[str]:
    import cv2

    return [cv2.__version__, repr(CASCADES[kind]), str(NEIGHBOURS)]


def _asked(privacy: Privacy) -> Redaction:
    if not privacy.redact or privacy.redaction is None:
        raise CheckFailed(
            "a card that asks for redaction", found="none", where="dataset.yaml, key 'privacy'"
        )
    return privacy.redaction


class Redactor:
    """What a card asks to be removed, opened once in each process and used for every frame."""

    def __init__(self, privacy: Privacy, folder: Path) -> None:
        """Open the detectors; see `open_detectors` for what it raises."""
        self._redaction = _asked(privacy)
        self.digest = redactor_digest(privacy, folder) or ""
        self._detectors = open_detectors(privacy, folder)

    def redact(
        self, bgr: Array, before: Array | None = None, after: Array | None = None
    ) -> Redacted:
        """Cover what is found in a frame or held from its neighbours, until nothing is found.

        Args:
            bgr: (H, W, 3) uint8.
            before: the film's frame `hold_s` before, alike.
            after: the film's frame `hold_s` behind, alike.

        Raises:
            FootageError: after some rounds the detector still finds something.
        """
        height, width = bgr.shape[:2]
        detected = self._look(bgr)
        held = carried(self._look_beside(before, bgr), self._look_beside(after, bgr))
        finds = [
            _padded(each, self._redaction.padding, width, height)
            for each in detected + _missed(held, detected)
        ]
        return self._checked(covered(bgr, finds, self._redaction.method), finds)

    def _checked(self, bgr: Array, finds: list[Find]) -> Redacted:
        height, width = bgr.shape[:2]
        for turn in range(ROUNDS + 1):
            jpeg = encode_jpeg(bgr)
            left = self._look(decode_jpeg(jpeg))
            if not left:
                return Redacted(jpeg, finds)
            padding = self._redaction.padding + GROWTH * max(0, turn - 1)
            more = [
                _padded(replace(each, found="checked"), padding, width, height) for each in left
            ]
            bgr = covered(bgr, more, "fill" if turn else self._redaction.method)
            finds = finds + more
        raise FootageError(
            "a frame that can be made private",
            found=f"{len(left)} × {', '.join(sorted({each.kind for each in left}))} left "
            f"after {ROUNDS} rounds",
        )

    def _look(self, bgr: Array) -> list[Find]:
        return [find for detector in self._detectors for find in detector.find(bgr)]

    def _look_beside(self, neighbour: Array | None, bgr: Array) -> list[Find]:
        """Finds of a neighbour in pixels of this frame: a stream may change its size."""
        if neighbour is None:
            return []
        x, y = bgr.shape[1] / neighbour.shape[1], bgr.shape[0] / neighbour.shape[0]
        return [
            replace(each, x1=each.x1 * x, y1=each.y1 * y, x2=each.x2 * x, y2=each.y2 * y)
            for each in self._look(neighbour)
        ]


def decode_jpeg(jpeg: bytes) -> Array:
    """(H, W, 3) uint8 BGR, as a reader of the stored frame gets it."""
    import cv2

    bgr: Array | None = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise FootageError("a JPEG", found=f"{len(jpeg)} other bytes")
    return bgr


def covered(bgr: Array, regions: list[Find], method: str) -> Array:
    """A copy of (H, W, 3) with each region unreadable; of `fill` one colour survives, else 4×4.

    The largest comes last, so that what smaller ones left within it is averaged again.
    """
    picture = bgr.copy()
    for region in sorted(regions, key=_area):
        x1, y1, x2, y2 = (int(each) for each in (region.x1, region.y1, region.x2, region.y2))
        picture[y1:y2, x1:x2] = _unreadable(picture[y1:y2, x1:x2], method)
    return picture


def _unreadable(part: Array, method: str) -> Array:
    import cv2

    if method == "fill":
        return np.full_like(part, GREY)
    height, width = part.shape[:2]
    few = cv2.resize(part, (min(CELLS, width), min(CELLS, height)), interpolation=cv2.INTER_AREA)
    up = cv2.INTER_NEAREST if method == "pixelate" else cv2.INTER_LINEAR
    coarse: Array = cv2.resize(few, (width, height), interpolation=up)
    return coarse


def carried(before: list[Find], after: list[Find]) -> list[Find]:
    """Where the finds of two neighbours are in the frame midway.

    What is in both is interpolated; what is in one of them stays at its place.
    """
    pairs = _pairs(before, after)
    alone = [each for i, each in enumerate(before) if i not in {i for i, _ in pairs}]
    alone += [each for j, each in enumerate(after) if j not in {j for _, j in pairs}]
    midway = [_midway(before[i], after[j]) for i, j in pairs]
    return [replace(each, found="held") for each in midway + alone]


def _pairs(before: list[Find], after: list[Find]) -> list[tuple[int, int]]:
    """Nearest first, each find in one pair at most."""
    moves = sorted(
        (_move(before[i], after[j]), i, j)
        for i, j in product(range(len(before)), range(len(after)))
    )
    pairs: list[tuple[int, int]] = []
    for move, i, j in moves:
        free = all(i != a and j != b for a, b in pairs)
        if move <= REACH and free:
            pairs.append((i, j))
    return pairs


def _move(a: Find, b: Find) -> float:
    """How far a thing moved, in sizes of itself; without end where it is no longer the same."""
    sizes = sqrt(_area(a)), sqrt(_area(b))
    if a.kind != b.kind or max(sizes) > GROWN * min(sizes):
        return float("inf")
    return hypot(a.x1 + a.x2 - b.x1 - b.x2, a.y1 + a.y2 - b.y1 - b.y2) / sum(sizes)


def _midway(a: Find, b: Find) -> Find:
    x1, y1, x2, y2 = (a.x1 + b.x1) / 2, (a.y1 + b.y1) / 2, (a.x2 + b.x2) / 2, (a.y2 + b.y2) / 2
    return Find(a.kind, x1, y1, x2, y2, max(a.score, b.score), "held")


def _missed(held: list[Find], detected: list[Find]) -> list[Find]:
    """Of what is held that alone which the frame's own finds do not cover."""
    return [each for each in held if all(_overlap(each, own) < SAME_THING for own in detected)]


def _overlap(a: Find, b: Find) -> float:
    """Intersection over union; 0 of two kinds."""
    shared = _shared(a, b)
    return shared / (_area(a) + _area(b) - shared) if a.kind == b.kind else 0.0


def _shared(a: Find, b: Find) -> float:
    """Area that two finds have in common, in pixels."""
    width = min(a.x2, b.x2) - max(a.x1, b.x1)
    height = min(a.y2, b.y2) - max(a.y1, b.y1)
    return max(0.0, width) * max(0.0, height)


def _area(find: Find) -> float:
    return (find.x2 - find.x1) * (find.y2 - find.y1)


def _padded(find: Find, padding: float, width: int, height: int) -> Find:
    """Grow a find by a share of its size on each side, to whole pixels of the picture."""
    x, y = padding * (find.x2 - find.x1), padding * (find.y2 - find.y1)
    grown = replace(
        find,
        x1=float(floor(find.x1 - x)),
        y1=float(floor(find.y1 - y)),
        x2=float(ceil(find.x2 + x)),
        y2=float(ceil(find.y2 + y)),
    )
    return within([grown], width, height)[0]
