"""Answers clips: one answer for what a clip shows, or one for each of its moments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.dataset import Sampling
from cityforge.errors import FootageError
from cityforge.footage.sample import Sample, sample_film
from cityforge.footage.stills import open_still
from cityforge.inference.runtime import Answer, Model, answer_of
from cityforge.tasks.picture import Fitted, fit

# Film seconds between two frames that are looked at; 0 is every frame.
STEP_S = {"detection": 0.0, "classification": 0.5, "density": 1.0}
BATCH = 16  # frames at once


@dataclass(frozen=True)
class Shown:
    """What a model found in a moment of a clip, or in the whole clip."""

    at_s: float | None  # film time; None: the whole clip
    frames: int  # that were looked at for it
    answer: Answer
    bgr: NDArray[Any] | None  # (H, W, 3) uint8, upright; of a whole clip its first frame


def is_picture(path: Path) -> bool:
    """The file begins as a picture does, whole or not; else it can only be a clip."""
    from PIL import Image, UnidentifiedImageError

    try:
        with open_still(path):
            return True
    except UnidentifiedImageError:
        return False
    except (Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return True


def answer_clip(model: Model, path: Path, score_threshold: float | None = None) -> Iterator[Shown]:
    """Answer a clip: detection each frame, density each second, classification once.

    The scores of a clip's classes are those of `clip_scores` over two frames a second.

    Raises:
        FootageError: no film, or none of its frames decodes.
    """
    task = model.about.task
    samples = sample_film(path, Sampling(policy="every", seconds=STEP_S[task]))
    shown = (_whole if task == "classification" else _moments)(model, samples, score_threshold)
    first = next(shown, None)
    if first is None:
        raise FootageError("a film with frames that decode", found="none", where=str(path))
    yield first
    yield from shown


def _moments(model: Model, samples: Iterable[Sample], floor: float | None) -> Iterator[Shown]:
    for batch in _batches(samples):
        answers = model.answer_fitted([_fitted(model, each) for each in batch], floor)
        for sample, answer in zip(batch, answers, strict=True):
            yield Shown(sample.milliseconds / 1000, 1, answer, sample.bgr)


def _whole(model: Model, samples: Iterable[Sample], floor: float | None) -> Iterator[Shown]:
    from cityforge.tasks.classification.decode import clip_scores

    scores: list[NDArray[Any]] = []  # (F, C) of each batch
    first: tuple[Sample, Fitted] | None = None
    for batch in _batches(samples):
        fitted = [_fitted(model, each) for each in batch]
        first = first or (batch[0], fitted[0])
        scores.append(model.raw(fitted)[0])
    if first is None:
        return
    every = np.concatenate(scores)
    answer = answer_of(model.about, [clip_scores(every)], first[1], floor)
    yield Shown(None, len(every), answer, first[0].bgr)


def _fitted(model: Model, sample: Sample) -> Fitted:
    rgb = np.ascontiguousarray(sample.bgr[:, :, ::-1])
    return fit(rgb, model.about.input_width, model.about.input_height)


def _batches(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    batch: list[Sample] = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
