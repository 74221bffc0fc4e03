"""Brings frames to the annotators: each frame is one task, however often a push is killed.

The server is the only one that knows which tasks there are. A push closes the door behind
earlier ones (see `fence`), lists the tasks, imports what is missing in chunks that appear whole
or not at all, and ends with a listing in which no frame may stand twice.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cityforge.cards.dataset import Dataset
from cityforge.errors import ServiceError, line_of
from cityforge.footage.catalogue import hold
from cityforge.labeling.studio.client import Studio
from cityforge.labeling.studio.fence import close_upload, close_uploads, open_upload
from cityforge.labeling.studio.listing import Listing
from cityforge.labeling.studio.pictures import Pictures
from cityforge.labeling.studio.project import StudioProject
from cityforge.labeling.studio.tasks import Prefill, Row, TaskMaker

CHUNK = 500  # tasks of the first request
SMALLEST, LARGEST = 50, 2000
ASKED_S = 4.0  # that a request is meant to take
FAILURES = 3  # of a chunk in a row, before a push gives up

Prefills = Callable[[Sequence[str]], Mapping[str, Prefill]]
Progress = Callable[[int, int], None]
Before = Callable[[Sequence[str]], None]


@dataclass
class Pushed:
    """What one push came to."""

    new: int = 0  # tasks that were made
    already: int = 0  # frames that were asked for and had their task
    waiting: int = 0  # frames that the limit, or a failure, left for the next push
    doubled: int = 0  # tasks of frames that had another; they were removed
    doubled_kept: list[str] = field(default_factory=list)  # frames labelled in two tasks
    removed: int = 0  # tasks of frames that may no longer be used
    barred_kept: list[str] = field(default_factory=list)  # such frames on which people worked
    pictures_written: int = 0
    pictures_removed: int = 0
    prefilled: int = 0  # new tasks with boxes of a model
    boxes_left_out: dict[str, int] = field(default_factory=dict)  # of a model: reason to boxes
    stopped: str | None = None  # why it ended early; the next push goes on


def push(
    studio: Studio,
    project: StudioProject,
    card: Dataset,
    frames: Sequence[Row],
    order: Mapping[str, str | None],
    pictures: Pictures,
    *,
    work: Path,
    prefills: Prefills | None = None,
    before: Before | None = None,
    limit: int | None = None,
    largest: int = LARGEST,
    progress: Progress | None = None,
) -> Pushed:
    """Make a task of every frame in `order` that has none.

    Args:
        frames: rows of FRAMES, with `name`, `camera` and `site` of their footage: all that may
            be used. Tasks of other frames are taken away, unless people have worked on them.
        order: frames to be asked, the first first, each with the reason that people read.
        work: folder of this dataset's state; one push at a time uses it.
        prefills: asked once, for the frames that become tasks.
        before: told these frames before anyone is shown them; an error it raises ends the push.
        limit: make that many tasks at most.
        largest: tasks of one request, at most.
        progress: told (tasks there, all tasks to make).

    Raises:
        ServiceError: the server failed before anything was imported.
    """
    result = Pushed()
    lawful = {frame["frame_id"]: frame for frame in frames}
    with _alone(work):
        close_uploads(studio, project.id)
        listing = Listing.load(studio, project.id, work / "tasks.json")
        listing.refresh()
        _take_away_barred(listing, pictures, lawful, result)
        known = listing.by_frame()
        missing = [each for each in order if each in lawful and each not in known]
        result.already = sum(each in known for each in order)
        asked = missing if limit is None else missing[:limit]
        result.pictures_written += pictures.write(lawful[each] for each in known if each in lawful)
        if asked:
            if before:
                before(asked)
            found = prefills(asked) if prefills else {}
            batch = _Batch(asked, lawful, order, found, TaskMaker(card))
            _Import(studio, project.id, listing, pictures, batch, result, largest, progress).run()
        result.waiting = len(missing) - result.new
        if result.stopped is None:
            _remove_doubled(listing, result)
    return result


@dataclass(frozen=True)
class _Batch:
    """The frames that one push makes tasks of, in their order."""

    frame_ids: Sequence[str]
    frames: Mapping[str, Row]
    reasons: Mapping[str, str | None]
    prefills: Mapping[str, Prefill]
    maker: TaskMaker

    def task(self, frame_id: str) -> Row:
        return self.maker.task(
            self.frames[frame_id], self.reasons[frame_id], self.prefills.get(frame_id)
        )


@dataclass
class _Import:
    """Imports a batch in chunks, and starts anew where one failed."""

    studio: Studio
    project_id: int
    listing: Listing
    pictures: Pictures
    batch: _Batch
    result: Pushed
    largest: int
    progress: Progress | None
    size: int = field(init=False)
    failures: int = 0

    def __post_init__(self) -> None:
        self.size = min(CHUNK, self.largest)

    def run(self) -> None:
        """Import what is missing; what ends it early is said in the result."""
        before = set(self.listing.by_frame())
        try:
            while not self._try():
                # Back-off, spread so that pushes which failed together do not come together.
                time.sleep(random.uniform(0.2, 1.0) * self.failures)
            self.listing.refresh()
        except (ServiceError, OSError) as error:
            self.result.stopped = line_of(error) or str(error)
        made = set(self.batch.frame_ids) & set(self.listing.by_frame()) - before
        maker = self.batch.maker
        self.result.new = len(made)
        self.result.prefilled = len(maker.prefilled & made)
        reasons = (why for each in made for why in maker.left_out.get(each, ()))
        self.result.boxes_left_out = dict(Counter(reasons))

    def _try(self) -> bool:
        """Import what is still missing; False where a chunk failed, made or not.

        Raises:
            ServiceError: the server has failed too often, or does not come back.
        """
        upload = open_upload(self.studio, self.project_id)
        self.listing.refresh()
        known = self.listing.by_frame()
        rest = [each for each in self.batch.frame_ids if each not in known]
        done = len(self.batch.frame_ids) - len(rest)
        for chunk in self._chunks(rest):
            try:
                self._make(chunk, upload)
            except ServiceError:
                self.failures += 1
                if self.failures < FAILURES:
                    return False
                with suppress(ServiceError):  # so that the count of what was made is right
                    close_upload(self.studio, upload)
                    self.listing.refresh()
                raise
            self.failures = 0
            done += len(chunk)
            if self.progress:
                self.progress(done, len(self.batch.frame_ids))
        close_upload(self.studio, upload)
        return True

    def _chunks(self, frame_ids: Sequence[str]) -> Iterator[Sequence[str]]:
        """Chunks whose pictures are there; those of the next are written meanwhile."""
        with ThreadPoolExecutor(1) as beside:
            start = 0
            chunk = frame_ids[: self.size]
            writing = beside.submit(self._write, chunk)
            while chunk:
                self.result.pictures_written += writing.result()
                start += len(chunk)
                following = frame_ids[start : start + self.size]
                writing = beside.submit(self._write, following)
                yield chunk
                chunk = following

    def _write(self, frame_ids: Iterable[str]) -> int:
        return self.pictures.write(self.batch.frames[each] for each in frame_ids)

    def _make(self, chunk: Sequence[str], upload: int) -> None:
        began = time.monotonic()
        answer: Any = self.studio.make(
            f"api/projects/{self.project_id}/import",
            [self.batch.task(each) | {"file_upload_id": upload} for each in chunk],
            return_task_ids="true",
        )
        ids = answer.get("task_ids") or ()
        if len(ids) == len(chunk):
            self.listing.add(ids, chunk)
            self.listing.save()
        pace = len(chunk) / max(time.monotonic() - began, 0.01)
        self.size = min(max(int(pace * ASKED_S), SMALLEST), self.largest)


def _take_away_barred(
    listing: Listing, pictures: Pictures, lawful: Mapping[str, Row], result: Pushed
) -> None:
    """Frames that may no longer be used: their pictures go, and tasks that nobody has touched."""
    result.pictures_removed = pictures.keep_only(lawful)
    barred = {each: ids for each, ids in listing.by_frame().items() if each not in lawful}
    if not barred:
        return
    result.removed = listing.delete_untouched(each for ids in barred.values() for each in ids)
    result.barred_kept = [each for each in listing.by_frame() if each in barred]


def _remove_doubled(listing: Listing, result: Pushed) -> None:
    """Of several tasks of a frame those stay that people have worked on, else the oldest."""
    doubled = {each: ids for each, ids in listing.by_frame().items() if len(ids) > 1}
    if not doubled:
        return
    touched = listing.touched(each for ids in doubled.values() for each in ids)
    spare: list[int] = []
    for ids in doubled.values():
        kept = [each for each in ids if each in touched] or ids[:1]
        spare += [each for each in ids if each not in kept]
    result.doubled = listing.delete_untouched(spare)
    left = listing.by_frame()
    result.doubled_kept = [each for each in doubled if len(left.get(each, ())) > 1]


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """One push of a dataset at a time on this machine; another waits."""
    work.mkdir(parents=True, exist_ok=True)
    held = hold(work / "push.lock")
    try:
        yield
    finally:
        os.close(held)
