"""Pulled annotations to the labels of a dataset: judged, put together, stored; nothing lost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from cityforge.cards.dataset import Dataset
from cityforge.cards.labeling import Labeling
from cityforge.labeling.consensus import Agreed, Verdict, decide
from cityforge.labeling.fitting import shown_box
from cityforge.labeling.formats.rows import Rejected
from cityforge.labeling.gold import read_gold, trusted_frames
from cityforge.labeling.looks import Looks, read_looks
from cityforge.labeling.results import TASK_OF_KIND
from cityforge.labeling.stored import STUDIO, list_rejected, read_imported, replace_labels
from cityforge.tables import LABELS, from_rows

BATCH = 2048  # labels that are in memory as rows at a time


@dataclass(frozen=True)
class Settled:
    """What the pulled annotations came to."""

    annotations: int
    frames: int  # on which people's labels stand, empty ones too
    boxes: int  # labels on them
    empty_frames: int  # looked at, nothing in them
    incomplete_frames: int  # fewer annotations so far than the card asks for
    disputed_frames: int  # annotated, and the card's rule finds nothing that enough agree on
    outvoted: int  # objects that the rule left out
    gold_frames: int  # of known answer: they score annotators, and their labels stay
    skipped: int  # annotations that their annotator cancelled
    superseded: int  # annotations that the same person made anew
    cut_boxes: int  # stood partly outside, cut at the edge
    aside: int  # imported labels that wait behind people's
    stored_boxes: int  # in the dataset afterwards, of every source
    rejected: list[Rejected] = field(default_factory=list)


@dataclass
class _Count:
    frames: int = 0
    boxes: int = 0
    empty: int = 0
    incomplete: int = 0
    disputed: int = 0
    outvoted: int = 0
    gold: int = 0


def settle(card: Dataset, folder: Path, footage: pa.Table, frames: pa.Table) -> Settled:
    """Derive the labels of people's annotations anew, in full, and store them.

    The same annotations give the same labels, whatever order they came in. Labels that did not
    come from Label Studio stay, or wait aside while people's stand on their frame.

    Args:
        folder: of the dataset, with `labels/annotations.parquet`.
        footage: table FOOTAGE.
        frames: table FRAMES; only those that may be used now.

    Raises:
        LabelError: nothing was pulled yet.
        TableError: the table of annotations has another schema.
        CardError: ontology changes that contradict each other.
    """
    looks = read_looks(card, folder, footage, frames)
    imported = read_imported(folder)
    trusted = trusted_frames(imported, read_gold(folder), card.labeling)
    count = _Count()
    list_rejected(folder, STUDIO, looks.rejected)
    stored = replace_labels(folder, _tables(looks, card.labeling, trusted, count), imported)
    return Settled(
        annotations=len(looks.annotations),
        frames=count.frames,
        boxes=count.boxes,
        empty_frames=count.empty,
        incomplete_frames=count.incomplete,
        disputed_frames=count.disputed,
        outvoted=count.outvoted,
        gold_frames=count.gold,
        skipped=looks.skipped,
        superseded=looks.superseded,
        cut_boxes=looks.cut,
        aside=stored.aside,
        stored_boxes=stored.boxes,
        rejected=[each for _, each in looks.rejected],
    )


def verdicts(
    looks: Looks, labeling: Labeling, trusted: set[str]
) -> Iterator[tuple[int, Verdict, bool]]:
    """What stands on each frame that anyone said something of, by frame id.

    True beside it: its answer is known already (`trusted`), so this verdict is not stored.
    """
    for frame, of_frame in looks.by_frame():
        verdict = decide(looks, frame, of_frame, labeling)
        if verdict.voters:
            known = looks.frame_ids[frame] in trusted and not verdict.by_truth
            yield frame, verdict, known


def is_complete(verdict: Verdict, labeling: Labeling) -> bool:
    """Whether as many people annotated the frame as the card asks for, or a reviewer did."""
    return verdict.by_truth or verdict.people >= labeling.annotators


def _tables(
    looks: Looks, labeling: Labeling, trusted: set[str], count: _Count
) -> Iterator[pa.Table]:
    """Tables LABELS, sorted by frame_id and label_id."""
    rows: list[dict[str, Any]] = []
    for frame, verdict, known in verdicts(looks, labeling, trusted):
        count.gold += known
        if known:
            continue
        of_frame = _rows(looks, frame, verdict, labeling)
        count.incomplete += not is_complete(verdict, labeling)
        count.disputed += verdict.disputed
        count.outvoted += verdict.outvoted
        count.empty += verdict.empty
        count.frames += bool(of_frame)
        count.boxes += 0 if verdict.empty else len(of_frame)
        rows += of_frame
        if len(rows) >= BATCH:
            yield from_rows(rows, LABELS)
            rows = []
    if rows:
        yield from_rows(rows, LABELS)


def _rows(looks: Looks, frame: int, verdict: Verdict, labeling: Labeling) -> list[dict[str, Any]]:
    task = TASK_OF_KIND[labeling.kind]
    frame_id = looks.frame_ids[frame]
    if verdict.empty:
        blank = [each for each in verdict.voters if looks.first[each] == looks.first[each + 1]]
        return [_row(looks, blank, frame_id, task, "nothing", False)]
    rows: dict[str, dict[str, Any]] = {}
    for each in verdict.objects:
        row = _row_of_object(looks, each, frame_id, task)
        rows.setdefault(row["label_id"], row)  # medians of two groups may be the same box
    return [rows[label_id] for label_id in sorted(rows)]


def _row_of_object(looks: Looks, agreed: Agreed, frame_id: str, task: str) -> dict[str, Any]:
    x1, y1, x2, y2 = agreed.xyxy
    cls = looks.classes[agreed.cls]
    of_picture = task == "classification"
    at = f"{cls}|{'image' if of_picture else shown_box((x1, y1, x2, y2))}"
    assisted = any(bool(looks.assisted[row]) for _, row in agreed.members)
    row = _row(looks, [look for look, _ in agreed.members], frame_id, task, at, assisted)
    edges = {} if of_picture else {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    track = next((looks.track[row] for _, row in reversed(agreed.members)), None)
    return {**row, "class": cls, **edges, "track_id": track}


def _row(
    looks: Looks, members: list[int], frame_id: str, task: str, at: str, assisted: bool
) -> dict[str, Any]:
    """A label traced to everyone who drew it; annotators and annotations are joined by '+'.

    Its lead time is the sum of theirs, its time that of the newest.
    """
    by = [looks.by(look) for look in members]
    newest = by[-1]
    annotator = "+".join(each.annotator for each in by if each.annotator) or None
    key = f"{frame_id}|{at}|{annotator or ''}|{newest.source}"
    times = [each.lead_time_s for each in by if each.lead_time_s is not None]
    models = [each.model_version for each in by if each.model_version]
    blank_assisted = at == "nothing" and any(each.origin == "assisted" for each in by)
    assisted = assisted or blank_assisted
    return {
        "label_id": hashlib.sha256(key.encode()).hexdigest()[:16],
        "frame_id": frame_id,
        "task": task,
        "annotator": annotator,
        "annotation_id": "+".join(each.annotation_id for each in by),
        "source": newest.source,
        "origin": "assisted" if assisted else "human",
        "lead_time_s": sum(times) if times else None,
        "updated_at": max((each.updated_at for each in by if each.updated_at), default=None),
        "ground_truth": any(each.ground_truth for each in by),
        "model_version": models[-1] if assisted and models else None,
    }
