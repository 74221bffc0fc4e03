"""Frames of one grey with labels, for the tests here."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from cityforge.dataset.labelled import LabelledFrames


def png(level: int = 0, width: int = 64, height: int = 64) -> bytes:
    """A picture of one grey."""
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (width, height), (level,) * 3).save(stream, "PNG")
    return stream.getvalue()


def labelled(*boxes: list[tuple[Any, int]], task: str = "detection") -> LabelledFrames:
    """Frames `0`, `1`, … with their (xyxy, class) pairs."""
    rows = [
        (
            np.array([xyxy for xyxy, _ in each], np.float32).reshape(-1, 4),
            np.array([cls for _, cls in each], np.int64),
        )
        for each in boxes
    ]
    return LabelledFrames([str(number) for number in range(len(rows))], rows, task)
