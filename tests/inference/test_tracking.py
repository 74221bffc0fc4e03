from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from counting import (
    CROSSING_LINES,
    HEAVY_S,
    LIGHT_S,
    LINE_OF,
    ROAD_VIEW,
    SIDE_VIEW,
    counted,
    crossing,
    crossings,
    detected,
    line_in,
    road,
    true_paths,
)

from cityforge.inference.pairing import overlaps, pairs
from cityforge.inference.tracking import Tracker
from cityforge.synthetic.cameras import Camera, camera_named

Row = tuple[float, float, float, float]  # x, y of the middle, score, class
WIDE, TALL = 40.0, 20.0


def follow(tracker: Tracker, frames: Sequence[tuple[float, Sequence[Row]]]) -> list[list[int]]:
    """The ids of boxes of 40×20 pixels, one list a frame."""
    ids = []
    for at_s, rows in frames:
        table = np.array(rows, np.float32).reshape(-1, 4)
        half = np.array([WIDE / 2, TALL / 2], np.float32)
        xyxy = np.concatenate([table[:, :2] - half, table[:, :2] + half], axis=1)
        given = tracker.update(at_s, xyxy, table[:, 2], table[:, 3].astype(np.int64))
        assert given.dtype == np.int64 and given.shape == (len(rows),)
        ids.append(given.tolist())
    return ids


def alone(times: Sequence[float], speed: float) -> list[list[int]]:
    """The ids of one object seen at these times."""
    rows = moving(times, 0, speed)
    return follow(Tracker(0.5), [(t, [row]) for t, row in zip(times, rows, strict=True)])


def moving(times: Sequence[float], start: float, speed: float, y: float = 100.0) -> list[Row]:
    """One sure box a time."""
    return [(start + speed * t, y, 0.9, 0) for t in times]


FIVE = [0.0, 0.2, 0.4, 0.6, 0.8]


@pytest.mark.parametrize(
    ("speed", "what"),
    [(0.0, "stands"), (60.0, "overlaps itself"), (260.0, "never touches its last box")],
)
def test_one_object_is_one_track_from_its_second_box_on(speed: float, what: str) -> None:
    found = follow(
        Tracker(0.5), [(t, [r]) for t, r in zip(FIVE, moving(FIVE, 0, speed), strict=True)]
    )
    assert found == [[0], [1], [1], [1], [1]], what


@pytest.mark.parametrize("step_s", [1 / 30, 0.1, 0.2, 0.5])
def test_two_that_meet_keep_their_ids_at_any_rate(step_s: float) -> None:
    times = np.arange(0, 4, step_s).tolist()
    left, right = moving(times, 0, 50, 100), moving(times, 200, -50, 112)
    found = follow(Tracker(0.5), [(t, [a, b]) for t, a, b in zip(times, left, right, strict=True)])
    assert found[1] == [1, 2] and found[-1] == [1, 2]
    assert all(ids == [1, 2] for ids in found[1:])


def test_uneven_times_are_no_matter() -> None:
    times = [0.0, 0.2, 0.24, 0.6, 0.65, 1.4, 1.5]
    found = follow(
        Tracker(0.5), [(t, [r]) for t, r in zip(times, moving(times, 0, 150), strict=True)]
    )
    assert found == [[0]] + [[1]] * 6


@pytest.mark.parametrize(("gap_s", "same"), [(0.6, True), (1.2, True), (1.8, False)])
def test_who_is_hidden_is_looked_for_as_long_as_asked(gap_s: float, same: bool) -> None:
    times = [0.0, 0.2, 0.4, 0.6, 0.8, 0.8 + gap_s, 1.0 + gap_s]
    found = follow(
        Tracker(0.5), [(t, [r]) for t, r in zip(times, moving(times, 0, 30), strict=True)]
    )
    assert (found[-1] == [1]) is same
    assert found[-1] in ([1], [2])  # an id is not used twice


def test_weak_boxes_continue_tracks_and_begin_none() -> None:
    weak = [(t, [(100.0, 100.0, 0.3, 0)]) for t in FIVE]
    assert follow(Tracker(0.5), weak) == [[0]] * 5
    first_sure = [(0.0, [(100.0, 100.0, 0.9, 0)]), *weak[1:]]
    assert follow(Tracker(0.5), first_sure) == [[0], [1], [1], [1], [1]]


def test_a_sure_box_is_preferred_to_a_nearer_weak_one() -> None:
    frames = [(t, [(100.0, 100.0, 0.9, 0)]) for t in FIVE]
    frames.append((1.0, [(100.0, 100.0, 0.3, 0), (104.0, 100.0, 0.9, 0)]))
    assert follow(Tracker(0.5), frames)[-1] == [0, 1]


def test_a_false_box_seen_once_is_no_track() -> None:
    frames = [(t, [(100.0, 100.0, 0.9, 0)]) for t in FIVE]
    frames[2][1].append((400.0, 300.0, 0.9, 0))
    assert follow(Tracker(0.5), frames)[2:] == [[1, 0], [1], [1]]


def test_another_class_is_another_object_unless_the_class_is_in_doubt() -> None:
    settled = [(t, [(100.0, 100.0, 0.9, 0)]) for t in FIVE]
    assert follow(Tracker(0.5), [*settled, (1.0, [(108.0, 100.0, 0.9, 1)])])[-1] == [0]
    early = [(0.0, [(100.0, 100.0, 0.9, 0)]), (0.2, [(100.0, 100.0, 0.9, 1)])]
    assert follow(Tracker(0.5), early)[-1] == [1]


