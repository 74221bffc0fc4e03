"""Pictures of validation: which frames, the weights that were judged, and what is drawn."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import quick, squares, trained

from cityforge.dataset.loader import LabelledFrames
from cityforge.training.sheet import (
    GAP,
    LETTERS,
    MISSED,
    RIGHT,
    TILE_WIDTH,
    WRONG,
    Shot,
    contact_sheet,
)
from cityforge.training.shots import Shots, choose

GREY = np.full((96, 160, 3), 100, np.uint8)
CLASSES = ["垃圾桶", "car"]
HEAD = 2 * LETTERS + 2 * GAP  # to the top of the first tile
SCALE = TILE_WIDTH / 160


def frames(*names: str, empty: tuple[str, ...] = ()) -> LabelledFrames:
    boxes = []
    for name in names:
        count = 0 if name in empty else 1
        boxes.append((np.zeros((count, 4), np.float32), np.zeros(count, np.int64)))
    return LabelledFrames(list(names), boxes)


def named(found: LabelledFrames, **options: int) -> list[str]:
    return [found.frame_ids[index] for index in choose(found, **{"seed": 7, **options})]


def test_frames_of_different_footage_come_first() -> None:
    found = frames(*(f"{film}-{ms}" for film in "aab" for ms in range(0, 9000, 1000)), "c-0", "d-0")
    for seed in range(5):
        chosen = named(found, seed=seed)
        assert len(chosen) == 6
        assert {name[0] for name in chosen} == set("abcd")
    assert named(found, seed=1) == named(found, seed=1)
    assert len({tuple(named(found, seed=seed)) for seed in range(5)}) > 1


def test_frames_without_a_label_come_last() -> None:
    names = [f"f{number}-0" for number in range(8)]
    assert named(frames(*names, empty=tuple(names[:5])), most=3) == names[5:]
    assert len(named(frames(*names, empty=tuple(names)))) == 6
    assert named(frames("a-0", "b-0")) == ["a-0", "b-0"]


def drawn(shot: Shot, task: str) -> np.ndarray:
    """The one tile of a sheet, RGB."""
    jpeg = contact_sheet([shot], task, CLASSES, "epoch 3, score 0.412")
    sheet = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
    return sheet[HEAD:, GAP:].astype(int)


def is_near(tile: np.ndarray, x: float, y: float, colour: str) -> bool:
    """Whether a pixel of this colour lies within 2 pixels of a place in the network's input."""
    row, column = round(y * SCALE), round(x * SCALE)
    spot = tile[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return bool((np.abs(spot - wanted).max(axis=2) < 60).any())


def boxes_shot() -> Shot:
    truth = np.array([[10, 30, 50, 70], [100, 30, 130, 60]], np.float32)
    boxes = np.array([[11, 31, 51, 71], [60, 70, 90, 90], [0, 0, 9, 9]], np.float32)
    scores = np.array([[0.9, 0.0], [0.0, 0.6], [0.1, 0.1]], np.float32)
    return Shot(GREY, truth, np.array([0, 1]), (scores, boxes))


def test_boxes_are_coloured_by_what_became_of_them() -> None:
    tile = drawn(boxes_shot(), "detection")
    assert is_near(tile, 31, 71, RIGHT)
    assert is_near(tile, 75, 90, WRONG)
    assert is_near(tile, 115, 60, MISSED)
    assert not any(is_near(tile, 5, 9, each) for each in (RIGHT, WRONG, MISSED))


@pytest.mark.parametrize(("cls", "colour"), [(1, RIGHT), (0, WRONG)])
def test_the_edge_of_a_classified_frame_says_whether_it_is_right(cls: int, colour: str) -> None:
    answer = (np.array([0.2, 0.8], np.float32),)
    shot = Shot(GREY, np.zeros((1, 4), np.float32), np.array([cls]), answer)
    assert is_near(drawn(shot, "classification"), 159, 50, colour)


def test_density_is_warm_where_objects_are_counted() -> None:
    density = np.zeros((2, 12, 20), np.float32)
    density[1, 9, 15] = 3.0
    points = np.array([[124, 76, 124, 76]], np.float32)
    tile = drawn(Shot(GREY, points, np.array([1]), (density,)), "density")
    row, column = round(76 * SCALE), round(124 * SCALE)
    assert tile[row - 8, column - 8, 0] > 140  # beside the point that people marked
    assert np.abs(tile[row, 100] - 100).max() < 12


def test_the_grey_around_a_picture_is_not_shown() -> None:
    padded = np.full((160, 160, 3), 114, np.uint8)
    padded[:40] = 30
    shot = Shot(padded, np.zeros((0, 4), np.float32), np.zeros(0, np.int64),
                (np.zeros((1, 2), np.float32), np.zeros((1, 4), np.float32)))  # fmt: skip
    jpeg = contact_sheet([shot] * 4, "detection", CLASSES, "epoch 1")
    width, height = Image.open(io.BytesIO(jpeg)).size
    assert width == 3 * (TILE_WIDTH + GAP) + GAP
    assert height == pytest.approx(2 * (TILE_WIDTH / 4 + GAP) + HEAD, abs=GAP)


class Judged(Shots):
    """Notes the weights with which the frames were asked for, and those of training."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: list[torch.Tensor] = []
        self.trained: list[torch.Tensor] = []

    def on_validation_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
        self.asked.append(next(module.network.parameters()).detach().clone())
        super().on_validation_batch_end(trainer, module, *rest)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        self.trained.append(next(module.network.parameters()).detach().clone())
        super().on_validation_end(trainer, module)


def test_a_training_gives_a_sheet_for_each_validation(tmp_path: Path) -> None:
    found = squares(tmp_path / "frames")
    kept: dict[str, bytes] = {}
    shots = Judged(choose(found["val_frames"], 7), "detection", ["车"], kept.__setitem__)
    params = quick(epochs=3, validate_every=2)
    trained(tmp_path, frames=found, kept=False, params=params, callbacks=[shots])
    assert list(kept) == ["validation/epoch_002.jpg", "validation/epoch_003.jpg"]
    for jpeg in kept.values():
        assert Image.open(io.BytesIO(jpeg)).size[0] == 3 * (TILE_WIDTH + GAP) + GAP
    # The averaged weights, which are put away before the validation ends.
    assert not torch.equal(shots.asked[-1], shots.trained[-1])
