"""The keyframes of one video box of Label Studio, and the box between them.

A box is seen on each keyframe, and behind an enabled one: linearly interpolated to the next,
behind the last as it stands, to the end of the clip. A disabled keyframe is the last frame of
its span. That is what annotators see (VideoRegion and VideoRectangleRegion of Label Studio's
editor) and what its export gives with `interpolate_key_frames`.

label-studio-sdk's `extract_key_frames` is not used: it knows whole frames only, turns boxes
along the longer arc, and stops at the first keyframe that lacks a field.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from cityforge.labeling.formats.values import UnusableError, entries, fields, number, whole

Row = dict[str, object]
Sides = tuple[float, float, float, float]  # x, y, width, height in percent of the clip
SIDES = ("x", "y", "width", "height")
FARTHEST_PERCENT = 1e6  # beyond lies no box, and sums would lose their decimals
MOST_FRAMES = 10**9


@dataclass(frozen=True)
class Keyframe:
    """One keyframe; `fault` says why its box, and what is interpolated from it, is unusable."""

    frame: int  # from 1
    enabled: bool
    sides: Sides
    fault: UnusableError | None


class Keyframes:
    """A track's keyframes, in the order of their frames."""

    def __init__(self, value: Row) -> None:
        """Read them from the value of a region.

        Raises:
            UnusableError: it is no sequence that the editor and the export agree on.
        """
        rows = entries(value.get("sequence"), "sequence")
        if not rows:
            raise UnusableError("a video box with no keyframe", rows)
        self.all = [_keyframe(fields(row, "keyframe")) for row in rows]
        self._numbers = [each.frame for each in self.all]
        for one, other in pairwise(self._numbers):
            if one == other:
                raise UnusableError("two keyframes at one frame", other)
            if one > other:
                raise UnusableError("keyframes out of order", f"{one}, {other}")

    def span(self, position: float) -> tuple[int, ...]:
        """Indices of the keyframes that make the box at a position: none, one or two."""
        before = bisect_right(self._numbers, position) - 1
        if before < 0:
            return ()
        if self._numbers[before] == position:
            return (before,)
        if not self.all[before].enabled:
            return ()
        return (before, before + 1) if before + 1 < len(self.all) else (before,)

    def sides(self, span: tuple[int, ...], position: float) -> Sides:
        """The box at a position within a span."""
        first, last = self.all[span[0]], self.all[span[-1]]
        if len(span) == 1:
            return first.sides
        share = (position - first.frame) / (last.frame - first.frame)
        x, y, width, height = (
            a + (b - a) * share for a, b in zip(first.sides, last.sides, strict=True)
        )
        return x, y, width, height


def _keyframe(row: Row) -> Keyframe:
    frame = whole(row.get("frame"), "frame of a keyframe")
    if abs(frame) > MOST_FRAMES:
        raise UnusableError("frame of a keyframe is too large", frame)
    enabled = row.get("enabled")
    try:
        if not isinstance(enabled, bool):
            raise UnusableError("`enabled` is missing or neither true nor false", enabled)
        return Keyframe(frame, enabled, _sides(row), None)
    except UnusableError as error:
        # What follows it is lost too, unless it is known that nothing does.
        return Keyframe(frame, enabled is not False, (0.0, 0.0, 0.0, 0.0), error)


def _sides(row: Row) -> Sides:
    if number(row.get("rotation", 0), "rotation") % 360:
        raise UnusableError("rotated; only upright boxes are used", row["rotation"])
    x, y, width, height = (number(row.get(side), side) for side in SIDES)
    if width <= 0 or height <= 0:
        raise UnusableError("a box of no or negative size", f"{width:g} x {height:g}")
    if max(abs(x), abs(y), width, height) > FARTHEST_PERCENT:
        raise UnusableError("a box far outside its clip", f"{x:g}, {y:g}, {width:g}, {height:g}")
    return x, y, width, height
