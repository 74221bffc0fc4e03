"""Labels of whole clips become labels of their stored frames, before anything judges them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from cityforge.errors import suggest
from cityforge.labeling.formats.rows import LabelFile, LabelledBox, LabelledImage, Rejected
from cityforge.labeling.matching import FrameFinder


def by_frame(labels: LabelFile, finder: FrameFinder, classes: Collection[str]) -> LabelFile:
    """Give each stored frame of a clip the classes of the clip; other labels stay as they are.

    A clip that is not stored, and a class that is not among `classes`, are refused once and not
    once a frame. A clip none of whose classes can be used is left out: it is not empty.
    """
    clips = [image for image in labels.images if image.every_frame]
    if not clips:
        return labels
    names = {clip.name for clip in clips}
    marks: dict[str, list[LabelledBox]] = {name: [] for name in names}
    for box in labels.boxes:
        if box.image in names:
            marks[box.image].append(box)
    found = replace(
        labels,
        images=[image for image in labels.images if not image.every_frame],
        boxes=[box for box in labels.boxes if box.image not in names],
        rejected=list(labels.rejected),
    )
    taken: dict[str, str] = {}
    for clip in clips:
        _spread(clip, marks[clip.name], finder, classes, found, taken)
    return found


def _spread(
    clip: LabelledImage,
    marks: list[LabelledBox],
    finder: FrameFinder,
    classes: Collection[str],
    found: LabelFile,
    taken: dict[str, str],
) -> None:
    frames = finder.whole(clip)
    if isinstance(frames, Rejected):
        found.rejected.append(frames)
        return
    first = taken.setdefault(frames[0].frame_id, clip.name)
    if first != clip.name:
        reason = f"the same clip as {first}"
        found.rejected.append(Rejected(where=clip.where, reason=reason, found=clip.name))
        return
    usable = [mark for mark in marks if mark.cls in classes]
    for mark in marks:
        if mark.cls not in classes:
            reason = f"a class that the card does not name ({suggest(mark.cls, classes)})"
            found.rejected.append(Rejected(where=mark.where, reason=reason, found=mark.cls))
    if marks and not usable:
        return
    for frame in frames:
        found.images.append(replace(clip, name=frame.frame_id))
        found.boxes.extend(replace(mark, image=frame.frame_id) for mark in usable)