def test_a_class_that_flickers_makes_no_second_track() -> None:
    times = [0.2 * n for n in range(20)]
    rows = [(100.0, 100.0, 0.9, 1 if n in (7, 8, 13) else 0) for n in range(20)]
    tracker = Tracker(0.5)
    found = follow(tracker, [(t, [r]) for t, r in zip(times, rows, strict=True)])
    assert {i for ids in found for i in ids} <= {0, 1}
    assert found[-1] == [1]
    assert tracker.class_of(1) == 0


def test_a_class_that_changes_for_good_stays_one_track() -> None:
    times = [0.2 * n for n in range(60)]
    rows = [(100.0, 100.0, 0.9, int(n >= 25)) for n in range(60)]
    tracker = Tracker(0.5)
    found = follow(tracker, [(t, [r]) for t, r in zip(times, rows, strict=True)])
    assert {i for ids in found for i in ids} <= {0, 1}
    assert tracker.class_of(1) == 1
    with pytest.raises(KeyError):
        tracker.class_of(2)


def test_two_boxes_of_one_object_are_one_track() -> None:
    frames = [(t, [(100.0, 100.0, 0.9, 0), (101.0, 100.0, 0.8, 1)]) for t in FIVE]
    assert follow(Tracker(0.5), frames)[-1] == [1, 0]


@pytest.mark.parametrize("speed", [100.0, 200.0, 260.0])
def test_what_comes_where_another_was_is_told_apart_by_the_third_box(speed: float) -> None:
    """The second vehicle is a frame behind the first: it stands where that one stood."""
    first, second = moving(FIVE, 0, speed), moving(FIVE, -speed / 5, speed)
    frames = [(t, [a] if t == 0 else [a, b]) for t, a, b in zip(FIVE, first, second, strict=True)]
    assert follow(Tracker(0.5), frames)[2:] == [[1, 2]] * 3


def test_earlier_has_every_box_before_a_track_is_told() -> None:
    tracker = Tracker(0.5)
    rows = moving(FIVE, 0, 260)
    seen: dict[int, list[float]] = {}
    for t, row in zip(FIVE, rows, strict=True):
        follow(tracker, [(t, [row])])
        for track, before in tracker.earlier.items():
            seen[track] = [each.at_s for each in before]
            middles = [float(each.xyxy[[0, 2]].mean()) for each in before]
            assert middles == pytest.approx([260 * each.at_s for each in before])
    assert seen == {1: [0.0]}


def test_frames_without_boxes_are_frames() -> None:
    tracker = Tracker(0.5)
    none = tracker.update(0.0, np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0, np.int64))
    assert none.shape == (0,)
    frames = [(0.2, [(100.0, 100.0, 0.9, 0)]), (0.4, []), (0.6, [(100.0, 100.0, 0.9, 0)])]
    assert follow(tracker, frames) == [[0], [], [1]]


def test_boxes_without_area_or_sense_do_not_stop_it() -> None:
    tracker = Tracker(0.5)
    for at_s in FIVE:
        xyxy = np.array([[5, 5, 5, 5], [np.nan] * 4, [9, 9, 3, 3], [0, 0, 1e7, 1e7]], np.float32)
        assert len(tracker.update(at_s, xyxy, np.full(4, 0.9), np.zeros(4, np.int64))) == 4


def test_pairs_are_the_cheapest_and_staying_alone_has_its_price() -> None:
    assert pairs(np.array([[1.0, 2.0], [2.0, 9.0]]), 20.0) == [(0, 1), (1, 0)]
    assert pairs(np.array([[1.0, 19.0], [19.0, np.inf]]), 20.0) == [(0, 0)]
    assert pairs(np.full((2, 2), 20.0), 20.0) == []
    assert pairs(np.zeros((0, 3)), 20.0) == []


def test_overlaps_are_those_worked_by_hand() -> None:
    one = np.array([[0.0, 0, 2, 2]])
    many = np.array([[0.0, 0, 2, 2], [1, 0, 3, 2], [1, 1, 3, 3], [5, 5, 6, 6], [2, 2, 1, 1]])
    assert overlaps(one, many)[0].tolist() == pytest.approx([1, 1 / 3, 1 / 7, 0, 0])


VIEWS = [pytest.param(ROAD_VIEW, id="from a bridge"), pytest.param(SIDE_VIEW, id="from the side")]


@pytest.mark.parametrize("camera", VIEWS)
@pytest.mark.parametrize("seed", [30, 31, 32])
def test_counts_are_exact_in_light_traffic(seed: int, camera: Camera) -> None:
    frames = road(seed, camera, 60, LIGHT_S)
    line = line_in(camera, LINE_OF[camera.name])
    truth = crossings(true_paths(frames), line)
    assert 10 <= sum(truth) <= 40
    assert counted(detected(frames, 10 * seed, camera), line) == truth


@pytest.mark.parametrize("name", ["crossing_roof", "crossing_east"])
def test_counts_are_exact_where_traffic_stops_and_turns(name: str) -> None:
    camera = camera_named(name)
    frames = crossing(30, name, 60)
    found = detected(frames, 300, camera)
    lines = [line_in(camera, metres) for metres in CROSSING_LINES]
    truth = [crossings(true_paths(frames), line) for line in lines]
    assert sum(map(sum, truth)) >= 5
    assert [counted(found, line) for line in lines] == truth


@pytest.mark.parametrize("camera", VIEWS)
@pytest.mark.parametrize("seed", [20, 21])
def test_counts_are_within_five_percent_in_heavy_traffic(seed: int, camera: Camera) -> None:
    frames = road(seed, camera, 40, HEAVY_S)
    line = line_in(camera, LINE_OF[camera.name])
    truth = crossings(true_paths(frames), line)
    found = counted(detected(frames, 10 * seed, camera), line)
    assert sum(truth) > 70
    assert abs(truth[0] - found[0]) + abs(truth[1] - found[1]) <= 0.05 * sum(truth), (truth, found)
