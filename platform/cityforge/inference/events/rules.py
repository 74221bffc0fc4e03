"""Sets the rules of an algorithm to work on a view; those that cannot work say why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from cityforge.cards.events import (
    WITHOUT_BOXES,
    Absence,
    Crowding,
    Dwell,
    EventRule,
    IllegalParking,
    LineCount,
    Presence,
    Speed,
    Stopped,
    WrongDirection,
)
from cityforge.inference.events.gathered import AbsenceWatch, CrowdingWatch, PresenceWatch
from cityforge.inference.events.lines import LineWatch
from cityforge.inference.events.moment import Watch
from cityforge.inference.events.moving import DirectionWatch, SpeedWatch
from cityforge.inference.events.stays import DwellWatch, StillWatch
from cityforge.inference.scene import View

SPEED_FPS = 2.0  # a speed needs three points in a second


def watches_of(
    rules: Sequence[EventRule], view: View, task: str, fps: float, shots: int = 0
) -> tuple[list[Watch], dict[str, str]]:
    """A watch for each rule, and for each rule that cannot be watched the reason.

    Args:
        fps: frames looked at a second of film.
        shots: frames of evidence an event.
    """
    watches: list[Watch] = []
    skipped: dict[str, str] = {}
    for rule in rules:
        lacking = _lacking(rule, view, fps)
        if lacking:
            skipped[rule.name] = lacking
        else:
            watches.append(_watch(rule, view, task in WITHOUT_BOXES, shots))
    return watches, skipped


def _lacking(rule: EventRule, view: View, fps: float) -> str:
    """What this view or this rate does not give the rule."""
    zone = getattr(rule, "zone", None)
    if isinstance(rule, LineCount) and rule.line not in view.lines:
        return _none_of("line", rule.line, list(view.lines))
    if zone is not None and zone not in view.zones:
        return _none_of("zone", zone, list(view.zones))
    if isinstance(rule, Speed):
        if view.ground is None:
            return f"expected ground points for a speed, found {view.no_ground}"
        if fps < SPEED_FPS:
            return f"expected at least {SPEED_FPS:g} frames a second for a speed, found {fps:g}"
    return ""


def _none_of(kind: str, name: str, known: list[str]) -> str:
    found = ", ".join(f"'{each}'" for each in known[:5]) or "none"
    return f"expected a {kind} '{name}', found {found} in the request or the camera"


def _watch(rule: EventRule, view: View, without_boxes: bool, shots: int) -> Watch:
    match rule:
        case LineCount():
            return LineWatch(rule, view.lines[rule.line], shots)
        case Dwell():
            return DwellWatch(rule, view.zones[rule.zone], shots)
        case Crowding():
            return CrowdingWatch(rule, _zone(view, rule.zone), without_boxes, shots)
        case WrongDirection():
            return DirectionWatch(rule, view.zones[rule.zone], shots)
        case Stopped() | IllegalParking():
            return StillWatch(rule, _zone(view, rule.zone), shots)
        case Absence():
            return AbsenceWatch(rule, view.zones[rule.zone], shots)
        case Presence():
            return PresenceWatch(rule, _zone(view, rule.zone), without_boxes, shots)
        case Speed():
            return SpeedWatch(rule, _zone(view, rule.zone), shots)


def _zone(view: View, name: str | None) -> NDArray[Any] | None:
    return None if name is None else view.zones[name]
