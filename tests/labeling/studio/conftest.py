"""Stored frames to push, and a project of their own on the real server."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest
from PIL import Image
from pydantic import SecretStr

from cityforge.cards.dataset import Dataset
from cityforge.footage.shards import FrameStore, begin_shard
from cityforge.labeling.studio.client import Studio
from cityforge.labeling.studio.pictures import Pictures
from cityforge.labeling.studio.project import StudioProject, sync_project
from cityforge.labeling.studio.push import Pushed, push

WIDTH, HEIGHT = 64, 48


@pytest.fixture
def store_frames() -> Callable[..., list[dict[str, Any]]]:
    """Store `count` frames of one footage; their rows of FRAMES, with what their footage says."""

    def store(folder: Path, count: int, footage: int = 1, **about: Any) -> list[dict[str, Any]]:
        stream = io.BytesIO()
        Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 60)).save(stream, "JPEG")
        footage_id = f"{footage:016x}"
        rows = []
        with begin_shard(folder / f"{footage_id}-000.tar") as shard:
            for number in range(count):
                data = stream.getvalue() + number.to_bytes(4)  # behind the end of the picture
                frame_id = f"{footage_id}-{number * 500}"
                offset = shard.add(f"{frame_id}.jpg", data)
                row = {
                    "frame_id": frame_id, "footage_id": footage_id, "pts_s": number / 2,
                    "captured_at": None, "shard": f"{footage_id}-000.tar", "offset": offset,
                    "bytes": len(data), "width": WIDTH, "height": HEIGHT, "name": "a.mp4",
                    "camera": "北门", "site": "North gate",
                }  # fmt: skip
                rows.append(row | about)
        return rows

    return store


def store_of(folder: Path, rows: list[dict[str, Any]]) -> FrameStore:
    """What reads these frames."""
    keys = ("frame_id", "shard", "offset", "bytes")
    return FrameStore(folder, pa.table({key: [row[key] for row in rows] for key in keys}))


@dataclass
class Desk:
    """A dataset's project on the server, and all that a push to it needs."""

    studio: Studio
    card: Dataset
    project: StudioProject
    files: Path
    work: Path
    folder: Path  # of the shards

    def push(self, frames: list[dict[str, Any]], *more: list[dict[str, Any]], **how: Any) -> Pushed:
        """Push frames in their order, each with a reason."""
        lawful = sum(more, frames)
        pictures = Pictures(self.files, self.card.name, store_of(self.folder, lawful))
        order = how.pop("order", {row["frame_id"]: "why" for row in lawful})
        studio = how.pop("studio", self.studio)
        return push(studio, self.project, self.card, lawful, order, pictures, work=self.work, **how)

    def tasks(self, fields: str = "id,data") -> list[dict[str, Any]]:
        """All tasks that the server has, the oldest first."""
        found: list[dict[str, Any]] = self.studio.get(
            "api/tasks", project=self.project.id, page_size=10_000, include=fields
        )["tasks"]
        return found

    def frame_ids(self) -> list[str]:
        """The frames of all tasks, in the order of the tasks."""
        return [task["data"]["frame_id"] for task in self.tasks()]

    def annotate(self, task_id: int, **how: Any) -> None:
        """Submit an empty annotation."""
        self.studio.make(f"api/tasks/{task_id}/annotations/", {"result": [], **how})


@pytest.fixture
def desk(label_studio: Any, make_card: Callable[..., Dataset], tmp_path: Path) -> Iterator[Desk]:
    """A project that no other test has; it is removed at the end."""
    card = make_card(name=f"t{uuid4().hex[:12]}")
    with Studio(label_studio.url, SecretStr(label_studio.token), patience_s=10) as studio:
        project = sync_project(studio, card, label_studio.files)
        folder = tmp_path / "frames"
        yield Desk(studio, card, project, label_studio.files, tmp_path / "work", folder)
        studio.remove(f"api/projects/{project.id}")
