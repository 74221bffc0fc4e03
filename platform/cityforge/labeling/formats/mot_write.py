"""Write MOTChallenge sequences: a folder a film, with what stands beside its gt.txt."""

from __future__ import annotations

from pathlib import Path

from cityforge.errors import LabelError
from cityforge.labeling.formats.files import place, refuse_strays, write_json, write_text
from cityforge.labeling.formats.film import FilmLabels, by_film, track_numbers
from cityforge.labeling.formats.gather import class_names
from cityforge.labeling.formats.mot_sequence import OWN_FILE
from cityforge.labeling.formats.rows import LabelFile, LabelledBox


def write(
    labels: LabelFile,
    path: Path,
    *,
    frames_per_second: float | None = None,
    first_pixel: int = 1,
) -> list[Path]:
    """Write `<film>/gt/gt.txt` with labels.txt, seqinfo.ini and cityforge.json for each film.

    Every row has conf 1 and visibility 1. With `frames_per_second` of the film the frames carry
    its own numbers.

    Raises:
        LabelError: stills, labels without a track, points, classes of whole images, a class that
            a line cannot hold, or label files of an earlier write in the folder.
    """
    films = by_film(labels, "MOT", ("detection",), frames_per_second)
    classes = {cls: number for number, cls in enumerate(class_names(labels), start=1)}
    names = "".join(f"{_line(cls)}\n" for cls in classes)
    folders = [place(path, film.footage) for film in films]
    refuse_strays(path, "**/gt.txt", {folder / "gt" / "gt.txt" for folder in folders})
    written: list[Path] = []
    for folder, film in zip(folders, films, strict=True):
        tracks = track_numbers([box.track_id or "" for *_, boxes in film.frames for box in boxes])
        rows = _rows(film, tracks, classes, float(first_pixel))
        written += [
            write_text(folder / "gt" / "gt.txt", rows),
            write_text(folder / "gt" / "labels.txt", names),
            write_text(folder / "seqinfo.ini", _seqinfo(folder.name, film)),
            write_json(folder / OWN_FILE, _own(film, tracks)),
        ]
    return written


def _line(cls: str) -> str:
    if cls != cls.strip() or not cls or "\n" in cls or "\r" in cls:
        raise LabelError(
            "a class that one line holds as it is",
            found=repr(cls),
            where="labels.txt",
            do="rename it without line breaks and outer spaces",
        )
    return cls


def _rows(
    film: FilmLabels, tracks: dict[str, int], classes: dict[str, int], first_pixel: float
) -> str:
    return "".join(
        _row(number + 1, tracks[box.track_id or ""], classes[box.cls], box, first_pixel)
        for number, _, boxes in film.frames
        for box in boxes
    )


def _row(frame: int, track: int, cls: int, box: LabelledBox, first_pixel: float) -> str:
    width, height = float(box.x2 - box.x1), float(box.y2 - box.y1)
    edges = (float(box.x1 + first_pixel), float(box.y1 + first_pixel), width, height)
    return f"{frame},{track},{','.join(map(repr, edges))},1,{cls},1\n"


def _seqinfo(name: str, film: FilmLabels) -> str:
    rate = film.frames_per_second
    stated = {
        "name": name,  # cleaned, as the folder's: no line break
        "imDir": "img1",
        "frameRate": None if rate is None else f"{rate:.10g}",
        "seqLength": film.last + 1,
        "imWidth": film.width,
        "imHeight": film.height,
        "imExt": ".jpg",
    }
    rows = [f"{key}={value}\n" for key, value in stated.items() if value is not None]
    return "[Sequence]\n" + "".join(rows)


def _own(film: FilmLabels, tracks: dict[str, int]) -> dict[str, object]:
    frames = [
        {"frame": number + 1, "name": image.name, "pts_s": image.pts_s}
        for number, image, _ in film.frames
    ]
    renamed = {str(number): said for said, number in tracks.items() if str(number) != said}
    return {"footage": film.footage, "frames": frames, "tracks": renamed}
