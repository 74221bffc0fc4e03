"""This version against the champion on the same frames: is the difference more than chance?"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from cityforge.evaluation.bootstrap import changes
from cityforge.evaluation.proof import Change
from cityforge.evaluation.scored import Answers, score


def paired_changes(
    task: str,
    *,
    frames: pa.Table,
    labels: pa.Table,
    classes: Sequence[str],
    this: Answers,
    champion: Answers,
    resamples: int,
) -> dict[str, Change]:
    """The difference of each figure with its interval, both answering the same resamples.

    Of errors (mae, rmse, ...) a difference below 0 is an improvement.

    Args:
        frames: the frames of the subset, table FRAMES; those that nobody looked at are left out.
        labels: the labels of these frames, table LABELS.
        classes: that both know.
        resamples: without any, `low` and `high` are null.

    Raises:
        DataError: no frame is labelled, or one has not a number of each class.
    """
    several = this.class_thresholds is not None
    mine, theirs = (
        score(task, frames, labels, classes, said, subset="test", several_labels=several)
        for said in (this, champion)
    )
    return changes(mine.figures, theirs.figures, mine.groups, resamples)
