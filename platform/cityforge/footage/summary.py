"""What each camera of a dataset has given: how much, of what lighting, with which faults."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.footage.plan import is_still

LIGHTINGS = ("day", "night", "infrared")
FAULTS = ("black", "covered", "frozen", "moved", "out_of_focus")


@dataclass(frozen=True)
class CameraSummary:
    """One camera's footage and stored frames. Medians are None without a frame."""

    camera: str
    site: str | None
    films: int
    stills: int
    hours: float  # of film
    errors: int  # packets or frames that did not decode
    withdrawn: int  # films and stills
    frames: int
    first: datetime | None  # captured_at of the frames; of the footage where there are none
    last: datetime | None
    longest_gap_h: float | None  # between the end of one film or still and the start of the next
    lighting: dict[str, float]  # share of the frames
    faults: dict[str, int]  # frames; only those that were found
    faulty: int  # frames with any fault
    brightness: float | None  # medians
    sharpness: float | None
    contrast: float | None
    redactions: int  # regions made unreadable
    redacted: int  # frames that passed a redactor, with or without a find


def summarise(footage: pa.Table, frames: pa.Table) -> list[CameraSummary]:
    """Summarise tables FOOTAGE and FRAMES by camera, sorted by its name.

    Frames whose footage is not in the catalogue are not counted.
    """
    films: dict[str, list[dict[str, Any]]] = {}
    for row in footage.to_pylist():
        films.setdefault(row["camera"], []).append(row)
    return [
        _summary(camera, films[camera], frames_of(camera, footage, frames))
        for camera in sorted(films)
    ]


def frames_of(camera: str, footage: pa.Table, frames: pa.Table) -> pa.Table:
    """The rows of FRAMES that show what a camera of FOOTAGE recorded."""
    ids = footage.filter(pc.equal(footage["camera"], camera))["footage_id"]
    return frames.filter(pc.is_in(frames["footage_id"], value_set=ids.combine_chunks()))


def _summary(camera: str, films: list[dict[str, Any]], frames: pa.Table) -> CameraSummary:
    captured = pc.min_max(frames["captured_at"]).as_py()
    spans = [each for span in _spans(films) for each in span]
    faults = Counter(pc.list_flatten(frames["faults"]).to_pylist())
    lights = Counter(frames["lighting"].to_pylist())
    stills = sum(map(is_still, films))
    return CameraSummary(
        camera=camera,
        site=films[0]["site"],
        films=len(films) - stills,
        stills=stills,
        hours=sum(row["duration_s"] for row in films) / 3600,
        errors=sum(row["errors"] for row in films),
        withdrawn=sum(row["withdrawn_at"] is not None for row in films),
        frames=frames.num_rows,
        first=captured["min"] or min(spans, default=None),
        last=captured["max"] or max(spans, default=None),
        longest_gap_h=_longest_gap(films),
        lighting={name: lights[name] / frames.num_rows for name in LIGHTINGS if lights[name]},
        faults={name: faults[name] for name in FAULTS if faults[name]},
        faulty=pc.sum(pc.greater(pc.list_value_length(frames["faults"]), 0)).as_py() or 0,
        brightness=_median(frames["brightness"]),
        sharpness=_median(frames["sharpness"]),
        contrast=_median(frames["contrast"]),
        redactions=pc.sum(pc.list_value_length(frames["redactions"])).as_py() or 0,
        redacted=frames.num_rows - frames["redacted_by"].null_count,
    )


def length(hours: float) -> str | None:
    """A length of film in the unit a person would say; None for no film.

    >>> length(0.005), length(0.04), length(30)
    ('18 s', '2.4 min', '30.0 h')
    """
    if hours == 0:
        return None
    if hours * 60 < 1.5:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.1f} min" if hours < 1.5 else f"{hours:.1f} h"


def _spans(films: list[dict[str, Any]]) -> list[tuple[datetime, datetime]]:
    """Start and end of the footage whose time is known, sorted."""
    known = [row for row in films if row["started_at"]]
    length = timedelta(seconds=1)
    return sorted(
        (row["started_at"], row["started_at"] + row["duration_s"] * length) for row in known
    )


def _longest_gap(films: list[dict[str, Any]]) -> float | None:
    spans = _spans(films)
    if len(spans) < 2:
        return None
    longest, end = 0.0, spans[0][1]
    for start, stop in spans[1:]:
        longest = max(longest, (start - end).total_seconds() / 3600)
        end = max(end, stop)
    return longest


def _median(values: pa.ChunkedArray) -> float | None:
    middle: float | None = pc.quantile(values, 0.5)[0].as_py()
    return middle
