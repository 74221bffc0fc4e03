"""Gives the labels of a dataset out, in terms of its footage's names."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from cityforge.errors import DataError
from cityforge.footage.plan import is_still
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage


def give_out(
    source: str, classes: list[str], footage: pa.Table, frames: pa.Table, labels: pa.Table
) -> LabelFile:
    """Every labelled frame with its boxes, as a writer of a format takes them.

    A still is named as its file was; a moment of a film as it stands in its shard,
    `<frame_id>.jpg`, so that formats of one file an image can hold it, too.

    Raises:
        DataError: a labelled frame of footage that the catalogue does not name.
    """
    films = {row["footage_id"]: row for row in footage.to_pylist()}
    images: dict[str, LabelledImage] = {}
    wanted = set(labels.column("frame_id").to_pylist())
    for row in frames.to_pylist():
        if row["frame_id"] in wanted:
            if row["footage_id"] not in films:
                raise DataError(
                    "frames of footage in the catalogue",
                    found=f"frame '{row['frame_id']}' of other footage",
                    where=f"dataset '{source}'",
                    do=f"cityforge footage ingest {source}",
                )
            images[row["frame_id"]] = _image(row, films[row["footage_id"]])
    boxes = [
        _box(row, images[row["frame_id"]].name)
        for row in labels.to_pylist()
        if row["class"] is not None and row["frame_id"] in images
    ]
    return LabelFile(source=source, images=list(images.values()), boxes=boxes, classes=classes)


def _image(frame: dict[str, Any], film: dict[str, Any]) -> LabelledImage:
    still = is_still(film)
    return LabelledImage(
        name=film["name"] if still else f"{frame['frame_id']}.jpg",
        width=frame["width"],
        height=frame["height"],
        footage=None if still else film["name"],
        pts_s=None if still else frame["pts_s"],
        where=frame["frame_id"],
    )


def _box(row: dict[str, Any], image: str) -> LabelledBox:
    edges = {edge: row[edge] if row[edge] is not None else 0.0 for edge in ("x1", "y1", "x2", "y2")}
    return LabelledBox(
        **edges,
        image=image,
        cls=row["class"],
        where=row["label_id"],
        track_id=row["track_id"],
        annotator=row["annotator"],
        annotation_id=row["annotation_id"],
        lead_time_s=row["lead_time_s"],
        updated_at=row["updated_at"],
        origin=row["origin"],
        task=row["task"],
    )
