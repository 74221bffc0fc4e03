"""What a running endpoint holds: the release that answers, its compute processes, its books."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cityforge.endpoint.cameras import Cameras
from cityforge.endpoint.captures import Captures
from cityforge.endpoint.compute import OutOfTime
from cityforge.endpoint.feedback import FeedbackStore
from cityforge.endpoint.jobs import Fatal, Faulty, Job, Lost
from cityforge.endpoint.limits import CLIP_S
from cityforge.endpoint.observed import Figures
from cityforge.endpoint.pool import Loaded, Pool
from cityforge.endpoint.refusal import Refusal
from cityforge.endpoint.surroundings import Surroundings
from cityforge.endpoint.upload import Intake
from cityforge.endpoint.wire import Buffer
from cityforge.errors import CityforgeError
from cityforge.inference.answers import AnswerLog
from cityforge.inference.request_ids import RequestIds, open_secret
from cityforge.inference.served import Exchange, Served

QUEUED = 7  # pictures that may wait, for each process
CLIPS_QUEUED = 4
PICTURE_S = 20.0  # for one message to a process; longer is a hung decoder
PATIENCE_S = 25.0  # at the end, for what is in hand
PICTURES_NICE, CLIPS_NICE = 2, 10


class Running:
    """One endpoint's process.

    Args:
        built_in: folder of the Bento, with package/ and release.json.

    Raises:
        PackageError, TrustError: what is to be served is refused.
    """

    def __init__(self, surroundings: Surroundings, built_in: Path, figures: Figures) -> None:
        self.surroundings = surroundings
        self.exchange = Exchange(built_in, surroundings.published)
        self.figures = figures
        self.log = AnswerLog(surroundings.answers)
        self.ids = RequestIds(open_secret(surroundings.secret) if surroundings.secret else None)
        self.cameras = Cameras(surroundings.cameras)
        self.feedback = FeedbackStore(surroundings.feedback)
        self.captures = Captures(
            surroundings.capture, surroundings.capture_share, surroundings.privacy
        )
        self.intake = Intake()
        self.clips_held = 0  # being received, waiting or read
        self.pictures, self.clips = _pools(surroundings.compute)

    async def start(self) -> None:
        """Start the compute processes; from now on what is published is followed.

        A model that does not load gives way to the one that answered before it, where that may.

        Raises:
            RuntimeError: the model does not load.
        """
        try:
            await self._start_pools()
        except CityforgeError as error:
            await self._close_pools(0)
            if not self.exchange.fall_back(error):
                raise _not_servable(error) from error
            self.pictures, self.clips = _pools(self.surroundings.compute)
            try:
                await self._start_pools()
            except CityforgeError as again:
                await self._close_pools(0)
                raise _not_servable(again) from again
        self.exchange.remember()
        loop = asyncio.get_running_loop()
        self.exchange.watch(lambda served: _wait(loop, self._take(served)))

    async def close(self, patience_s: float = PATIENCE_S) -> None:
        """Finish what is in hand, then end the processes."""
        self.exchange.stop()
        await self._close_pools(patience_s)

    async def _start_pools(self) -> None:
        first = _loaded(self.exchange.now)
        await asyncio.gather(self.pictures.start(first), self.clips.start(first))

    async def _close_pools(self, patience_s: float) -> None:
        await asyncio.gather(self.pictures.close(patience_s), self.clips.close(patience_s))

    async def _take(self, served: Served) -> None:
        for pool in (self.pictures, self.clips):
            await pool.load(_loaded(served))

    def refuse_barred(self) -> Served:
        """What answers now.

        Raises:
            Refusal: it may not answer any more.
        """
        served = self.exchange.now
        if served.barred:
            raise Refusal(503, served.barred)
        return served

    def refuse_full(self, pool: Pool, count: int = 1) -> None:
        """Raise Refusal when the queue has no room."""
        if not pool.room_for(count):
            waiting = len(pool.waiting)
            raise Refusal(503, f"expected room in the queue, found {waiting} waiting")

    @contextmanager
    def clip_place(self) -> Iterator[None]:
        """A place for a clip, from its first byte to its answer; so many are on the disk at most.

        Raises:
            Refusal: all are taken.
        """
        if self.clips_held >= CLIPS_QUEUED + self.clips.size:
            raise Refusal(503, f"expected room for a clip, found {self.clips_held} in hand")
        self.clips_held += 1
        try:
            yield
        finally:
            self.clips_held -= 1

    def can_answer(self) -> bool:
        """A model may answer, and a process holds it."""
        return not self.exchange.now.barred and self.pictures.alive() > 0

    async def outcome(self, job: Job, limit_s: float) -> tuple[dict[str, Any], Buffer]:
        """The answer to a job, `limit_s` after it was queued at the latest.

        Raises:
            Refusal: 400 what does not decode, 503 its model is gone or a fault of ours, 504 out
                of time.
        """
        handle = asyncio.get_running_loop().call_at(job.begun + limit_s, _give_up, job)
        try:
            head, body = await job.done
        except OutOfTime as error:
            raise Refusal(504, f"expected an answer within {limit_s:.0f} s, found none") from error
        except Faulty as error:
            raise Refusal(503, "expected an answer, found a fault of ours again") from error
        except Fatal as error:
            text = f"expected {job.head.get('what', 'a file')} that can be read, found one that "
            raise Refusal(400, f"{text}stops the reader, in {job.head['name']}") from error
        except Lost as error:
            raise Refusal(503, "expected the model that was asked, found another by now") from error
        finally:
            handle.cancel()
        if head["status"] != 200:
            raise Refusal(head["status"], head["error"])
        return head, body

    def tell_figures(self) -> None:
        """Set the gauges; before each scrape."""
        for name, pool in (("pictures", self.pictures), ("clips", self.clips)):
            self.figures.pool(
                name, waiting=len(pool.waiting), alive=pool.alive(), restarts=pool.restarts
            )


def _give_up(job: Job) -> None:
    if not job.done.done():
        job.done.set_exception(OutOfTime())


def _pools(compute: int) -> tuple[Pool, Pool]:
    """Those of pictures and of clips; `compute` processes for pictures, 0: one a core."""
    cores = len(os.sched_getaffinity(0))
    size = compute or cores
    return (
        Pool("pictures", size, max(1, cores // size), PICTURES_NICE, QUEUED * size, PICTURE_S),
        Pool("clip", max(1, size // 4), cores, CLIPS_NICE, CLIPS_QUEUED, CLIP_S),
    )


def _not_servable(error: CityforgeError) -> RuntimeError:
    return RuntimeError(f"this package may not be served: {error}")


def _loaded(served: Served) -> Loaded:
    return Loaded(served.package, served.digest)


def _wait(loop: asyncio.AbstractEventLoop, work: Any) -> None:
    asyncio.run_coroutine_threadsafe(work, loop).result()
