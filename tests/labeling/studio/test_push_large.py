"""A push of many frames against Label Studio's own import of the same tasks in one call."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from cityforge.labeling.studio.tasks import Prefill, TaskMaker

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(1800)]

# 20,000 by `make bench-labelling`, where the machine does nothing else and times are held.
MANY = int(os.environ.get("CITYFORGE_LARGE", "2000"))
BOXES = 8


def test_a_large_push_takes_little_more_than_one_import(
    desk: Any,
    store_frames: Callable[..., list[dict[str, Any]]],
    record_property: Callable[[str, object], None],
) -> None:
    rows = store_frames(desk.folder, MANY)
    boxes = tuple(("汽车", 1.0 + n, 2.0, 9.0 + n, 12.0, 0.5) for n in range(BOXES))
    prefills = {row["frame_id"]: Prefill("tiny v1", 0.5, boxes) for row in rows}
    begun = time.monotonic()
    result = desk.push(rows, prefills=lambda ids: {each: prefills[each] for each in ids})
    pushed = time.monotonic() - begun
    begun = time.monotonic()
    again = desk.push(rows)
    unchanged = time.monotonic() - begun
    maker = TaskMaker(desk.card)
    tasks = [maker.task(row, "why", prefills[row["frame_id"]]) for row in rows]
    begun = time.monotonic()
    desk.studio.make(f"api/projects/{desk.project.id}/import", tasks)
    own = time.monotonic() - begun
    record_property("push_s", round(pushed, 1))
    record_property("own_import_s", round(own, 1))
    record_property("unchanged_s", round(unchanged, 2))
    print(f"push of {MANY}: {pushed:.1f} s, own import {own:.1f} s, unchanged {unchanged:.2f} s")
    assert (result.new, result.prefilled, again.new, again.already) == (MANY, MANY, 0, MANY)
    if MANY >= 20_000:
        assert pushed <= 1.3 * own
