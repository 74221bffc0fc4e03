"""Changes pictures and their boxes while training: scale and shift, flip, colour, mosaic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.tasks.picture import GREY

# A box that keeps less than this share of its area is no longer shown well enough to learn.
LEAST_SHARE = 0.25
LEAST_SIDE_PX = 2.0


@dataclass(frozen=True)
class Sample:
    """A picture (H, W, 3) uint8 RGB with (M, 4) float32 xyxy boxes and (M,) int64 classes."""

    image: NDArray[Any]
    xyxy: NDArray[Any]
    cls: NDArray[Any]


def place(
    samples: list[Sample], width: int, height: int, scales: list[float], rng: np.random.Generator
) -> Sample:
    """Place one picture, or four around a common corner, on a canvas of width by height."""
    if len(samples) == 1:
        return _place_one(samples[0], width, height, scales[0], rng)
    centre_x = int(width * rng.uniform(0.3, 0.7))
    centre_y = int(height * rng.uniform(0.3, 0.7))
    canvas = np.full((height, width, 3), GREY, np.uint8)
    boxes, classes = [], []
    for index, (sample, scale) in enumerate(zip(samples, scales, strict=True)):
        left, top = index % 2 == 0, index < 2
        area = (
            0 if left else centre_x,
            0 if top else centre_y,
            centre_x if left else width,
            centre_y if top else height,
        )
        anchor = (
            centre_x - sample.image.shape[1] * scale if left else centre_x,
            centre_y - sample.image.shape[0] * scale if top else centre_y,
        )
        _paste(canvas, sample.image, scale, anchor, area)
        xyxy, kept = _moved(sample.xyxy, scale, anchor, area)
        boxes.append(xyxy)
        classes.append(sample.cls[kept])
    return Sample(canvas, np.concatenate(boxes), np.concatenate(classes))


def flip(sample: Sample) -> Sample:
    """Mirror left and right."""
    width = sample.image.shape[1]
    xyxy = sample.xyxy.copy()
    xyxy[:, [0, 2]] = width - sample.xyxy[:, [2, 0]]
    return Sample(np.ascontiguousarray(sample.image[:, ::-1]), xyxy, sample.cls)


def recolour(sample: Sample, rng: np.random.Generator) -> Sample:
    """Other brightness, contrast and saturation, and a slight cast of colour."""
    gain = rng.uniform(0.6, 1.4) * rng.uniform(0.95, 1.05, 3)
    shift = rng.uniform(-25, 25)
    table = np.arange(256)[:, None] * gain + shift  # (256, 3)
    table = table.clip(0, 255).astype(np.uint8)
    import cv2

    image = cv2.LUT(sample.image, table[None])
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    share = rng.uniform(0.4, 1.4)
    mixed = cv2.addWeighted(image, share, grey, 1 - share, 0)
    return Sample(mixed, sample.xyxy, sample.cls)


def _place_one(
    sample: Sample, width: int, height: int, scale: float, rng: np.random.Generator
) -> Sample:
    canvas = np.full((height, width, 3), GREY, np.uint8)
    free_x = width - sample.image.shape[1] * scale
    free_y = height - sample.image.shape[0] * scale
    anchor = (free_x * rng.uniform(0, 1), free_y * rng.uniform(0, 1))
    area = (0, 0, width, height)
    _paste(canvas, sample.image, scale, anchor, area)
    xyxy, kept = _moved(sample.xyxy, scale, anchor, area)
    return Sample(canvas, xyxy, sample.cls[kept])


def _paste(
    canvas: NDArray[Any],
    image: NDArray[Any],
    scale: float,
    anchor: tuple[float, float],
    area: tuple[int, int, int, int],
) -> None:
    import cv2

    left, top, right, bottom = area
    if right <= left or bottom <= top:
        return
    half = (scale - 1) / 2  # OpenCV counts from the middle of a pixel, boxes from its edge
    matrix = np.array(
        [[scale, 0, anchor[0] - left + half], [0, scale, anchor[1] - top + half]], np.float32
    )
    canvas[top:bottom, left:right] = cv2.warpAffine(
        image, matrix, (right - left, bottom - top), borderValue=(GREY, GREY, GREY)
    )


def _moved(
    xyxy: NDArray[Any], scale: float, anchor: tuple[float, float], area: tuple[int, int, int, int]
) -> tuple[NDArray[Any], NDArray[Any]]:
    moved = xyxy * scale + np.array([*anchor, *anchor], np.float32)
    cut = moved.copy()
    cut[:, 0::2] = cut[:, 0::2].clip(area[0], area[2])
    cut[:, 1::2] = cut[:, 1::2].clip(area[1], area[3])
    size, whole = cut[:, 2:] - cut[:, :2], moved[:, 2:] - moved[:, :2]
    share = size.prod(1) / (whole.prod(1) + 1e-9)
    kept = (share > LEAST_SHARE) & (size.min(1) >= LEAST_SIDE_PX)
    return cut[kept].astype(np.float32), kept
