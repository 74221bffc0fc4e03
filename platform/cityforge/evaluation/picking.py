"""Picks the frames that a person looks at, so that six pictures show six things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cityforge.evaluation.slices import footage_column

SHOWN = 6  # best and worst frames each
ALIKE = 2  # of them from one group before another group gets its turn


def pick(order: npt.NDArray[np.intp], groups: Sequence[str]) -> list[int]:
    """The first rows of `order`, few of one group.

    Args:
        order: rows, the one to show first in front.
        groups: of every row, such as its footage.

    >>> pick(np.array([0, 1, 2, 3]), ["a", "a", "a", "b"])
    [0, 1, 3, 2]
    """
    turn: dict[str, int] = {}
    rounds = []
    for row in order:
        name = groups[row]
        rounds.append(turn.get(name, 0) // ALIKE)
        turn[name] = turn.get(name, 0) + 1
    return [int(row) for row in order[np.argsort(rounds, kind="stable")][:SHOWN]]


def facts_of_frames(frames: pa.Table, footage: pa.Table | None) -> list[dict[str, Any]]:
    """Id, camera and time of each frame, as the evidence states them."""
    columns = zip(
        frames["frame_id"].to_pylist(),
        footage_column(frames, footage, "camera"),
        frames["captured_at"].to_pylist(),
        strict=True,
    )
    return [
        {"frame_id": i, "camera": camera, "captured_at": at.isoformat() if at else None}
        for i, camera, at in columns
    ]
