"""A contact sheet: one HTML file that shows what each camera of a dataset sees, and its faults."""

from __future__ import annotations

import base64
import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from gettext import gettext as _
from itertools import pairwise
from pathlib import Path
from typing import Any

from cityforge.cards.dataset import Camera, Dataset
from cityforge.errors import DataError
from cityforge.footage.plan import is_still
from cityforge.footage.shards import FrameStore
from cityforge.footage.stored import LawfulFrames
from cityforge.footage.summary import (
    FAULTS,
    LIGHTINGS,
    CameraSummary,
    frames_of,
    length,
    summarise,
)

TEMPLATE = "sheet.html.j2"
PER_CAMERA = 24
PER_FAULT = 6
THUMB_WIDTH = 320  # pixels
THUMB_QUALITY = 75
TIMELINE_PARTS = 120
# By which column the worst frames of a fault come first; the others come in their order.
WORST_BY = {"black": "brightness", "covered": "contrast", "out_of_focus": "sharpness"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Shot:
    """One stored frame as the page shows it."""

    picture: str  # data: URI
    frame_id: str
    when: str
    film: str
    lighting: str
    faults: list[str]


@dataclass(frozen=True)
class Part:
    """A piece of a camera's timeline: as many frames as the others, one behind the other."""

    lighting: str  # the commonest
    faulty: bool
    when: str


@dataclass(frozen=True)
class CameraPage:
    """What the page says of one camera; `summary` is None where it has no footage."""

    camera: Camera
    summary: CameraSummary | None
    timeline: list[Part]
    shots: list[Shot]
    worst: list[tuple[str, int, list[Shot]]]  # fault, frames that have it, some of them
    barred: int  # frames that are not shown, as their footage was withdrawn or has expired
    unredacted: int  # frames that are not shown, as they did not pass the redaction


def write_sheet(
    path: Path,
    card: Dataset,
    stored: LawfulFrames,
    store: FrameStore,
    per_camera: int = PER_CAMERA,
) -> Path:
    """Write one self-contained page: no network, no script, prints well.

    Only stored frames that may be used are shown, never originals; of the others it says how
    many there are.

    Args:
        path: where the page goes; it is replaced as a whole.
        card: the dataset's card; its cameras come in its order.
        stored: what may be shown, and what may not.
        store: reads the frames.
        per_camera: pictures of each camera, spread over its recording.

    Raises:
        DataError: a frame that cannot be read.
    """
    page = _render(card, _camera_pages(card, stored, store, per_camera))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(page, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _camera_pages(
    card: Dataset, stored: LawfulFrames, store: FrameStore, per_camera: int
) -> list[CameraPage]:
    footage = stored.footage
    summaries = {each.camera: each for each in summarise(footage, stored.frames)}
    originals = {row["footage_id"]: row for row in footage.select(_ORIGINAL).to_pylist()}
    pages = []
    for camera in _cameras(card, list(summaries)):
        rows = frames_of(camera.name, footage, stored.frames.select(_SHOWN)).to_pylist()
        for row in rows:
            row["original"] = originals[row["footage_id"]]
        rows = sorted(rows, key=_order)
        pages.append(
            CameraPage(
                camera=camera,
                summary=summaries.get(camera.name),
                timeline=_timeline(rows),
                shots=[_shot(row, store) for row in spread(rows, per_camera)],
                worst=_worst_shots(rows, store),
                barred=frames_of(camera.name, footage, stored.barred).num_rows,
                unredacted=frames_of(camera.name, footage, stored.unredacted).num_rows,
            )
        )
    return pages


_ORIGINAL = ["footage_id", "name", "duration_s", "fps"]
_SHOWN = [
    *("frame_id", "footage_id", "pts_s", "captured_at", "sharpness", "brightness", "contrast"),
    *("lighting", "faults", "redacted_by"),
]


def _cameras(card: Dataset, found: Sequence[str]) -> list[Camera]:
    """The card's cameras, then those that only the catalogue knows."""
    known = {camera.name for camera in card.cameras}
    strange = [Camera(name=name, site=_("not in the card")) for name in found if name not in known]
    return [*card.cameras, *strange]


def _worst_shots(rows: list[Row], store: FrameStore) -> list[tuple[str, int, list[Shot]]]:
    found = Counter(fault for row in rows for fault in row["faults"])
    return [
        (fault, found[fault], [_shot(row, store) for row in worst(rows, fault)])
        for fault in FAULTS
        if found[fault]
    ]


def _order(row: Row) -> tuple[datetime, str, float]:
    """By time; what has none comes last, by film."""
    never = datetime.max.replace(tzinfo=UTC)
    return row["captured_at"] or never, row["footage_id"], row["pts_s"]


def spread(rows: Sequence[Row], count: int) -> list[Row]:
    """At most `count` of `rows`, evenly spaced, the first and the last among them.

    >>> spread([{"n": n} for n in range(9)], 3)
    [{'n': 0}, {'n': 4}, {'n': 8}]
    """
    if len(rows) <= count:
        return list(rows)
    step = (len(rows) - 1) / max(1, count - 1)
    return [rows[round(i * step)] for i in range(count)]


def worst(rows: Sequence[Row], fault: str, count: int = PER_FAULT) -> list[Row]:
    """The frames in which a fault is plainest; of frozen and moved, some spread over time."""
    having = [row for row in rows if fault in row["faults"]]
    if fault not in WORST_BY:
        return spread(having, count)
    return sorted(having, key=lambda row: float(row[WORST_BY[fault]]))[:count]


def _timeline(rows: Sequence[Row]) -> list[Part]:
    count = min(TIMELINE_PARTS, len(rows))
    bounds = [i * len(rows) // count for i in range(count + 1)] if count else []
    pieces = [rows[a:b] for a, b in pairwise(bounds)]
    return [
        Part(
            lighting=Counter(row["lighting"] for row in piece).most_common(1)[0][0],
            faulty=any(row["faults"] for row in piece),
            when=_when(piece[0]),
        )
        for piece in pieces
    ]


def _when(row: Row) -> str:
    """Time of recording (UTC), or else of the film; a still of unknown time has none."""
    if row["captured_at"]:
        return f"{row['captured_at'].astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if is_still(row["original"]):
        return ""
    minutes, seconds = divmod(int(row["pts_s"]), 60)
    return f"{minutes}:{seconds:02}"


def _shot(row: Row, store: FrameStore) -> Shot:
    return Shot(
        picture=_data_uri(_thumbnail(store.read(row["frame_id"]), row["frame_id"])),
        frame_id=row["frame_id"],
        when=_when(row),
        film=row["original"]["name"],
        lighting=row["lighting"],
        faults=list(row["faults"]),
    )


def _thumbnail(jpeg: bytes, frame_id: str) -> bytes:
    """Shrink a stored JPEG to THUMB_WIDTH; it may be read at a lower resolution for that."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            size = THUMB_WIDTH, max(1, round(image.height * THUMB_WIDTH / image.width))
            image.draft("RGB", size)
            small = image.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise DataError("a JPEG", found="another content", where=f"frame '{frame_id}'") from error
    if small.width > THUMB_WIDTH:
        small = small.resize(size, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=THUMB_QUALITY, optimize=True)
    return stream.getvalue()


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _render(card: Dataset, cameras: list[CameraPage]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cityforge.footage", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["length_of"] = lambda hours: length(hours) or "–"
    known = [each.summary for each in cameras if each.summary]
    return environment.get_template(TEMPLATE).render(
        _=_,
        card=card,
        cameras=cameras,
        words=_words(),
        lightings=LIGHTINGS,
        faults=[name for name in FAULTS if any(name in each.faults for each in known)],
        files=sum(each.films + each.stills for each in known),
        hours=sum(each.hours for each in known),
        frames=sum(each.frames for each in known),
        faulty=sum(each.faulty for each in known),
        redactions=sum(each.redactions for each in known),
    )


def _words() -> dict[str, str]:
    """What people call lightings and faults."""
    return {
        "day": _("day"),
        "night": _("night"),
        "infrared": _("infrared"),
        "black": _("black"),
        "covered": _("covered"),
        "frozen": _("frozen"),
        "moved": _("moved"),
        "out_of_focus": _("out of focus"),
    }
