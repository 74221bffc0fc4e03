"""Frames straight from the shards to batches of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cityforge.cards.params import DataParams, TrainParams
from cityforge.dataset import augment
from cityforge.dataset.augment import Sample
from cityforge.footage.shards import FrameStore
from cityforge.tasks.picture import decode, fit, picture_size


@dataclass(frozen=True)
class Batch:
    """Pictures (N, H, W, 3) uint8; truth (N, M, 4) xyxy, classes (N, M), real (N, M) bool.

    `frame` (N,) is the index of each picture within its subset.
    """

    pictures: Tensor
    truth: Tensor
    classes: Tensor
    real: Tensor
    frame: Tensor

    def pin_memory(self) -> Batch:
        return Batch(*(each.pin_memory() for each in vars(self).values()))

    def to(self, device: torch.device, non_blocking: bool = False) -> Batch:
        return Batch(*(each.to(device, non_blocking=non_blocking) for each in vars(self).values()))


@dataclass(frozen=True)
class LabelledFrames:
    """The frames of one subset with their boxes in pixels of the stored frame."""

    frame_ids: list[str]
    boxes: list[tuple[NDArray[Any], NDArray[Any]]]  # (M, 4) xyxy float32, (M,) class index


def labelled_frames(
    split: pa.Table, labels: pa.Table, subset: str, classes: Sequence[str]
) -> LabelledFrames:
    """Collect a subset; boxes of classes that the algorithm does not name are left out."""
    wanted = [row["frame_id"] for row in split.to_pylist() if row["subset"] == subset]
    index = {name: number for number, name in enumerate(classes)}
    found: dict[str, list[tuple[float, ...]]] = {frame_id: [] for frame_id in wanted}
    columns = labels.select(["frame_id", "class", "x1", "y1", "x2", "y2"]).to_pydict()
    for frame_id, name, *xyxy in zip(*columns.values(), strict=True):
        if frame_id in found and name in index:
            found[frame_id].append((*xyxy, index[name]))
    boxes = []
    for frame_id in wanted:
        array = np.array(found[frame_id], np.float32).reshape(-1, 5)
        boxes.append((array[:, :4], array[:, 4].astype(np.int64)))
    return LabelledFrames(wanted, boxes)


class TrainingFrames(Dataset[tuple[int, Sample]]):
    """Augmented samples; `epoch` and the seed decide them, not the worker that makes them."""

    def __init__(
        self, frames: LabelledFrames, store: FrameStore, data: DataParams, train: TrainParams
    ) -> None:
        self.frames = frames
        self.store = store
        self.size = (data.input_width, data.input_height)
        self.train = train

    def __len__(self) -> int:
        return len(self.frames.frame_ids)

    def __getitem__(self, key: int) -> tuple[int, Sample]:
        # The sampler numbers draws on through the epochs, so a resumed run draws alike.
        index = key % len(self)
        rng = np.random.default_rng([self.train.seed, key])
        four = rng.random() < self.train.mosaic
        others: list[int] = rng.integers(0, len(self), 3).tolist() if four else []
        picks = [self._sample(each) for each in (index, *others)]
        low, high = self.train.scale
        scales = [float(np.exp(rng.uniform(np.log(low), np.log(high)))) for _ in picks]
        sample = augment.place(picks, *self.size, scales, rng)
        if rng.random() < self.train.flip:
            sample = augment.flip(sample)
        if rng.random() < self.train.colour:
            sample = augment.recolour(sample, rng)
        return index, sample

    def _sample(self, index: int) -> Sample:
        return fitted_sample(self.frames, self.store, index, self.size, crop=True)


class PlainFrames(Dataset[tuple[int, Sample]]):
    """Samples as the endpoint sees them."""

    def __init__(self, frames: LabelledFrames, store: FrameStore, data: DataParams) -> None:
        self.frames = frames
        self.store = store
        self.size = (data.input_width, data.input_height)

    def __len__(self) -> int:
        return len(self.frames.frame_ids)

    def __getitem__(self, index: int) -> tuple[int, Sample]:
        return index, fitted_sample(self.frames, self.store, index, self.size, crop=False)


def fitted_sample(
    frames: LabelledFrames, store: FrameStore, index: int, size: tuple[int, int], crop: bool
) -> Sample:
    """One frame fitted to the network's input, boxes with it; `crop` drops the grey margin."""
    jpeg = store.read(frames.frame_ids[index])
    fitted = fit(decode(jpeg, size), *size, picture_size(jpeg))
    xyxy, cls = frames.boxes[index]
    canvas = fitted.canvas
    if crop:
        inner_height = max(1, round(fitted.height * fitted.scale))
        inner_width = max(1, round(fitted.width * fitted.scale))
        canvas = canvas[:inner_height, :inner_width]
    return Sample(canvas, xyxy * np.float32(fitted.scale), cls)


def collate(samples: list[tuple[int, Sample]]) -> Batch:
    """Stack samples of one size; boxes are padded to the largest count of the batch."""
    most = max(1, *(len(sample.cls) for _, sample in samples))
    truth = np.zeros((len(samples), most, 4), np.float32)
    classes = np.zeros((len(samples), most), np.int64)
    real = np.zeros((len(samples), most), bool)
    for row, (_, sample) in enumerate(samples):
        count = len(sample.cls)
        truth[row, :count], classes[row, :count], real[row, :count] = (
            sample.xyxy,
            sample.cls,
            True,
        )
    pictures = torch.from_numpy(np.stack([sample.image for _, sample in samples]))
    frame = torch.tensor([index for index, _ in samples])
    return Batch(
        pictures, torch.from_numpy(truth), torch.from_numpy(classes), torch.from_numpy(real), frame
    )


class EpochSampler(torch.utils.data.Sampler[int]):
    """Every frame once an epoch, in an order that the seed and the epoch decide."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Any:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        return iter((order + self.epoch * self.count).tolist())


def training_batches(
    frames: LabelledFrames, store: FrameStore, data: DataParams, train: TrainParams
) -> DataLoader[Any]:
    """Augmented batches, the last incomplete one dropped where there is more than one."""
    dataset = TrainingFrames(frames, store, data, train)
    return DataLoader(
        dataset,
        batch_size=min(train.batch, len(dataset)),
        sampler=EpochSampler(len(dataset), train.seed),
        drop_last=True,
        **_loading(data.workers),
    )


def plain_batches(
    frames: LabelledFrames, store: FrameStore, data: DataParams, batch: int
) -> DataLoader[Any]:
    """Batches in order, nothing dropped."""
    dataset = PlainFrames(frames, store, data)
    return DataLoader(dataset, batch_size=batch, **_loading(data.workers))


def _loading(workers: int) -> dict[str, Any]:
    if workers:
        _end_cv_threads()
    return {
        "collate_fn": collate,
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "worker_init_fn": _one_thread if workers else None,
        "pin_memory": torch.cuda.is_available(),
    }


def _end_cv_threads() -> None:
    """OpenCV's threads do not live on in a forked worker, which would wait for them for ever."""
    import cv2

    cv2.setNumThreads(1)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
