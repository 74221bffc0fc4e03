"""Finds the stored frame that each image of a label file speaks of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa

from cityforge.errors import suggest
from cityforge.labeling.formats.rows import LabelledImage, Rejected

# A labelled moment and the stored frame nearest to it may differ by this much.
NEAREST_S = 0.02


@dataclass(frozen=True)
class FramesOfFilm:
    """How pictures that others cut from a film name their moment.

    `pattern` finds the picture's number in its name; number / `per_second` is its time.
    """

    footage: str
    pattern: re.Pattern[str]
    per_second: float


@dataclass(frozen=True)
class StoredFrame:
    """A frame as labels need it: id and size in pixels."""

    frame_id: str
    width: int
    height: int


class FrameFinder:
    """Looks frames up by frame id, by a still's name, or by film and moment."""

    def __init__(self, footage: pa.Table, frames: pa.Table, film: FramesOfFilm | None) -> None:
        self._film = film
        self._by_id: dict[str, StoredFrame] = {}
        self._moments: dict[str, list[tuple[float, StoredFrame]]] = {}
        columns = frames.select(["frame_id", "footage_id", "pts_s", "width", "height"])
        for row in columns.to_pylist():
            frame = StoredFrame(row["frame_id"], row["width"], row["height"])
            self._by_id[frame.frame_id] = frame
            self._moments.setdefault(row["footage_id"], []).append((row["pts_s"], frame))
        self._names: dict[str, str] = {}  # of footage, by its id
        self._by_whole_name: dict[str, list[str]] = {}
        self._by_name: dict[str, list[str]] = {}
        for row in footage.select(["footage_id", "name"]).to_pylist():
            self._names[row["footage_id"]] = row["name"]
            self._by_whole_name.setdefault(row["name"], []).append(row["footage_id"])
            for ending in _endings(row["name"]):
                self._by_name.setdefault(ending, []).append(row["footage_id"])

    def find(self, image: LabelledImage) -> StoredFrame | Rejected:
        """The stored frame of an image, or why there is none."""
        stem = PurePosixPath(image.name).stem
        if stem in self._by_id:
            return self._by_id[stem]
        name, moment = self._film_and_moment(image)
        if isinstance(moment, Rejected):
            return moment
        footage_ids = self._footage_named(name)
        if not footage_ids:
            return Rejected(where=image.where, reason="no footage of that name", found=name)
        if len(footage_ids) > 1:
            reason = f"{len(footage_ids)} files of that name; give its folder too"
            return Rejected(where=image.where, reason=reason, found=name)
        return self._nearest(footage_ids[0], moment, image)

    def whole(self, image: LabelledImage) -> list[StoredFrame] | Rejected:
        """Every stored frame of a clip in the order of time, or why there is none.

        A clip is named by the id of its footage, or by its name, whole or the end of it; a file
        of that name in another folder is another clip.
        """
        if image.footage is not None:
            ids = [image.footage] if image.footage in self._names else []
            unknown = "a clip that the dataset does not hold; add it with cityforge footage add"
        else:
            ids = [
                each
                for each in self._footage_named(image.name)
                if self._names[each] in _endings(image.name)
                or image.name in _endings(self._names[each])
            ]
            unknown = f"no footage of that name ({suggest(image.name, self._names.values())})"
        if len(ids) != 1:
            reason = f"{len(ids)} files of that name; give its folder too" if ids else unknown
            return Rejected(where=image.where, reason=reason, found=image.name)
        moments = sorted(self._moments.get(ids[0], []), key=lambda each: each[0])
        if not moments:
            return Rejected(where=image.where, reason="no frame stored of it", found=image.name)
        return [frame for _, frame in moments]

    def _film_and_moment(self, image: LabelledImage) -> tuple[str, float | Rejected]:
        if image.footage is not None and image.pts_s is not None:
            return image.footage, image.pts_s
        if self._film is None:
            return image.name, 0.0
        found = self._film.pattern.search(image.name)
        if found is None:
            reason = f"no number where the pattern {self._film.pattern.pattern} looks for it"
            return image.name, Rejected(where=image.where, reason=reason, found=image.name)
        return self._film.footage, int(found.group(1)) / self._film.per_second

    def _footage_named(self, name: str) -> list[str]:
        for ending in _endings(name):
            # A whole name comes first: `a.jpg` is no doubt about `deep/a.jpg`.
            found = self._by_whole_name.get(ending) or self._by_name.get(ending)
            if found:
                return found
        return []

    def _nearest(
        self, footage_id: str, moment: float, image: LabelledImage
    ) -> StoredFrame | Rejected:
        moments = self._moments.get(footage_id, [])
        if not moments:
            return Rejected(where=image.where, reason="no frame stored of it", found=image.name)
        pts_s, frame = min(moments, key=lambda each: abs(each[0] - moment))
        if abs(pts_s - moment) > NEAREST_S:
            reason = f"no stored frame at {moment:.3f} s; the nearest is at {pts_s:.3f} s"
            return Rejected(where=image.where, reason=reason, found=image.name)
        return frame


def _endings(name: str) -> list[str]:
    """A name and its shorter endings, the longest first.

    >>> _endings("valid/images/a.jpg")
    ['valid/images/a.jpg', 'images/a.jpg', 'a.jpg']
    """
    parts = PurePosixPath(name).parts
    return ["/".join(parts[start:]) for start in range(len(parts))]
