"""Answers a clip with detections, tracks and events, reading it as a stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.camera import CameraCard, Scene
from cityforge.errors import CityforgeError
from cityforge.inference.envelope import marks_of
from cityforge.inference.events.lines import LineWatch
from cityforge.inference.events.moment import Happened, Moment, Still, Watch, Weak, feet_of
from cityforge.inference.events.rules import watches_of
from cityforge.inference.evidence import evidence_of, still_of
from cityforge.inference.runtime import Answer, Model
from cityforge.inference.scene import View, view_of
from cityforge.inference.stream import Limits, Looked, Stream
from cityforge.inference.tracking import Tracker
from cityforge.inference.trails import Trails

BATCH = 8  # frames at once
WEAK = 0.5  # of the threshold: boxes over it continue tracks
MARKED_SHARE = 0.1  # of the frames that must be outside the envelope, for the clip to be
MOST_DRAWN = 300  # frames of evidence in one answer
MOST_FOUND = 300_000  # boxes, classes or counts in one answer
Told = Callable[[int, int], None]


@dataclass(frozen=True)
class Asked:
    """What is asked of a clip."""

    scene: Scene | None = None  # zones, lines, ground of the request; else the camera's count
    camera: CameraCard | None = None
    fps: float = 5.0  # frames looked at a second of film, by their time stamps, none twice
    evidence: int = 1  # drawn frames an event, 0 to 3
    most_s: float = 3600.0  # film seconds looked at
    most_frames: int = 18_000
    most_events: int = 1_000


def analyse(
    model: Model, path: Path, name: str, asked: Asked, advance: Told | None = None
) -> dict[str, Any]:
    """Answer a clip as `Analysis` of the endpoint's answers, but for who answered.

    Args:
        name: by which the caller knows the clip.
        advance: told (done, all) frames as it goes; all is 0 where the clip does not say.

    Raises:
        FootageError: no film, sound only, or none of its frames decodes.
        InputError: the zones were drawn on a picture of another shape.
    """
    about = model.about
    limits = Limits(asked.fps, asked.most_s, asked.most_frames)
    floor = about.score_threshold * WEAK if about.task == "detection" else None
    work: Work | None = None
    try:
        with Stream(path, (about.input_width, about.input_height), limits) as stream:
            for batch in batches(stream):
                work = work or Work(model, asked, batch[0])
                answers = model.answer_fitted([each.fitted for each in batch], floor)
                for looked, answer in zip(batch, answers, strict=True):
                    work.take(looked, answer)
                if advance:
                    advance(len(work.frames), max(stream.expected, len(work.frames)))
                if work.count > MOST_FOUND:
                    stream.cut = f"only {len(work.frames)} frames are looked at, full as they are"
                    break
    except CityforgeError as error:
        raise type(error)(error.expected, found=error.found, where=name, do=error.do) from error
    if work is None:  # a stream without frames has raised
        raise AssertionError("a stream without frames and without an error")
    return {"clip": work.clip(stream, name), **work.found()}


def batches(stream: Iterable[Looked]) -> Iterator[list[Looked]]:
    """BATCH frames at once, the last ones fewer."""
    batch: list[Looked] = []
    for looked in stream:
        batch.append(looked)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


@dataclass
class Work:
    """One clip on its way through tracker and rules."""

    model: Model
    asked: Asked
    first: Looked
    frames: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0  # of what the frames show

    def __post_init__(self) -> None:
        about, asked, fitted = self.model.about, self.asked, self.first.fitted
        self._size = (fitted.width, fitted.height)
        self._view: View = view_of(asked.scene or asked.camera, *self._size)
        self._tracker = Tracker(sure=about.score_threshold)
        self._trails = Trails(about.classes, self._size, self._view.ground)
        self._watches, self._skipped = watches_of(
            about.events or (), self._view, about.task, asked.fps, asked.evidence
        )
        self._events: list[dict[str, Any]] = []
        self._beyond: Counter[str] = Counter()  # rule: events that are not answered
        self._drawn, self._undrawn = 0, ""
        self._marks: Counter[str] = Counter()
        self._mark_of: dict[str, dict[str, str]] = {}

    def take(self, looked: Looked, answer: Answer) -> None:
        """Take the answer to the next frame."""
        at_s, about = looked.at_s, self.model.about
        sure = answer.score >= about.score_threshold
        if about.task != "detection":
            shown, moment = self._whole(at_s, answer)
            moment = replace(moment, still=self._still(looked, moment))
        else:
            shown, moment = self._boxes(looked, answer, sure)
            answer = replace(
                answer, xyxy=answer.xyxy[sure], score=answer.score[sure], cls=answer.cls[sure]
            )
        self.frames.append({"at_s": round(at_s, 3), **shown})
        self.count += sum(map(len, shown.values()))
        for mark in marks_of(about, looked.fitted, answer, self.asked.camera):
            self._marks[mark["what"]] += 1
            self._mark_of.setdefault(mark["what"], mark)
        for watch in self._watches:
            self._tell(watch.look(moment))

    def _whole(self, at_s: float, answer: Answer) -> tuple[dict[str, Any], Moment]:
        """A frame of a task that knows no boxes."""
        names = [self.model.about.classes[each] for each in answer.cls]
        values = answer.score if answer.counts is None else answer.counts
        amounts = dict(zip(names, map(float, values), strict=True))
        if answer.counts is not None:
            shown = {"counts": [{"name": k, "count": round(v, 3)} for k, v in amounts.items()]}
            return shown, empty_moment(at_s, amounts)
        shown = {"classes": [{"name": k, "score": round(v, 5)} for k, v in amounts.items()]}
        if not self.model.about.several_labels:  # the first is the answer, also under the floor
            least = np.float32(self.model.about.score_threshold)
            amounts = {k: v for k, v in list(amounts.items())[:1] if v >= least}
        return shown, empty_moment(at_s, amounts)

    def _boxes(
        self, looked: Looked, answer: Answer, sure: NDArray[Any]
    ) -> tuple[dict[str, Any], Moment]:
        at_s, classes = looked.at_s, self.model.about.classes
        track = self._tracker.update(at_s, answer.xyxy, answer.score, answer.cls)
        earlier = {
            number: [(each.at_s, each.xyxy) for each in seen]
            for number, seen in self._tracker.earlier.items()
        }
        for number, seen in earlier.items():
            for before, box in seen:
                self._trails.begin(number, before, box)
        kept = sure | (track > 0)
        names, kmh = self._trails.follow(
            at_s, track[kept], answer.xyxy[kept], answer.score[kept], answer.cls[kept], sure[kept]
        )
        weak = Weak(
            [classes[each] for each in answer.cls[~kept]], answer.score[~kept], answer.xyxy[~kept]
        )
        moment = Moment(
            at_s, track[kept], names, answer.score[kept], answer.xyxy[kept], kmh, weak,
            {k: [(s, feet_of(b[None])[0]) for s, b in v] for k, v in earlier.items()},
        )  # fmt: skip
        moment = replace(moment, still=self._still(looked, moment))
        return {"boxes": shown_boxes(classes, answer, track, sure)}, moment

    def _still(self, looked: Looked, moment: Moment) -> Callable[[], Still | None]:
        """The frame as evidence, made at most once; where none is asked for, none."""

        @cache
        def still() -> Still:
            numbers = moment.track[moment.track > 0]
            return still_of(
                looked.at_s, looked.bgr, self._size, moment.track, moment.xyxy, moment.name,
                self._trails.paths(numbers),
            )  # fmt: skip

        return still if self.asked.evidence else lambda: None

    def _tell(self, events: list[Happened]) -> None:
        for happened in events:
            if len(self._events) >= self.asked.most_events:
                self._beyond[happened.rule] += 1
                continue
            if self._drawn + len(happened.stills) > MOST_DRAWN:
                self._undrawn = self._undrawn or happened.rule
                happened = replace(happened, stills=())  # noqa: PLW2901
            self._drawn += len(happened.stills)
            self._events.append(shown_event(happened, self._view))

    def clip(self, stream: Stream, name: str) -> dict[str, Any]:
        """The clip as it was read."""
        return {
            "name": name, "width": self._size[0], "height": self._size[1],
            "seconds": round(self.frames[-1]["at_s"] - self.frames[0]["at_s"], 3),
            "frames": len(self.frames), "damaged": stream.damaged, "cut": stream.cut,
        }  # fmt: skip

    def found(self) -> dict[str, Any]:
        """End what goes on, and say all that was found."""
        for watch in self._watches:
            self._tell(watch.end())
        least = MARKED_SHARE * len(self.frames)
        return {
            "frames": self.frames,
            "tracks": self._trails.rows(),
            "events": sorted(self._events, key=lambda each: (each["start_s"], each["end_s"])),
            "totals": totals_of(self._watches),
            "skipped": self._not_done(),
            "outside": [self._mark_of[k] for k, count in self._marks.items() if count >= least],
        }

    def _not_done(self) -> list[dict[str, str]]:
        """Rules that were not watched, and what of the others is not answered."""
        most = self.asked.most_events
        rows = dict(self._skipped)
        for rule, count in self._beyond.items():
            rows[rule] = f"expected at most {most} events of a clip, found {count} more of this"
        if self._undrawn and self._undrawn not in rows:
            rows[self._undrawn] = (
                f"expected at most {MOST_DRAWN} drawn frames of a clip, found more: "
                "events that ended later have none"
            )
        return [{"rule": rule, "why": why} for rule, why in rows.items()]


def empty_moment(at_s: float, amounts: dict[str, float]) -> Moment:
    """A moment without boxes."""
    none = np.zeros(0)
    return Moment(at_s, none.astype(np.int64), (), none, np.zeros((0, 4)), none, Weak(),
                  amounts=amounts)  # fmt: skip


def shown_boxes(
    classes: list[str], answer: Answer, track: NDArray[Any], sure: NDArray[Any]
) -> list[dict[str, Any]]:
    """Sure boxes as `TrackedBox` of the endpoint's answers, the strongest first."""
    rows = zip(
        answer.cls[sure].tolist(), answer.score[sure].tolist(), answer.xyxy[sure].tolist(),
        track[sure].tolist(), strict=True,
    )  # fmt: skip
    return [
        {
            "class_name": classes[cls], "score": round(score, 5),
            "x1": round(x1, 3), "y1": round(y1, 3), "x2": round(x2, 3), "y2": round(y2, 3),
            "track": number or None,
        }
        for cls, score, (x1, y1, x2, y2), number in rows
    ]  # fmt: skip


def shown_event(happened: Happened, view: View) -> dict[str, Any]:
    """An event as `Event` of the endpoint's answers, its evidence drawn."""
    return {
        "kind": happened.kind, "rule": happened.rule,
        "start_s": round(happened.start_s, 3), "end_s": round(happened.end_s, 3),
        "tracks": list(happened.tracks), "class_name": happened.class_name,
        "zone": happened.zone, "direction": happened.direction, "value": happened.value,
        "going_on": happened.going_on, "confidence": round(happened.confidence, 5),
        "evidence": evidence_of(happened, view),
    }  # fmt: skip


def totals_of(watches: Iterable[Watch]) -> list[dict[str, Any]]:
    """`LineTotal` of each rule that counts, and class."""
    return [
        {
            "rule": watch.rule.name, "line": watch.rule.line, "class_name": name,
            "forward": forward, "backward": backward,
        }
        for watch in watches
        if isinstance(watch, LineWatch)
        for name, (forward, backward) in watch.counts.items()
    ]  # fmt: skip
