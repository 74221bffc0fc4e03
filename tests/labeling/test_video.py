"""Keyframed video boxes to frame labels: as Label Studio interpolates them, and nothing lost."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from label_studio_sdk._extensions.label_studio_tools.postprocessing.video import extract_key_frames

from cityforge.labeling.video import FrameAt, VideoLabels, boxes_of_video, frames_of_clip

FPS = 10.0
COUNT = 10  # frames of the clip
SIZE = (200, 100)  # so that 1 % is 2 px across, 1 px down
FRAMES = frames_of_clip([f"f-{k}" for k in range(COUNT)], FPS)
ALL = frozenset(frame.frame_id for frame in FRAMES)
PATIENCE_S = 60


def key(frame: object, x: object = 10, enabled: object = True, **changes: object) -> dict[str, Any]:
    """A keyframe whose box is 20 % wide, 10 % high; what is `...` is left out."""
    row = {
        "frame": frame, "enabled": enabled, "rotation": 0, "x": x, "y": 30, "width": 20,
        "height": 10, "time": frame / FPS if isinstance(frame, int) else 0,
    }  # fmt: skip
    return {name: value for name, value in (row | changes).items() if value is not ...}


def region(*sequence: object, **changes: Any) -> dict[str, Any]:
    """A video box of class car with id t1."""
    value = {
        "framesCount": COUNT, "duration": COUNT / FPS, "sequence": list(sequence), "labels": ["car"]
    }  # fmt: skip
    row = {
        "id": "t1", "type": "videorectangle", "from_name": "box", "to_name": "video",
        "origin": "manual", "value": value | changes.pop("value", {}),
    } | changes  # fmt: skip
    row["value"] = {name: each for name, each in row["value"].items() if each is not ...}
    return {name: each for name, each in row.items() if each is not ...}


def read(*result: object, fps: float = FPS, frames: list[FrameAt] | None = None) -> VideoLabels:
    return boxes_of_video(list(result), frames or FRAMES, *SIZE, fps=fps, where="task 1")


def lefts(labels: VideoLabels) -> dict[int, float]:
    """x1 in percent by Label Studio's number of the frame."""
    return {int(box.image[2:]) + 1: round(box.x1 / SIZE[0] * 100, 9) for box in labels.boxes}


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        # held to the end of the clip behind the last keyframe
        ([key(8, 10)], {8: 10, 9: 10, 10: 10}),
        # interpolated between two, held behind
        ([key(1, 0), key(5, 8), key(9, 8, enabled=False)],
         {1: 0, 2: 2, 3: 4, 4: 6, 5: 8, 6: 8, 7: 8, 8: 8, 9: 8}),
        # a disabled keyframe ends its span, and is seen itself
        ([key(2, 2), key(4, 6, enabled=False)], {2: 2, 3: 4, 4: 6}),
        # a gap
        ([key(2, 2), key(3, 3, enabled=False), key(9, 9)], {2: 2, 3: 3, 9: 9, 10: 9}),
        # one frame only
        ([key(4, 7, enabled=False)], {4: 7}),
        # a disabled keyframe within a gap is seen, as the editor shows it
        ([key(2, 2, enabled=False), key(5, 5, enabled=False)], {2: 2, 5: 5}),
        # numbers written as plain strings, whole frames as floats
        ([key("3", "12.5", enabled=False), key(7.0, 1, enabled=False)], {3: 12.5, 7: 1}),
        # keyframes outside the clip still say what lies between
        ([key(-1, 0), key(3, 4, enabled=False)], {1: 2, 2: 3, 3: 4}),
        # a whole turn is no turn
        ([key(10, 5, rotation=360)], {10: 5}),
    ],
)  # fmt: skip
def test_a_box_stands_on_the_frames_that_show_it(
    sequence: list[dict[str, Any]], expected: dict[int, float]
) -> None:
    assert lefts(read(region(*sequence))) == expected


