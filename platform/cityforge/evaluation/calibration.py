"""Whether scores can be taken as probabilities: of the answers at 0.8, are 8 of 10 right?

Sources: Guo et al., "On Calibration of Modern Neural Networks", 2017, section 2 (expected
calibration error, equal bins of the score, each open below); for boxes Küppers et al.,
"Multivariate Confidence Calibration for Object Detection", 2020, section 3: the share of right
boxes (IoU 0.5, right class) takes the place of accuracy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cityforge.evaluation.proof import Calibration, CalibrationBin
from cityforge.evaluation.record import DECIMALS
from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.matching import match

BINS = 10


def calibration(
    scores: npt.NDArray[np.floating], right: npt.NDArray[np.bool_], bins: int = BINS
) -> Calibration | None:
    """Mean score and share of right answers in each bin that holds an answer; None without any.

    Args:
        scores: (N,) 0 to 1.
        right: (N,).
    """
    if not len(scores):
        return None
    scores = scores.astype(np.float64).round(DECIMALS)  # float32's 0.6 is a hair above 0.6
    # Upper edges are included, so that 1 needs no bin of its own; 0 belongs to the first.
    of = np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), scores, side="left") - 1, 0, None)
    count = np.bincount(of, minlength=bins)
    held = np.flatnonzero(count)
    score = np.bincount(of, scores, minlength=bins)[held] / count[held]
    share = np.bincount(of, right, minlength=bins)[held] / count[held]
    apart = float((np.abs(score - share) * count[held]).sum() / len(scores))
    rows = [
        CalibrationBin(score=s, right=r, answers=int(n))
        for s, r, n in zip(score, share, count[held], strict=True)
    ]
    return Calibration(ece=apart, bins=rows)


def box_calibration(truth: Boxes, found: Boxes, threshold: float) -> Calibration | None:
    """Of the boxes that are reported; the many that lie under the threshold would hide them."""
    reported = found.above(threshold)
    return calibration(reported.score, match(truth, reported, 0.5).truth_of >= 0)


def class_calibration(
    truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating]
) -> Calibration | None:
    """Of the likeliest class of each frame, (N, C) both."""
    best = scores.argmax(1)
    rows = np.arange(len(scores))
    return calibration(scores[rows, best], truth[rows, best])
