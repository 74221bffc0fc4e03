"""MOTChallenge text: `frame, id, left, top, width, height, conf, class, visibility` a row.

Frames, ids and pixels are counted from 1 (motchallenge.net/instructions): frame 1 is at 0 s, and
the left edge of the first pixel, at 0.0 here, is left = 1, so `x1 = left - 1`, `x2 = x1 + width`,
and the same for y. CVAT's and datumaro's own MOT files count pixels from 0, which no file says:
`first_pixel=0` reads and writes theirs; without it boxes lie one pixel further left and up.

A sequence is a folder with `gt/gt.txt` (or gt.txt alone), `gt/labels.txt` with a class a line as
CVAT writes it, and seqinfo.ini with size, frame rate, length and pictures. Without labels.txt a
class is the challenge's; rows of 10 columns (MOT15: world coordinates, no class) and rows without
a class are pedestrians. A row with conf 0 is one that the file itself takes no account of, and is
listed as such; confidence and visibility are not kept. `cityforge.json` beside seqinfo.ini, which
other tools pass over, carries names and moments of frames, and tracks that are no numbers.

motmetrics only reads boxes, without classes or what stands beside them; supervision does not know
the format; datumaro rounds to two decimals, counts pixels from 0, keeps neither rate nor film,
and cannot be installed beside pandas 3: none is used.
"""

from __future__ import annotations

import re
from pathlib import Path

from cityforge.errors import LabelError
from cityforge.labeling.formats.files import read_text
from cityforge.labeling.formats.film import MAX_FRAMES
from cityforge.labeling.formats.gather import Gather
from cityforge.labeling.formats.mot_sequence import CHALLENGE_CLASSES, Sequence, sequence_of
from cityforge.labeling.formats.mot_write import write
from cityforge.labeling.formats.rows import LabelFile, LabelledBox
from cityforge.labeling.formats.values import UnusableError, name, number, whole

__all__ = ["looks_like_mot", "read", "write"]

_NUMBERS = re.compile(r"(\s*[-+.\deE]+\s*,){5,9}\s*[-+.\deE]+\s*", re.ASCII)
_WITHOUT_TRACK = -1


def read(path: Path, *, first_pixel: int = 1) -> LabelFile:
    """Read a file, a sequence's folder, or a folder of sequences.

    Raises:
        LabelError: missing, not UTF-8, no gt.txt in the folder, or a broken file beside it.
    """
    files = _files(path)
    gather = Gather(path)
    classes: list[str] = []
    for file in files:
        where = file.relative_to(path).as_posix() if path.is_dir() else file.name
        prefix = f"{_sequence_name(file, path)}/" if len(files) > 1 else ""
        sequence = sequence_of(file, prefix=prefix)
        classes += (sequence.classes or {}).values()
        _read_sequence(gather, file, where, sequence, float(first_pixel))
    return gather.file(classes or None)


def looks_like_mot(path: Path) -> bool:
    """Whether a folder has a gt.txt or det.txt, or a file starts with a row of numbers."""
    if path.is_dir():
        return bool(_sequence_files(path))
    first = read_text(path, "a MOT file").lstrip().partition("\n")[0]
    return _NUMBERS.fullmatch(first.rstrip()) is not None


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = _sequence_files(path)
    if not files:
        do = "name the file itself"
        raise LabelError("a folder with gt.txt or det.txt", found="none", where=str(path), do=do)
    return files


def _sequence_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("gt.txt")) or sorted(folder.rglob("det.txt"))


def _sequence_name(file: Path, root: Path) -> str:
    folder = file.parent.parent if file.parent.name in ("gt", "det") else file.parent
    return folder.relative_to(root).as_posix()


def _read_sequence(
    gather: Gather, file: Path, where: str, sequence: Sequence, first_pixel: float
) -> None:
    seen: set[tuple[int, str]] = set()
    images: dict[int, str] = {}
    listed = sequence.stated if sequence.stated is not None else range(1, sequence.length + 1)
    for frame in listed:
        with gather.row(f"{where} frame {frame}"):
            _image(gather, sequence, frame, where, images)
    for count, line in enumerate(read_text(file, "a MOT file").split("\n"), start=1):
        if not line.strip():
            continue
        place, image = f"{where} line {count}", None
        try:
            columns = [column.strip() for column in line.split(",")]
            frame = _frame(columns)
            image = _image(gather, sequence, frame, place, images)
            box = _box(columns, image, place, sequence, first_pixel)
            if box.track_id is not None and (frame, box.track_id) in seen:
                raise UnusableError("track stands twice in this frame", line.strip())
            seen.add((frame, box.track_id or ""))
            gather.box(box)
        except UnusableError as fault:
            gather.reject(place, fault.reason, fault.found, image)


def _frame(columns: list[str]) -> int:
    if not 6 <= len(columns) <= 10:
        raise UnusableError("row has not 6 to 10 columns", ",".join(columns))
    frame = whole(columns[0], "frame")
    if not 1 <= frame <= MAX_FRAMES:
        raise UnusableError(f"frame is not from 1 to {MAX_FRAMES}", frame)
    return frame


def _image(
    gather: Gather, sequence: Sequence, frame: int, where: str, images: dict[int, str]
) -> str:
    """Name of a frame's image, listed when it is first spoken of."""
    if frame not in images:
        image = sequence.image(frame, where)
        gather.image(image)
        images[frame] = image.name
    return images[frame]


def _box(
    columns: list[str], image: str, where: str, sequence: Sequence, first_pixel: float
) -> LabelledBox:
    keys = ("left", "top", "width", "height")
    left, top, width, height = (
        number(text, key) for key, text in zip(keys, columns[2:6], strict=True)
    )
    if len(columns) > 6 and number(columns[6], "conf") == 0:
        raise UnusableError("ignored, as the file says (conf is 0)", ",".join(columns))
    x1, y1 = left - first_pixel, top - first_pixel
    return LabelledBox(
        image=image,
        cls=_class(columns, sequence.classes),
        x1=x1,
        y1=y1,
        x2=number(x1 + width, "right edge"),
        y2=number(y1 + height, "bottom edge"),
        where=where,
        track_id=_track_id(columns[1], sequence.tracks),
    )


def _track_id(text: str, names: dict[int, str]) -> str | None:
    track = whole(text, "id")
    return None if track == _WITHOUT_TRACK else names.get(track, str(track))


def _class(columns: list[str], classes: dict[int, str] | None) -> str:
    has_world = classes is None and len(columns) == 10
    index = -1 if has_world or len(columns) < 8 else whole(columns[7], "class")
    known = CHALLENGE_CLASSES if classes is None else classes
    if index == -1 and (classes is None or len(known) == 1):
        return name(next(iter(known.values())), "class")
    if index not in known:
        raise UnusableError(f"class {index} of {len(known)}", ",".join(columns))
    return known[index]
