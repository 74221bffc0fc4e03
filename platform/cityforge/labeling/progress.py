"""How far the labelling of a dataset is: frames, speed, agreement, known answers, what is left."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.dataset import Dataset
from cityforge.labeling.agreement import Agreement, agreement
from cityforge.labeling.consensus import decide
from cityforge.labeling.gold import GoldScore, read_gold, score
from cityforge.labeling.looks import Looks, read_looks
from cityforge.labeling.settle import is_complete
from cityforge.labeling.stored import read_aside, read_imported, read_labels, rejected_path
from cityforge.tables import REJECTED, read_table

HOUR_S = 3600.0


@dataclass(frozen=True)
class Frames:
    """The stored frames that may be used: complete, started, skipped, imported or open."""

    stored: int
    pushed: int | None  # to Label Studio; None: not known here
    complete: int  # as many annotations as the card asks for, or one marked as ground truth
    started: int  # annotated, but by fewer people
    skipped: int  # only cancelled annotations so far
    imported: int  # their labels were imported, and nobody annotated them
    open: int  # the others of those pushed, or of those stored where that is not known
    empty: int  # of those annotated: people found nothing
    disputed: int  # of those annotated: the card's rule finds nothing that enough agree on


@dataclass(frozen=True)
class Annotator:
    """One person's work and speed, over the annotations that Label Studio timed."""

    annotator: str
    annotations: int  # those skipped and made anew too
    skipped: int
    assisted: int  # made from a prediction
    median_lead_time_s: float | None
    per_hour: float | None  # annotations in an hour of lead time
    hours: float  # sum of lead time


@dataclass(frozen=True)
class Progress:
    """What `cityforge label status` says of a dataset."""

    dataset: str
    title: str
    kind: str
    annotators_a_frame: int
    consensus: str
    match_iou: float
    frames: Frames
    annotations: int
    superseded: int
    hours_left: float | None  # of one person, at the median lead time; None: nothing timed yet
    annotators: list[Annotator]
    agreement: Agreement
    gold: list[GoldScore]
    boxes: dict[str, int]  # labels in the dataset, by class of the card
    boxes_in_old_terms: dict[str, int]  # of classes that the card does not name
    aside: int  # imported labels that wait behind people's
    rejected: dict[str, int]  # reason to rows, of all sources


def progress(
    card: Dataset, folder: Path, footage: pa.Table, frames: pa.Table, pushed: int | None = None
) -> Progress:
    """Work out all numbers from the tables alone; no server is asked.

    Args:
        folder: of the dataset.
        footage: table FOOTAGE.
        frames: table FRAMES; only those that may be used now.
        pushed: frames that are tasks in Label Studio, where that is known.

    Raises:
        LabelError: nothing was pulled yet.
        TableError: a table has another schema.
    """
    looks = read_looks(card, folder, footage, frames)
    imported = read_imported(folder)
    of_frames, missing = _frames(looks, card, imported, pushed)
    counted = _boxes(read_labels(folder))
    return Progress(
        dataset=card.name,
        title=card.title,
        kind=card.labeling.kind,
        annotators_a_frame=card.labeling.annotators,
        consensus=card.labeling.consensus,
        match_iou=card.labeling.match_iou,
        frames=of_frames,
        annotations=len(looks.annotations),
        superseded=looks.superseded,
        hours_left=_hours_left(looks, missing),
        annotators=_annotators(looks),
        agreement=agreement(looks, card.labeling),
        gold=score(looks, imported, read_gold(folder), card.labeling),
        boxes={name: counted.pop(name, 0) for name in card.class_names},
        boxes_in_old_terms=counted,
        aside=read_aside(folder).num_rows,
        rejected=_reasons(rejected_path(folder)),
    )


def in_words(hours: float) -> str:
    """A stretch of work as a person says it.

    >>> in_words(0.25), in_words(12.34)
    ('15 minutes', '12.3 hours')
    """
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"


def _frames(
    looks: Looks, card: Dataset, imported: pa.Table, pushed: int | None
) -> tuple[Frames, int]:
    """Frames by how far they are, and the annotations that are still to be made."""
    labeling = card.labeling
    complete = empty = disputed = made = 0
    annotated: set[str] = set()
    for frame, of_frame in looks.by_frame():
        verdict = decide(looks, frame, of_frame, labeling)
        if not verdict.voters:
            continue
        annotated.add(looks.frame_ids[frame])
        done = is_complete(verdict, labeling)
        complete += done
        made += labeling.annotators if done else verdict.people
        empty += verdict.empty
        disputed += verdict.disputed
    known = set(looks.frame_ids)
    given_up = {each.frame_id for each in looks.annotations if each.skipped} & known - annotated
    told = set(imported["frame_id"].to_pylist()) & known - annotated - given_up
    touched = len(annotated) + len(given_up)
    asked = len(known) - len(told) if pushed is None else max(pushed, touched)
    frames = Frames(
        stored=len(known),
        pushed=pushed,
        complete=complete,
        started=len(annotated) - complete,
        skipped=len(given_up),
        imported=len(told),
        open=asked - touched,
        empty=empty,
        disputed=disputed,
    )
    return frames, (asked - len(given_up)) * labeling.annotators - made


def _hours_left(looks: Looks, missing: int) -> float | None:
    """At the median time a frame; an annotation of a film is one of many frames."""
    counts = np.bincount(looks.annotation, minlength=len(looks.annotations)).tolist()
    times = [
        row.lead_time_s / frames
        for row, frames in zip(looks.annotations, counts, strict=True)
        if row.lead_time_s and frames
    ]
    return missing * median(times) / HOUR_S if times else None


def _annotators(looks: Looks) -> list[Annotator]:
    of: dict[str, list[int]] = {}
    for at, row in enumerate(looks.annotations):
        of.setdefault(row.annotator or "unknown", []).append(at)
    return [_annotator(looks, who, of[who]) for who in sorted(of)]


def _annotator(looks: Looks, who: str, rows: list[int]) -> Annotator:
    made = [looks.annotations[row] for row in rows]
    times = [each for row in made if not row.skipped and (each := row.lead_time_s)]
    return Annotator(
        annotator=who,
        annotations=len(made),
        skipped=sum(row.skipped for row in made),
        assisted=sum(row.origin == "assisted" for row in made),
        median_lead_time_s=median(times) if times else None,
        per_hour=HOUR_S * len(times) / sum(times) if times else None,
        hours=sum(times) / HOUR_S,
    )


def _boxes(labels: pa.Table) -> dict[str, int]:
    counts = pc.value_counts(labels["class"].drop_null()).to_pylist()
    return {each["values"]: each["counts"] for each in counts}


def _reasons(path: Path) -> dict[str, int]:
    """Reasons without what they say of the single row, the most frequent first."""
    if not path.exists():
        return {}
    reasons = read_table(REJECTED, path)["reason"].to_pylist()
    return dict(
        Counter(each.partition(" (")[0].partition(";")[0] for each in reasons).most_common()
    )
