"""The frames of a subset with the labels that a task learns from."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cityforge.dataset.labelled import FlatBoxes, LabelledFrames, labelled_frames
from cityforge.tables import LABELS, SPLIT, from_rows

Row = tuple[str, str, str | None, float, float, float, float]
CLASSES = ["rain", "night", "fog"]


def split_of(ids: str, subset: str = "train") -> pa.Table:
    return from_rows([{"frame_id": i, "subset": subset, "group": i} for i in ids], SPLIT)


def labels_of(*rows: tuple[Any, ...]) -> pa.Table:
    return from_rows(
        [
            {"label_id": str(number), "frame_id": frame, "task": task, "class": cls,
             **dict(zip(("x1", "y1", "x2", "y2"), xyxy, strict=False)),
             "source": "drawn", "origin": "human"}
            for number, (frame, task, cls, *xyxy) in enumerate(rows)
        ],
        LABELS,
    )  # fmt: skip


def found(frames: LabelledFrames) -> dict[str, list[tuple[int, list[float]]]]:
    """Class and corners of the labels of each frame."""
    return {
        frame_id: sorted(zip(cls.tolist(), xyxy.tolist(), strict=True))
        for frame_id, (xyxy, cls) in zip(frames.frame_ids, frames.boxes, strict=True)
    }


def test_frames_come_with_their_boxes_in_the_splits_order() -> None:
    labels = labels_of(
        ("b", "detection", "night", 1, 2, 3, 4),
        ("a", "detection", "rain", 5, 6, 7, 8),
        ("b", "detection", "rain", 9, 10, 11, 12),
        ("x", "detection", "rain", 0, 0, 1, 1),  # of another subset
    )
    frames = labelled_frames(split_of("cab"), labels, "train", CLASSES)
    assert found(frames) == {
        "c": [], "a": [(0, [5, 6, 7, 8])], "b": [(0, [9, 10, 11, 12]), (1, [1, 2, 3, 4])],
    }  # fmt: skip
    assert list(found(frames)) == ["c", "a", "b"]
    assert [(xyxy.dtype, cls.dtype) for xyxy, cls in frames.boxes] == [(np.float32, np.int64)] * 3
    assert labelled_frames(split_of("cab"), labels, "val", CLASSES).frame_ids == []


def test_classes_that_the_algorithm_does_not_name_are_left_out() -> None:
    labels = labels_of(
        ("a", "detection", "rain", 0, 0, 9, 9),
        ("a", "detection", "fog", 1, 1, 9, 9),
        ("b", "detection", "rain", 0, 0, 9, 9),
        ("c", "detection", None, None, None, None, None),  # looked at, and nothing found
    )
    frames = labelled_frames(split_of("abc"), labels, "train", ["fog"])
    assert found(frames) == {"a": [(0, [1, 1, 9, 9])], "b": [], "c": []}
    assert (frames.boxes[1][0].shape, frames.left_out) == ((0, 4), 0)


@pytest.mark.parametrize("task", ["detection", "density", "classification"])
def test_frames_labelled_for_another_task_only_are_left_out(task: str) -> None:
    other = {"detection": "classification", "density": "classification"}.get(task, "detection")
    labels = labels_of(("a", other, "rain", 0, 0, 1, 1), ("b", task, "rain", 4, 4, 8, 8))
    frames = labelled_frames(split_of("ab"), labels, "train", CLASSES, task)
    assert (frames.frame_ids, frames.left_out, frames.task) == (["b"], 1, task)


def test_points_are_read_and_boxes_only_where_there_are_none() -> None:
    labels = labels_of(
        ("a", "density", "rain", 3, 4, 3, 4),
        ("a", "detection", "rain", 0, 0, 10, 10),  # the same thing as the point
        ("b", "detection", "night", 2, 2, 6, 10),
        ("c", "density", None, None, None, None, None),
    )
    frames = labelled_frames(split_of("abc"), labels, "train", CLASSES, "density")
    assert found(frames) == {"a": [(0, [3, 4, 3, 4])], "b": [(1, [4, 6, 4, 6])], "c": []}


WHOLE = (
    ("a", "classification", "rain"),
    ("b", "classification", "rain"), ("b", "classification", "fog"),
    ("c", "classification", None),
    ("d", "classification", "snow"),  # no class of the algorithm
    ("e", "classification", "night"), ("e", "classification", "night"),  # of two annotators
    ("f", "classification", "fog"), ("f", "classification", "snow"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("several", "expected", "left_out"),
    [
        (False, {"a": [0], "e": [1], "f": [2]}, 4),
        (True, {"a": [0], "b": [0, 2], "c": [], "d": [], "e": [1], "f": [2]}, 1),
    ],
)
def test_one_label_a_frame_or_several(
    several: bool, expected: dict[str, list[int]], left_out: int
) -> None:
    frames = labelled_frames(
        split_of("abcdefg"), labels_of(*WHOLE), "train", CLASSES, "classification",
        several_labels=several,
    )  # fmt: skip
    assert {key: [cls for cls, _ in rows] for key, rows in found(frames).items()} == expected
    assert frames.left_out == left_out  # g: nobody looked at it
    assert not any(xyxy.any() for xyxy, _ in frames.boxes)


def test_boxes_are_laid_out_flat_and_given_as_views() -> None:
    pairs = [(np.arange(4 * n, dtype=np.float64).reshape(n, 4), np.full(n, n)) for n in (2, 0, 3)]
    frames = LabelledFrames(["a", "b", "c"], pairs)
    boxes = frames.boxes
    assert isinstance(boxes, FlatBoxes)
    assert (boxes.xyxy.shape, boxes.cls.tolist()) == ((5, 4), [2, 2, 3, 3, 3])
    assert [len(cls) for _, cls in boxes] == [2, 0, 3]
    assert boxes[2][0].base is boxes.xyxy
    assert boxes[-1][1].tolist() == [3, 3, 3]
    assert [len(cls) for _, cls in boxes[1:]] == [0, 3]
    with pytest.raises(IndexError):
        boxes[3]
    empty = LabelledFrames([], [])
    assert (len(empty), empty.boxes.xyxy.shape) == (0, (0, 4))


def test_some_frames_are_taken_in_the_order_asked_for() -> None:
    pairs = [(np.full((1, 4), n, np.float32), np.array([n])) for n in range(4)]
    some = pickle.loads(pickle.dumps(LabelledFrames(list("abcd"), pairs, "density").take([3, 1])))
    assert found(some) == {"d": [(3, [3] * 4)], "b": [(1, [1] * 4)]}
    assert some.task == "density"


def test_a_large_subset_takes_little_memory() -> None:
    """A box is 24 bytes here; a tuple of numbers took some 300."""
    rows = np.repeat(np.arange(20_000), 10)
    ids = [f"0123456789abcdef-{n}" for n in range(20_000)]
    count = len(rows)
    labels = pa.table(
        {"frame_id": pa.array(ids).take(pa.array(rows)), "task": ["detection"] * count,
         "class": ["rain"] * count, **{c: np.arange(count, dtype=float) for c in ("x1", "y1")},
         **{c: np.arange(count, dtype=float) + 5 for c in ("x2", "y2")}}
    )  # fmt: skip
    split = pa.table({"frame_id": ids, "subset": ["train"] * 20_000})
    frames = labelled_frames(split, labels, "train", CLASSES)
    boxes = frames.boxes
    assert isinstance(boxes, FlatBoxes)
    assert boxes.xyxy.nbytes + boxes.cls.nbytes + boxes.first.nbytes < 26 * count
    assert boxes[7][0][:, 0].tolist() == list(range(70, 80))
