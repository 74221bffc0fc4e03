"""The sentences of the report, in words that need no training."""

from __future__ import annotations

from gettext import gettext as _
from gettext import ngettext

from cityforge.evaluation.evidence import Evidence, FrameResult, Note

FEW = 20  # boxes below which a figure says little


def verdict(evidence: Evidence) -> str:
    """Say in one line whether the gates were reached."""
    if not evidence.gates:
        return _("No gate is set")
    missed = sum(not gate.passed for gate in evidence.gates)
    if not missed:
        return _("All gates passed")
    return _("{missed} of {all} gates not passed").format(missed=missed, all=len(evidence.gates))


def meaning(evidence: Evidence) -> str:
    """Say what follows from the verdict."""
    if not evidence.gates:
        return _("Nothing was promised, so nothing can be held against these figures.")
    if evidence.passed:
        return _("This version may be approved. A person decides.")
    return _("This version must not be approved.")


def summary(evidence: Evidence) -> str:
    """Say what the algorithm does on a hundred objects and a hundred reports."""
    recall, precision = evidence.metrics.get("recall"), evidence.metrics.get("precision")
    parts = []
    if recall is not None:
        parts.append(
            _("Of 100 objects that people marked, it finds {n}.").format(n=round(100 * recall))
        )
    if precision is not None:
        wrong = round(100 - 100 * precision)
        parts.append(_("Of 100 objects that it reports, {n} are wrong.").format(n=wrong))
    return " ".join(parts) or _("It reported nothing, or there was nothing to find.")


def tested_on(evidence: Evidence) -> str:
    """Say how much was tested, and where it was filmed."""
    cameras = {s.name for s in evidence.slices if s.by == "camera"}
    text = _("{pictures} with {objects} marked by people").format(
        pictures=pictures(evidence.frame_count), objects=objects(evidence.box_count)
    )
    if cameras:
        text += " " + ngettext("from {n} camera", "from {n} cameras", len(cameras)).format(
            n=len(cameras)
        )
    return text + _(", of the subset '{subset}'.").format(subset=evidence.subset)


def objects(n: int) -> str:
    """Count marked objects.

    >>> objects(1), objects(1200)
    ('1 object', '1,200 objects')
    """
    return ngettext("{n} object", "{n} objects", n).format(n=f"{n:,}")


def pictures(n: int) -> str:
    """Count pictures."""
    return ngettext("{n} picture", "{n} pictures", n).format(n=f"{n:,}")


def mistakes(frame: FrameResult) -> str:
    """Count the mistakes in one picture."""
    if not frame.missed and not frame.false_alarms:
        return _("no mistake")
    alarms = ngettext("{n} false alarm", "{n} false alarms", frame.false_alarms)
    return _("{n} missed").format(n=frame.missed) + " · " + alarms.format(n=frame.false_alarms)


def note_text(note: Note) -> str:
    """Say what a note means for the reader."""
    if note.kind == "class_without_box":
        return _(
            "'{name}' does not occur in the tested pictures. Nothing is known about it."
        ).format(name=note.name)
    if note.kind == "labels_of_other_classes":
        return _(
            "{n} marked objects of '{name}' were left out: no class of this algorithm."
        ).format(n=note.count, name=note.name)
    return _("{n} pictures were left out because nobody has looked at them.").format(n=note.count)


def metric_name(name: str) -> str:
    """Say a metric's name as the field writes it."""
    known = {"map50": "mAP50", "map50_95": "mAP50-95", "map75": "mAP75", "ar100": "AR100"}
    words = {"precision": _("Precision"), "recall": _("Recall"), "f1": "F1"}
    return known.get(name) or words.get(name) or name


def slice_title(by: str) -> str:
    """Name a way of slicing."""
    return {
        "camera": _("By camera"),
        "lighting": _("By light"),
        "weather": _("By weather"),
        "size": _("By size of the object"),
    }[by]


def slice_name(by: str, name: str) -> str:
    """Name one slice; sizes are explained in pixels."""
    sizes = {
        "small": _("small (below 32 × 32 pixels)"),
        "medium": _("medium (to 96 × 96 pixels)"),
        "large": _("large (above 96 × 96 pixels)"),
    }
    return sizes.get(name, name) if by == "size" else name or _("not stated")


def space_title(space: str) -> str:
    """Name a city space."""
    return {
        "road_traffic": _("Road traffic"),
        "work_places": _("Work places"),
        "living_and_crowds": _("Living and crowds"),
        "street_environment": _("Street environment"),
        "internet_content": _("Internet content"),
    }.get(space, space)
