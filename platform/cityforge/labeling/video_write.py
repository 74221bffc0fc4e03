"""Tracks of frame labels to Label Studio's keyframed video boxes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf, isfinite

from cityforge.labeling.formats.rows import LabelledBox, Rejected

Row = dict[str, object]
Edges = tuple[float, float, float, float]  # xyxy, pixels
# What interpolation may differ from a label by, at any edge; 0.001 px is promised.
EXACT_PX = 0.0005
# Ids that Label Studio keeps as they are: it cuts them at '#'.
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,60}")


def video_result(
    boxes: Iterable[LabelledBox],
    frame_ids: Sequence[str],
    width: int,
    height: int,
    fps: float,
    from_name: str = "box",
    to_name: str = "video",
) -> tuple[list[Row], list[Rejected]]:
    """The `result` of a video task: one region for each track and class, sorted.

    Keyframes stand only where interpolation between others does not give the box already. A
    box without a track is a track of its own. A track id that Label Studio would change, or
    that stands for two classes, is kept in the region's `meta`.

    Args:
        boxes: `image` is a frame id; pixels of the stored frame.
        frame_ids: of the clip, in its order.
    """
    number_of = {frame_id: count for count, frame_id in enumerate(frame_ids, start=1)}
    tracks, rejected = _tracks(boxes, number_of)
    result: list[Row] = []
    taken: set[str] = set()
    for (track_id, cls, _), track in sorted(tracks.items(), key=lambda each: repr(each[0])):
        key = _region_id(track_id, cls, track, taken)
        taken.add(key)
        region: Row = {
            "id": key,
            "type": "videorectangle",
            "from_name": from_name,
            "to_name": to_name,
            "value": {
                "framesCount": len(frame_ids),
                "duration": len(frame_ids) / fps,
                "sequence": _sequence(track, len(frame_ids), width, height, fps),
                "labels": [cls],
            },
        }
        if track_id is not None and track_id != key:
            region["meta"] = {"track_id": track_id}
        result.append(region)
    return result, rejected


Tracks = dict[tuple[str | None, str, int], dict[int, Edges]]


def _tracks(
    boxes: Iterable[LabelledBox], number_of: dict[str, int]
) -> tuple[Tracks, list[Rejected]]:
    """Boxes by track and class, then by frame of the clip (from 1)."""
    tracks: Tracks = {}
    rejected = []
    for count, box in enumerate(sorted(boxes, key=_order)):
        number = number_of.get(box.image)
        own = count if box.track_id is None else -1
        track = tracks.get((box.track_id, box.cls, own), {})
        reason = ""
        if number is None:
            reason = "a box on no frame of the clip"
        elif number in track:
            reason = "a second box of one track on one frame"
        elif not (box.x1 < box.x2 and box.y1 < box.y2):
            reason = "a box of no size"
        elif not all(map(isfinite, (box.x1, box.y1, box.x2, box.y2))):
            reason = "a box that is not finite"
        else:
            track[number] = (box.x1, box.y1, box.x2, box.y2)
            tracks[box.track_id, box.cls, own] = track
        if reason:
            rejected.append(
                Rejected(where=box.where, reason=reason, found=box.image, image=box.image)
            )
    return tracks, rejected


def _order(box: LabelledBox) -> tuple[object, ...]:
    edges = box.x1, box.y1, box.x2, box.y2
    return box.image, box.cls, box.track_id or "", edges, box.where


def _region_id(track_id: str | None, cls: str, track: dict[int, Edges], taken: set[str]) -> str:
    if track_id is not None and _PLAIN_ID.fullmatch(track_id) and track_id not in taken:
        return track_id
    said = repr((track_id, cls, sorted(track.items())))
    key = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
    return next(key[:size] for size in range(10, 65) if key[:size] not in taken)


def _sequence(
    track: dict[int, Edges], count: int, width: int, height: int, fps: float
) -> list[Row]:
    """Keyframes of a track; the last of each run of frames ends its span."""
    sequence: list[Row] = []
    for run in _runs(sorted(track)):
        kept = _needed(run, [track[number] for number in run])
        for at in kept:
            x1, y1, x2, y2 = track[run[at]]
            sequence.append(
                {
                    "frame": run[at],
                    # At the end of the clip there is nothing left to hide it from.
                    "enabled": at != kept[-1] or run[at] == count,
                    "rotation": 0,
                    "x": x1 / width * 100,
                    "y": y1 / height * 100,
                    "width": (x2 - x1) / width * 100,
                    "height": (y2 - y1) / height * 100,
                    "time": run[at] / fps,  # as Label Studio states it
                }
            )
    return sequence


def _runs(numbers: list[int]) -> list[list[int]]:
    """Runs of numbers that follow one another.

    >>> _runs([1, 2, 4])
    [[1, 2], [4]]
    """
    runs = [numbers[:1]]
    for one, other in pairwise(numbers):
        if other == one + 1:
            runs[-1].append(other)
        else:
            runs.append([other])
    return runs


def _needed(run: list[int], edges: list[Edges]) -> list[int]:
    """Indices of the boxes that the others of the run follow from, within EXACT_PX.

    From each kept box the next reaches as far as one straight line serves all between: for each
    edge, the slopes that pass every box on the way are an interval that only narrows
    (the cone of Reumann and Witkam, The Visual Computer 1974, with its end on a box).
    """
    kept = [0]
    low, high = [-inf] * 4, [inf] * 4
    for at in range(1, len(run)):
        start = kept[-1]
        slopes = _slopes(edges[start], edges[at], at - start)
        if any(not a <= slope <= b for a, slope, b in zip(low, slopes, high, strict=True)):
            kept.append(at - 1)
            start = at - 1
            slopes = _slopes(edges[start], edges[at], 1)
            low, high = [-inf] * 4, [inf] * 4
        reach = EXACT_PX / (at - start)
        low = [max(a, slope - reach) for a, slope in zip(low, slopes, strict=True)]
        high = [min(b, slope + reach) for b, slope in zip(high, slopes, strict=True)]
    if kept[-1] != len(run) - 1:
        kept.append(len(run) - 1)
    return kept


def _slopes(start: Edges, end: Edges, steps: int) -> list[float]:
    return [(b - a) / steps for a, b in zip(start, end, strict=True)]
