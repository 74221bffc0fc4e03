"""From the tables of labels and predictions to flat boxes, numbered by frame and class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cityforge.errors import DataError, NameUnknown
from cityforge.tasks.boxes import Boxes

CORNERS = ("x1", "y1", "x2", "y2")


def truth_boxes(labels: pa.Table, frame_ids: Sequence[str], classes: Sequence[str]) -> Boxes:
    """Boxes of a table LABELS; rows of other tasks and of other classes are left out.

    Raises:
        DataError: a label belongs to a frame that is not among `frame_ids`.
    """
    positions(labels["frame_id"], frame_ids, "labels")
    is_box = pc.and_(pc.is_valid(labels["x1"]), pc.equal(labels["task"], "detection"))
    labels = labels.filter(pc.and_(is_box, pc.is_in(labels["class"], pa.array(classes))))
    return _boxes(labels, frame_ids, classes, np.ones(len(labels), np.float32), "labels")


def found_boxes(predictions: pa.Table, frame_ids: Sequence[str], classes: Sequence[str]) -> Boxes:
    """Boxes of a table PREDICTIONS.

    Raises:
        DataError: a prediction belongs to a frame that is not among `frame_ids`.
        NameUnknown: a prediction names a class that is not among `classes`.
    """
    unknown = pc.invert(pc.is_in(predictions["class"], pa.array(classes)))
    for name in predictions["class"].filter(unknown).to_pylist()[:1]:
        raise NameUnknown("a class of the algorithm", name, classes, where="predictions")
    score = predictions["score"].to_numpy().astype(np.float32)
    return _boxes(predictions, frame_ids, classes, score, "predictions")


def _boxes(
    table: pa.Table,
    frame_ids: Sequence[str],
    classes: Sequence[str],
    score: npt.NDArray[np.float32],
    where: str,
) -> Boxes:
    xyxy = np.column_stack([table[name].to_numpy().astype(np.float64) for name in CORNERS])
    return Boxes(
        frame=positions(table["frame_id"], frame_ids, where),
        cls=positions(table["class"], classes, where),
        xyxy=xyxy.reshape(-1, 4),
        score=score,
    )


def positions(column: pa.ChunkedArray, names: Sequence[str], where: str) -> npt.NDArray[np.int64]:
    """Replace each name by its position among `names`.

    Raises:
        DataError: one is not among them.
    """
    at = pc.index_in(column, pa.array(names, pa.string()))
    if at.null_count:
        stray = column.filter(pc.is_null(at))[0].as_py()
        raise DataError(
            f"{where} of the {len(names)} frames under evaluation",
            found=f"'{stray}'",
            where=f"{where}, {at.null_count} rows",
            do="hand in the rows of the evaluated subset only",
        )
    return np.asarray(at.to_numpy(), dtype=np.int64)
