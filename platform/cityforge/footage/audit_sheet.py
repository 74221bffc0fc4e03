"""The page of an audit: every frame with a find, the finds drawn in and cut out."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from gettext import gettext as _
from itertools import groupby
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from cityforge.footage.audit import AuditResult, Remainder
from cityforge.footage.redact import decode_jpeg

TEMPLATE = "audit_sheet.html.j2"
SHOWN = 60  # frames
LONGEST = 640  # pixels of a picture's longer side
CROP_HEIGHT = 120  # pixels
AROUND = 0.4  # of a find's size, on each side of what is cut out
QUALITY = 80  # of the pictures in the page


@dataclass(frozen=True)
class Shot:
    """One frame of the page."""

    frame_id: str
    picture: str  # data URI
    width: int  # pixels of the stored frame, in which the boxes are drawn
    height: int
    regions: list[dict[str, Any]]  # that redaction covered
    crops: list[tuple[Remainder, str]]


def render_sheet(
    title: str,
    by: Sequence[str],
    result: AuditResult,
    frames: pa.Table,
    read_frame: Callable[[str], bytes],
) -> str:
    """One self-contained HTML page; frames with finds in the open come first.

    Args:
        title: of the dataset.
        by: what looked.
        frames: table FRAMES.
        read_frame: gives the stored JPEG of a frame_id.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    columns = frames.select(["frame_id", "redactions"]).to_pydict()
    regions = dict(zip(columns["frame_id"], columns["redactions"], strict=True))
    groups = [list(each) for _key, each in groupby(result.remainders, lambda each: each.frame_id)]
    groups.sort(key=lambda group: -sum(each.in_the_open for each in group))
    shots = [
        _shot(group, regions[group[0].frame_id] or [], read_frame(group[0].frame_id))
        for group in groups[:SHOWN]
    ]
    environment = Environment(
        loader=PackageLoader("cityforge.footage", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page: str = environment.get_template(TEMPLATE).render(
        _=_, title=title, by=by, result=result, shots=shots, left_out=len(groups) - len(shots)
    )
    return page


def _shot(remainders: list[Remainder], regions: list[dict[str, Any]], jpeg: bytes) -> Shot:
    bgr = decode_jpeg(jpeg)
    height, width = bgr.shape[:2]
    crops = [(each, _as_uri(_cut_out(bgr, each))) for each in remainders]
    picture = _as_uri(_scaled(bgr, min(1.0, LONGEST / max(width, height))))
    return Shot(remainders[0].frame_id, picture, width, height, regions, crops)


def _cut_out(bgr: NDArray[Any], remainder: Remainder) -> NDArray[Any]:
    find = remainder.find
    x, y = AROUND * (find.x2 - find.x1), AROUND * (find.y2 - find.y1)
    part = bgr[
        max(0, int(find.y1 - y)) : int(find.y2 + y) + 1,
        max(0, int(find.x1 - x)) : int(find.x2 + x) + 1,
    ]
    return _scaled(part, CROP_HEIGHT / part.shape[0])


def _scaled(bgr: NDArray[Any], scale: float) -> NDArray[Any]:
    import cv2

    size = (max(1, round(bgr.shape[1] * scale)), max(1, round(bgr.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled: NDArray[Any] = cv2.resize(bgr, size, interpolation=how)
    return scaled


def _as_uri(bgr: NDArray[Any]) -> str:
    import cv2

    _done, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
