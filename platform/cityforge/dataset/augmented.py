"""Pictures that show a person what augmentation makes of the frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.params import AugmentParams, DataParams, TrainParams
from cityforge.dataset.augment import Sample
from cityforge.dataset.labelled import LabelledFrames
from cityforge.dataset.loader import TrainingFrames
from cityforge.footage.shards import FrameStore

AS_IT_WAS = (1.0, 1.0)
QUALITY = 85  # of the JPEGs
# Okabe and Ito, "Color Universal Design", 2008: told apart by colour-blind readers.
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0))


def augmented_sheet(
    frames: LabelledFrames, store: FrameStore, data: DataParams, train: TrainParams, count: int = 8
) -> list[bytes]:
    """JPEGs of frames as the network sees them, with their boxes; the same for the same seed.

    One for each augmentation that is switched on, alone and named in its corner; then all
    together as they are trained on, up to `count`.
    """
    if not len(frames):
        return []
    rows = _rows(frames, train.seed, count)
    wanted = list(_one_by_one(train.augment))[:count]
    named = [(name, train.model_copy(update={"augment": each})) for name, each in wanted]
    named += [("as trained", train)] * (count - len(named))
    made = []
    for (name, params), row in zip(named, rows, strict=True):
        _, sample = TrainingFrames(frames, store, data, params)[row]
        made.append(_drawn(sample, name))
    return made


def _one_by_one(augment: AugmentParams) -> Iterator[tuple[str, AugmentParams]]:
    shares = {name: 0.0 for name in type(augment).model_fields if name != "scale"}
    for name, share in augment.model_dump().items():
        if name == "scale" and share != AS_IT_WAS:
            yield name, augment.model_copy(update=shares)
        elif name != "scale" and share:
            yield name, augment.model_copy(update=shares | {"scale": AS_IT_WAS, name: 1.0})


def _rows(frames: LabelledFrames, seed: int, count: int) -> list[int]:
    """Frames to show: drawn by the seed, those with labels first, again where there are few."""
    order = np.random.default_rng(seed).permutation(len(frames)).tolist()
    order.sort(key=lambda row: len(frames.boxes[row][1]) == 0)
    return [order[number % len(order)] for number in range(count)]


def _drawn(sample: Sample, name: str) -> bytes:
    import cv2

    image = sample.image.copy()
    for box, cls in zip(sample.xyxy.round().astype(int).tolist(), sample.cls, strict=True):
        colour = COLOURS[int(cls) % len(COLOURS)]
        if sample.task == "detection":
            cv2.rectangle(image, box[:2], box[2:], colour, 1, cv2.LINE_AA)
        elif sample.task == "density":
            cv2.circle(image, box[:2], 2, colour, 1, cv2.LINE_AA)
    _write(image, name.replace("_", " "))
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    return bytes(data)


def _write(image: NDArray[Any], text: str) -> None:
    """Write white on black into the lower left corner."""
    import cv2

    scale = max(0.35, image.shape[0] / 700)
    (width, height), under = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    bottom = image.shape[0]
    image[bottom - height - 2 * under :, : width + 8] = 0
    cv2.putText(
        image, text, (4, bottom - under), cv2.FONT_HERSHEY_SIMPLEX, scale, (255,) * 3, 1,
        cv2.LINE_AA,
    )  # fmt: skip
