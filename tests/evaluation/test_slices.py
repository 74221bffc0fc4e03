"""Parts of the frames: which there are, what they hold, and their figures alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from small_tasks import label

from cityforge.evaluation.slices import hour_block
from cityforge.tables import FRAMES, LABELS, from_rows


def by_name(evidence):
    return {(s.by, s.name): s for s in evidence.slices}


def test_slices_by_camera_hour_light_size_and_crowding(case):
    slices = by_name(case.evaluate())
    assert len(slices) == 2 + 1 + 2 + 3 + 1  # nothing states the weather
    north = slices["camera", "北门"]
    assert (north.frames, north.boxes, north.map50, north.few) == (2, 3, 1.0, False)
    assert slices["camera", "Old Harbour"].map50 == 0.0
    assert (slices["lighting", "night"].boxes, slices["lighting", "night"].few) == (1, True)
    assert slices["size", "small"].map50 is None
    assert (slices["size", "large"].boxes, slices["size", "large"].frames) == (4, 3)
    hour, crowding = slices["hour", "06-09"], slices["crowding", "1-5"]
    assert (hour.frames, hour.boxes) == (4, 4)
    assert (crowding.frames, crowding.boxes) == (3, 4)  # the empty frame has nothing to find


def test_without_footage_what_the_frames_say_themselves_is_told_apart(case):
    evidence = case.evaluate(footage=None)
    assert {s.by for s in evidence.slices} == {"hour", "size", "crowding"}
    assert evidence.worst_frames[0].camera is None
    rows = [{**row, "captured_at": None} for row in case.frames.to_pylist()]
    evidence = case.evaluate(footage=None, frames=from_rows(rows, FRAMES))
    assert {s.by for s in evidence.slices} == {"size", "crowding"}


def test_a_figure_lies_in_its_interval_and_the_whole_is_the_sum_of_its_parts(case):
    evidence = case.evaluate(resamples=50)
    for by in ("camera", "lighting", "size"):
        assert sum(s.boxes for s in evidence.slices if s.by == by) == evidence.box_count
    known = [s for s in evidence.slices if s.map50 is not None]
    assert len(known) >= 5
    for part in known:
        assert part.low - 1e-6 <= part.map50 <= part.high + 1e-6


@pytest.mark.parametrize(
    ("objects", "name"), [(1, "1-5"), (5, "1-5"), (6, "6-15"), (15, "6-15"), (16, "16+")]
)
def test_crowding_by_the_number_of_objects(case, objects, name):
    rows = [
        label("f0-0", "car", "detection", 9.0 * i, 0.0, 9.0 * i + 8, 8.0) for i in range(objects)
    ]
    slices = by_name(case.evaluate(labels=from_rows(rows, LABELS)))
    assert [key for key in slices if key[0] == "crowding"] == [("crowding", name)]
    assert slices["crowding", name].boxes == objects


def test_a_box_on_the_edge_is_listed_once(case):
    xyxy = ((0.0, 0.0, 32.0, 32.0), (5.0, 5.0, 25.0, 25.0))
    rows = [label("f0-0", "car", "detection", *each) for each in xyxy]
    slices = by_name(case.evaluate(labels=from_rows(rows, LABELS)))
    assert [slices["size", size].boxes for size in ("small", "medium", "large")] == [1, 1, 0]


@pytest.mark.parametrize(
    ("hour", "minute", "name"),
    [(0, 0, "00-03"), (2, 59, "00-03"), (3, 0, "03-06"), (23, 59, "21-24")],
)
def test_blocks_of_three_hours(hour, minute, name):
    assert hour_block(datetime(2026, 3, 1, hour, minute, tzinfo=UTC)) == name
    assert hour_block(None) is None
