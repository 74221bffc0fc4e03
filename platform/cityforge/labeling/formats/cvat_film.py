"""The films that a CVAT for video file speaks of, out of its `<meta>`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cityforge.errors import LabelError
from cityforge.labeling.formats.film import MAX_FRAMES, frame_name
from cityforge.labeling.formats.rows import LabelledImage
from cityforge.labeling.formats.values import UnusableError, name, number, size, whole

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_STEP = re.compile(r"step\s*=\s*(\d{1,6})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Film:
    """One task of CVAT: a film, and which of its frames were looked at."""

    footage: str
    prefix: str = ""  # of frames' names, where several films share a label file
    numbers: Sequence[int] | None = None  # ascending; None: the file does not say
    width: int | None = None
    height: int | None = None
    stated: dict[int, LabelledImage] = field(default_factory=dict)  # as cityforge wrote them

    def image(self, frame: int, where: str) -> LabelledImage:
        """A frame as an image: named by the file where it does, else by its number."""
        if frame in self.stated:
            return self.stated[frame]
        return LabelledImage(
            name=self.prefix + frame_name(frame),
            width=self.width,
            height=self.height,
            footage=self.footage,
            where=f"{where} frame {frame}",
        )


def films_in(meta: Element, source: str, *, several: bool) -> dict[str, Film]:
    """The films by the id of their task; `source` is the file's name.

    Raises:
        LabelError: frame numbers or sizes that are none, or more frames than a film has.
    """
    tasks = list(meta.iter("task")) or list(meta.iter("job")) or [meta]
    films: dict[str, Film] = {}
    try:
        for task in tasks:
            key = (task.findtext("id") or "").strip()
            films[key] = _film(meta, task, source, several=several or len(tasks) > 1)
    except UnusableError as fault:
        raise LabelError(
            "frame numbers and sizes in CVAT's <meta>",
            found=f"{fault.reason}: {fault.found}",
            where=source,
            do="export it again",
        ) from None
    return films


def _film(meta: Element, task: Element, source: str, *, several: bool) -> Film:
    own = task.find("cityforge")
    told = (task.findtext("source"), meta.findtext(".//source"), task.findtext("name"), source)
    footage = next(text.strip() for text in told if text and text.strip())
    pixels = task.find("original_size")
    if pixels is None:
        pixels = meta.find(".//original_size")
    width, height = (
        None if pixels is None else size((pixels.findtext(key) or "").strip(), key)
        for key in ("width", "height")
    )
    stated = {} if own is None else _stated(own, footage, (width, height), source)
    return Film(
        footage=footage,
        prefix=f"{footage}/" if several else "",
        numbers=_numbers(task) if own is None else sorted(stated),
        width=width,
        height=height,
        stated=stated,
    )


def _numbers(task: Element) -> range | None:
    step = _STEP.search(task.findtext("frame_filter") or "")
    every = max(1, int(step[1])) if step else 1
    first = _whole(task, "start_frame") or 0
    last, count = _whole(task, "stop_frame"), _whole(task, "size")
    if last is None:
        if count is None:
            return None
        last = first + (count - 1) * every
    if first < 0 or last >= MAX_FRAMES:
        raise UnusableError(f"frames outside 0 to {MAX_FRAMES - 1}", f"{first} to {last}")
    return range(first, last + 1, every)


def _whole(task: Element, tag: str) -> int | None:
    text = (task.findtext(tag) or "").strip()
    return whole(text, tag) if text else None


def _stated(
    own: Element, footage: str, pixels: tuple[int | None, int | None], source: str
) -> dict[int, LabelledImage]:
    stated: dict[int, LabelledImage] = {}
    for row in own.iterfind("frame"):
        frame = frame_number(row.get("id"))
        if frame in stated:
            raise UnusableError("frame is there already", frame)
        pts_s = row.get("pts_s")
        stated[frame] = LabelledImage(
            name=name(row.get("name"), "name"),
            width=pixels[0],
            height=pixels[1],
            footage=footage,
            pts_s=None if pts_s is None else number(pts_s, "pts_s"),
            where=f"{source} frame {frame}",
        )
    return stated


def frame_number(value: object) -> int:
    """A frame number, from 0.

    Raises:
        UnusableError: it is none, or beyond a film's length.
    """
    frame = whole(value, "frame")
    if not 0 <= frame < MAX_FRAMES:
        raise UnusableError(f"frame is not from 0 to {MAX_FRAMES - 1}", frame)
    return frame
