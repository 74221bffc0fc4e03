"""Draws what a network answers beside what people labelled: a tile a frame, tiles on a sheet."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.decode import decode_boxes
from cityforge.tasks.detection.matching import match
from cityforge.tasks.fonts import load_font
from cityforge.tasks.picture import GREY

TILE_WIDTH = 480  # pixels
COLUMNS = 3
GAP = 6
LETTERS = 16  # pixels
QUALITY = 82
# Boxes under this score are not drawn; of the others so many.
SCORE, MOST_BOXES, OVERLAP = 0.25, 30, 0.6
SHOWN_CLASSES = 3
# Okabe and Ito, "Color Universal Design", 2008: told apart by colour-blind readers.
RIGHT, WRONG, MISSED, TRUTH = "#009e73", "#d55e00", "#f0c419", "#ffffff"
INK = {RIGHT: "#ffffff", WRONG: "#ffffff", MISSED: "#1b1b1b"}
LEGENDS = {
    "detection": f"boxes from score {SCORE}; green: found, orange: false alarm, yellow: missed, "
    "white: labelled",
    "classification": "green: right, orange: wrong, dot: labelled",
    "density": "the warmer, the more objects; white: labelled",
}


@dataclass(frozen=True)
class Shot:
    """One frame of validation with its labels and the network's raw answer.

    Attributes:
        picture: (H, W, 3) uint8 RGB, the network's input.
        xyxy: (M, 4) labels in its pixels; points of density have x1 = x2.
        cls: (M,) their class indices.
        answer: the task's outputs (tasks.kinds.OUTPUTS) for this frame, without the batch.
    """

    picture: NDArray[Any]
    xyxy: NDArray[Any]
    cls: NDArray[Any]
    answer: tuple[NDArray[Any], ...]


def contact_sheet(shots: Sequence[Shot], task: str, classes: Sequence[str], title: str) -> bytes:
    """A JPEG with a tile for each shot, three in a row, under a line of title and legend."""
    from PIL import Image, ImageDraw

    tiles = [_tile(shot, task, classes) for shot in shots]
    columns = min(COLUMNS, len(tiles))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.height for tile in row) for row in rows]
    head = 2 * LETTERS + GAP
    size = (columns * (TILE_WIDTH + GAP) + GAP, head + sum(heights) + GAP * (len(rows) + 1))
    sheet = Image.new("RGB", size, "#1b1b1b")
    pen, font = ImageDraw.Draw(sheet), load_font(LETTERS)
    pen.text((GAP, GAP), title, font=font, fill="#ffffff")
    legend = LEGENDS[task]
    if pen.textlength(title, font) + pen.textlength(legend, font) + 4 * GAP < size[0]:
        pen.text((size[0] - GAP, GAP), legend, font=font, fill="#bbbbbb", anchor="ra")
    else:
        pen.text((GAP, GAP + LETTERS + 2), legend, font=font, fill="#bbbbbb")
    y = head + GAP
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (GAP + column * (TILE_WIDTH + GAP), y))
        y += height + GAP
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", quality=QUALITY, subsampling=0)  # for the letters
    return stream.getvalue()


def _tile(shot: Shot, task: str, classes: Sequence[str]) -> Any:
    draw: Callable[[Any, Shot, float, Sequence[str]], None] = {
        "detection": _draw_boxes,
        "classification": _draw_classes,
        "density": _draw_density,
    }[task]
    from PIL import Image

    height, width = _without_margin(shot.picture)
    scale = TILE_WIDTH / width
    picture = Image.fromarray(np.ascontiguousarray(shot.picture[:height, :width]))
    tile = picture.resize((TILE_WIDTH, max(1, round(height * scale))), Image.Resampling.BICUBIC)
    draw(tile, shot, scale, classes)
    return tile


def _without_margin(picture: NDArray[Any]) -> tuple[int, int]:
    """Height and width without the grey that fills the input to the right and below."""
    apart = np.abs(picture.astype(np.int16) - GREY).max(axis=2)  # (H, W)
    rows, columns = np.flatnonzero(apart.max(axis=1) > 2), np.flatnonzero(apart.max(axis=0) > 2)
    if not len(rows):
        return picture.shape[0], picture.shape[1]
    return int(rows[-1]) + 1, int(columns[-1]) + 1


def _draw_boxes(tile: Any, shot: Shot, scale: float, classes: Sequence[str]) -> None:
    from PIL import ImageDraw

    height, width = shot.picture.shape[:2]
    xyxy, score, cls = decode_boxes(
        *shot.answer, scale=1.0, width=width, height=height,
        score_floor=SCORE, overlap=OVERLAP, max_boxes=MOST_BOXES,
    )  # fmt: skip
    truth = Boxes(_zeros(shot.cls), shot.cls, shot.xyxy, np.ones(len(shot.cls), np.float32))
    pairs = match(truth, Boxes(_zeros(cls), cls, xyxy, score))
    pen = ImageDraw.Draw(tile)
    for row in np.flatnonzero(pairs.found_of >= 0):
        pen.rectangle(tuple(shot.xyxy[row] * scale), outline=TRUTH, width=1)
    marks = [
        (shot.xyxy[row] * scale, MISSED, classes[shot.cls[row]])
        for row in np.flatnonzero(pairs.found_of < 0)
    ]
    for row, of in enumerate(pairs.truth_of):
        text = f"{classes[cls[row]]} {score[row]:.2f}"
        marks.append((xyxy[row] * scale, RIGHT if of >= 0 else WRONG, text))
    for corners, colour, _ in marks:
        x1, y1, x2, y2 = map(float, corners)
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=2)
    for mark in marks:  # over all the boxes
        _label(pen, *mark)


def _label(pen: Any, xyxy: NDArray[Any], colour: str, text: str) -> None:
    x1, y1, _, y2 = map(float, xyxy)
    font = load_font(LETTERS - 4)
    top = y1 - LETTERS if y1 >= LETTERS else min(y2, pen.im.size[1] - LETTERS)
    left = max(0.0, min(x1, pen.im.size[0] - pen.textlength(text, font) - 4))
    pen.rectangle((left, top, left + pen.textlength(text, font) + 4, top + LETTERS), fill=colour)
    pen.text((left + 2, top + LETTERS / 2), text, font=font, fill=INK[colour], anchor="lm")


def _draw_classes(tile: Any, shot: Shot, scale: float, classes: Sequence[str]) -> None:
    from PIL import ImageDraw

    scores = shot.answer[0]
    best = np.argsort(-scores, kind="stable")[: max(SHOWN_CLASSES, len(shot.cls))]
    wanted = {int(each) for each in shot.cls}
    # One class a frame, or several: as many of the best as there are labels must be labelled.
    right = wanted <= {int(each) for each in best[: max(1, len(wanted))]}
    lines = [(f"{classes[k]} {scores[k]:.2f}", int(k) in wanted) for k in best]
    missing = [classes[k] for k in sorted(wanted - {int(each) for each in best})]
    lines += [(f"{name} (labelled)", True) for name in missing]
    pen, font = ImageDraw.Draw(tile, "RGBA"), load_font(LETTERS)
    pen.rectangle((0, 0, *_last(tile)), outline=RIGHT if right else WRONG, width=5)
    wide = max(pen.textlength(text, font) for text, _ in lines) + 4 * GAP + LETTERS
    pen.rectangle((5, 5, 5 + wide, 9 + len(lines) * (LETTERS + 4)), fill="#000000b0")
    for number, (text, labelled) in enumerate(lines):
        y = 8 + number * (LETTERS + 4)
        if labelled:
            pen.ellipse((11, y + 3, 21, y + 13), fill=TRUTH)
        pen.text((27, y), text, font=font, fill="#ffffff")


def _draw_density(tile: Any, shot: Shot, scale: float, classes: Sequence[str]) -> None:
    import cv2
    from PIL import Image, ImageDraw

    density = shot.answer[0]  # (C, h, w), objects a cell
    whole = density.sum(0)
    height, width = shot.picture.shape[:2]
    large = cv2.resize(whole, (width, height), interpolation=cv2.INTER_LINEAR)
    part = large[: round(tile.height / scale), : round(tile.width / scale)]
    heat = cv2.resize(part, tile.size, interpolation=cv2.INTER_LINEAR)
    heat = (255 * heat / max(float(heat.max()), 1e-9)).clip(0, 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(heat, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    mask = Image.fromarray((np.sqrt(heat / 255) * 200).astype(np.uint8))
    tile.paste(Image.fromarray(colours), (0, 0), mask)
    pen, font = ImageDraw.Draw(tile, "RGBA"), load_font(LETTERS)
    for x, y in shot.xyxy[:, :2] * scale:
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), outline=TRUTH)
    lines = [
        f"{name}: {count:.1f} counted, {int((shot.cls == k).sum())} labelled"
        for k, (name, count) in enumerate(zip(classes, density.sum((1, 2)), strict=True))
    ]
    wide = max(pen.textlength(text, font) for text in lines)
    pen.rectangle((0, 0, wide + 2 * GAP, GAP + len(lines) * (LETTERS + 4)), fill="#000000b0")
    for number, text in enumerate(lines):
        pen.text((GAP, 3 + number * (LETTERS + 4)), text, font=font, fill="#ffffff")


def _zeros(like: NDArray[Any]) -> NDArray[np.int64]:
    return np.zeros(len(like), np.int64)


def _last(tile: Any) -> tuple[int, int]:
    return tile.width - 1, tile.height - 1
