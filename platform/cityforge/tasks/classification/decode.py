"""From scores to the classes of a frame or a clip; numpy only, the same wherever it is served."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import DataError


def decode_classes(
    scores: NDArray[Any], *, score_floor: float, several_labels: bool
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Turn one frame's scores into its answer, the likeliest class first.

    Where a frame has one class, the first is the answer and the others say what else it
    might be; the first then stands even under the floor. With several labels each class
    over the floor is an answer, and there may be none.

    Args:
        scores: (C,) probabilities.
        score_floor: a class under it is not answered.

    Returns:
        (K,) class indices, (K,) scores falling; equals in the order of the classes.

    >>> cls, score = decode_classes(
    ...     np.array([0.2, 0.7, 0.1]), score_floor=0.15, several_labels=False
    ... )
    >>> cls.tolist(), score.round(3).tolist()
    ([1, 0], [0.699999988079071, 0.20000000298023224])
    """
    values = np.asarray(scores, np.float32)
    order = np.argsort(-values, kind="stable")
    kept = values[order] >= np.float32(score_floor)
    if not several_labels:
        kept[:1] = True
    cls = order[kept].astype(np.int64)
    return cls, values[cls]


def clip_scores(scores: NDArray[Any]) -> NDArray[np.float32]:
    """A clip's scores from those of its frames: their mean.

    The mean, and not the product (mean of logarithms): frames of one clip look alike and are
    no independent witnesses, and one frame that is sure and wrong must not outvote the rest.
    It stays a probability, for one label as for several.

    Args:
        scores: (T, C) probabilities.

    Returns:
        (C,) probabilities.

    Raises:
        DataError: no frame.
    """
    if scores.ndim != 2 or not len(scores):
        raise DataError("scores of at least one frame, (T, C)", found=f"shape {scores.shape}")
    return np.asarray(scores.mean(0, dtype=np.float64), np.float32)
