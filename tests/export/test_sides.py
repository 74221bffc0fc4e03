"""Sides held against each other: numbers that can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from small_frames import labelled, png

from cityforge.dataset.labelled import LabelledFrames
from cityforge.errors import DataError
from cityforge.export.answers import Gap, main_figure, truth_of, with_thresholds
from cityforge.export.found import Parity, Side
from cityforge.export.sides import (
    Way,
    answered_by,
    measured_sides,
    parts_of,
    refuse_far,
    refuse_other_score,
)
from cityforge.inference.package import About
from cityforge.tasks.boxes import Boxes

Make = Callable[..., About]
CAR, BUS = (10.0, 10.0, 20.0, 20.0), (2.0, 2.0, 8.0, 8.0)  # input pixels; frames are twice that
FULL = ([20.0, 20.0, 40.0, 40.0], 0), ([4.0, 4.0, 16.0, 16.0], 1)


def says(scores: Any, boxes: Any) -> Way:
    """The same candidates for every picture."""
    raw = [np.array([scores], np.float32), np.array([boxes], np.float32)]
    return lambda pictures: [np.repeat(each, len(pictures), 0) for each in raw]


def two_frames() -> LabelledFrames:
    return labelled(list(FULL), list(FULL))


def test_boxes_differ_by_pixels_of_the_frame_and_only_where_a_candidate_is(about: Make) -> None:
    scores = [[0.9, 0.0], [0.0, 0.8], [0.005, 0.0]]
    moved = [(10, 10, 20.5, 20), (2, 2, 8, 8), (0, 0, 30, 30)]  # half a pixel of the input
    ways = {
        "torch": says(scores, [CAR, BUS, (0, 0, 1, 1)]),
        "onnx": says([[0.9, 0.002], [0.0, 0.7], [0.006, 0.0]], moved),
    }
    found = measured_sides(about(), two_frames(), lambda _: png(), ways)  # type: ignore[arg-type]
    torch, onnx = found.sides
    assert (torch.box_px, torch.answer, torch.unmatched) == (None, None, 0)
    assert onnx.box_px == 1.0  # the third cell is no candidate on either side
    assert onnx.answer == pytest.approx(0.1)  # and the class under the floor is none
    assert onnx.unmatched == 0
    assert (found.frames, torch.score, onnx.score) == (2, 1.0, 1.0)


@pytest.mark.parametrize("scores", [(0.02, 0.0), (0.0, 0.02)])
def test_a_weak_candidate_of_either_side_is_compared(
    about: Make, scores: tuple[float, float]
) -> None:
    torch, other = ([[0.9, 0.0], [0.0, each]] for each in scores)
    ways = {"torch": says(torch, [CAR, BUS]), "onnx": says(other, [CAR, (2, 2, 8, 9)])}
    side = measured_sides(about(), two_frames(), lambda _: png(), ways).sides[1]  # type: ignore[arg-type]
    assert (side.box_px, side.answer) == (2.0, pytest.approx(0.02))


@pytest.mark.parametrize(
    ("score", "box", "unmatched", "map50"),
    [
        (0.8, BUS, 0, 1.0),
        (0.4, BUS, 2, 1.0),  # under the threshold on one side, in both frames
        (0.8, (2, 2, 4, 4), 4, 0.5),  # elsewhere: a box too many on each side, in both frames
        (0.0, BUS, 2, 0.5),  # of two classes one is never found
    ],
)
def test_an_answer_that_only_one_side_gives_is_counted(
    about: Make, score: float, box: Any, unmatched: int, map50: float
) -> None:
    ways = {
        "torch": says([[0.9, 0.0], [0.0, 0.8]], [CAR, BUS]),
        "int8": says([[0.9, 0.0], [0.0, score]], [CAR, box]),
    }
    side = measured_sides(about(), two_frames(), lambda _: png(), ways).sides[1]  # type: ignore[arg-type]
    assert (side.unmatched, side.score) == (unmatched, pytest.approx(map50))


def test_a_side_that_gives_no_number_is_far(about: Make) -> None:
    ways = {
        "torch": says([[0.9, 0.0]], [CAR]),
        "onnx": says([[0.9, 0.0]], [(10, 10, math.nan, 20)]),
    }
    side = measured_sides(about(), two_frames(), lambda _: png(), ways).sides[1]  # type: ignore[arg-type]
    assert side.box_px is not None
    assert math.isnan(side.box_px)
    found = Parity(2, [Side("torch", 1.0), side])
    with pytest.raises(DataError, match="found nan"):
        refuse_far(about(), found, {"scores": 1e-4, "boxes": 0.01}, 1e-4)
    assert math.isnan(Gap(math.nan, 0.0).or_more(Gap(1.0, 2.0)).box_px or 0.0)


@pytest.mark.parametrize(
    ("several", "scores", "answer", "unmatched"),
    [
        (False, [0.7, 0.3], 0.1, 0),
        (False, [0.4, 0.6], 0.4, 2),  # another class in both frames
        (True, [0.55, 0.2], 0.25, 0),  # over the same thresholds
        (True, [0.8, 0.6], 0.4, 2),
    ],
)
def test_classes_of_frames(
    about: Make, several: bool, scores: list[float], answer: float, unmatched: int
) -> None:
    known = about(task="classification", several_labels=several)
    frames = labelled([((0,) * 4, 0)], [((0,) * 4, 1)], task="classification")
    ways = {
        "torch": lambda p: [np.array([[0.8, 0.2]])],
        "onnx": lambda p: [np.array([scores])],
    }
    found = measured_sides(known, frames, lambda _: png(), ways)  # type: ignore[arg-type]
    side = found.sides[1]
    assert side.answer == pytest.approx(answer)
    assert (side.unmatched, side.box_px) == (unmatched, None)
    # The same scores for both frames: half of them right, and AP of one in two is 1/2.
    assert side.score == pytest.approx(0.5)


def test_counts_are_compared_cell_by_cell_inside_the_picture(about: Make) -> None:
    known = about(task="density", score_floor=0.0)
    frames = labelled([((5, 5, 5, 5), 0)] * 1, [], task="density")
    one = np.zeros((1, 2, 4, 4), np.float32)
    one[0, 0, 1, 1] = 1.0
    other = one.copy()
    other[0, 0, 0, 0], other[0, 0, 3, 3] = 0.25, 9.0  # the last row is grey margin
    wide = png(0, 64, 32)  # fits into the upper half
    ways = {"torch": lambda p: [one], "onnx": lambda p: [other]}
    found = measured_sides(known, frames, lambda _: wide, ways)  # type: ignore[arg-type]
    torch, onnx = found.sides
    assert onnx.answer == 0.25
    # Counts (1, 0) in both frames, truth (1, 0) and (0, 0): one object in four numbers.
    assert torch.score == 0.25
    assert onnx.score == pytest.approx((0.25 + 1.25) / 4)


def test_slices_hold_the_frames_of_their_part(about: Make) -> None:
    frames = labelled(list(FULL), [FULL[1]])
    ways = {"torch": says([[0.9, 0.0], [0.0, 0.8]], [CAR, (2, 2, 4, 4)])}  # no bus is found
    parts = {"lighting day": np.array([True, False]), "lighting night": np.array([False, True])}
    (side,) = measured_sides(about(), frames, lambda _: png(), ways, parts).sides  # type: ignore[arg-type]
    assert side.slices == {"lighting day": 0.5, "lighting night": 0.0}


def test_parts_are_those_that_the_footage_states() -> None:
    rows = [("a", "day", "北门"), ("b", "night", "北门"), ("c", None, None)]
    footage = pa.table(
        {
            name: [row[at] for row in rows]
            for at, name in enumerate(("footage_id", "lighting", "camera"))
        }
    )
    frames = pa.table({"frame_id": ["1", "2", "3", "4"], "footage_id": ["a", "b", "c", "a"]})
    found = parts_of(["4", "2", "3"], frames, footage)
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "lighting day": [True, False, False],
        "lighting night": [False, True, False],
        "camera 北门": [True, True, False],
    }


def test_thresholds_are_those_of_the_highest_f1(about: Make) -> None:
    truth = truth_of(about(), labelled([FULL[0]]))
    assert isinstance(truth, Boxes)
    none = np.zeros(2, np.int64)
    xyxy = np.array([FULL[0][0], (0, 0, 4, 4)])
    found = Boxes(none, none, xyxy, np.array([0.7, 0.3], np.float32))
    assert with_thresholds(about(), truth, found).score_threshold == pytest.approx(0.5)
    several = about(task="classification", several_labels=True)
    scores = np.array([[0.9, 0.1], [0.5, 0.3]])
    chosen = with_thresholds(several, np.array([[1, 0], [0, 1]]), scores).class_thresholds
    assert chosen == pytest.approx({"汽车": 0.7, "bus": 0.2})


def test_nothing_to_find_has_no_figure(about: Make) -> None:
    nothing = truth_of(about(), labelled([], []))
    assert main_figure(about(), nothing, Boxes.empty()) is None


def test_frames_are_answered_one_by_one_and_each_once(about: Make) -> None:
    seen: list[tuple[int, ...]] = []

    def way(pictures: Any) -> Any:
        seen.append(pictures.shape)
        return [np.zeros((1, 1, 2), np.float32), np.zeros((1, 1, 4), np.float32)]

    answered = answered_by(about(), two_frames(), lambda _: png(), {"torch": way})
    assert seen == [(1, 32, 32, 3)] * 2
    assert answered.frames == 2


SAME = Side("torch", 0.5, {"camera a": 0.6, "camera b": 0.4})
LIMITS = {"scores": 1e-4, "boxes": 0.01}


@pytest.mark.parametrize(
    ("side", "said"),
    [
        (Side("onnx", 0.5, {}, 0.011, 0.0), "within 0.01 of torch in a box edge"),
        (Side("onnx", 0.5, {}, 0.0, 2e-4), "within 0.0001 of torch in an answer"),
        (Side("endpoint", 0.4998, {}, 0.0, 0.0), "endpoint within 0.0001 of torch in map50"),
        (Side("onnx", 0.5, {}, 0.0, 0.0, 1), "unmatched answers"),
    ],
)
def test_a_side_over_a_limit_is_refused(about: Make, side: Side, said: str) -> None:
    with pytest.raises(DataError, match=said):
        refuse_far(about(), Parity(3, [SAME, side]), LIMITS, 1e-4)


def test_int8_may_differ_and_the_rest_within_its_limits(about: Make) -> None:
    near = Side("onnx", 0.50009, {}, 0.0099, 9e-5)
    far = Side("int8", 0.3, {}, 20.0, 0.4, 90)
    refuse_far(about(), Parity(3, [SAME, near, far]), LIMITS, 1e-4)


def test_another_score_is_refused_with_the_slice_that_differs_most(about: Make) -> None:
    onnx = Side("onnx", 0.49, {"camera a": 0.59, "camera b": 0.2})
    with pytest.raises(DataError, match=r"map50 of ONNX .* 0\.490000.* most in camera b"):
        refuse_other_score(about(), Parity(3, [SAME, onnx]), 1e-4)
    refuse_other_score(about(), Parity(3, [SAME, onnx]), 0.02)
