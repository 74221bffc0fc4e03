"""Exact boxes of the painted road users, as Label Studio tasks.

A box spans the whole silhouette, hidden parts included, clipped to the image. What is
hidden counts against the visibility: the share of the silhouette's pixels that stay
in view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cityforge.synthetic.backdrop import Backdrop
from cityforge.synthetic.cameras import Camera
from cityforge.synthetic.painting import fill, standing_before
from cityforge.synthetic.silhouettes import SHIFT, Silhouette

LEAST_VISIBILITY = 0.35
LEAST_LONG_SIDE_PX = 8.0
LEAST_SHORT_SIDE_PX = 5.0
ANNOTATOR = "synthetic@cityforge"


@dataclass(frozen=True)
class Box:
    """One labelled road user; `xyxy` in pixels of the stored frame, visibility in 0..1."""

    kind: str
    track_id: str
    xyxy: tuple[float, float, float, float]
    visibility: float


def _whole_area(shown: Silhouette, limit: int = 1600) -> int:
    """Pixels of the silhouette if nothing hid it and the image had no edges."""
    x0, y0, x1, y1 = shown.box
    wide, tall = min(limit, int(x1 - x0) + 5), min(limit, int(y1 - y0) + 5)
    canvas = np.zeros((tall, wide), np.uint8)
    corner = np.array([int(x0) - 2, int(y0) - 2], np.int32) << SHIFT
    for outline, width in zip(shown.patches.outlines, shown.patches.widths, strict=True):
        fill(canvas, outline - corner, width, (255.0,), cv2.LINE_8)
    return int(cv2.countNonZero(canvas))


def visibilities(shown: Sequence[Silhouette], camera: Camera, backdrop: Backdrop) -> list[float]:
    """Share of each silhouette that is in view; `shown` is ordered farthest first."""
    numbers: npt.NDArray[np.uint8] = np.zeros((camera.height, camera.width), np.uint8)
    for number, one in enumerate(shown, start=1):
        for outline, width in zip(one.patches.outlines, one.patches.widths, strict=True):
            fill(numbers, outline, width, (float(number),), cv2.LINE_8)
        window, before = standing_before(one, backdrop)
        if before is not None:
            numbers[window][before > 0] = 0
    counts = np.bincount(numbers.ravel(), minlength=len(shown) + 1)
    return [
        min(1.0, float(counts[number]) / max(1, _whole_area(one)))
        for number, one in enumerate(shown, start=1)
    ]


def label(shown: Sequence[Silhouette], camera: Camera, backdrop: Backdrop) -> list[Box]:
    """Boxes of all road users that are visible and large enough, ordered by track."""
    boxes: list[Box] = []
    for one, visibility in zip(shown, visibilities(shown, camera, backdrop), strict=True):
        x0, y0 = max(0.0, one.box[0]), max(0.0, one.box[1])
        x1, y1 = min(float(camera.width), one.box[2]), min(float(camera.height), one.box[3])
        short, long = sorted((x1 - x0, y1 - y0))
        if (
            visibility < LEAST_VISIBILITY
            or long < LEAST_LONG_SIDE_PX
            or short < LEAST_SHORT_SIDE_PX
        ):
            continue
        boxes.append(Box(one.actor.kind, one.actor.track_id, (x0, y0, x1, y1), visibility))
    return sorted(boxes, key=lambda box: box.track_id)


def region(box: Box, camera: Camera) -> dict[str, Any]:
    """A box as Label Studio's rectangle, in percent of the image."""
    x0, y0, x1, y1 = box.xyxy
    return {
        "id": box.track_id,
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": camera.width,
        "original_height": camera.height,
        "image_rotation": 0,
        "value": {
            "x": round(x0 * 100.0 / camera.width, 6),
            "y": round(y0 * 100.0 / camera.height, 6),
            "width": round((x1 - x0) * 100.0 / camera.width, 6),
            "height": round((y1 - y0) * 100.0 / camera.height, 6),
            "rotation": 0,
            "rectanglelabels": [box.kind],
        },
        "meta": {"track_id": box.track_id, "visibility": round(box.visibility, 6)},
    }


def task(
    footage: str,
    camera: Camera,
    seconds: float,
    captured_at: str,
    made_at: str,
    boxes: Sequence[Box],
) -> dict[str, Any]:
    """One labelled frame as a Label Studio task; `id` is given when all tasks are known."""
    annotation = {
        "completed_by": {"email": ANNOTATOR},
        "created_at": made_at,
        "updated_at": made_at,
        "lead_time": 0.0,
        "was_cancelled": False,
        "ground_truth": True,
        "result": [region(box, camera) for box in boxes],
    }
    data = {
        "image": f"{footage}#t={seconds:.3f}",
        "footage": footage,
        "pts_s": round(seconds, 6),
        "camera": camera.name,
        "captured_at": captured_at,
    }
    return {"data": data, "annotations": [annotation], "predictions": []}
