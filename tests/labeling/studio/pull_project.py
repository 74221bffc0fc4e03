"""A project with tasks as cityforge pushes them, filled in bulk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cityforge.labeling.studio.client import Studio

XML = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="汽车"/><Label value="bus"/></RectangleLabels></View>'
)


@contextmanager
def project_of(studio: Studio, tasks: int = 0, **each: Any) -> Iterator[int]:
    """A project with as many tasks; `each` is what every task holds beside its data."""
    made = int(studio.make("api/projects", {"title": "pull", "label_config": XML})["id"])
    try:
        add_tasks(studio, made, range(tasks), **each)
        yield made
    finally:
        studio.remove(f"api/projects/{made}")


def add_tasks(studio: Studio, project_id: int, numbers: range, **each: Any) -> None:
    """Bulk import, 2,000 tasks a call."""
    for start in range(numbers.start, numbers.stop, 2000):
        some = range(start, min(start + 2000, numbers.stop))
        content = [{"data": task_data(number), **each} for number in some]
        studio.make(f"api/projects/{project_id}/import", content)


def task_data(number: int) -> dict[str, Any]:
    """What a pushed task says of its frame."""
    frame_id = f"{number:016x}-{number * 40}"
    return {
        "image": f"/data/local-files/?d=tiny/{frame_id[:2]}/{frame_id}.jpg", "frame_id": frame_id,
        "dataset": "tiny", "camera": "北门", "site": "North gate", "footage": "北门 1.mp4",
        "footage_id": frame_id[:16], "pts_s": number * 0.04, "width": 1920, "height": 1080,
    }  # fmt: skip


def task_ids(studio: Studio, project_id: int) -> list[int]:
    """The project's tasks, the oldest first."""
    asked = {"project": project_id, "page_size": 100_000, "include": "id"}
    found = studio.get("api/tasks", **asked, query='{"ordering": ["tasks:id"]}')["tasks"]
    return [int(task["id"]) for task in found]
