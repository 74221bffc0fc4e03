"""Label Studio's video boxes to one box for each stored frame on which they are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cityforge.labeling.formats.rows import LabelledBox, Rejected
from cityforge.labeling.formats.values import UnusableError, entries, fields, ident, name, number
from cityforge.labeling.video_keyframes import Keyframes

Row = dict[str, object]
ASSISTED = ("prediction", "prediction-changed")
# A stored frame this near to a frame of Label Studio, in frames, is that frame: WebM states
# moments in whole ms.
NEAR = 0.05


@dataclass(frozen=True)
class FrameAt:
    """A stored frame, and when the clip that annotators saw shows it, in seconds from 0."""

    frame_id: str
    pts_s: float


@dataclass(frozen=True)
class VideoLabels:
    """What one annotation says of the frames of its clip."""

    boxes: list[LabelledBox] = field(default_factory=list)  # `image` is the frame id
    rejected: list[Rejected] = field(default_factory=list)
    incomplete: frozenset[str] = frozenset()  # frames that lack a box which was rejected


def frames_of_clip(frame_ids: Sequence[str], fps: float) -> list[FrameAt]:
    """The frames of a clip that cityforge made: frame k is shown from k / fps on."""
    return [FrameAt(frame_id, number / fps) for number, frame_id in enumerate(frame_ids)]


def boxes_of_video(
    result: object,
    frames: Sequence[FrameAt],
    width: int,
    height: int,
    fps: float,
    where: str,
) -> VideoLabels:
    """One box for each stored frame on which Label Studio shows it; the rest with its reason.

    A rejected row says how many frames lack a box through it; `incomplete` names them.
    Annotator, annotation id and times are the annotation's, and not filled in here.

    Args:
        result: the annotation's `result` as the server states it.
        frames: all stored frames of the clip, in order.
        width: of the clip and of each stored frame, pixels.
        fps: the frame rate that Label Studio counted the clip's frames with, from the task's
            data: its frame n is at (n - 1) / fps.
        where: of the annotation, for messages.
    """
    reading = _Reading(tuple(frames), width, height, fps)
    try:
        rows = entries(result, "result")
    except UnusableError as error:
        reading.refuse(where, error, frames)
        return reading.labels()
    classes = _classes_by_region(rows)
    for count, row in enumerate(rows, start=1):
        place = f"{where} result {count}"
        try:
            region = fields(row, "result")
        except UnusableError as error:
            reading.refuse(place, error, frames)
            continue
        if region.get("type") == "videorectangle":
            reading.region(region, classes.get(str(region.get("id")), []), place)
        elif not _names_class_of_box(region, rows):
            reading.refuse(place, UnusableError("no video box", region.get("type")))
    return reading.labels()


def _classes_by_region(rows: list[object]) -> dict[str, list[object]]:
    """Classes that stand in a row of their own, by the id of their region."""
    found: dict[str, list[object]] = {}
    for row in rows:
        if isinstance(row, dict) and row.get("type") == "labels":
            value = row.get("value")
            stated = value.get("labels") if isinstance(value, dict) else None
            found.setdefault(str(row.get("id")), []).extend(
                stated if isinstance(stated, list) else [stated]
            )
    return found


def _names_class_of_box(region: Row, rows: list[object]) -> bool:
    """Whether a row only names the class of a box that stands in another row."""
    return region.get("type") == "labels" and any(
        isinstance(row, dict)
        and row.get("type") == "videorectangle"
        and str(row.get("id")) == str(region.get("id"))
        for row in rows
    )


class _Reading:
    """Gathers boxes and what was rejected, over the regions of one annotation."""

    def __init__(self, frames: tuple[FrameAt, ...], width: int, height: int, fps: float) -> None:
        self._frames = [(frame, _position(frame, fps)) for frame in frames]
        self._scale = width / 100, height / 100
        self._fps = fps
        self._regions: set[str] = set()
        self._boxes: list[LabelledBox] = []
        self._tracks: set[tuple[str, str]] = set()  # frame and track of each box
        self._rejected: list[Rejected] = []
        self._incomplete: set[str] = set()

    def labels(self) -> VideoLabels:
        """All that was gathered."""
        return VideoLabels(self._boxes, self._rejected, frozenset(self._incomplete))

    def refuse(self, where: str, error: UnusableError, lacking: Sequence[FrameAt] = ()) -> None:
        """Reject a row, and say which stored frames lack a box through it."""
        self._incomplete.update(frame.frame_id for frame in lacking)
        reason = error.reason
        if lacking:
            reason += f"; {len(lacking)} frames, {lacking[0].frame_id} to {lacking[-1].frame_id}"
        self._rejected.append(Rejected(where=where, reason=reason, found=error.found))

    def region(self, region: Row, joined: list[object], where: str) -> None:
        """Take one video box in; `joined` are classes that other rows name for it."""
        try:
            key = _text(region.get("id"), "region id")
            if key in self._regions:
                raise UnusableError("a second video box with the same id", key)
            value = fields(region.get("value"), "value")
            _hold_against_rate(value, self._fps)
            keyframes = Keyframes(value)
            track = _track(region, key)
            cls = _cls(value, joined)
        except UnusableError as error:
            self.refuse(where, error, [frame for frame, _ in self._frames])
            return
        self._regions.add(key)
        origin = "assisted" if region.get("origin") in ASSISTED else "human"
        boxes = self._interpolate(keyframes, where)
        if any((box.image, track) in self._tracks for box in boxes):
            track = key  # a box that was copied brings the track of the other along
        self._tracks.update((box.image, track) for box in boxes)
        self._boxes += [replace(box, cls=cls, track_id=track, origin=origin) for box in boxes]
        self._refuse_outside(keyframes, value, where)

    def _interpolate(self, keyframes: Keyframes, where: str) -> list[LabelledBox]:
        boxes = []
        lacking: dict[int, list[FrameAt]] = {
            at: [] for at, keyframe in enumerate(keyframes.all) if keyframe.fault
        }
        for frame, position in self._frames:
            span = keyframes.span(position)
            faulty = [at for at in span if at in lacking]
            if faulty:
                lacking[faulty[0]].append(frame)
            elif span:
                x, y, width, height = keyframes.sides(span, position)
                across, down = self._scale
                boxes.append(
                    LabelledBox(
                        image=frame.frame_id,
                        cls="",
                        x1=x * across,
                        y1=y * down,
                        x2=(x + width) * across,
                        y2=(y + height) * down,
                        where=f"{where} frame {position:g}",
                    )
                )
        for at, frames in lacking.items():
            fault = keyframes.all[at].fault
            if fault is not None:
                self.refuse(f"{where} keyframe {at + 1}", fault, frames)
        return boxes

    def _refuse_outside(self, keyframes: Keyframes, value: Row, where: str) -> None:
        """List keyframes outside the clip; what they give within it is kept."""
        counted = value.get("framesCount")
        last = max((position for _, position in self._frames), default=0.0)
        last = max(last, 0.0 if counted is None else number(counted, "framesCount"))
        for at, keyframe in enumerate(keyframes.all, start=1):
            if not 1 <= keyframe.frame < last + 1:
                reason = f"a keyframe outside the clip, whose frames are 1 to {last:g}"
                self.refuse(f"{where} keyframe {at}", UnusableError(reason, keyframe.frame))


def _position(frame: FrameAt, fps: float) -> float:
    """Label Studio's number of a stored frame; between two where the film's rate is another."""
    position = frame.pts_s * fps + 1
    return float(round(position)) if abs(position - round(position)) <= NEAR else position


def _hold_against_rate(value: Row, fps: float) -> None:
    """Refuse keyframes that were counted with another frame rate than the task's.

    Label Studio states the clip's length both in frames, as it counted them, and in seconds.
    """
    stated = [value.get(key) for key in ("framesCount", "duration")]
    count, duration = (
        0.0 if each is None else number(each, key)
        for each, key in zip(stated, ("framesCount", "duration"), strict=True)
    )
    if count > 0 and duration > 0 and abs(count - duration * fps) > 1:
        reason = f"counted at {count / duration:.4g} frames a second; the task says {fps:.4g}"
        raise UnusableError(reason, f"{count:g} frames in {duration:g} s")


def _track(region: Row, key: str) -> str:
    meta = region.get("meta")
    stated = meta.get("track_id") if isinstance(meta, dict) else None
    return key if stated is None else _text(stated, "track_id")


def _text(value: object, what: str) -> str:
    """An id as it stands: "007" stays "007"."""
    if value is None:
        raise UnusableError(f"{what} is missing", value)
    return name(value, what) if isinstance(value, str) else str(ident(value, what))


def _cls(value: Row, joined: list[object]) -> str:
    stated = value.get("labels")
    labels = [] if stated is None else list(entries(stated, "labels"))
    labels += [each for each in joined if each not in labels]
    if len(labels) != 1:
        reason = "more than one class on one video box" if labels else "a video box with no class"
        raise UnusableError(reason, labels)
    return name(labels[0], "class")
