"""Pictures with truth and detections drawn in: as a JPEG, or as a sharp overlay for a page."""

from __future__ import annotations

import base64
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from markupsafe import Markup

from cityforge.errors import InputError
from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.metrics import match
from cityforge.tasks.fonts import load_font

LONGEST = 640  # pixels of a picture's longer side
QUALITY = 80  # of a JPEG
SVG_TEXT = 19  # height of the letters over a picture of LONGEST pixels
LETTERS = 28  # of a label, the rest is cut
CROP = (320, 240)  # pixels of a crop
CROP_TEXT = 30  # height of the letters over it
CROP_LEAST = 64  # pixels of the stored frame that a crop shows at least
AROUND = 2.2  # width of a crop for each of its box
Corners = tuple[float, float, float, float]
Kind = Literal["truth", "correct", "missed", "false_alarm"]

# Okabe and Ito, "Color Universal Design", 2008: told apart by colour-blind readers.
COLOURS: dict[Kind, str] = {
    "truth": "#ffffff",
    "correct": "#009e73",
    "missed": "#f0c419",
    "false_alarm": "#d55e00",
}
_TAG: dict[Kind, str] = {**COLOURS, "correct": "#00805d", "false_alarm": "#c45600"}  # for white
_INK: dict[Kind, str] = {
    "truth": "#000000",
    "correct": "#ffffff",
    "missed": "#1b1b1b",
    "false_alarm": "#ffffff",
}


@dataclass(frozen=True)
class Mark:
    """One rectangle to draw: xyxy in pixels, and the text above it ("" for none)."""

    kind: Kind
    xyxy: Corners
    text: str


def marks(truth: Boxes, found: Boxes, classes: Sequence[str], iou: float = 0.5) -> list[Mark]:
    """Say what became of each box of one frame; what matters most comes last, so on top."""
    pairs = match(truth, found, iou)
    drawn = []
    for i, row in enumerate(pairs.found_of):
        kind: Kind = "truth" if row >= 0 else "missed"
        text = "" if row >= 0 else classes[truth.cls[i]]
        drawn.append(Mark(kind, _corners(truth, i), text))
    for j, row in enumerate(pairs.truth_of):
        kind = "correct" if row >= 0 else "false_alarm"
        text = f"{classes[found.cls[j]]} {found.score[j]:.2f}"
        drawn.append(Mark(kind, _corners(found, j), text))
    return sorted(drawn, key=lambda mark: list(COLOURS).index(mark.kind))


def draw_boxes(
    jpeg: bytes,
    truth: Boxes,
    found: Boxes,
    classes: Sequence[str],
    *,
    longest: int = LONGEST,
) -> bytes:
    """Draw the boxes of one frame into its picture and return a JPEG.

    Args:
        jpeg: the stored frame.
        truth: its labelled boxes, pixels of the stored frame.
        found: its detections at or above the threshold, alike.
        classes: names of the classes.
        longest: pixels of the longer side that the result has at most.
    """
    from PIL import ImageDraw

    picture, scale = _shrink(jpeg, longest)
    pen = ImageDraw.Draw(picture, "RGBA")
    size = max(11, round(max(picture.size) / 40))
    font = load_font(size)
    shapes = [_scaled(mark, scale, picture.size) for mark in marks(truth, found, classes)]
    for mark in shapes:
        _draw_frame(pen, mark, width=max(2, round(size / 6)))
    for label in place_labels(shapes, size, picture.size):
        x1, y1, x2, y2 = label.xyxy
        pen.rectangle(label.xyxy, fill=_TAG[label.kind])
        middle = ((x1 + x2) / 2, (y1 + y2) / 2)
        pen.text(middle, label.text, font=font, fill=_INK[label.kind], anchor="mm")
    return _encode(picture)


def svg_picture(jpeg: bytes, truth: Boxes, found: Boxes, classes: Sequence[str]) -> Markup:
    """Lay the boxes of one frame over its picture, as one self-contained SVG element."""
    picture, scale = _shrink(jpeg, LONGEST)
    shapes = [_scaled(mark, scale, picture.size) for mark in marks(truth, found, classes)]
    return _svg(picture, shapes, SVG_TEXT, "shot")


