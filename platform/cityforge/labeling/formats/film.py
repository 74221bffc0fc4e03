"""Labels as formats for films hold them: numbered frames, and tracks of boxes over them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from cityforge.errors import LabelError
from cityforge.labeling.formats.gather import by_image, hold_only
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage, Task

# Eleven hours at 25 frames a second; a number beyond it is a mistake, and would fill the memory.
MAX_FRAMES = 1_000_000

_FRAME_NAME = re.compile(r"(?:^|/)frame_(\d{6,7})\.jpg$", re.ASCII)
_ON_THE_GRID_S = 0.001
_MOST_EMPTY = 100  # a grid with more frames than this for each labelled one is taken for chance

Pairs = list[tuple[LabelledImage, list[LabelledBox]]]


@dataclass(frozen=True, kw_only=True)
class FilmLabels:
    """The labels of one film; frames are numbered from 0 and ascend."""

    footage: str
    frames_per_second: float | None  # None: the numbers only count the labelled frames
    width: int | None
    height: int | None
    frames: list[tuple[int, LabelledImage, list[LabelledBox]]]

    @property
    def last(self) -> int:
        """Number of the last frame; -1 where there is none."""
        return self.frames[-1][0] if self.frames else -1


def frame_name(number: int) -> str:
    """Name of a frame, numbered from 0, that no file names; the import finds its number there.

    >>> frame_name(12)
    'frame_000012.jpg'
    """
    return f"frame_{number:06d}.jpg"


def by_film(
    labels: LabelFile, format_name: str, holds: tuple[Task, ...], frames_per_second: float | None
) -> list[FilmLabels]:
    """Labels film by film, checked for what a format of tracks can hold.

    Frames are numbered by `frames_per_second` of the film; where it is not given, by the grid
    that their moments lie on, by the number in their name, or else in their order.

    Raises:
        LabelError: a still, a label without track, a track twice in a frame, another task than
            the format holds, frames of several sizes in a film, or moments off the grid.
    """
    hold_only(labels, format_name, *holds)
    films: dict[str, Pairs] = {}
    for image, boxes in by_image(labels):
        if image.footage is None:
            raise _cannot(format_name, "moments of films", f"the still {image.name!r}")
        _check_boxes(format_name, boxes)
        films.setdefault(image.footage, []).append((image, boxes))
    return [
        _film(format_name, footage, pairs, frames_per_second) for footage, pairs in films.items()
    ]


def track_numbers(track_ids: Sequence[str]) -> dict[str, int]:
    """A number above 0 for each track: the id itself where all are plain numbers.

    >>> track_numbers(["7", "3"]), track_numbers(["7", "car"])
    ({'7': 7, '3': 3}, {'7': 1, 'car': 2})
    """
    if all(re.fullmatch(r"[1-9]\d{0,8}", track_id, re.ASCII) for track_id in track_ids):
        return {track_id: int(track_id) for track_id in track_ids}
    return {track_id: number for number, track_id in enumerate(dict.fromkeys(track_ids), start=1)}


def _check_boxes(format_name: str, boxes: list[LabelledBox]) -> None:
    seen: set[str] = set()
    for box in boxes:
        if not box.track_id:
            found = f"a '{box.cls}' without track id on {box.image!r}"
            raise _cannot(format_name, "tracks", found)
        if box.track_id in seen:
            found = f"track {box.track_id!r} twice on {box.image!r}"
            raise _cannot(format_name, "one label of a track in a frame", found)
        seen.add(box.track_id)


def _cannot(format_name: str, holds: str, found: str) -> LabelError:
    do = "leave it out, or write coco"
    return LabelError(f"{holds}, as {format_name} holds them", found=found, do=do)


def _film(format_name: str, footage: str, pairs: Pairs, rate: float | None) -> FilmLabels:
    sizes = {(image.width, image.height) for image, _ in pairs}
    if len(sizes) > 1:
        found = ", ".join(f"{width}x{height}" for width, height in sorted(sizes, key=str)[:3])
        raise _cannot(format_name, f"frames of one size in '{footage}'", found)
    numbers, known_rate = _numbers(footage, [image for image, _ in pairs], rate)
    rows = zip(numbers, pairs, strict=True)
    width, height = sizes.pop()
    return FilmLabels(
        footage=footage,
        frames_per_second=known_rate,
        width=width,
        height=height,
        frames=sorted(
            ((number, image, boxes) for number, (image, boxes) in rows), key=lambda row: row[0]
        ),
    )


def _numbers(
    footage: str, images: list[LabelledImage], rate: float | None
) -> tuple[list[int], float | None]:
    moments = [image.pts_s for image in images if image.pts_s is not None]
    if len(moments) < len(images):
        if rate is not None:
            found = "frames without a moment"
            raise LabelError("moments of frames to number them by", found=found, where=footage)
        return _numbers_of_names(images), None
    if rate is not None:
        return _numbers_on_grid(footage, moments, rate), rate
    grid = _grid_of(moments)
    if grid is not None:
        return [round(moment * grid) for moment in moments], grid
    order = sorted(range(len(moments)), key=lambda index: moments[index])
    places = {index: place for place, index in enumerate(order)}
    return [places[index] for index in range(len(moments))], None


def _numbers_of_names(images: list[LabelledImage]) -> list[int]:
    found = [_FRAME_NAME.search(image.name) for image in images]
    numbers = [int(match[1]) for match in found if match]
    if len(set(numbers)) == len(images) and max(numbers) < MAX_FRAMES:
        return numbers
    return list(range(len(images)))


def _numbers_on_grid(footage: str, moments: list[float], rate: float) -> list[int]:
    if not math.isfinite(rate) or rate <= 0:
        raise LabelError("frames per second above 0", found=str(rate), where=footage)
    numbers = [round(moment * rate) if math.isfinite(moment) else -1 for moment in moments]
    if min(numbers) < 0 or max(numbers) >= MAX_FRAMES or len(set(numbers)) < len(numbers):
        raise LabelError(
            f"each moment on a frame of its own, {rate:g} a second, below {MAX_FRAMES}",
            found=f"moments from {min(moments)} to {max(moments)} s",
            where=footage,
            do="give the frame rate of the film",
        )
    return numbers


def _grid_of(moments: list[float]) -> float | None:
    """Frames a second of the even grid that all moments lie on; None where there is none."""
    if len(set(moments)) < max(2, len(moments)) or not all(map(math.isfinite, moments)):
        return None
    ascending = sorted(moments)
    rate = round(1 / min(after - before for before, after in pairwise(ascending)), 6)
    last = round(ascending[-1] * rate)
    if ascending[0] < 0 or last >= min(MAX_FRAMES, _MOST_EMPTY * len(moments)):
        return None
    off = (abs(moment - round(moment * rate) / rate) for moment in moments) if rate else [1.0]
    return rate if max(off) < _ON_THE_GRID_S else None
