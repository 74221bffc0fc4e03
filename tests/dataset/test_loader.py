"""Batches: boxes on their pixels, the same for the same seed and epoch, whoever loads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from cityforge.cards.params import DataParams, TrainParams
from cityforge.dataset.augment import Sample
from cityforge.dataset.loader import (
    Batch,
    EpochSampler,
    LabelledFrames,
    TrainingFrames,
    collate,
    labelled_frames,
    plain_batches,
    training_batches,
)
from cityforge.tables import SPLIT, from_rows
from cityforge.tasks.picture import GREY

CLASSES = ["汽车", "bus"]


def all_in(subset: str, frames: pa.Table) -> pa.Table:
    ids = frames.column("frame_id").to_pylist()
    return from_rows([{"frame_id": i, "subset": subset, "group": i} for i in ids], SPLIT)


@pytest.fixture
def labelled(scenes: Any) -> LabelledFrames:
    return labelled_frames(all_in("train", scenes.frames), scenes.labels, "train", CLASSES)


def is_of(cls: int, pixel: np.ndarray) -> bool:
    """Red is class 0 and blue class 1, in whatever light."""
    red, _, blue = pixel.astype(int)
    return red > blue + 25 if cls == 0 else blue > red + 25


def test_frames_come_with_their_boxes(scenes: Any, labelled: LabelledFrames) -> None:
    assert labelled.frame_ids == [f"f{n}-0" for n in range(6)]
    xyxy, cls = labelled.boxes[1]
    assert sorted(zip(cls.tolist(), xyxy.tolist(), strict=True)) == [
        (0, [18.0, 20.0, 54.0, 50.0]), (1, [90.0, 70.0, 126.0, 100.0]),
    ]  # fmt: skip
    assert [len(cls) for _, cls in labelled.boxes] == [1, 2, 1, 2, 1, 2]


def test_classes_that_the_algorithm_does_not_name_are_left_out(scenes: Any) -> None:
    split = all_in("val", scenes.frames)
    found = labelled_frames(split, scenes.labels, "val", ["bus"])
    assert [cls.tolist() for _, cls in found.boxes] == [[], [0], [], [0], [], [0]]
    assert found.boxes[0][0].shape == (0, 4)
    assert labelled_frames(split, scenes.labels, "test", ["bus"]).frame_ids == []


def test_plain_batches_are_letterboxed_in_order(
    scenes: Any, labelled: LabelledFrames, data: DataParams
) -> None:
    wide = data.model_copy(update={"input_width": 128, "input_height": 64})
    batches = list(plain_batches(labelled, scenes.store, wide, 4))
    assert [len(batch.pictures) for batch in batches] == [4, 2]
    assert torch.cat([batch.frame for batch in batches]).tolist() == list(range(6))
    scale = 64 / 120  # the height is what does not fit
    checked = 0
    for batch in batches:
        assert batch.pictures.shape[1:] == (64, 128, 3)
        assert batch.pictures.dtype == torch.uint8
        assert (batch.pictures[:, :, 86:] == GREY).all()  # 160 × scale = 85.3 wide
        for row, index in enumerate(batch.frame.tolist()):
            real = batch.real[row]
            expected = labelled.boxes[index][0] * scale
            assert batch.truth[row][real].numpy() == pytest.approx(expected, abs=1e-4)
            checked += int(real.sum())
    assert checked == 9


def test_boxes_of_training_batches_stand_on_their_pixels(
    scenes: Any, labelled: LabelledFrames, data: DataParams, train: TrainParams
) -> None:
    batches = training_batches(labelled, scenes.store, data, train)
    checked = 0
    for epoch in range(8):
        batches.sampler.set_epoch(epoch)
        for batch in batches:
            for row in range(len(batch.pictures)):
                real = batch.real[row]
                for box, cls in zip(batch.truth[row][real], batch.classes[row][real], strict=True):
                    x1, y1, x2, y2 = box.tolist()
                    assert 0 <= x1 < x2 <= 128
                    assert 0 <= y1 < y2 <= 96
                    middle = batch.pictures[row, int((y1 + y2) / 2), int((x1 + x2) / 2)]
                    assert is_of(int(cls), middle.numpy())
                    checked += 1
    assert checked > 60


def drawn(
    scenes: Any, labelled: LabelledFrames, data: DataParams, train: TrainParams, epoch: int
) -> list[Batch]:
    batches = training_batches(labelled, scenes.store, data, train)
    batches.sampler.set_epoch(epoch)
    return list(batches)


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(getattr(a, key), getattr(b, key))
        for a, b in zip(one, other, strict=True)
        for key in vars(a)
    )


def test_seed_and_epoch_decide_a_batch_whoever_loads_it(
    scenes: Any, labelled: LabelledFrames, data: DataParams, train: TrainParams
) -> None:
    first = drawn(scenes, labelled, data, train, 1)
    with_workers = data.model_copy(update={"workers": 2})
    assert same(first, drawn(scenes, labelled, with_workers, train, 1))
    assert not same(first, drawn(scenes, labelled, data, train, 2))
    other_seed = train.model_copy(update={"seed": train.seed + 1})
    assert not same(first, drawn(scenes, labelled, data, other_seed, 1))


def test_the_seed_decides_how_a_frame_is_changed(
    scenes: Any, labelled: LabelledFrames, data: DataParams, train: TrainParams
) -> None:
    plain = train.model_copy(update={"mosaic": 0.0, "colour": 0.0, "flip": 0.0})
    other = plain.model_copy(update={"seed": train.seed + 1})
    first, again, second = (
        TrainingFrames(labelled, scenes.store, data, each)[8][1] for each in (plain, plain, other)
    )
    assert (first.image == again.image).all()
    assert not np.array_equal(first.xyxy, second.xyxy)


def test_every_frame_is_drawn_once_an_epoch() -> None:
    sampler = EpochSampler(10, seed=3)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert sorted(keys) == list(range(epoch * 10, epoch * 10 + 10))
        orders.append([key % 10 for key in keys])
    assert orders[0] != orders[1] != orders[2]


def test_the_incomplete_batch_is_dropped_unless_it_is_the_only_one(
    scenes: Any, labelled: LabelledFrames, data: DataParams, train: TrainParams
) -> None:
    for batch, expected in ((4, [4]), (3, [3, 3]), (16, [6])):
        sized = train.model_copy(update={"batch": batch})
        batches = drawn(scenes, labelled, data, sized, 0)
        assert [len(each.pictures) for each in batches] == expected


def test_boxes_are_padded_to_the_most_of_a_batch() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    samples = [
        (index, Sample(image, np.full((count, 4), index, np.float32), np.full(count, 5)))
        for index, count in enumerate((0, 3, 1))
    ]
    batch = collate(samples)
    assert batch.truth.shape == (3, 3, 4)
    assert batch.real.sum(1).tolist() == [0, 3, 1]
    assert batch.truth[1].unique().tolist() == [1.0]
    assert batch.classes[batch.real].unique().tolist() == [5]
    assert collate(samples[:1]).truth.shape == (1, 1, 4)
