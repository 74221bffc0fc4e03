"""Label Studio's `result` of one annotation of a picture, to labels in pixels of its frame."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from cityforge.cards.labeling import Labeling
from cityforge.labeling.fitting import XYXY, cut_to, misfit_of_box, misfit_of_point, shown_box
from cityforge.labeling.formats.rows import LabelledBox, Rejected, Task
from cityforge.labeling.formats.values import UnusableError, entries, fields, name, number
from cityforge.labeling.matching import StoredFrame

Row = dict[str, object]

TASK_OF_KIND: dict[str, Task] = {
    "boxes": "detection",
    "video": "detection",
    "classes": "classification",
    "points": "density",
}
# What a region of Label Studio says of where it came from.
ORIGINS = {"prediction": "assisted", "prediction-changed": "assisted", "manual": "human"}
FULL_TURN = 360.0  # degrees
WHOLE: XYXY = (0.0, 0.0, 0.0, 0.0)  # where a class of the whole picture lies


@dataclass(frozen=True)
class PictureLabels:
    """What one annotation says of its picture; classes are not held against the card yet."""

    boxes: list[LabelledBox] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    cut: int = 0  # boxes that stood partly outside


def read_result(text: str) -> object:
    """The `result` of an annotation out of its JSON.

    Raises:
        UnusableError: it is no JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UnusableError("a result that is no JSON", text) from None


def labels_of_picture(
    result: object, labeling: Labeling, frame: StoredFrame, where: str, origin: str
) -> PictureLabels:
    """One label for each usable region, cut at the frame's edge; the rest with its reason.

    Places are percent of the picture, so the size that Label Studio saw does not matter.

    Args:
        result: as Label Studio states it.
        labeling: says which regions are asked for, and what becomes of polygons.
        frame: the stored frame; labels are in its pixels.
        where: of the annotation, for messages.
        origin: of the annotation; holds for regions that do not say theirs.
    """
    reading = _Reading(labeling, frame, origin)
    try:
        rows = entries(result, "result")
    except UnusableError as error:
        reading.refuse(where, error)
        return reading.labels()
    for count, row in enumerate(rows, start=1):
        reading.region(row, f"{where} result {count}")
    return reading.labels()


class _Reading:
    """Gathers labels and what was rejected, over the regions of one annotation."""

    def __init__(self, labeling: Labeling, frame: StoredFrame, origin: str) -> None:
        self._labeling = labeling
        self._frame = frame
        self._origin = origin
        self._boxes: list[LabelledBox] = []
        self._rejected: list[Rejected] = []
        self._chosen: dict[str, None] = {}  # classes of the whole picture, in their order
        self._cut = 0

    def labels(self) -> PictureLabels:
        return PictureLabels(self._boxes, self._rejected, self._cut)

    def refuse(self, where: str, error: UnusableError) -> None:
        self._rejected.append(
            Rejected(
                where=where, reason=error.reason, found=error.found, image=self._frame.frame_id
            )
        )

    def region(self, row: object, where: str) -> None:
        try:
            region = fields(row, "result")
            value = fields(region.get("value"), "value")
            if self._labeling.kind == "classes":
                places = [(cls, WHOLE) for cls in self._choices(region, value)]
            elif self._labeling.kind == "points":
                places = [_point(region, value)]
            else:
                places = [self._box(region, value)]
            for cls, xyxy in places:
                self._take(cls, xyxy, region, where)
        except UnusableError as error:
            self.refuse(where, error)

    def _take(self, cls: str, shares: XYXY, region: Row, where: str) -> None:
        width, height = self._frame.width, self._frame.height
        across, down = width / 100, height / 100
        xyxy = (shares[0] * across, shares[1] * down, shares[2] * across, shares[3] * down)
        kind = self._labeling.kind
        if kind != "classes" and (misfit := _MISFIT[kind](xyxy, width, height)):
            raise _Misfit(misfit, shown_box(xyxy))
        cut, was_cut = cut_to(xyxy, width, height)
        self._cut += was_cut
        self._boxes.append(
            LabelledBox(
                image=self._frame.frame_id,
                cls=cls,
                x1=cut[0],
                y1=cut[1],
                x2=cut[2],
                y2=cut[3],
                where=where,
                origin=ORIGINS.get(str(region.get("origin")), self._origin),
                task=TASK_OF_KIND[kind],
            )
        )

    def _choices(self, region: Row, value: Row) -> list[str]:
        if region.get("type") != "choices":
            raise UnusableError("no class of the picture", region.get("type"))
        chosen = [name(each, "class") for each in entries(value.get("choices"), "choices")]
        if not chosen:
            raise UnusableError("a choice without a class", chosen)
        self._chosen |= dict.fromkeys(chosen)
        if len(self._chosen) > 1 and not self._labeling.several_classes:
            self._boxes.clear()
            reason = "several classes of one picture, and the card asks for one"
            raise UnusableError(reason, list(self._chosen))
        return chosen

    def _box(self, region: Row, value: Row) -> tuple[str, XYXY]:
        """Class and xyxy in percent."""
        kind = region.get("type")
        if kind == "polygonlabels":
            if self._labeling.polygons == "refuse":
                raise UnusableError("a polygon, which the card's labeling.polygons refuses", kind)
            return _only_class(value, "polygonlabels"), _around(value)
        if kind != "rectanglelabels":
            raise UnusableError("no labelled rectangle", kind)
        _refuse_rotated(region, value)
        x, y = number(value.get("x"), "x"), number(value.get("y"), "y")
        width = number(value.get("width"), "width")
        height = number(value.get("height"), "height")
        return _only_class(value, "rectanglelabels"), (x, y, x + width, y + height)


class _Misfit(UnusableError):
    """A box or point that does not lie on its frame; shown as it is, not quoted."""

    def __init__(self, reason: str, found: str) -> None:
        super().__init__(reason, found)
        self.found = found


_MISFIT: dict[str, Callable[[XYXY, int, int], str]] = {
    "boxes": misfit_of_box,
    "video": misfit_of_box,
    "points": misfit_of_point,
}


def _point(region: Row, value: Row) -> tuple[str, XYXY]:
    if region.get("type") != "keypointlabels":
        raise UnusableError("no labelled point", region.get("type"))
    if turn := number(region.get("image_rotation") or 0, "image_rotation") % FULL_TURN:
        raise UnusableError("a rotated picture", turn)
    x, y = number(value.get("x"), "x"), number(value.get("y"), "y")
    return _only_class(value, "keypointlabels"), (x, y, x, y)


def _around(value: Row) -> XYXY:
    """The upright box around a polygon's corners, percent."""
    corners = [entries(each, "a corner") for each in entries(value.get("points"), "points")]
    if len(corners) < 3 or any(len(each) != 2 for each in corners):
        raise UnusableError("a polygon of fewer than three corners", corners)
    xs, ys = ([number(each[axis], "a corner") for each in corners] for axis in (0, 1))
    return min(xs), min(ys), max(xs), max(ys)


def _only_class(value: Row, key: str) -> str:
    named = entries(value.get(key), key)
    if len(named) != 1:
        raise UnusableError("several classes on one region" if named else "no class", named)
    return name(named[0], "class")


def _refuse_rotated(region: Row, value: Row) -> None:
    for turn in (value.get("rotation"), region.get("image_rotation")):
        if number(turn or 0, "rotation") % FULL_TURN:
            raise UnusableError("rotated; only upright boxes are used", turn)
