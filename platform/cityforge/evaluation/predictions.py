"""What a model answers to stored frames, as table PREDICTIONS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from cityforge.footage.shards import FrameStore
from cityforge.inference.package import About
from cityforge.inference.runtime import Answer, Model
from cityforge.tables import PREDICTIONS, from_rows

BATCH = 8


def predict_frames(
    model: Model,
    store: FrameStore,
    frame_ids: Sequence[str],
    score_floor: float,
    say: Callable[[str], None],
) -> pa.Table:
    """Table PREDICTIONS of stored frames.

    Args:
        score_floor: under it nothing is answered; density: objects a cell under it do not count.
    """
    rows: list[dict[str, Any]] = []
    for start in range(0, len(frame_ids), BATCH):
        ids = frame_ids[start : start + BATCH]
        answers = model.answer([store.read(each) for each in ids], score_floor)
        for frame_id, answer in zip(ids, answers, strict=True):
            rows += _rows(frame_id, answer, model.about)
    say(f"answered {len(frame_ids)} frames")
    return from_rows(rows, PREDICTIONS)


def _rows(frame_id: str, answer: Answer, about: About) -> Iterator[dict[str, Any]]:
    for rank in range(len(answer.score)):
        x1, y1, x2, y2 = answer.xyxy[rank].tolist()
        yield {
            "frame_id": frame_id,
            "rank": rank,
            "class": about.classes[answer.cls[rank]],
            "score": float(answer.score[rank]),
            "x1": x1,
            "y1": y1,
            "x2": x2,
            "y2": y2,
            "value": None if answer.counts is None else float(answer.counts[rank]),
            "model_digest": about.model_digest,
        }
