"""Frames straight from the shards to batches of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from cityforge.cards.params import DataParams, TrainParams
from cityforge.dataset import augment
from cityforge.dataset.augment import LOOKS, Sample
from cityforge.dataset.draws import Draw, EpochSampler, size_at
from cityforge.dataset.labelled import FlatBoxes, LabelledFrames, labelled_frames
from cityforge.dataset.smaller import SmallFrames, fitted_frame
from cityforge.errors import CityforgeError
from cityforge.footage.shards import FrameStore

__all__ = [
    "Batch",
    "Draw",
    "EpochSampler",
    "FlatBoxes",
    "LabelledFrames",
    "PlainFrames",
    "TrainingFrames",
    "collate",
    "labelled_frames",
    "plain_batches",
    "size_at",
    "training_batches",
]

# The class of a whole frame must still be seen when the frame is made smaller.
LEAST_SCALE_OF_WHOLE = 0.8


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


class TrainingFrames(Dataset[tuple[int, Sample]]):
    """Augmented samples; `epoch` and the seed decide them, not the worker that makes them."""

    def __init__(
        self, frames: LabelledFrames, store: FrameStore, data: DataParams, train: TrainParams
    ) -> None:
        self.frames = frames
        self.size = (data.input_width, data.input_height)
        self.small = SmallFrames(frames.frame_ids, store, self.size)
        self.seed = train.seed
        self.augment = train.augment
        self.scale = train.augment.scale
        self.mosaic = train.augment.mosaic
        if frames.task == "classification":  # the class is that of one whole frame
            low = max(LEAST_SCALE_OF_WHOLE, self.scale[0])
            self.scale, self.mosaic = (low, max(low, self.scale[1])), 0.0

    def __len__(self) -> int:
        return len(self.frames.frame_ids)

    def __getitem__(self, draw: Draw | int) -> tuple[int, Sample]:
        """Make a sample; a bare key makes it in the full size."""
        key, width, height = draw if isinstance(draw, tuple) else (draw, *self.size)
        # The sampler numbers draws on through the epochs, so a resumed run draws alike.
        index = key % len(self)
        rng = np.random.default_rng([self.seed, key])
        sample = self._placed(index, width, height, rng)
        if rng.random() < self.augment.flip:
            sample = augment.flip(sample)
        for name in LOOKS:
            if rng.random() < getattr(self.augment, name):
                augment.change_looks(sample, name, rng)
        return index, sample

    def __getitems__(self, draws: Sequence[Draw | int]) -> Any:
        return _all_or_error(self, draws)

    def _placed(self, index: int, width: int, height: int, rng: np.random.Generator) -> Sample:
        four = rng.random() < self.mosaic
        others: list[int] = rng.integers(0, len(self), 3).tolist() if four else []
        picks = [self._sample(each) for each in (index, *others)]
        low, high = np.log(self.scale)
        smaller = min(width / self.size[0], height / self.size[1])
        scales = [smaller * float(np.exp(rng.uniform(low, high))) for _ in picks]
        return augment.place(picks, width, height, scales, rng)

    def _sample(self, index: int) -> Sample:
        small = self.small[index]
        xyxy, cls = self.frames.boxes[index]
        return Sample(small.image, xyxy * np.float32(small.scale), cls, self.frames.task)


class PlainFrames(Dataset[tuple[int, Sample]]):
    """Samples as the endpoint sees them."""

    def __init__(self, frames: LabelledFrames, store: FrameStore, data: DataParams) -> None:
        self.frames = frames
        self.store = store
        self.size = (data.input_width, data.input_height)

    def __len__(self) -> int:
        return len(self.frames.frame_ids)

    def __getitem__(self, index: int) -> tuple[int, Sample]:
        fitted = fitted_frame(self.store, self.frames.frame_ids[index], self.size)
        xyxy, cls = self.frames.boxes[index]
        scaled = xyxy * np.float32(fitted.scale)
        return index, Sample(fitted.canvas, scaled, cls, self.frames.task)

    def __getitems__(self, indices: Sequence[int]) -> Any:
        return _all_or_error(self, indices)


def _all_or_error(dataset: Any, keys: Sequence[Any]) -> list[Any] | CityforgeError:
    """Samples, or the error as it is: a worker would wrap what it raises into a traceback."""
    try:
        return [dataset[key] for key in keys]
    except CityforgeError as error:
        return error


def collate(samples: list[tuple[int, Sample]] | CityforgeError) -> Batch | CityforgeError:
    """Stack samples of one size; boxes are padded to the largest count of the batch."""
    if isinstance(samples, CityforgeError):
        return samples
    most = max(1, *(len(sample.cls) for _, sample in samples))
    truth = np.zeros((len(samples), most, 4), np.float32)
    classes = np.zeros((len(samples), most), np.int64)
    real = np.zeros((len(samples), most), bool)
    pictures = _pictures(len(samples), samples[0][1].image.shape)
    for row, (_, sample) in enumerate(samples):
        count = len(sample.cls)
        truth[row, :count], classes[row, :count] = sample.xyxy, sample.cls
        real[row, :count] = True
        pictures[row] = torch.from_numpy(sample.image)
    frame = torch.tensor([index for index, _ in samples])
    return Batch(
        pictures, torch.from_numpy(truth), torch.from_numpy(classes), torch.from_numpy(real), frame
    )


def _pictures(count: int, shape: tuple[int, ...]) -> Tensor:
    """Room for pictures; in a worker it is shared at once, as torch's own collate does it."""
    if get_worker_info() is None:
        return torch.empty((count, *shape), dtype=torch.uint8)
    new_shared: Any = torch.UntypedStorage._new_shared
    room = torch.empty(0, dtype=torch.uint8).set_(new_shared(count * int(np.prod(shape))))
    return room.view(count, *shape)


class Batches(DataLoader[Any]):
    """Begins an epoch with its first batch: what the sampler is told until then, it follows.

    A trainer asks for an iterator before it says which epoch begins; workers would already
    have begun another one.
    """

    def __iter__(self) -> Any:
        return self._from_first()

    def _from_first(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            if isinstance(batch, CityforgeError):
                raise batch
            yield batch


def training_batches(
    frames: LabelledFrames, store: FrameStore, data: DataParams, train: TrainParams
) -> DataLoader[Any]:
    """Augmented batches, the last incomplete one dropped where there is more than one.

    Their sampler's `set_size` makes smaller ones; they begin with `size_at(0)`.
    """
    dataset = TrainingFrames(frames, store, data, train)
    return Batches(
        dataset,
        batch_size=min(train.batch, len(dataset)),
        sampler=EpochSampler(len(dataset), train.seed, size_at(0.0, data, train)),
        drop_last=True,
        **_loading(data.workers),
    )


def plain_batches(
    frames: LabelledFrames, store: FrameStore, data: DataParams, batch: int
) -> DataLoader[Any]:
    """Batches in order, nothing dropped."""
    dataset = PlainFrames(frames, store, data)
    return Batches(dataset, batch_size=batch, **_loading(data.workers))


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
