"""The sheet of augmented frames: one of each kind, with boxes, the same for the same seed."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from cityforge.cards.params import DataParams, TrainParams
from cityforge.dataset import augmented
from cityforge.dataset.augmented import augmented_sheet
from cityforge.dataset.labelled import LabelledFrames

ALL = ["flip", "mosaic", "colour", "night", "rain", "fog", "motion_blur", "compression"]
IDS = [f"f{n}-0" for n in range(6)]


@pytest.fixture
def frames() -> LabelledFrames:
    box = np.array([[20, 20, 60, 60]], np.float32)
    none = (np.zeros((0, 4), np.float32), np.zeros(0, int))
    return LabelledFrames(IDS, [none, *[(box, np.array([0]))] * 5])


def with_shares(train: TrainParams, on: list[str], scale: tuple[float, float]) -> TrainParams:
    shares = {name: 0.3 * (name in on) for name in ALL}
    augment = train.augment.model_copy(update=shares | {"scale": scale})
    return train.model_copy(update={"augment": augment})


@pytest.mark.parametrize(
    ("on", "scale", "expected"),
    [
        ([], (1.0, 1.0), ["as trained"] * 4),
        (["fog", "mosaic"], (1.0, 1.0), ["fog", "mosaic", "as trained", "as trained"]),
        (["night"], (0.5, 1.0), ["night", "scale", "as trained", "as trained"]),
        (ALL, (0.5, 1.0), None),  # more than asked for: the first four
    ],
)
def test_each_kind_that_is_on_is_shown_by_name(
    scenes: Any, frames: LabelledFrames, data: DataParams, train: TrainParams,
    monkeypatch: pytest.MonkeyPatch, on: list[str], scale: tuple[float, float], expected: Any,
) -> None:  # fmt: skip
    drawn = augmented._drawn
    names: list[str] = []

    def seen(sample: Any, name: str) -> bytes:
        names.append(name)
        return drawn(sample, name)

    monkeypatch.setattr(augmented, "_drawn", seen)
    params = with_shares(train, on, scale)
    sheet = augmented_sheet(frames, scenes.store, data, params, 4)
    assert len(sheet) == 4
    if expected is None:
        assert len({*names}) == 4
        assert {*names} < {*ALL, "scale"}
    else:
        assert sorted(names) == sorted(expected)
    for jpeg in sheet:
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (data.input_height, data.input_width, 3)
    assert augmented_sheet(frames, scenes.store, data, params, 4) == sheet


@pytest.mark.parametrize("task", ["detection", "density", "classification"])
def test_labels_are_drawn_as_the_task_has_them(
    scenes: Any, frames: LabelledFrames, data: DataParams, train: TrainParams, task: str
) -> None:
    plain = with_shares(train, [], (1.0, 1.0))
    boxes = [
        (xyxy if task == "detection" else xyxy[:, [0, 1, 0, 1]], cls) for xyxy, cls in frames.boxes
    ]
    bare = LabelledFrames(IDS, [(xyxy[:0], cls[:0]) for xyxy, cls in boxes], task)

    def shown(of: LabelledFrames) -> np.ndarray:
        (jpeg,) = augmented_sheet(of.take([1]), scenes.store, data, plain, 1)
        return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).astype(int)

    changed = np.abs(shown(LabelledFrames(IDS, boxes, task)) - shown(bare)).max(2) > 60
    least, most = {"detection": (60, 600), "density": (4, 120), "classification": (0, 0)}[task]
    assert least <= changed.sum() <= most


def test_no_frames_are_no_sheet(scenes: Any, data: DataParams, train: TrainParams) -> None:
    assert augmented_sheet(LabelledFrames([], []), scenes.store, data, train) == []
