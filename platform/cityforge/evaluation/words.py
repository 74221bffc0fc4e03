"""The sentences of the report, in words that need no training."""

from __future__ import annotations

from gettext import gettext as _
from gettext import ngettext
from typing import Any

from cityforge.evaluation.evidence import Evidence, FrameResult, Note
from cityforge.evaluation.figures import ClassifiedFrame, CountedFrame
from cityforge.evaluation.headline import metric_name

__all__ = ["metric_name"]

# Boxes, or pictures where there are none, below which a figure without an interval says little.
FEW = 20


def summary(evidence: Evidence) -> str:
    """Say in a sentence or two how good the algorithm is."""
    if evidence.classification:
        return _summary_of_classes(evidence)
    return _summary_of_counts(evidence) if evidence.density else _summary_of_boxes(evidence)


def _summary_of_boxes(evidence: Evidence) -> str:
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


def _summary_of_classes(evidence: Evidence) -> str:
    found, metrics = evidence.classification, evidence.metrics
    parts = []
    if found and found.several_labels and metrics.get("recall") is not None:
        text = _("Of 100 pictures that show a class, it says so of {n} (mean over the classes).")
        parts.append(text.format(n=_hundred(metrics["recall"])))
    elif metrics.get("accuracy") is not None:
        parts.append(
            _("Of 100 pictures, it names the class of {n} rightly.").format(
                n=_hundred(metrics["accuracy"])
            )
        )
    known = [(c.recall, c.name) for c in (found.per_class if found else []) if c.recall is not None]
    if len(known) > 1 and min(known)[0] < 1:
        weakest = min(known)
        text = _("It is weakest on '{name}': of 100 such pictures it recognises {n}.")
        parts.append(text.format(name=weakest[1], n=_hundred(weakest[0])))
    return " ".join(parts)


def _summary_of_counts(evidence: Evidence) -> str:
    figures = evidence.metrics
    if figures.get("mae") is None:
        return _("There was nothing to count.")
    text = _("A picture holds {mean} objects on average; the count is off by {mae}.")
    parts = [text.format(mean=count(figures.get("mean_count")), mae=count(figures["mae"]))]
    bias, mae = figures.get("bias") or 0.0, figures["mae"] or 0.0
    if mae and abs(bias) > mae / 2:
        text = _("Mostly it counts too many.") if bias > 0 else _("Mostly it counts too few.")
        parts.append(text)
    return " ".join(parts)


def _hundred(share: float | None) -> int:
    return round(100 * (share or 0.0))


def count(value: float | None) -> str:
    """Say a count that need not be whole, or a dash.

    >>> count(24.83), count(1234.0), count(None)
    ('24.8', '1,234', '–')
    """
    if value is None:
        return "–"
    return f"{value:,.1f}" if abs(value) < 100 else f"{value:,.0f}"


def signed(value: float | None) -> str:
    """Say an error with its sign.

    >>> signed(1.25), signed(-0.3)
    ('+1.2', '−0.3')
    """
    if value is None:
        return "–"
    return ("−" if value < 0 else "+") + count(abs(value))


def object_count(evidence: Evidence) -> int:
    """Marked objects in the tested pictures."""
    if evidence.density:
        return sum(each.objects for each in evidence.density.per_class)
    return evidence.box_count


def tested_on(evidence: Evidence) -> str:
    """Say how much was tested, and where it was filmed."""
    own: Any = evidence.classification or evidence.density or evidence
    cameras = {s.name for s in own.slices if s.by == "camera"}
    if evidence.classification:
        text = _("{pictures} that people looked at").format(pictures=pictures(evidence.frame_count))
    else:
        text = _("{pictures} with {objects} marked by people").format(
            pictures=pictures(evidence.frame_count), objects=objects(object_count(evidence))
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


def mistakes(frame: FrameResult | ClassifiedFrame | CountedFrame) -> str:
    """Say what is wrong in one picture, or what is right."""
    if isinstance(frame, ClassifiedFrame):
        none = _("none")
        said, is_ = ", ".join(frame.answered) or none, ", ".join(frame.truth) or none
        if frame.answered == frame.truth:
            return _("{said}, rightly").format(said=said)
        return _("said {said} · it is {truth}").format(said=said, truth=is_)
    if isinstance(frame, CountedFrame):
        return _("{found} estimated · {truth} marked").format(
            found=count(frame.found), truth=frame.truth
        )
    if not frame.missed and not frame.false_alarms:
        return _("no mistake")
    alarms = ngettext("{n} false alarm", "{n} false alarms", frame.false_alarms)
    return _("{n} missed").format(n=frame.missed) + " · " + alarms.format(n=frame.false_alarms)


def note_text(note: Note) -> str:
    """Say what a note means for the reader."""
    if note.kind in ("class_without_box", "class_without_label"):
        return _(
            "'{name}' does not occur in the tested pictures. Nothing is known about it."
        ).format(name=note.name)
    if note.kind == "labels_of_other_classes":
        return _(
            "{n} marked objects of '{name}' were left out: no class of this algorithm."
        ).format(n=note.count, name=note.name)
    if note.kind == "frames_without_one_class":
        text = _("{n} pictures were left out: people gave them no class, or more than one.")
        return text.format(n=note.count)
    return _("{n} pictures were left out because nobody has looked at them.").format(n=note.count)


def slice_title(by: str) -> str:
    """Name a way of slicing."""
    return {
        "camera": _("By camera"),
        "hour": _("By hour (UTC)"),
        "crowding": _("By number of objects in the picture"),
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
