"""How good a model is on cameras that it never saw."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.evaluation.bootstrap import intervals, once
from cityforge.evaluation.proof import Unseen
from cityforge.evaluation.scored import Answers, score
from cityforge.evaluation.slices import footage_column
from cityforge.evaluation.subset import of_task

SUBSET = "unseen"


def unseen_figures(
    task: str,
    *,
    frames: pa.Table,
    labels: pa.Table,
    footage: pa.Table | None,
    classes: Sequence[str],
    answers: Answers,
    resamples: int,
) -> Unseen | None:
    """Measure the subset `unseen`; None where nobody labelled a frame of it.

    Args:
        frames: the frames of the subset, table FRAMES.
        labels: the labels of these frames, table LABELS.
        footage: table FOOTAGE, for the names of the cameras.
        answers: thresholds are those chosen on val.

    Raises:
        DataError: frames are labelled, but no label says what the task asks.
    """
    ids = of_task(labels, task)["frame_id"].combine_chunks()
    if not pc.any(pc.is_in(frames["frame_id"], ids)).as_py():
        return None
    found = score(task, frames, labels, classes, answers, subset=SUBSET)
    cameras = {name for name in footage_column(found.frames, footage, "camera") if name}
    whole = found.figures(once(len(found.frames)))
    return Unseen(
        cameras=sorted(cameras),
        frames=len(found.frames),
        boxes=found.count,
        metrics={name: values[0] for name, values in whole.items()},
        intervals=intervals(found.figures, found.groups, resamples),
    )
