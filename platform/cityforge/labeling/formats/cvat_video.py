"""CVAT for video 1.1: tracks of boxes over a film's frames, numbered from 0 as the film counts.

A box that a track states counts as it stands, keyframe or not. Frames of the task that none
states lie on the straight line from the box before to the one after, and after the last box it
stays where it is to the end of the task; from a box that is `outside` on there is nothing until
the next one (CVAT's own rules, its TrackManager). CVAT bends polygons between two keyframes in a
way of its own: such frames are listed as unusable, not guessed. `occluded` is not kept.

CVAT names the film (`source`), its first, last and every n-th frame, but no frame rate: frames
are called `frame_000012.jpg`, and the import's number pattern and pictures per second find their
moment. Files that cityforge wrote carry names and moments in `<cityforge>`, which CVAT passes
over.

datumaro is not used: it neither fills in frames between keyframes nor keeps the film's name, and
the reasons in cvat_image hold, too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cityforge.errors import LabelError
from cityforge.labeling.formats.cvat import (
    class_names_in,
    label_of,
    labels_in,
    origin_of,
    rows_of,
)
from cityforge.labeling.formats.cvat_film import Film, films_in, frame_number
from cityforge.labeling.formats.cvat_video_write import write
from cityforge.labeling.formats.gather import Gather
from cityforge.labeling.formats.rows import LabelFile, LabelledBox
from cityforge.labeling.formats.shapes import Polygons
from cityforge.labeling.formats.tracks import TrackRow, filled
from cityforge.labeling.formats.values import UnusableError, name
from cityforge.labeling.formats.xml_files import xml_paths

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["read", "write"]

# A short file can ask for more boxes than memory holds: many tracks, never outside, a long task.
MAX_FILLED = 5_000_000


def read(path: Path, *, polygons: Polygons = "refuse") -> LabelFile:
    """Read one XML file, or all of a folder and its subfolders, a film each.

    Raises:
        LabelError: missing, no XML, with a DOCTYPE, not CVAT for video, or beyond all measure.
    """
    gather = Gather(path)
    classes: list[str] = []
    files = xml_paths(path)
    for file in files:
        source = file.relative_to(path).as_posix() if path.is_dir() else file.name
        several = len(files) > 1
        films = {"": Film(footage=file.stem, prefix=f"{file.stem}/" if several else "")}
        tracks: list[_Track] = []
        for element in rows_of(file, "track"):
            if element.tag == "meta":
                classes += class_names_in(element)
                films = films_in(element, source, several=several)
            else:
                tracks.append(_track(element, source, polygons))
        _take_in(gather, source, films, tracks)
    return gather.file(classes or None)


@dataclass(frozen=True, kw_only=True)
class _Track:
    """A track as its file states it; rows ascend by frame."""

    where: str
    task_id: str
    track_id: str
    cls: str
    origin: str
    rows: list[TrackRow]


def _track(element: Element, source: str, polygons: Polygons) -> _Track:
    where = f"{source} track {element.get('id', '')}".rstrip()
    track_id = element.get("cityforge_id") or element.get("id")
    fault = None
    try:
        label_of(element)
        name(track_id, "track id")
    except UnusableError as error:
        fault = error
    return _Track(
        where=where,
        task_id=element.get("task_id", ""),
        track_id=track_id or "",
        cls=element.get("label", ""),
        origin=origin_of(element),
        rows=_rows(element, polygons, fault),
    )


def _rows(track: Element, polygons: Polygons, fault: UnusableError | None) -> list[TrackRow]:
    rows: list[TrackRow] = []
    last = 0
    for shape in track:
        row = TrackRow(number=last, names_frame=False)
        try:
            frame = frame_number(shape.get("frame"))
            row = TrackRow(number=frame, outside=shape.get("outside") == "1")
            if fault:
                raise fault
            found = labels_in(shape, polygons)
            if len(found) != 1 or found[0][0] == "classification":
                raise UnusableError("not one box or point in a frame of a track", shape.tag)
            task, edges = found[0]
            row = replace(row, task=task, edges=edges, bends=shape.tag == "polygon")
        except UnusableError as error:
            row = replace(row, fault=error)
        rows.append(row)
        last = row.number
    return sorted(rows, key=lambda row: row.number)


def _take_in(gather: Gather, source: str, films: dict[str, Film], tracks: list[_Track]) -> None:
    by_film: dict[str, list[_Track]] = {key: [] for key in films}
    for track in tracks:
        key = track.task_id if track.task_id in films else next(iter(films))
        if track.task_id in films or len(films) == 1:
            by_film[key].append(track)
        else:
            gather.reject(track.where, "track of a task that <meta> does not name", track.task_id)
    room = MAX_FILLED
    for key, named in films.items():
        film = _with_numbers(named, by_film[key])
        for frame in _frames(film, by_film[key]):
            with gather.row(source):
                gather.image(film.image(frame, source))
        for track in by_film[key]:
            room -= _take_track(gather, film, track, room)


def _with_numbers(film: Film, tracks: list[_Track]) -> Film:
    """Where the file does not name the task's frames: from the first stated to the last."""
    if film.numbers is not None:
        return film
    stated = [row.number for track in tracks for row in track.rows if row.names_frame]
    return replace(film, numbers=range(min(stated), max(stated) + 1) if stated else ())


def _frames(film: Film, tracks: list[_Track]) -> list[int]:
    rows = (row for track in tracks for row in track.rows if row.names_frame and not row.outside)
    return sorted({row.number for row in rows}.union(film.numbers or ()))


def _take_track(gather: Gather, film: Film, track: _Track, room: int) -> int:
    """Give the boxes of a track over; returns how many were filled in."""
    count = 0
    for row, is_filled in filled(_usable(gather, film, track), film.numbers or ()):
        count += is_filled
        if count > room:
            raise LabelError(
                f"at most {MAX_FILLED} boxes between keyframes",
                found="more",
                where=track.where,
                do="export the tracks with every frame, or split the file",
            )
        where = f"{track.where} frame {row.number}"
        image = film.image(row.number, "").name
        if row.edges is None:
            reason = "cannot be told from the frames beside it; export it with every frame"
            gather.reject(where, reason, track.cls, image)
            continue
        x1, y1, x2, y2 = row.edges
        gather.box(
            LabelledBox(
                image=image,
                cls=track.cls,
                x1=x1,
                y1=y1,
                x2=x2,
                y2=y2,
                where=where,
                track_id=track.track_id,
                origin=track.origin,
                task=row.task,
            )
        )
    return count


def _usable(gather: Gather, film: Film, track: _Track) -> list[TrackRow]:
    """The rows once a frame; faults among them are listed, and a second row of a frame."""
    if not track.rows:
        gather.reject(track.where, "a track without a box", track.cls)
    usable: list[TrackRow] = []
    taken = -1
    for row in track.rows:
        image = film.image(row.number, "").name if row.names_frame else None
        where = f"{track.where} frame {row.number}" if row.names_frame else track.where
        if row.fault:
            gather.reject(where, row.fault.reason, row.fault.found, image)
        elif row.number == taken:
            gather.reject(where, "frame is in this track already", str(row.number), image)
            continue
        taken = row.number
        usable.append(row)
    return usable
