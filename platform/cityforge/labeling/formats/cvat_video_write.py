"""Write CVAT for video 1.1: every label a keyframe, and `outside` where a track pauses or ends."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from cityforge.errors import LabelError
from cityforge.labeling.formats.cvat import ORIGINS
from cityforge.labeling.formats.cvat_image_write import (
    SHAPES,
    add,
    coordinates,
    document,
    meta_of,
    stated,
    task_of,
)
from cityforge.labeling.formats.files import place, refuse_strays, write_text
from cityforge.labeling.formats.film import FilmLabels, by_film, track_numbers
from cityforge.labeling.formats.gather import class_names
from cityforge.labeling.formats.rows import LabelFile, LabelledBox


def write(labels: LabelFile, path: Path, *, frames_per_second: float | None = None) -> list[Path]:
    """Write an XML file for each film into a folder; a path that ends in .xml holds one film.

    With `frames_per_second` of the film the frames carry its own numbers, so that the file can
    be uploaded to a CVAT task of that film.

    Raises:
        LabelError: stills, labels without a track or of whole images, several films for one
            file, a name that XML cannot hold, or other XML in the folder.
    """
    films = by_film(labels, "CVAT for video", ("detection", "density"), frames_per_second)
    classes = class_names(labels)
    is_file = path.suffix.lower() == ".xml"
    if is_file and len(films) != 1:
        found = f"{len(films)} films"
        raise LabelError("labels of one film", found=found, where=str(path), do="name a folder")
    files = [path if is_file else place(path, f"{film.footage}.xml") for film in films]
    texts = [document([_meta(film, classes), *_tracks(film)]) for film in films]
    if not is_file:
        refuse_strays(path, "**/*.xml", set(files))
    return [write_text(file, text) for file, text in zip(files, texts, strict=True)]


def _meta(film: FilmLabels, classes: list[str]) -> Element:
    task = task_of(film.footage, "interpolation", film.last + 1, classes)
    add(task, "start_frame", "0")
    add(task, "stop_frame", str(film.last))
    if film.width and film.height:
        pixels = SubElement(task, "original_size")
        add(pixels, "width", str(film.width))
        add(pixels, "height", str(film.height))
    add(task, "source", film.footage)
    own = SubElement(task, "cityforge", stated({"frames_per_second": film.frames_per_second}))
    for number, image, _ in film.frames:
        said = stated({"id": number, "name": image.name, "pts_s": image.pts_s})
        SubElement(own, "frame", said)
    return meta_of(task)


def _tracks(film: FilmLabels) -> list[Element]:
    """The tracks; one whose class changes becomes one for each class, of the same id."""
    tracks: dict[tuple[str, str, str, str], list[tuple[int, LabelledBox]]] = {}
    for number, _, in_frame in film.frames:
        for box in in_frame:
            key = (box.track_id or "", box.cls, box.origin, box.task)
            tracks.setdefault(key, []).append((number, box))
    numbers = track_numbers([track_id for track_id, *_ in tracks])
    is_plain = len(numbers) == len(tracks)
    rows = []
    for count, ((track_id, cls, origin, _), boxes) in enumerate(tracks.items(), start=1):
        said = stated(
            {
                "id": numbers[track_id] if is_plain else count,
                "label": cls,
                "source": ORIGINS.get(origin, "file"),
                "cityforge_id": track_id,
            }
        )
        row = Element("track", said)
        _keyframes(row, boxes, film.last)
        rows.append(row)
    return rows


def _keyframes(track: Element, boxes: list[tuple[int, LabelledBox]], last: int) -> None:
    for index, (number, box) in enumerate(boxes):
        _keyframe(track, number, box, outside=False)
        after = boxes[index + 1][0] if index + 1 < len(boxes) else last + 1
        if number + 1 < after:
            _keyframe(track, number + 1, box, outside=True)


def _keyframe(track: Element, number: int, box: LabelledBox, *, outside: bool) -> None:
    said = stated(
        {
            "frame": number,
            "keyframe": 1,
            "outside": int(outside),
            "occluded": 0,
        }
    )
    SubElement(track, SHAPES[box.task], said | coordinates(box) | {"z_order": "0"})
