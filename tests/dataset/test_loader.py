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
    Draw,
    EpochSampler,
    LabelledFrames,
    TrainingFrames,
    collate,
    labelled_frames,
    plain_batches,
    size_at,
    training_batches,
)
from cityforge.errors import DataError
from cityforge.footage.shards import FrameStore, read_shard, write_shard
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
    still = train.augment.model_copy(update={"mosaic": 0.0, "colour": 0.0, "flip": 0.0})
    plain = train.model_copy(update={"augment": still})
    other = plain.model_copy(update={"seed": train.seed + 1})
    first, again, second = (
        TrainingFrames(labelled, scenes.store, data, each)[8][1] for each in (plain, plain, other)
    )
    assert (first.image == again.image).all()
    assert not np.array_equal(first.xyxy, second.xyxy)


def test_every_frame_is_drawn_once_an_epoch() -> None:
    sampler = EpochSampler(10, 3, (128, 96))
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        keys = [draw.key for draw in sampler]
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


@pytest.mark.parametrize(
    ("progress", "grow_from", "until", "expected"),
    [
        (0.0, 1.0, 0.0, (128, 96)),  # never grows
        (0.0, 0.5, 0.8, (64, 64)),  # 48 is no multiple of 32, and rounds up
        (0.4, 0.5, 0.8, (96, 64)),
        (0.4, 0.5, 0.5, (128, 96)),
        (0.8, 0.5, 0.8, (128, 96)),
        (1.0, 0.5, 0.8, (128, 96)),
        (0.0, 0.5, 0.0, (128, 96)),  # grown before it began
        (0.0, 0.01, 1.0, (32, 32)),  # the least there is
    ],
)
def test_the_input_grows_with_the_training(
    data: DataParams, train: TrainParams, progress: float, grow_from: float, until: float,
    expected: tuple[int, int],
) -> None:  # fmt: skip
    growing = train.model_copy(update={"grow_from": grow_from, "grow_until": until})
    assert size_at(progress, data, growing) == expected


def test_a_growing_input_never_shrinks(data: DataParams, train: TrainParams) -> None:
    growing = train.model_copy(update={"grow_from": 0.3, "grow_until": 0.9})
    large = data.model_copy(update={"input_width": 640, "input_height": 384})
    sizes = [size_at(step / 50, large, growing) for step in range(51)]
    assert sizes == sorted(sizes)
    assert {side % 32 for size in sizes for side in size} == {0}
    assert (sizes[0], sizes[-1]) == ((192, 128), (640, 384))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_sampler_says_how_large_an_epochs_pictures_are(
    scenes: Any, labelled: LabelledFrames, data: DataParams, train: TrainParams, workers: int
) -> None:
    growing = train.model_copy(update={"grow_from": 0.5, "grow_until": 1.0})
    batches = training_batches(
        labelled, scenes.store, data.model_copy(update={"workers": workers}), growing
    )
    found = []
    for size in (None, (96, 96), (128, 96)):
        if size:
            batches.sampler.set_size(*size)
        found += [tuple(batch.pictures.shape[1:3]) for batch in batches]
    assert found == [(64, 64)] * 2 + [(96, 96)] * 2 + [(96, 128)] * 2


def test_boxes_of_smaller_pictures_stand_on_their_pixels(
    scenes: Any, labelled: LabelledFrames, data: DataParams, train: TrainParams
) -> None:
    frames, checked = TrainingFrames(labelled, scenes.store, data, train), 0
    for key in range(60):
        _, sample = frames[Draw(key, 64, 64)]
        assert sample.image.shape == (64, 64, 3)
        for (x1, y1, x2, y2), cls in zip(sample.xyxy, sample.cls, strict=True):
            if min(x2 - x1, y2 - y1) > 5:
                assert is_of(int(cls), sample.image[int((y1 + y2) / 2), int((x1 + x2) / 2)])
                checked += 1
    assert checked > 40


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_begins_with_its_first_batch(
    scenes: Any, labelled: LabelledFrames, data: DataParams, train: TrainParams, workers: int
) -> None:
    """A trainer asks for the iterator before it says which epoch and which size it is."""
    batches = training_batches(
        labelled, scenes.store, data.model_copy(update={"workers": workers}), train
    )
    iterator = iter(batches)
    batches.sampler.set_epoch(3)
    batches.sampler.set_size(64, 64)
    found = list(iterator)
    batches.sampler.set_epoch(0)
    assert [tuple(each.pictures.shape[1:3]) for each in found] == [(64, 64)] * 2
    assert (
        torch.cat([each.frame for each in found]).tolist()
        != torch.cat([each.frame for each in batches]).tolist()
    )


