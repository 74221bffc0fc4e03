"""A dataset of four frames of 200×100 pixels that people annotate."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cityforge.cards.dataset import Dataset
from cityforge.labeling.looks import Looks, read_looks
from cityforge.labeling.settle import Settled, settle
from cityforge.labeling.stored import annotations_path, read_labels
from cityforge.tables import ANNOTATIONS, FOOTAGE, FRAMES, from_rows, write_table

WIDTH, HEIGHT = 200, 100
START = datetime(2026, 3, 1, 8, tzinfo=UTC)
SOURCE = "label-studio:7"


def box(cls: str, x1: float, y1: float, x2: float, y2: float, **changes: object) -> dict[str, Any]:
    """A region of Label Studio, of a box in pixels of the stored frame."""
    value = {
        "x": x1 / WIDTH * 100, "y": y1 / HEIGHT * 100, "width": (x2 - x1) / WIDTH * 100,
        "height": (y2 - y1) / HEIGHT * 100, "rotation": 0, "rectanglelabels": [cls],
    }  # fmt: skip
    return region("rectanglelabels", value, **changes)


def point(cls: str, x: float, y: float) -> dict[str, Any]:
    value = {"x": x / WIDTH * 100, "y": y / HEIGHT * 100, "width": 1, "keypointlabels": [cls]}
    return region("keypointlabels", value)


def choice(*classes: str) -> dict[str, Any]:
    return region("choices", {"choices": list(classes)})


def region(kind: str, value: dict[str, Any], **changes: object) -> dict[str, Any]:
    stated = {"type": kind, "value": value, "image_rotation": 0, "original_width": 400}
    return {**stated, "original_height": 200, **changes}


@dataclass
class People:
    """Annotations are said one after the other, each a minute later."""

    card: Dataset
    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    frame_ids: tuple[str, ...] = ("a-0", "b-0", "c-0", "d-0")

    def say(self, frame_id: str | None, who: str | None, *result: object, **changes: object) -> str:
        """Annotate a frame; the annotation's id."""
        number = len(self.rows) + 1
        self.rows.append(
            {
                "annotation_id": str(number), "task_id": 100 + number, "frame_id": frame_id,
                "annotator": who, "updated_at": START + timedelta(minutes=number),
                "lead_time_s": 10.0, "ground_truth": False, "skipped": False, "origin": "human",
                "data": "{}", "result": json.dumps(result), "source": SOURCE, **changes,
            }
        )  # fmt: skip
        return str(number)

    @property
    def frames(self) -> pa.Table:
        return from_rows(
            [
                {
                    "frame_id": frame_id, "footage_id": frame_id[0], "pts_s": 0.0, "shard": "s",
                    "offset": 0, "bytes": 1, "width": WIDTH, "height": HEIGHT, "phash": "0",
                    "sharpness": 0.0, "brightness": 0.0, "contrast": 1.0, "lighting": "day",
                    "faults": [], "redactions": [],
                }
                for frame_id in self.frame_ids
            ],
            FRAMES,
        )  # fmt: skip

    @property
    def footage(self) -> pa.Table:
        return from_rows(
            [
                {
                    "footage_id": each[0], "path": "p", "name": f"{each[0]}.jpg",
                    "camera": "北门" if each[0] in "ab" else "harbour", "duration_s": 0.0,
                    "width": WIDTH, "height": HEIGHT, "codec": "x", "frames": 1, "errors": 0,
                    "lawful_basis": "x",
                }
                for each in self.frame_ids
            ],
            FOOTAGE,
        )  # fmt: skip

    def store(self) -> None:
        table = from_rows(self.rows, ANNOTATIONS)
        write_table(table, ANNOTATIONS, annotations_path(self.folder))

    def looks(self) -> Looks:
        self.store()
        return read_looks(self.card, self.folder, self.footage, self.frames)

    def settle(self) -> Settled:
        self.store()
        return settle(self.card, self.folder, self.footage, self.frames)

    def labels(self) -> list[tuple[Any, ...]]:
        """(frame, class, x1, y1, x2, y2) of each stored label, to 0.001 px."""
        rows = read_labels(self.folder).to_pylist()
        edges = ("x1", "y1", "x2", "y2")
        return sorted(
            (
                row["frame_id"], row["class"] or "",
                *(None if row[key] is None else round(row[key], 3) for key in edges),
            )
            for row in rows
        )  # fmt: skip


@pytest.fixture
def people(tmp_path: Path, make_card: Callable[..., Dataset]) -> Callable[..., People]:
    """A dataset nobody has annotated yet; `labeling` is that part of its card."""

    def make(
        labeling: dict[str, Any] | None = None, name: str = "dataset", **card: object
    ) -> People:
        return People(make_card(labeling=labeling or {}, **card), tmp_path / name)

    return make


@pytest.fixture
def draw() -> Callable[..., dict[str, Any]]:
    """A drawn box: class, then xyxy in pixels of the stored frame."""
    return box


@pytest.fixture
def mark() -> Callable[..., dict[str, Any]]:
    """A point: class, x, y."""
    return point


@pytest.fixture
def choose() -> Callable[..., dict[str, Any]]:
    """Classes of the whole picture."""
    return choice
