"""Draws the frames that show an event: its zone or line, its tracks with their paths, a caption."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.inference.events.moment import Happened, Still
from cityforge.inference.scene import View
from cityforge.tasks.fonts import load_font

LONGEST_PX = 960
QUALITY = 80
KEPT_QUALITY = 92  # of a frame that is kept until it is drawn
LONGEST_NAME = 60  # signs
ZONE, TRACK, GROUND = "#ffd400", "#ff3b30", "#000000b0"
UNITS = {"speed": " km/h", "crowding": " at once", "wrong_direction": "° off"}


def still_of(
    at_s: float, bgr: NDArray[Any], size: tuple[int, int], track: NDArray[Any],
    xyxy: NDArray[Any], name: Sequence[str], paths: dict[int, NDArray[Any]],
) -> Still:  # fmt: skip
    """Keep a frame (H, W, 3) small, with what is in it.

    Args:
        size: width and height that the boxes belong to; the frame may be smaller already.
    """
    import cv2

    small = shrunk(bgr)
    done, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, KEPT_QUALITY])
    if not done:
        raise ValueError(f"a picture of {small.shape} did not encode")
    scale = small.shape[1] / size[0]
    return Still(at_s, jpeg.tobytes(), scale, track, xyxy, tuple(name), paths)


def shrunk(bgr: NDArray[Any]) -> NDArray[Any]:
    """The picture, its longer side no longer than LONGEST_PX."""
    import cv2

    height, width = bgr.shape[:2]
    scale = LONGEST_PX / max(height, width)
    if scale >= 1:
        return bgr
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    way = cv2.INTER_LINEAR if scale > 0.5 else cv2.INTER_AREA  # much quicker, and as good there
    return np.asarray(cv2.resize(bgr, size, interpolation=way))


def evidence_of(happened: Happened, view: View) -> list[dict[str, Any]]:
    """The event's frames as `Evidence` of the endpoint's answers."""
    return [
        {
            "at_s": round(each.at_s, 3),
            "jpeg": base64.b64encode(draw(each, happened, view)).decode("ascii"),
        }
        for each in happened.stills
    ]


def draw(still: Still, happened: Happened, view: View) -> bytes:
    """One frame of an event as JPEG."""
    from PIL import Image, ImageDraw

    picture = Image.open(io.BytesIO(still.jpeg)).convert("RGB")
    pen = ImageDraw.Draw(picture, "RGBA")
    thick = max(1, round(max(picture.size) / 320))
    _draw_place(pen, happened, view, still.scale, thick)
    _draw_tracks(pen, still, happened, thick)
    _draw_caption(pen, caption_of(still, happened), picture.size)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def caption_of(still: Still, happened: Happened) -> list[str]:
    """What is written over a frame: the rule, when and where, who, how much."""
    tracks = ", ".join(f"#{each}" for each in happened.tracks[:6])
    value = None if happened.value is None else f"{happened.value:g}{UNITS[happened.kind]}"
    where = [_short(happened.zone) if happened.zone else None, happened.direction]
    who = [value, happened.class_name, tracks or None]
    lines: list[list[str | None]] = [
        [f"{_short(happened.rule)} · {happened.kind}"], [clock(still.at_s), *where], who
    ]  # fmt: skip
    joined = ["  ".join(each for each in line if each) for line in lines]
    return [line for line in joined if line]


def clock(seconds: float) -> str:
    """Film time as people read it.

    >>> clock(3723.42)
    '1:02:03.4'
    """
    tenths = int(seconds * 10 + 1e-6)
    minutes, rest = divmod(tenths, 600)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest // 10:02d}.{rest % 10}"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _draw_place(pen: Any, happened: Happened, view: View, scale: float, thick: int) -> None:
    line = view.lines.get(happened.zone or "") if happened.kind == "line_count" else None
    zone = view.zones.get(happened.zone or "") if happened.kind != "line_count" else None
    if line is not None:
        (ax, ay), (bx, by) = line * scale
        pen.line((ax, ay, bx, by), fill=ZONE, width=2 * thick)
        # A short stroke in the middle shows where forward is: to the right of the line.
        x, y, length = (ax + bx) / 2, (ay + by) / 2, max(1.0, float(np.hypot(bx - ax, by - ay)))
        reach = 6 * thick / length
        pen.line((x, y, x - (by - ay) * reach, y + (bx - ax) * reach), fill=ZONE, width=thick)
    if zone is not None:
        corners = [tuple(each) for each in zone * scale]
        pen.polygon(corners, fill=ZONE + "30")
        pen.line([*corners, corners[0]], fill=ZONE, width=thick)


def _draw_tracks(pen: Any, still: Still, happened: Happened, thick: int) -> None:
    """The event's own tracks; where it has none, every object."""
    for number in happened.tracks:
        path = still.paths.get(number)
        if path is not None and len(path) > 1:
            pen.line([tuple(each) for each in path * still.scale], fill=TRACK, width=thick)
    shown = np.isin(still.track, happened.tracks) if happened.tracks else np.ones(len(still.track))
    font = load_font(max(11, 5 * thick))
    for row in np.flatnonzero(shown):
        x1, y1, x2, y2 = (float(each) for each in still.xyxy[row] * still.scale)
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=TRACK, width=thick)
        label = f"{still.name[row]} #{still.track[row]}".removesuffix(" #0")
        pen.rectangle(pen.textbbox((x1, y1), label, font=font, anchor="lb"), fill=GROUND)
        pen.text((x1, y1), label, font=font, fill="#ffffff", anchor="lb")


def _draw_caption(pen: Any, lines: Sequence[str], size: tuple[int, int]) -> None:
    """In the lower left corner: cameras write their clock into an upper one."""
    high = max(11, round(max(size) / 40))
    place, font, text = (high // 2, size[1] - high // 2), load_font(high), "\n".join(lines)
    left, top, right, bottom = pen.multiline_textbbox(place, text, font=font, anchor="ld")
    edge = high // 3
    pen.rectangle((left - edge, top - edge, right + edge, bottom + edge), fill=GROUND)
    pen.multiline_text(place, text, font=font, fill="#ffffff", anchor="ld")
