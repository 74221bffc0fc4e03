"""Tracks to keyframed video boxes and back: the same boxes to 0.001 px, with few keyframes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_studio_sdk._extensions.label_studio_tools.postprocessing.video import extract_key_frames

from cityforge.labeling.formats.rows import LabelledBox
from cityforge.labeling.video import boxes_of_video, frames_of_clip
from cityforge.labeling.video_write import video_result

FPS = 25.0
SIZE = (640, 480)
EXACT_PX = 0.001
Boxes = dict[tuple[str, str, str | None], list[float]]


def box(frame: int, x1: float = 10, track: str | None = "1", **changes: Any) -> LabelledBox:
    """A box 30 px wide and 20 px high on frame k of the clip."""
    row = {"x1": x1, "y1": 40, "x2": x1 + 30, "y2": 60, "cls": "car", "where": f"row {frame}"}
    return LabelledBox(image=f"f-{frame}", track_id=track, **(row | changes))


def edges(boxes: list[LabelledBox]) -> Boxes:
    return {(b.image, b.cls, b.track_id): [b.x1, b.y1, b.x2, b.y2] for b in boxes}


def there_and_back(boxes: list[LabelledBox], count: int) -> tuple[int, list[LabelledBox]]:
    """Number of keyframes, and the boxes that the written result is read as."""
    frame_ids = [f"f-{k}" for k in range(count)]
    result, rejected = video_result(boxes, frame_ids, *SIZE, FPS)
    assert not rejected
    written = json.loads(json.dumps(result))
    frames = frames_of_clip(frame_ids, FPS)
    labels = boxes_of_video(written, frames, *SIZE, fps=FPS, where="task 1")
    assert not labels.rejected
    return sum(len(row["value"]["sequence"]) for row in result), labels.boxes


@pytest.mark.parametrize(
    ("lefts", "keyframes"),
    [
        ({3: 10}, [(3, False)]),  # one frame
        ({0: 10, 1: 12, 2: 14, 3: 16}, [(0, True), (3, False)]),  # one straight line
        ({0: 10, 1: 12, 2: 14, 3: 15}, [(0, True), (2, True), (3, False)]),  # a bend
        ({1: 5, 2: 5, 6: 5, 7: 5}, [(1, True), (2, False), (6, True), (7, False)]),  # a gap
        ({8: 5, 9: 5}, [(8, True), (9, True)]),  # to the end of the clip
        ({9: 5}, [(9, True)]),
        ({0: 0, 1: 0.0003, 2: 0, 3: -0.0003, 4: 0}, [(0, True), (4, False)]),  # below what is told
        ({0: 0, 1: 0.002, 2: 0}, [(0, True), (1, True), (2, False)]),
    ],
)
def test_keyframes_stand_only_where_a_line_does_not_give_the_box(
    lefts: dict[int, float], keyframes: list[tuple[int, bool]]
) -> None:
    boxes = [box(frame, left) for frame, left in lefts.items()]
    (region,), _ = video_result(boxes, [f"f-{k}" for k in range(10)], *SIZE, FPS)
    sequence = region["value"]["sequence"]  # type: ignore[index]
    assert [(row["frame"] - 1, row["enabled"]) for row in sequence] == keyframes
    _, back = there_and_back(boxes, 10)
    assert edges(back).keys() == edges(boxes).keys()
    for where, expected in edges(boxes).items():
        assert edges(back)[where] == pytest.approx(expected, abs=EXACT_PX)


def test_a_region_states_what_label_studio_states() -> None:
    boxes = [box(1, 64, y1=48, y2=96), box(2, 64, y1=48, y2=96)]
    (region,), _ = video_result(boxes, ["f-0", "f-1", "f-2", "f-3"], *SIZE, FPS)
    assert region == {
        "id": "1", "type": "videorectangle", "from_name": "box", "to_name": "video",
        "value": {
            "framesCount": 4, "duration": 0.16, "labels": ["car"], "sequence": [
                {"frame": 2, "enabled": True, "rotation": 0, "x": 10.0, "y": 10.0,
                 "width": 4.6875, "height": 10.0, "time": 0.08},
                {"frame": 3, "enabled": False, "rotation": 0, "x": 10.0, "y": 10.0,
                 "width": 4.6875, "height": 10.0, "time": 0.12},
            ],
        },
    }  # fmt: skip


def test_tracks_come_back_with_their_ids_and_classes() -> None:
    boxes = [
        box(0, track="7"), box(1, track="007"), box(2, track="汽车 #1"), box(3, track="<b>'\"&"),
        box(4, track="7", cls="bus"),  # one track that changed its class
        box(5, track="x" * 80),
    ]  # fmt: skip
    _, back = there_and_back(boxes, 6)
    assert edges(back).keys() == edges(boxes).keys()


def test_boxes_without_a_track_stay_apart() -> None:
    boxes = [box(3, 10, None), box(3, 10, None), box(4, 12, None)]
    _, back = there_and_back(boxes, 6)
    assert sorted((each.image, round(each.x1, 6)) for each in back) == [
        ("f-3", 10.0), ("f-3", 10.0), ("f-4", 12.0),
    ]  # fmt: skip
    assert len({each.track_id for each in back}) == 3


@pytest.mark.parametrize(
    ("faulty", "reason"),
    [
        (box(77), "a box on no frame of the clip"),
        (box(1), "a second box of one track on one frame"),
        (box(2, x2=10), "a box of no size"),
        (box(2, y1=float("nan")), "a box of no size"),
        (box(2, x2=float("inf")), "a box that is not finite"),
    ],
)
def test_a_box_that_cannot_be_written_is_listed(faulty: LabelledBox, reason: str) -> None:
    result, rejected = video_result([box(1), faulty], ["f-0", "f-1", "f-2"], *SIZE, FPS)
    assert [(each.reason, each.image) for each in rejected] == [(reason, faulty.image)]
    assert len(result[0]["value"]["sequence"]) == 1  # type: ignore[index]


def test_the_order_of_the_boxes_changes_nothing() -> None:
    boxes = [box(k, k * k, track) for k in range(8) for track in ("a", "b", "10", None)]
    frame_ids = [f"f-{k}" for k in range(10)]
    forth, _ = video_result(boxes, frame_ids, *SIZE, FPS)
    back, _ = video_result(boxes[::-1], frame_ids, *SIZE, FPS)
    assert forth == back


def test_random_walks_come_back_exactly() -> None:
    rng = np.random.default_rng(3)
    boxes = []
    for track in range(40):
        there = rng.random(300) > rng.choice([0.0, 0.1, 0.6])
        steps = rng.choice([0, 0, 0, 0.0004, 0.3, 7], (300, 4)) * rng.choice([-1, 1], (300, 4))
        x1, y1, x2, y2 = np.cumsum(steps, 0).T + np.array([[100], [100], [4000], [4000]])
        boxes += [
            box(int(k), x1[k], f"t{track}", y1=y1[k], x2=x2[k], y2=y2[k])
            for k in np.flatnonzero(there)
        ]
    _, back = there_and_back(boxes, 300)
    found, expected = edges(back), edges(boxes)
    assert found.keys() == expected.keys()
    assert len(found) > 8000
    worst = max(np.abs(np.subtract(found[each], expected[each])).max() for each in expected)
    assert worst < EXACT_PX


@pytest.mark.real
@pytest.mark.parametrize(("sequence", "expected"), [("TUD-Campus", 359), ("TUD-Stadtmitte", 1156)])
def test_real_tracks_come_back_exactly(
    real_data: Callable[[str], Path], sequence: str, expected: int
) -> None:
    boxes, count = [], 0
    with (real_data("mot") / sequence / "gt.txt").open() as stream:
        for row in csv.reader(stream):
            x, y, width, height = map(float, row[2:6])
            number, count = int(row[0]) - 1, max(count, int(row[0]))
            boxes.append(box(number, x, row[1], y1=y, x2=x + width, y2=y + height))
    assert len(boxes) == expected
    keyframes, back = there_and_back(boxes, count)
    found = edges(back)
    assert found.keys() == edges(boxes).keys()
    for each, there in edges(boxes).items():
        assert found[each] == pytest.approx(there, abs=EXACT_PX)
    assert keyframes < len(boxes)


def test_label_studios_own_interpolation_gives_the_boxes_too() -> None:
    boxes = [box(k, 3.0 * min(k, 5)) for k in (0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14)]
    result, _ = video_result(boxes, [f"f-{k}" for k in range(20)], *SIZE, FPS)
    assert len(result[0]["value"]["sequence"]) == 5  # type: ignore[index]
    (exported,) = extract_key_frames(result)
    assert {row["frame"] - 1: row["x"] * 6.4 for row in exported["value"]["sequence"]} == (
        pytest.approx({int(each.image[2:]): each.x1 for each in boxes}, abs=EXACT_PX)
    )
