"""Frames as Label Studio's tasks: what stands in their data, and what a model says beforehand."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cityforge.cards.dataset import Dataset
from cityforge.labeling.studio.pictures import picture_name

SERVED = "/data/local-files/?d="
SMALLEST_PX = 0.01  # a box that is thinner cannot be seen, nor taken hold of

Row = dict[str, Any]
Box = tuple[str, float, float, float, float, float]  # class, xyxy in pixels, score 0 to 1


@dataclass(frozen=True)
class Prefill:
    """What a model found in one frame; boxes in pixels of the stored frame."""

    model_version: str
    score: float  # 0 to 1: how sure the model is of the frame as a whole
    boxes: tuple[Box, ...]


@dataclass
class TaskMaker:
    """Makes tasks of a dataset, and notes the boxes that cannot be shown to people."""

    card: Dataset
    prefilled: set[str] = field(default_factory=set)  # frames whose task has boxes of a model
    left_out: dict[str, list[str]] = field(default_factory=dict)  # frame to reasons, one a box

    def task(self, frame: Mapping[str, Any], reason: str | None, prefill: Prefill | None) -> Row:
        """One task as Label Studio imports it.

        Args:
            frame: a row of FRAMES with `name` (of the footage), `camera` and `site` beside it.
            reason: why people are asked, for them to read.
        """
        row: Row = {"data": task_data(self.card.name, frame, reason)}
        regions = self._regions(frame, prefill) if prefill else []
        if prefill and regions:
            self.prefilled.add(frame["frame_id"])
            score = min(max(prefill.score, 0.0), 1.0)
            said = {"model_version": prefill.model_version, "score": round(score, 6)}
            row["predictions"] = [{**said, "result": regions}]
        return row

    def _regions(self, frame: Mapping[str, Any], prefill: Prefill) -> list[Row]:
        """Boxes as regions of the page; a page that asks for no boxes has none."""
        if self.card.labeling.kind != "boxes":
            return []
        known = set(self.card.class_names)
        rows: list[Row] = []
        reasons: list[str] = []
        for box in prefill.boxes:
            cut = _cut(box, frame["width"], frame["height"])
            if box[0] not in known:
                reasons.append(f"a class that the card does not name: {box[0]}")
            elif cut is None:
                reasons.append("of no size within its frame")
            else:
                rows.append(_region(frame, box, cut, len(rows)))
        if reasons:
            self.left_out[frame["frame_id"]] = reasons
        return rows


def task_data(dataset: str, frame: Mapping[str, Any], reason: str | None = None) -> Row:
    """The data of a frame's task; nothing in it says whether its answer is known already."""
    captured: datetime | None = frame["captured_at"]
    data: Row = {
        "image": SERVED + picture_name(dataset, frame["frame_id"]),
        "frame_id": frame["frame_id"],
        "dataset": dataset,
        "camera": frame["camera"],
        "site": frame["site"],
        "footage": frame["name"],
        "footage_id": frame["footage_id"],
        "pts_s": frame["pts_s"],
        "captured_at": captured.isoformat() if captured else None,
        "width": frame["width"],
        "height": frame["height"],
        "reason": reason,
    }
    return {key: value for key, value in data.items() if value is not None}


def _cut(box: Box, width: int, height: int) -> tuple[float, float, float, float] | None:
    """The part of a box within its frame, xyxy in pixels; None where nothing is left."""
    _, x1, y1, x2, y2, score = box
    if not all(math.isfinite(each) for each in (x1, y1, x2, y2, score)):
        return None
    x1, y1 = max(x1, 0.0), max(y1, 0.0)
    x2, y2 = min(x2, float(width)), min(y2, float(height))
    return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= SMALLEST_PX else None


def _region(
    frame: Mapping[str, Any], box: Box, cut: tuple[float, float, float, float], place: int
) -> Row:
    """One region; x, y, width and height in percent of the frame, as Label Studio has them."""
    x1, y1, x2, y2 = cut
    width, height = frame["width"], frame["height"]
    said = f"{frame['frame_id']}|{place}|{box[0]}|" + "|".join(f"{each:.3f}" for each in cut)
    return {
        "id": hashlib.sha256(said.encode()).hexdigest()[:10],
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": round(min(max(box[5], 0.0), 1.0), 6),
        "value": {
            "x": x1 / width * 100,
            "y": y1 / height * 100,
            "width": (x2 - x1) / width * 100,
            "height": (y2 - y1) / height * 100,
            "rotation": 0,
            "rectanglelabels": [box[0]],
        },
    }
