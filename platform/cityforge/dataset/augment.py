"""Changes pictures and their labels while training: scale and shift, flip, colour, mosaic.

What weather and the camera do to a picture, and moves no box, stands in `weather.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.dataset.weather import WEATHER, Change
from cityforge.tasks.picture import GREY

# A box that keeps less than this share of its area is no longer shown well enough to learn.
LEAST_SHARE = 0.25
LEAST_SIDE_PX = 2.0
# Rec. 709 luma, of which a picture without saturation consists.
LUMA = np.array([0.2126, 0.7152, 0.0722])
# Made smaller than this, a picture is averaged, not only looked at between its pixels.
AVERAGED_UNDER = 0.6

Area = tuple[int, int, int, int]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class Sample:
    """A picture (H, W, 3) uint8 RGB with (M, 4) float32 xyxy boxes and (M,) int64 classes.

    Of task density the boxes are points, x1 = x2 and y1 = y2; of classification they are
    zeros, and the classes are those of the whole picture.
    """

    image: NDArray[Any]
    xyxy: NDArray[Any]
    cls: NDArray[Any]
    task: str = "detection"
    shown: Area | None = field(default=None)  # where it is no grey margin; None: everywhere

    @property
    def view(self) -> NDArray[Any]:
        """The part of the picture that is no margin."""
        if self.shown is None:
            return self.image
        left, top, right, bottom = self.shown
        return self.image[top:bottom, left:right]


def place(
    samples: list[Sample], width: int, height: int, scales: list[float], rng: np.random.Generator
) -> Sample:
    """Place one picture, or four around a common corner, on a canvas of width by height.

    A picture smaller than the canvas lies anywhere on it, a larger one is cut anywhere.
    """
    canvas = np.full((height, width, 3), GREY, np.uint8)
    if len(samples) == 1:
        placed = [_place_anywhere(canvas, samples[0], scales[0], rng)]
        shown = placed[0][2]
    else:
        placed = _place_four(canvas, samples, scales, rng)
        shown = (0, 0, width, height)
    xyxy = np.concatenate([each[0] for each in placed])
    cls = np.concatenate([each[1] for each in placed])
    return Sample(canvas, xyxy, cls, samples[0].task, shown)


def flip(sample: Sample) -> Sample:
    """Mirror left and right."""
    import cv2

    image = np.asarray(cv2.flip(sample.image, 1))
    width = image.shape[1]
    xyxy, shown = sample.xyxy.copy(), sample.shown
    if sample.task != "classification":
        xyxy[:, [0, 2]] = width - sample.xyxy[:, [2, 0]]
    if sample.task == "density":  # a point on the left edge stays within the picture
        xyxy = np.minimum(xyxy, np.nextafter(np.float32(width), np.float32(0)))
    if shown:
        shown = (width - shown[2], shown[1], width - shown[0], shown[3])
    return replace(sample, image=image, xyxy=xyxy, shown=shown)


def recolour(image: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Other brightness, contrast and saturation, and a slight cast of colour, at once."""
    import cv2

    gain = rng.uniform(0.6, 1.4) * rng.uniform(0.95, 1.05, 3)
    shift = rng.uniform(-25, 25)
    colour = rng.uniform(0.4, 1.4)  # 0 is grey, 1 as it was
    mixed = colour * np.eye(3) + (1 - colour) * LUMA  # (3, 3), rows sum to 1
    matrix = np.concatenate([mixed * gain, np.full((3, 1), shift)], 1)
    return np.asarray(cv2.transform(image, matrix.astype(np.float32)))


# What changes no box, by its key in `train.augment`, in the order in which it happens. Colour
# is first: brightened afterwards, fog would be nothing but white.
LOOKS: dict[str, Change] = {"colour": recolour, **WEATHER}


def change_looks(sample: Sample, name: str, rng: np.random.Generator) -> None:
    """Change one of `LOOKS` in place; a grey margin stays what it is when serving."""
    sample.view[...] = LOOKS[name](sample.view, rng)


Placed = tuple[NDArray[Any], NDArray[Any], Area]  # boxes, classes, where the picture lies


def _place_anywhere(
    canvas: NDArray[Any], sample: Sample, scale: float, rng: np.random.Generator
) -> Placed:
    height, width = canvas.shape[:2]
    anchor = (
        (width - sample.image.shape[1] * scale) * rng.uniform(0, 1),
        (height - sample.image.shape[0] * scale) * rng.uniform(0, 1),
    )
    return _paste(canvas, sample, scale, anchor, (0, 0, width, height))


