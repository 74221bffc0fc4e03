"""Likely mistakes among what people did: the task that there is says so, and stays one task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cityforge.labeling.studio.listing import Listing
from cityforge.labeling.studio.review import mark_for_review

pytestmark = pytest.mark.services


def test_the_one_task_of_a_frame_says_why_it_is_doubtful(
    desk: Any, store_frames: Callable[..., list[dict[str, Any]]]
) -> None:
    rows = store_frames(desk.folder, 3)
    desk.push(rows)
    tasks = Listing.load(desk.studio, desk.project.id, desk.work / "tasks.json").by_frame()
    reasons = {rows[1]["frame_id"]: "'<b>汽车' found, not labelled", "unknown-0": "x"}
    assert mark_for_review(desk.studio, tasks, reasons) == 1
    assert mark_for_review(desk.studio, tasks, reasons) == 0
    found = [task["data"].get("review") for task in desk.tasks()]
    assert found == [None, "'<b>汽车' found, not labelled", None]
    assert desk.frame_ids() == [row["frame_id"] for row in rows]
    assert desk.push(rows).already == 3


def test_a_task_that_was_deleted_is_passed_over(
    desk: Any, store_frames: Callable[..., list[dict[str, Any]]]
) -> None:
    (row,) = store_frames(desk.folder, 1)
    assert mark_for_review(desk.studio, {row["frame_id"]: [999_999]}, {row["frame_id"]: "x"}) == 0
