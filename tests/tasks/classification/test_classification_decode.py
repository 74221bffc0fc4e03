"""Scores of a frame become its classes, and those of its frames a clip's."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cityforge.errors import DataError
from cityforge.tasks.classification.decode import clip_scores, decode_classes


@pytest.mark.parametrize(
    ("scores", "floor", "several_labels", "expected"),
    [
        ([0.2, 0.7, 0.1], 0.01, False, [1, 0, 2]),
        ([0.2, 0.7, 0.1], 0.15, False, [1, 0]),
        ([0.4, 0.3, 0.3], 0.5, False, [0]),  # a frame of one class has one
        ([0.4, 0.3, 0.3], 0.5, True, []),
        ([0.9, 0.2, 0.95], 0.5, True, [2, 0]),
        ([0.5, 0.5], 0.5, True, [0, 1]),  # on the floor, and equals
        ([0.5, 0.5, 0.5], 0.0, False, [0, 1, 2]),
    ],
)
def test_classes_over_the_floor_come_falling(
    scores: list[float], floor: float, several_labels: bool, expected: list[int]
) -> None:
    cls, score = decode_classes(np.array(scores), score_floor=floor, several_labels=several_labels)
    assert cls.tolist() == expected
    assert score.tolist() == pytest.approx([scores[k] for k in expected])
    assert (cls.dtype, score.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([[0.2, 0.8]], [0.2, 0.8]),
        ([[0.2, 0.8], [0.6, 0.4]], [0.4, 0.6]),
        # One frame that is sure and wrong does not outvote the others, as a product would let it.
        ([[0.3, 0.7], [0.3, 0.7], [0.3, 0.7], [0.99999, 0.00001]], [0.475, 0.525]),
        ([[0.9, 0.9], [0.7, 0.1]], [0.8, 0.5]),  # several labels
    ],
)
def test_a_clip_is_the_mean_of_its_frames(frames: list[list[float]], expected: list[float]) -> None:
    assert clip_scores(np.array(frames)).tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("shape", [(0, 3), (3,)])
def test_a_clip_without_frames_has_no_answer(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="at least one frame"):
        clip_scores(np.zeros(shape))


def test_decoding_asks_for_numpy_only() -> None:
    code = (
        "import sys, cityforge.tasks.classification.decode\n"
        "sys.exit(', '.join({'torch', 'timm', 'cv2', 'pyarrow'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