def test_every_augmentation_follows_its_share(
    scenes: Any, labelled: LabelledFrames, data: DataParams, train: TrainParams
) -> None:
    names = ["flip", "mosaic", "colour", "night", "rain", "fog", "motion_blur", "compression"]
    never = train.augment.model_copy(update=dict.fromkeys(names, 0.0) | {"scale": (1.0, 1.0)})

    def pictures(**shares: float) -> np.ndarray:
        augment = never.model_copy(update=shares)
        frames = TrainingFrames(
            labelled, scenes.store, data, train.model_copy(update={"augment": augment})
        )
        return np.stack([frames[key][1].image for key in range(24)])

    plain = pictures()
    for name in names:
        whole = (pictures(**{name: 1.0}) != plain).any((1, 2, 3))
        half = (pictures(**{name: 0.5}) != plain).any((1, 2, 3))
        assert whole.all(), name
        assert 4 <= half.sum() <= 20, name


def test_points_and_classes_come_through_training_batches(
    scenes: Any, labelled: LabelledFrames, data: DataParams, train: TrainParams
) -> None:
    middles = [(np.tile((xyxy[:, :2] + xyxy[:, 2:]) / 2, 2), cls) for xyxy, cls in labelled.boxes]
    points = LabelledFrames(labelled.frame_ids, middles, "density")
    counted = 0
    for batch in drawn(scenes, points, data, train, 0):
        seen = batch.truth[batch.real]
        assert (seen[:, :2] == seen[:, 2:]).all()
        for row in range(len(batch.pictures)):
            for (x, y, _, _), cls in zip(
                batch.truth[row][batch.real[row]], batch.classes[row][batch.real[row]], strict=True
            ):
                assert is_of(int(cls), batch.pictures[row, int(y), int(x)].numpy())
                counted += 1
    assert counted >= 4
    zeros = [(np.zeros((1, 4), np.float32), np.array([n % 2])) for n in range(6)]
    whole = LabelledFrames(labelled.frame_ids, zeros, "classification")
    always = train.augment.model_copy(update={"mosaic": 1.0, "colour": 0.0, "scale": (0.2, 0.3)})
    batches = drawn(scenes, whole, data, train.model_copy(update={"augment": always}), 0)
    for batch in batches:
        assert batch.classes.tolist() == [[n % 2] for n in batch.frame.tolist()]
        grey = (batch.pictures == GREY).all(3).float().mean((1, 2))
        assert grey.max() < 0.5  # it is neither one of four nor small


@pytest.mark.parametrize("workers", [0, 1])
def test_a_frame_that_does_not_decode_is_named_in_one_line(
    tmp_path: Any, labelled: LabelledFrames, data: DataParams, train: TrainParams, workers: int
) -> None:
    write_shard(tmp_path / "b.tar", [("bad", b"no picture at all")])
    (bad,) = read_shard(tmp_path / "b.tar")
    columns = {"frame_id": labelled.frame_ids, "shard": ["b.tar"] * 6}
    at = {"offset": [bad.offset] * 6, "bytes": [len(bad.data)] * 6}
    store = FrameStore(tmp_path, pa.table(columns | at))
    inside = data.model_copy(update={"workers": workers})
    for batches in (
        training_batches(labelled, store, inside, train),
        plain_batches(labelled, store, inside, 2),
    ):
        with pytest.raises(DataError) as error:
            next(iter(batches))
        assert "expected a frame that is a picture" in str(error.value)
        assert "in frame 'f" in str(error.value)
        assert "Traceback" not in str(error.value)
