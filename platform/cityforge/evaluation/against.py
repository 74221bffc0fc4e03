"""A version held against the champion on the very frames that it is judged on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.algorithm import Gate, PartOf
from cityforge.errors import DataError
from cityforge.evaluation.gates import change_name
from cityforge.evaluation.predictions import predict_frames
from cityforge.evaluation.proof import Against, Change
from cityforge.footage.shards import FrameStore
from cityforge.inference.package import About, Package
from cityforge.inference.runtime import Model

if TYPE_CHECKING:
    from cityforge.evaluation.scored import Answers

# Slices that are whole frames: a size is a part of the boxes of a frame.
OF_FRAMES = ("camera", "hour", "lighting", "weather")


@dataclass(frozen=True)
class Champion:
    """The version that is in use, opened."""

    version: int
    package: Package


@dataclass(frozen=True)
class Ground:
    """What both versions are held against: frames of one subset and what people said of them.

    Attributes:
        frames: table FRAMES.
        labels: table LABELS of these frames.
        footage: table FOOTAGE, for drops by camera, light and weather.
        resamples: of the paired bootstrap; 0 states no interval.
    """

    frames: pa.Table
    labels: pa.Table
    footage: pa.Table | None
    store: FrameStore
    resamples: int

    def only(self, rows: npt.NDArray[np.bool_]) -> Ground:
        """The same, of some of the frames."""
        frames = self.frames.filter(pa.array(rows))
        inside = pc.is_in(self.labels["frame_id"], frames["frame_id"].combine_chunks())
        labels = self.labels.filter(inside)
        return Ground(frames, labels, self.footage, self.store, self.resamples)


class Compared(NamedTuple):
    """What came of it; `why` says why nothing did."""

    against: Against | None
    why: str = ""


def against_champion(
    champion: Champion,
    about: About,
    this: Answers,
    ground: Ground,
    gates: Sequence[Gate],
    say: Callable[[str], None],
) -> Compared:
    """Let the champion answer the same frames, and resample the differences.

    Classes that only one of them has are left out.

    Args:
        about: of this version's package.
        this: what this version answered.
        gates: of the card; one on the drop of a slice has that slice compared, too.
    """
    theirs = champion.package.about
    why = not_comparable(about, theirs)
    if why:
        return Compared(None, f"the champion, version {champion.version}, {why}")
    say(f"the champion, version {champion.version}, answers")
    that = answers_of(champion.package, ground.store, ground.frames["frame_id"].to_pylist(), say)
    classes = [name for name in about.classes if name in theirs.classes]
    changes = dict(_changes(about.task, ground, classes, this, that))
    parts = [(g.metric, g.slice) for g in gates if g.most_drop is not None and g.slice]
    for metric, part in parts:
        found = _of_part(part, about.task, ground, classes, this, that)
        if metric in found:
            changes[change_name(metric, part)] = found[metric]
    return Compared(
        Against(
            version=champion.version,
            package_digest=champion.package.digest,
            frames=len(ground.frames),
            changes=changes,
        )
    )


def not_comparable(this: About, that: About) -> str:
    """Why two packages cannot be held against each other; empty where they can."""
    if this.task != that.task:
        return f"is of task {that.task}, not {this.task}"
    if bool(this.several_labels) != bool(that.several_labels):
        kind = "several labels" if that.several_labels else "one label"
        return f"gives a frame {kind}"
    if not set(this.classes) & set(that.classes):
        return f"knows none of the classes {', '.join(this.classes)}"
    return ""


def answers_of(
    package: Package,
    store: FrameStore,
    frame_ids: Sequence[str],
    say: Callable[[str], None],
    floor: float | None = None,
) -> Answers:
    """What a package says of stored frames at all scores.

    Args:
        floor: under it nothing is answered; that of the package when None.
    """
    from cityforge.evaluation.scored import Answers

    about = package.about
    least = about.score_floor if floor is None else floor
    # Of classes every score is kept: curves and resamples need the low ones, too.
    least = 0.0 if about.task == "classification" else least
    found = predict_frames(Model(package), store, frame_ids, least, say)
    return Answers(found, about.score_threshold, about.class_thresholds)


def _changes(
    task: str, ground: Ground, classes: Sequence[str], this: Answers, that: Answers
) -> Mapping[str, Change]:
    from cityforge.evaluation.paired import paired_changes

    return paired_changes(
        task,
        frames=ground.frames,
        labels=ground.labels,
        classes=classes,
        this=this,
        champion=that,
        resamples=ground.resamples,
    )


def _of_part(
    part: PartOf,
    task: str,
    ground: Ground,
    classes: Sequence[str],
    this: Answers,
    that: Answers,
) -> Mapping[str, Change]:
    """The changes on one slice; empty where it has no labelled frame, or is not made of frames."""
    from cityforge.evaluation.slices import parts_of_footage

    if part.by not in OF_FRAMES:
        return {}
    for by, name, rows in parts_of_footage(ground.frames, ground.footage):
        if (by, name) == (part.by, part.name):
            try:
                return _changes(task, ground.only(rows), classes, this, that)
            except DataError:  # no frame of it is labelled
                return {}
    return {}