def svg_crop(jpeg: bytes, xyxy: Corners, shapes: Sequence[Mark]) -> Markup:
    """Cut the surroundings of a box out of a frame, with the boxes in it, as one SVG element.

    Args:
        jpeg: the stored frame.
        xyxy: what the crop is about, pixels of the stored frame.
        shapes: what to draw, alike; the last is on top.
    """
    from PIL import Image

    picture = _opened(jpeg)
    left, top, right, bottom = _surroundings(xyxy, picture.size)
    scale = CROP[0] / (right - left)
    cut = picture.crop((left, top, right, bottom)).resize(CROP, Image.Resampling.LANCZOS)
    inside = [
        replace(m, xyxy=(m.xyxy[0] - left, m.xyxy[1] - top, m.xyxy[2] - left, m.xyxy[3] - top))
        for m in shapes
        if _overlap(m.xyxy, (left, top, right, bottom))
    ]
    return _svg(cut, [_scaled(m, scale, CROP) for m in inside], CROP_TEXT, "shot crop")


def _surroundings(xyxy: Corners, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of a picture to cut out: the box and about as much around it, in CROP's shape."""
    x1, y1, x2, y2 = xyxy
    width = max(x2 - x1, (y2 - y1) * CROP[0] / CROP[1]) * AROUND
    width = min(max(width, CROP_LEAST), size[0], size[1] * CROP[0] / CROP[1])
    height = width * CROP[1] / CROP[0]
    left = min(max(0.0, (x1 + x2 - width) / 2), size[0] - width)
    top = min(max(0.0, (y1 + y2 - height) / 2), size[1] - height)
    return int(left), int(top), int(left + width), int(top + height)


def _svg(picture: Any, shapes: Sequence[Mark], letters: float, kind: str) -> Markup:
    width, height = picture.size
    inside = Markup("").join(_svg_frame(mark) for mark in shapes)
    labels = place_labels(shapes, letters, picture.size)
    inside += Markup("").join(_svg_text(label, letters) for label in labels)
    return Markup(
        '<svg class="{kind}" viewBox="0 0 {w} {h}" role="img">'
        '<image href="{source}" width="{w}" height="{h}"/>{inside}</svg>'
    ).format(kind=kind, w=width, h=height, source=data_uri(_encode(picture)), inside=inside)


def small_jpeg(jpeg: bytes, longest: int = LONGEST) -> bytes:
    """Shrink a JPEG so that its longer side has at most `longest` pixels."""
    return _encode(_shrink(jpeg, longest)[0])


def data_uri(jpeg: bytes) -> str:
    """Write a JPEG as text that a page can hold."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _corners(boxes: Boxes, i: int) -> Corners:
    x1, y1, x2, y2 = boxes.xyxy[i].tolist()
    return x1, y1, x2, y2


def _shrink(jpeg: bytes, longest: int) -> tuple[Any, float]:
    """Decode and shrink; return the picture and new pixels per old pixel."""
    from PIL import Image

    picture = _opened(jpeg)
    scale = min(1.0, longest / max(picture.size))
    if scale < 1:
        size = [max(1, round(side * scale)) for side in picture.size]
        picture = picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    return picture, scale


def _opened(jpeg: bytes) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(jpeg)).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise InputError("a JPEG", found=f"{len(jpeg)} other bytes") from error


def _encode(picture: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return stream.getvalue()


def _scaled(mark: Mark, scale: float, size: tuple[int, int]) -> Mark:
    """Bring a mark into the pixels of the shrunken picture and keep its edges visible."""
    low, high = np.array([1, 1, 1, 1]), np.tile(size, 2) - 1
    x1, y1, x2, y2 = np.clip(np.array(mark.xyxy) * scale, low, high).round(1).tolist()
    return replace(mark, xyxy=(x1, y1, x2, y2))


def _draw_frame(pen: Any, mark: Mark, width: int) -> None:
    x1, y1, x2, y2 = mark.xyxy
    if mark.kind == "false_alarm":
        pen.rectangle(mark.xyxy, fill=COLOURS[mark.kind] + "38")
    if mark.kind in ("correct", "false_alarm"):
        pen.rectangle(mark.xyxy, outline=COLOURS[mark.kind], width=width)
        return
    thin = max(1, width - 1) if mark.kind == "truth" else width
    for a, b in (
        ((x1, y1), (x2, y1)),
        ((x2, y1), (x2, y2)),
        ((x2, y2), (x1, y2)),
        ((x1, y2), (x1, y1)),
    ):
        _draw_dashes(pen, np.array(a), np.array(b), COLOURS[mark.kind], thin)


def _draw_dashes(pen: Any, a: Any, b: Any, colour: str, width: int, dash: float = 8.0) -> None:
    length = float(np.hypot(*(b - a))) or 1.0
    for start in np.arange(0, length, 2 * dash):
        ends = [tuple(a + (b - a) * min(at, length) / length) for at in (start, start + dash)]
        pen.line(ends, fill=colour, width=width)


def _svg_frame(mark: Mark) -> Markup:
    x1, y1, x2, y2 = mark.xyxy
    return Markup('<rect class="{kind}" x="{x}" y="{y}" width="{w:.1f}" height="{h:.1f}"/>').format(
        kind=mark.kind, x=x1, y=y1, w=max(x2 - x1, 1), h=max(y2 - y1, 1)
    )


def _svg_text(label: Mark, letters: float) -> Markup:
    x1, y1, x2, y2 = label.xyxy
    return Markup(
        '<g class="tag {kind}"><rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}"/>'
        '<text x="{tx:.1f}" y="{ty:.1f}" font-size="{size}" text-anchor="middle">{text}</text></g>'
    ).format(
        kind=label.kind, x=x1, y=y1, w=x2 - x1, h=y2 - y1, size=letters, text=label.text,
        tx=(x1 + x2) / 2, ty=y1 + (y2 - y1) * 0.75,
    )  # fmt: skip


def place_labels(shapes: Sequence[Mark], size: float, limits: tuple[int, int]) -> list[Mark]:
    """Place the texts where they cover no other text: above, inside, below the box.

    Mistakes come first. What is right and finds no room goes without; a mistake never does.

    Args:
        shapes: the boxes, pixels of the picture.
        size: height of the letters in pixels.
        limits: width and height of the picture.
    """
    placed: list[Mark] = []
    order = {"false_alarm": 0, "missed": 1, "correct": 2}
    for mark in sorted((m for m in shapes if m.text), key=lambda m: order[m.kind]):
        text = _cut(mark.text, limits[0] / size - 0.6)
        spots = _spots(mark, text_width(text) * size + size * 0.6, size * 1.3, limits)
        free = [s for s in spots if not any(_overlap(s, other.xyxy) for other in placed)]
        if free or mark.kind != "correct":
            placed.append(Mark(mark.kind, (free or spots)[0], text))
    return placed


def _cut(text: str, room: float) -> str:
    """Shorten a text to LETTERS and to a width in units of its font size."""
    if len(text) <= LETTERS and text_width(text) <= room:
        return text
    kept = text[: LETTERS - 1]
    while len(kept) > 1 and text_width(kept + "…") > room:
        kept = kept[:-1]
    return kept + "…"


def _spots(mark: Mark, w: float, h: float, limits: tuple[int, int]) -> list[Corners]:
    """Where a label may go, the best first, all of them within the picture."""
    x1, y1, x2, y2 = mark.xyxy
    left, right = x1 - 1, x2 + 1 - w
    corners = [(x, y) for y in (y1 - h, y1, y2, y2 - h) for x in (left, right)]
    inside = [(max(0.0, min(x, limits[0] - w)), y) for x, y in corners if 0 <= y <= limits[1] - h]
    return [(x, y, x + w, y + h) for x, y in inside] or [(0.0, 0.0, w, h)]


def _overlap(a: Corners, b: Corners) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def text_width(text: str) -> float:
    """Estimate the width of a text in units of its font size; Chinese characters are square.

    >>> text_width("电动车")
    3.0
    """
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return wide + 0.57 * (len(text) - wide)
