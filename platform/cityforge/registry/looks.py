"""What a registered model makes of stored frames: for the labelling queue and its review."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cityforge.errors import PackageError
from cityforge.footage.shards import FrameStore
from cityforge.inference.looking import Look, Looker
from cityforge.inference.package import About, Package
from cityforge.labeling.queue import expected_of, uncertainty_of
from cityforge.tables import PREDICTIONS

BATCH = 16  # pictures at once


@dataclass(frozen=True)
class Looks:
    """One row a frame, in the order the frames were asked for."""

    embedding: NDArray[Any]  # (N, D) float32 of length 1
    uncertainty: NDArray[Any]  # (N,) 0 to 1
    expected: NDArray[Any]  # (N, C) objects of the package's classes
    predictions: pa.Table  # PREDICTIONS


def look_at(
    package: Package,
    store: FrameStore,
    frame_ids: Sequence[str],
    score_floor: float,
    progress: Callable[[int, int], None] | None = None,
) -> Looks:
    """Run a package over stored frames; `progress` is told (done, all).

    Raises:
        DataError: a frame that is not stored.
        PackageError: the package's model has no backbone to take embeddings from, or it counts.
    """
    if package.about.task == "density":  # how unsure a map of counts is, nothing says
        raise PackageError(
            "a model of detection or classification, which says how sure it is",
            found="one of density", where=f"algorithm '{package.about.algorithm}'",
            do="name another with --algorithm",
        )  # fmt: skip
    looker = Looker(package)
    classes = package.about.classes
    embedding, doubt, expected, tables = [], [], [], []
    for start in range(0, len(frame_ids), BATCH):
        ids = frame_ids[start : start + BATCH]
        seen = looker.look([store.read(each) for each in ids], score_floor)
        embedding += [each.embedding for each in seen]
        doubt += [doubt_of(package.about, each.answer.score) for each in seen]
        expected += [expected_of(e.answer.cls, e.answer.score, len(classes)) for e in seen]
        tables.append(_predictions(ids, seen, classes, looker.digest))
        if progress:
            progress(min(start + BATCH, len(frame_ids)), len(frame_ids))
    return Looks(
        np.array(embedding, np.float32) if embedding else np.zeros((0, 1), np.float32),
        np.array(doubt, np.float32),
        np.array(expected, np.float32).reshape(len(frame_ids), len(classes)),
        pa.concat_tables(tables) if tables else PREDICTIONS.empty_table(),
    )


def doubt_of(about: About, scores: NDArray[Any]) -> float:
    """How unsure a model is of a picture, 0 to 1.

    Of boxes see `uncertainty_of`. Of one class in a picture it is 1 less the margin between the
    two likeliest; of several labels the doubt of the most doubtful, 0 where its score is 0 or 1
    (Settles 2009, "Active Learning Literature Survey", section 3.1).

    Args:
        scores: (K,) falling.
    """
    if about.task == "detection":
        return uncertainty_of(scores)
    values = np.append(np.asarray(scores, float), (0.0, 0.0))
    if about.several_labels:
        return float(1 - np.abs(2 * values - 1).min())
    return float(1 - (values[0] - values[1]))


def _predictions(
    frame_ids: Sequence[str], seen: Sequence[Look], classes: Sequence[str], digest: str
) -> pa.Table:
    counts = [len(each.answer.score) for each in seen]
    xyxy = np.concatenate([each.answer.xyxy for each in seen]).astype(np.float32)
    columns = {
        "frame_id": np.repeat(np.array(frame_ids, dtype=object), counts),
        "rank": np.concatenate([np.arange(count, dtype=np.int32) for count in counts]),
        "class": [classes[int(cls)] for each in seen for cls in each.answer.cls],
        "score": np.concatenate([each.answer.score for each in seen]).astype(np.float32),
        "value": [None] * sum(counts),
        **{name: xyxy[:, edge] for edge, name in enumerate(("x1", "y1", "x2", "y2"))},
        "model_digest": [digest] * sum(counts),
    }
    arrays = [pa.array(columns[field.name], field.type) for field in PREDICTIONS]
    return pa.Table.from_arrays(arrays, schema=PREDICTIONS)
