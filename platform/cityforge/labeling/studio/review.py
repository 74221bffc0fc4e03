"""Marks tasks that people did already and that someone should look at again.

A frame is one task for ever, so a likely mistake is no new task: the reason is written into the
data of the one there is, as `review`, which Label Studio's data manager can filter and sort by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cityforge.labeling.studio.client import NotThere, Studio

FIELD = "review"


def mark_for_review(
    studio: Studio, tasks: Mapping[str, list[int]], reasons: Mapping[str, str]
) -> int:
    """Write each frame's reason into its oldest task; how many were changed.

    Args:
        tasks: tasks of each frame, the oldest first.
        reasons: frame id to what makes its labels doubtful.

    Raises:
        ServiceError: the server fails; what was marked until then stays marked.
    """
    marked = 0
    for frame_id, reason in reasons.items():
        for task_id in tasks.get(frame_id, [])[:1]:
            marked += _mark(studio, task_id, reason)
    return marked


def _mark(studio: Studio, task_id: int, reason: str) -> bool:
    try:
        data: dict[str, Any] = studio.get(f"api/tasks/{task_id}")["data"]
        if data.get(FIELD) == reason:
            return False
        studio.change(f"api/tasks/{task_id}", {"data": {**data, FIELD: reason}})
    except NotThere:  # somebody deleted it just now
        return False
    return True
