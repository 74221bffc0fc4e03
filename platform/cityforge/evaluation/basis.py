"""The data and the labels that an evaluation rests on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.dataset import Dataset
from cityforge.errors import DataError, LabelError
from cityforge.evaluation.proof import DataBasis
from cityforge.project import Project
from cityforge.training.data import TrainingData, split_about

CHECKS_FILE = "checks/checks.json"
NOBODY = "imported"  # labels that name no annotator


def data_basis(
    project: Project, card: Algorithm, data: TrainingData, footage: pa.Table
) -> DataBasis:
    """Count what the split holds, and read what was found out about it.

    Args:
        footage: table FOOTAGE of the dataset.

    Raises:
        DataError: the snapshot's checks are missing, or frames of footage that is not listed.
    """
    folder = project.dataset_folder(card.dataset)
    ids = data.split["frame_id"].combine_chunks()
    frames = data.frames.filter(pc.is_in(data.frames["frame_id"], ids))
    labels = data.labels.filter(pc.is_in(data.labels["frame_id"], ids))
    films = footage.filter(_among(footage["footage_id"], frames["footage_id"]))
    leak = split_about(project, card.name).get("leak") or {}
    first, last = _first_and_last(frames)
    return DataBasis(
        frames=_counts(data.split["subset"]),
        boxes=_boxes(data.split, labels, data.classes),
        films=len(frames["footage_id"].unique()),
        cameras=_names(films["camera"]),
        first=first,
        last=last,
        annotators=_annotators(labels),
        lawful_basis=_names(films["lawful_basis"]),
        leak=leak.get("share"),
        nearest=leak.get("nearest"),
        agreement=agreement_of(project.dataset(card.dataset), folder, footage, frames),
        checks_failed=checks_failed(folder),
    )


def agreement_of(card: Dataset, folder: Path, footage: pa.Table, frames: pa.Table) -> float | None:
    """F1 of people's objects over all pairs of people who labelled the same frames, 0 to 1.

    See `labeling.agreement`; None where nobody labelled a frame twice.
    """
    from cityforge.labeling.agreement import agreement
    from cityforge.labeling.looks import read_looks

    try:
        looks = read_looks(card, folder, footage, frames)
    except LabelError:  # nothing was pulled: the labels were imported
        return None
    found = agreement(looks, card.labeling)
    drawn = sum(each.drawn for each in found.classes)
    return 2 * sum(each.matched for each in found.classes) / drawn if drawn else None


def checks_failed(folder: Path) -> int:
    """How many checks of the dataset in `folder` its snapshot did not meet.

    Raises:
        DataError: the snapshot stage wrote none.
    """
    path = folder / CHECKS_FILE
    try:
        record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            "the checks of a snapshot", found="no file", where=str(path),
            do="run the stage 'snapshot' again",
        ) from error  # fmt: skip
    return sum(not each["success"] for table in record.values() for each in table["results"])


def _counts(names: pa.ChunkedArray) -> dict[str, int]:
    return dict(sorted(Counter(names.to_pylist()).items()))


def _boxes(split: pa.Table, labels: pa.Table, classes: Sequence[str]) -> dict[str, int]:
    """Labels of the algorithm's classes in each subset."""
    kept = labels.filter(pc.is_in(labels["class"], pa.array(classes)))
    at = pc.index_in(kept["frame_id"], split["frame_id"].combine_chunks())
    none = dict.fromkeys(_counts(split["subset"]), 0)
    return none | _counts(split["subset"].take(at))


def _annotators(labels: pa.Table) -> dict[str, int]:
    drawn = labels.filter(labels["class"].is_valid())
    return _counts(pc.fill_null(drawn["annotator"], NOBODY))


def _first_and_last(frames: pa.Table) -> tuple[str | None, str | None]:
    found = pc.min_max(frames["captured_at"]).as_py()
    first, last = (each and each.isoformat() for each in (found["min"], found["max"]))
    return first, last


def _names(column: pa.ChunkedArray) -> list[str]:
    return sorted(set(column.drop_null().to_pylist()))


def _among(column: pa.ChunkedArray, names: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_in(column, names.combine_chunks())
