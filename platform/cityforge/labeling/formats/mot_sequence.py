"""What stands beside a MOTChallenge file: seqinfo.ini, labels.txt, and cityforge.json."""

from __future__ import annotations

import configparser
from dataclasses import dataclass, field
from pathlib import Path

from cityforge.errors import LabelError
from cityforge.labeling.formats.files import read_json, read_text
from cityforge.labeling.formats.film import MAX_FRAMES, frame_name
from cityforge.labeling.formats.rows import LabelledImage
from cityforge.labeling.formats.values import (
    UnusableError,
    entries,
    fields,
    name,
    number,
    size,
    whole,
)

OWN_FILE = "cityforge.json"

# The classes of MOT16, MOT17 and MOT20, by number (arXiv:1603.00831, table 3; 13 is MOT20's).
CHALLENGE_CLASSES = dict(
    enumerate(
        (
            "pedestrian",
            "person on vehicle",
            "car",
            "bicycle",
            "motorbike",
            "non motorized vehicle",
            "static person",
            "distractor",
            "occluder",
            "occluder on the ground",
            "occluder full",
            "reflection",
            "crowd",
        ),
        start=1,
    )
)


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """A film as its folder describes it; frames are numbered from 1."""

    footage: str
    prefix: str = ""  # of frames' names, where several films share a label file
    width: int | None = None
    height: int | None = None
    length: int = 0  # frames; 0 where no file says
    frames_per_second: float | None = None
    picture: tuple[str, str] | None = None  # folder and suffix of the pictures
    stated: dict[int, LabelledImage] | None = None  # as cityforge wrote them
    tracks: dict[int, str] = field(default_factory=dict)  # names of tracks, as cityforge wrote them
    classes: dict[int, str] | None = None  # labels.txt, by number from 1

    def image(self, frame: int, where: str) -> LabelledImage:
        """A frame as an image.

        With a frame rate it has a moment, and the name of its picture; without one its name
        carries the number counted from 0, so that number / pictures per second is its moment.
        """
        if self.stated and frame in self.stated:
            return self.stated[frame]
        named, pts_s = frame_name(frame - 1), None
        if self.frames_per_second:
            pts_s = (frame - 1) / self.frames_per_second
            folder, suffix = self.picture or ("img1", ".jpg")
            named = f"{folder}/{frame:06d}{suffix}"
        return LabelledImage(
            name=self.prefix + named,
            width=self.width,
            height=self.height,
            footage=self.footage,
            pts_s=pts_s,
            where=where,
        )


def sequence_of(file: Path, *, prefix: str) -> Sequence:
    """The film that a gt.txt or det.txt speaks of, by the files beside it.

    Raises:
        LabelError: one of them is broken.
    """
    folder = file.parent.parent if file.parent.name in ("gt", "det") else file.parent
    info = _seqinfo(folder / "seqinfo.ini")
    own = folder / OWN_FILE
    try:
        pixels = size(info.get("imwidth"), "imWidth"), size(info.get("imheight"), "imHeight")
        footage = info.get("name") or folder.resolve().name or file.stem
        length = whole(info.get("seqlength") or 0, "seqLength")
        rate = number(info["framerate"], "frameRate") if info.get("framerate") else None
        if not 0 <= length <= MAX_FRAMES or (rate is not None and rate <= 0):
            raise UnusableError(f"seqLength is not to {MAX_FRAMES}, or frameRate", info)
        document = fields(read_json(own), OWN_FILE) if own.is_file() else {}
        footage = name(document.get("footage", footage), "footage")
        return Sequence(
            footage=footage,
            prefix=prefix,
            width=pixels[0],
            height=pixels[1],
            length=length,
            frames_per_second=rate,
            picture=(info.get("imdir") or "img1", info.get("imext") or ".jpg"),
            stated=_stated(document, footage, pixels) if document else None,
            tracks={
                whole(key, "track number"): name(said, "track id")
                for key, said in fields(document.get("tracks", {}), "tracks").items()
            },
            classes=_classes(file.parent / "labels.txt"),
        )
    except UnusableError as fault:
        raise LabelError(
            "a sequence's length, rate, size and frames",
            found=f"{fault.reason}: {fault.found}",
            where=str(folder),
            do=f"correct seqinfo.ini, or remove {OWN_FILE}",
        ) from None


def _seqinfo(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_text(path, "a seqinfo.ini"))
        return {key: text.strip() for key, text in parser["Sequence"].items()}
    except (configparser.Error, KeyError) as error:
        found = str(error).splitlines()[0]
        do = "correct it, or remove it"
        raise LabelError(
            "a seqinfo.ini with [Sequence]", found=found, where=str(path), do=do
        ) from None


def _classes(path: Path) -> dict[int, str] | None:
    """A class a line, as CVAT writes it; an empty line keeps its number and names nothing."""
    if not path.is_file():
        return None
    lines = read_text(path, "a labels.txt").split("\n")
    named = {number: line.strip() for number, line in enumerate(lines, start=1)}
    return {number: cls for number, cls in named.items() if cls}


def _stated(
    document: dict[str, object], footage: str, pixels: tuple[int | None, int | None]
) -> dict[int, LabelledImage]:
    stated: dict[int, LabelledImage] = {}
    for row in entries(document.get("frames"), "frames"):
        frame = fields(row, "frame")
        key, pts_s = whole(frame.get("frame"), "frame"), frame.get("pts_s")
        if key in stated or not 1 <= key <= MAX_FRAMES:
            raise UnusableError("frame is there already, or below 1", key)
        stated[key] = LabelledImage(
            name=name(frame.get("name"), "name"),
            width=pixels[0],
            height=pixels[1],
            footage=footage,
            pts_s=None if pts_s is None else number(pts_s, "pts_s"),
            where=f"{OWN_FILE} frame {key}",
        )
    return stated