def _place_four(
    canvas: NDArray[Any], samples: list[Sample], scales: list[float], rng: np.random.Generator
) -> list[Placed]:
    height, width = canvas.shape[:2]
    middle_x = int(width * rng.uniform(0.3, 0.7))
    middle_y = int(height * rng.uniform(0.3, 0.7))
    placed = []
    for index, (sample, scale) in enumerate(zip(samples, scales, strict=True)):
        left, top = index % 2 == 0, index < 2
        area = (
            0 if left else middle_x,
            0 if top else middle_y,
            middle_x if left else width,
            middle_y if top else height,
        )
        anchor = (
            middle_x - sample.image.shape[1] * scale if left else middle_x,
            middle_y - sample.image.shape[0] * scale if top else middle_y,
        )
        placed.append(_paste(canvas, sample, scale, anchor, area))
    return placed


@dataclass(frozen=True)
class _Span:
    """One axis of a picture laid on a canvas: pixels `begin` to `end` become `made` many.

    Of these, those from `skipped` on lie on the canvas from `low` to `high`.
    """

    begin: int
    end: int
    made: int
    skipped: int
    low: int
    high: int

    def moved(self, points: NDArray[Any]) -> NDArray[Any]:
        """From pixels of the picture to pixels of the canvas."""
        return (points - self.begin) * (self.made / (self.end - self.begin)) + (
            self.low - self.skipped
        )


def _span(length: int, scale: float, anchor: float, low: int, high: int) -> _Span:
    """Lay `length` pixels, `scale` times as large, from `anchor` on; seen from low to high."""
    low = min(max(low, round(anchor)), high - 1)
    high = max(min(high, round(anchor + length * scale)), low + 1)
    begin = min(max(0, int((low - anchor) / scale)), length - 1)
    end = min(max(begin + 1, int(np.ceil((high - anchor) / scale))), length)
    made = max(round((end - begin) * scale), high - low)
    skipped = min(max(0, round(low - anchor - begin * scale)), made - (high - low))
    return _Span(begin, end, made, skipped, low, high)


def _paste(
    canvas: NDArray[Any], sample: Sample, scale: float, anchor: tuple[float, float], area: Area
) -> Placed:
    """Resize what will be seen of a picture, and only that, onto the canvas."""
    import cv2

    x = _span(sample.image.shape[1], scale, anchor[0], area[0], area[2])
    y = _span(sample.image.shape[0], scale, anchor[1], area[1], area[3])
    part = sample.image[y.begin : y.end, x.begin : x.end]
    if part.shape[:2] != (y.made, x.made):
        how = cv2.INTER_AREA if scale < AVERAGED_UNDER else cv2.INTER_LINEAR
        part = cv2.resize(part, (x.made, y.made), interpolation=how)
    canvas[y.low : y.high, x.low : x.high] = part[
        y.skipped : y.skipped + y.high - y.low, x.skipped : x.skipped + x.high - x.low
    ]
    shown = (x.low, y.low, x.high, y.high)
    if sample.task == "classification":
        return sample.xyxy, sample.cls, shown
    moved = np.empty_like(sample.xyxy)
    moved[:, 0::2], moved[:, 1::2] = x.moved(sample.xyxy[:, 0::2]), y.moved(sample.xyxy[:, 1::2])
    xyxy, kept = _seen_points(moved, shown) if sample.task == "density" else _seen(moved, shown)
    return xyxy, sample.cls[kept], shown


def _seen_points(moved: NDArray[Any], area: Area) -> tuple[NDArray[Any], NDArray[Any]]:
    left, top, right, bottom = area
    x, y = moved[:, 0], moved[:, 1]
    kept = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    return moved[kept], kept


def _seen(moved: NDArray[Any], area: Area) -> tuple[NDArray[Any], NDArray[Any]]:
    cut = moved.copy()
    cut[:, 0::2] = cut[:, 0::2].clip(area[0], area[2])
    cut[:, 1::2] = cut[:, 1::2].clip(area[1], area[3])
    size, whole = cut[:, 2:] - cut[:, :2], moved[:, 2:] - moved[:, :2]
    share = size.prod(1) / (whole.prod(1) + 1e-9)
    kept = (share > LEAST_SHARE) & (size.min(1, initial=np.inf) >= LEAST_SIDE_PX)
    return cut[kept].astype(np.float32), kept