def test_a_box_says_all_that_is_known_of_it() -> None:
    (box,) = read(region(key(3, enabled=False), origin="prediction-changed")).boxes
    assert (box.x1, box.y1, box.x2, box.y2) == (20, 30, 60, 40)
    assert (box.image, box.cls, box.track_id, box.origin) == ("f-2", "car", "t1", "assisted")
    assert box.where == "task 1 result 1 frame 3"
    assert read(region(key(3))).boxes[0].origin == "human"


def random_sequence(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Keyframes at random frames of 40, about a third of them disabled."""
    numbers = sorted(rng.choice(np.arange(1, 41), size=rng.integers(1, 12), replace=False))
    sequence = []
    for number in numbers:
        x, y, width, height = (float(side) for side in rng.random(4) * 60 + 0.1)
        enabled = bool(rng.random() > 0.3)
        sequence.append(key(int(number), x, enabled, y=y, width=width, height=height))
    return sequence


def random_regions(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(20)
    of_40 = {"framesCount": 40, "duration": 4.0}
    return [region(*random_sequence(rng), id=f"t{n}", value=of_40) for n in range(count)]


def held_against(exported: list[dict[str, Any]], labels: VideoLabels) -> int:
    """Hold boxes against an export with a keyframe for every frame; returns how many."""
    expected = {
        (row["id"], f"f-{each['frame'] - 1}"): [
            each["x"] * 2, each["y"], (each["x"] + each["width"]) * 2, each["y"] + each["height"]
        ]
        for row in exported
        for each in row["value"]["sequence"]
    }  # fmt: skip
    found = {(b.track_id, b.image): [b.x1, b.y1, b.x2, b.y2] for b in labels.boxes}
    assert found.keys() == expected.keys()
    assert not labels.rejected
    for each, edges in expected.items():
        assert found[each] == pytest.approx(edges, abs=1e-9)
    return len(found)


def test_boxes_are_those_of_label_studios_own_interpolation() -> None:
    regions = random_regions(300)
    frames = frames_of_clip([f"f-{k}" for k in range(40)], FPS)
    exported = extract_key_frames(regions)
    assert held_against(exported, read(*regions, frames=frames)) > 3000
    # An export that was interpolated already says the same.
    assert held_against(exported, read(*exported, frames=frames)) > 3000


@pytest.mark.services
def test_boxes_are_those_of_the_servers_interpolated_export(label_studio: Any) -> None:
    regions = random_regions(50)
    frames = frames_of_clip([f"f-{k}" for k in range(40)], FPS)
    config = (
        '<View><Labels name="label" toName="video"><Label value="car"/></Labels>'
        '<Video name="video" value="$video" frameRate="$fps"/>'
        '<VideoRectangle name="box" toName="video"/></View>'
    )
    task = {"data": {"video": "/a.webm", "fps": FPS}, "annotations": [{"result": regions}]}
    with httpx.Client(
        base_url=label_studio.url,
        headers={"Authorization": f"Token {label_studio.token}"},
        timeout=PATIENCE_S,
    ) as server:
        made = server.post("/api/projects/", json={"title": "video", "label_config": config})
        project = f"/api/projects/{made.json()['id']}"
        try:
            assert server.post(f"{project}/import", json=[task]).is_success
            exports = [
                server.get(
                    f"{project}/export",
                    params={"exportType": "JSON", "interpolate_key_frames": interpolate},
                ).json()[0]["annotations"][0]["result"]
                for interpolate in (False, True)
            ]
        finally:
            server.delete(project)
    assert sum(len(row["value"]["sequence"]) for row in exports[1]) > 500
    assert held_against(exports[1], read(*exports[0], frames=frames)) > 500


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"rotation": 12.5}, "rotated; only upright boxes are used"),
        ({"rotation": "north"}, "rotation is no number"),
        ({"width": -4}, "a box of no or negative size"),
        ({"height": 0}, "a box of no or negative size"),
        ({"x": "12,5"}, "x is no number"),
        ({"y": ...}, "y is no number"),
        ({"x": float("nan")}, "x is not finite"),
        ({"x": 1e300}, "a box far outside its clip"),
        ({"width": True}, "width is no number"),
        ({"enabled": ...}, "`enabled` is missing or neither true nor false"),
        ({"enabled": 1}, "`enabled` is missing or neither true nor false"),
    ],
)
def test_a_faulty_keyframe_costs_its_own_spans_and_no_other(
    fault: dict[str, object], reason: str
) -> None:
    sequence = [key(1, 1), key(3, 3), key(5, **fault), key(7, 7), key(9, 9, enabled=False)]
    labels = read(region(*sequence))
    assert lefts(labels) == {1: 1, 2: 2, 3: 3, 7: 7, 8: 8, 9: 9}
    (rejected,) = labels.rejected
    assert rejected.reason == f"{reason}; 3 frames, f-3 to f-5"
    assert rejected.where == "task 1 result 1 keyframe 3"
    assert labels.incomplete == {"f-3", "f-4", "f-5"}


def test_a_faulty_keyframe_that_ends_a_span_costs_no_frame_behind_it() -> None:
    labels = read(region(key(1), key(4, enabled=False, rotation=5), key(8)))
    assert list(lefts(labels)) == [1, 8, 9, 10]
    assert labels.incomplete == {"f-1", "f-2", "f-3"}


def test_each_rotated_keyframe_is_listed_with_its_frames() -> None:
    labels = read(region(key(1, rotation=5), key(4, rotation=9), key(6, enabled=False)))
    assert [each.reason.split("; ")[-1] for each in labels.rejected] == [
        "3 frames, f-0 to f-2",
        "2 frames, f-3 to f-4",
    ]
    assert list(lefts(labels)) == [6]


@pytest.mark.parametrize(
    ("faulty", "reason"),
    [
        (region(id=...), "region id is missing"),
        (region(key(1), id=""), "region id is missing or no text"),
        (region(key(1)) | {"value": None}, "value is missing or no object"),
        (region(value={"sequence": ...}), "sequence is missing or no list"),
        (region(value={"sequence": {}}), "sequence is missing or no list"),
        (region(), "a video box with no keyframe"),
        (region("key"), "keyframe is missing or no object"),
        (region(key(...)), "frame of a keyframe is no number"),
        (region(key(1.5)), "frame of a keyframe is no whole number"),
        (region(key("1,5")), "frame of a keyframe is no number"),
        (region(key(1e300)), "frame of a keyframe is too large"),
        (region(key(True)), "frame of a keyframe is no number"),
        (region(key(3), key(3, 9)), "two keyframes at one frame"),
        (region(key(5), key(3)), "keyframes out of order"),
        (region(key(1), value={"labels": ...}), "a video box with no class"),
        (region(key(1), value={"labels": []}), "a video box with no class"),
        (region(key(1), value={"labels": "car"}), "labels is missing or no list"),
        (region(key(1), value={"labels": [7]}), "class is missing or no text"),
        (region(key(1), value={"labels": ["car", "bus"]}), "more than one class on one video box"),
        (region(key(1), value={"framesCount": "many"}), "framesCount is no number"),
        (region(key(1), value={"framesCount": 24, "duration": 1.0}),
         "counted at 24 frames a second; the task says 10"),
        (region(key(1), meta={"track_id": {}}), "track_id is no number"),
        ("region", "result is missing or no object"),
    ],
)  # fmt: skip
def test_a_faulty_region_is_listed_and_marks_all_frames(faulty: object, reason: str) -> None:
    sound = region(key(10, 5), id="t2")
    labels = read(faulty, sound)
    assert lefts(labels) == {10: 5}
    (rejected,) = labels.rejected
    assert rejected.reason.startswith(reason)
    assert rejected.reason.endswith("; 10 frames, f-0 to f-9")
    assert rejected.where == "task 1 result 1"
    assert labels.incomplete == ALL


def test_a_result_that_is_no_list_is_listed() -> None:
    labels = boxes_of_video({"a": 1}, FRAMES, *SIZE, fps=FPS, where="task 1")
    assert labels.boxes == []
    assert labels.incomplete == ALL
    assert len(labels.rejected) == 1


@pytest.mark.parametrize("frame", [0, -3, 11, 400])
def test_a_keyframe_outside_the_clip_is_listed(frame: int) -> None:
    sequence = sorted([key(frame, 5), key(5, 5, enabled=False)], key=lambda each: each["frame"])
    labels = read(region(*sequence))
    assert [each.reason for each in labels.rejected] == [
        "a keyframe outside the clip, whose frames are 1 to 10"
    ]
    assert labels.rejected[0].found == str(frame)
    assert labels.incomplete == frozenset()


def test_other_rows_are_listed_and_cost_no_frame() -> None:
    choice = {"id": "c", "type": "choices", "value": {"choices": ["rain"]}}
    lone = {"id": "c", "type": "labels", "value": {"labels": ["car"]}}
    labels = read(choice, lone, {"type": "relation"}, region(key(10)))
    assert [(each.reason, each.found) for each in labels.rejected] == [
        ("no video box", "'choices'"),
        ("no video box", "'labels'"),
        ("no video box", "'relation'"),
    ]
    assert len(labels.boxes) == 1
    assert not labels.incomplete


def test_a_class_that_stands_in_a_row_of_its_own_is_joined_by_the_id() -> None:
    named = {"id": "t1", "type": "labels", "value": {"labels": ["bus"]}}
    (box,) = read(region(key(10), value={"labels": ...}), named).boxes
    assert box.cls == "bus"
    assert not read(region(key(10), value={"labels": ["bus"]}), named).rejected
    assert "more than one class" in read(region(key(10)), named).rejected[0].reason
    broken = named | {"value": None}
    assert "more than one class" in read(region(key(10)), broken).rejected[0].reason


def test_tracks_are_regions_unless_their_meta_says_otherwise() -> None:
    def tracks(*result: object) -> list[str | None]:
        return [box.track_id for box in read(*result).boxes]

    assert tracks(region(key(10), id="007")) == ["007"]
    assert tracks(region(key(10), id=7)) == ["7"]
    assert tracks(region(key(10), meta={"track_id": "汽车 #1"})) == ["汽车 #1"]
    # a box that was copied in the editor, with its meta, is another object
    copied = [region(key(10), id=each, meta={"track_id": "9"}) for each in ("a", "b")]
    assert tracks(*copied) == ["9", "b"]
    # parts of one track that never meet stay one track
    first = region(key(9, enabled=False), id="a", meta={"track_id": "9"})
    assert tracks(first, copied[1]) == ["9", "9"]
    # one id on two regions
    assert "same id" in read(region(key(10)), region(key(10))).rejected[0].reason


@pytest.mark.parametrize(
    ("fps", "pts_s", "expected"),
    [
        # the clip at its own rate; moments in whole ms count as the frame they are rounded from
        (30.0, [0.0, 0.033, 0.067, 0.1], [0.0, 1.0, 2.0, 3.0]),
        # annotators counted 25 frames a second in a film of 30: stored frames lie between
        (25.0, [0.0, 1 / 30, 2 / 30, 0.12], [0.0, 25 / 30, 50 / 30, 3.0]),
        # frames stored once a second
        (30.0, [0.0, 1.0, 2.0], [0.0, 30.0, 60.0]),
    ],
)
def test_stored_frames_are_found_by_their_moment(
    fps: float, pts_s: list[float], expected: list[float]
) -> None:
    frames = [FrameAt(f"f-{k}", at) for k, at in enumerate(pts_s)]
    clip = {"framesCount": 100, "duration": 100 / fps}
    sequence = [key(1, 0), key(91, 90)]
    labels = read(region(*sequence, value=clip), fps=fps, frames=frames)
    assert [box.x1 / 2 for box in labels.boxes] == pytest.approx(expected, abs=1e-9)
    assert not labels.rejected
