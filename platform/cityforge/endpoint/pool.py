"""Compute processes that share one queue; one that ends is replaced, its work done again.

The queue is short: what does not fit is refused at once, so that nobody waits long.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from cityforge.endpoint.compute import Compute, Died, NotBegun, OutOfTime
from cityforge.endpoint.jobs import Fatal, Faulty, Job, Lost, fail, fits
from cityforge.endpoint.wire import Buffer, Message
from cityforge.errors import PackageError

LOAD_S = 120.0  # for a model to be ready
BUSY_S = 5.0  # a process that is busy for longer loads a model once it is done
KEPT = 3  # models: a request ends with the one it began with
TRIES = 3  # of a job whose process died, each after the first alone
LOADS = 2  # processes that a model may end before it is refused
PAUSE_S, MOST_PAUSE_S = 0.05, 5.0  # before a process that dies again and again is replaced
UNWANTED_S = 10.0  # a process may go on with what nobody waits for any more

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A model that every process holds."""

    folder: str
    digest: str
    batch: int = 0  # pictures at once; 0: as many as pays


@dataclass(eq=False)
class Pool:
    """`size` processes that answer jobs of one operation.

    Args:
        operation: `pictures` puts several jobs into a message where that pays; others never.
        most_waiting: jobs that `room_for` lets into the queue.
        limit_s: for one message, before its process is ended.
    """

    operation: str
    size: int
    threads: int
    nice: int
    most_waiting: int
    limit_s: float
    waiting: deque[Job] = field(default_factory=deque)
    restarts: int = 0
    _all: list[Compute] = field(default_factory=list)
    _loaded: list[Loaded] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _losses: int = 0  # in a row, with nothing answered in between
    _closing: bool = False

    async def start(self, first: Loaded) -> None:
        """Start the processes, each with the first model.

        Raises:
            PackageError: the model does not load.
        """
        self._loaded = [first]
        for _ in range(self.size):
            self._all.append(await self._begin())
        await asyncio.gather(*(self._prepare(each) for each in list(self._all)))
        if not self.alive():
            raise _ends_its_process(first)
        self._dispatch()

    async def load(self, model: Loaded) -> None:
        """Load a model into every process, beside those that requests still need.

        Raises:
            PackageError: it does not load; what was loaded before stays.
        """
        busy: list[Compute] = []
        deaths = 0
        while deaths < LOADS and not self._closing:
            process = self._lacking(model, busy)
            if process is None:
                if busy or any(model.digest in each.models for each in self._all):
                    self._take_in(model, busy)
                    return
                await asyncio.sleep(PAUSE_S)  # until one that died is replaced
            elif not await process.idle(BUSY_S):
                busy.append(process)
            elif process.lives:
                deaths += await self._is_ended_by(process, model)
        raise _ends_its_process(model)

    def room_for(self, count: int) -> bool:
        """Whether so many jobs would be taken; one request is when nobody waits."""
        return not self.waiting or len(self.waiting) + count <= self.most_waiting

    def submit(self, digest: str, head: dict[str, Any], body: Buffer) -> Job:
        """Queue one job; look at `room_for` before."""
        loop = asyncio.get_running_loop()
        job = Job(digest, head, body, loop.create_future(), loop.time())
        job.done.add_done_callback(lambda done: self._forget(job, done))
        self.waiting.append(job)
        self._dispatch()
        return job

    def _forget(self, job: Job, done: asyncio.Future[Any]) -> None:
        """What nobody waits for any more takes no room in the queue."""
        if (done.cancelled() or done.exception()) and job in self.waiting:
            self.waiting.remove(job)

    def busy(self) -> int:
        """Processes at work."""
        return sum(each.busy for each in self._all)

    def alive(self) -> int:
        """Processes that can answer."""
        return sum(each.ready for each in self._all)

    async def close(self, patience_s: float) -> None:
        """Finish what is queued, for so long, then end the processes."""
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_s
        while (self.waiting or self.busy()) and loop.time() < until:
            await asyncio.sleep(0.02)
        self._closing = True
        for each in self._all:
            each.end()
        for each in self._all:
            each.reap()
        fail(self.waiting, Lost())

    def _dispatch(self) -> None:
        for each in self._all:
            if not self.waiting:
                return
            if each.free:
                self._give(each)
        if self.operation == "pictures":
            self._give_next()

    def _give_next(self) -> None:
        """Lay work before processes that are busy, so that none of them waits for the front."""
        for each in self._all:
            if not self.waiting or self.waiting[0].tries:
                return  # what was tried may end its process, so it begins alone
            if each.takes_next and max(each.models.values()) == 1:  # else they wait to be together
                self._give(each)

    def _give(self, process: Compute) -> None:
        jobs = self._take(process.models)
        if jobs:
            self._hand(process, jobs)

    def _take(self, models: dict[str, int]) -> list[Job]:
        """The next jobs for one message: of one model, none that nobody waits for any more."""
        taken: list[Job] = []
        while self.waiting and (not taken or fits(self.waiting[0], taken, models[taken[0].digest])):
            job = self.waiting.popleft()
            if job.done.done():
                continue
            if job.digest in models:
                taken.append(job)
            else:
                fail([job], Lost())
        return taken

    def _hand(self, process: Compute, jobs: list[Job]) -> None:
        for job in jobs:
            job.tries += 1
        process.alone = jobs[0].tries > 1
        reply = process.ask(self._head(jobs), [job.body for job in jobs], self.limit_s)
        reply.add_done_callback(lambda done: self._replied(jobs, done))
        if self.operation != "pictures":
            jobs[0].done.add_done_callback(lambda done: _end_unwanted(process, reply, done))

    def _replied(self, jobs: list[Job], reply: asyncio.Future[Message]) -> None:
        error = reply.exception()
        if isinstance(error, NotBegun):
            for job in jobs:
                job.tries -= 1
        if isinstance(error, Died) or (error and len(jobs) > 1):
            self._again(jobs)
        elif error:
            fail(jobs, error)
        else:
            self._losses = 0
            self._dispatch()  # before the answer is passed on: the process waits for work
            self._deliver(jobs, reply.result())

    def _head(self, jobs: list[Job]) -> dict[str, Any]:
        if self.operation != "pictures":
            return {"op": self.operation, "digest": jobs[0].digest, **jobs[0].head}
        listed = [{**job.head, "bytes": len(job.body)} for job in jobs]
        return {"op": "pictures", "digest": jobs[0].digest, "jobs": listed}

    def _deliver(self, jobs: list[Job], message: Message) -> None:
        wrong = message.head.get("fault") or message.head.get("refused")
        if wrong:
            ids = ", ".join(str(job.head.get("request_id", "a job")) for job in jobs)
            logger.error("a compute process could not answer %s: %s", ids, wrong)
            self._again(jobs, Faulty(wrong))
            return
        if self.operation != "pictures":
            jobs[0].settle(message.head, message.body)
            return
        start = 0
        for job, head in zip(jobs, message.head["jobs"], strict=True):
            end = start + head.get("bytes", 0)
            job.settle(head, message.body[start:end])
            start = end

    def _again(self, jobs: list[Job], error: Exception | None = None) -> None:
        """Jobs that failed go first; one that was tried TRIES times is given up.

        Args:
            error: what it is given up with; None: it ended processes.
        """
        for job in reversed(jobs):
            if job.done.done():
                continue
            if self._closing:
                fail([job], Lost())
            elif job.tries < TRIES:
                self.waiting.appendleft(job)
            else:
                fail([job], error or Fatal(f"it ended {TRIES} processes"))
        self._dispatch()

    async def _begin(self) -> Compute:
        process = Compute(self.threads, self.nice, self._replace)
        await process.start()
        return process

    async def _prepare(self, process: Compute) -> None:
        """Load what is to be loaded; from then on it takes jobs."""
        try:
            while lacking := [each for each in self._loaded if each.digest not in process.models]:
                await self._tell(process, lacking[0])
        except Died:
            return  # its successor is prepared instead
        process.ready = True

    async def _prepare_or_end(self, process: Compute) -> None:
        try:
            await self._prepare(process)
        except PackageError as error:
            logger.error("%s", error)
            process.end()
        self._dispatch()

    async def _tell(self, process: Compute, model: Loaded) -> None:
        """Have a process load a model.

        Raises:
            PackageError: it does not load.
            Died: the process is gone.
        """
        while process.busy:
            await process.idle(LOAD_S)
        keep = [each.digest for each in self._loaded] + [model.digest]
        head = {"op": "load", "folder": model.folder, "digest": model.digest,
                "batch": model.batch, "keep": keep}  # fmt: skip
        try:
            reply = await process.ask(head, [], LOAD_S)
        except OutOfTime as error:
            raise PackageError(
                f"a model that is ready within {LOAD_S:.0f} s", found="none", where=model.folder
            ) from error
        wrong = reply.head.get("fault") or reply.head.get("refused")
        if wrong:
            raise PackageError("a model that loads", found=wrong, where=model.folder)
        held = {digest: batch for digest, batch in process.models.items() if digest in keep}
        process.models = {**held, model.digest: int(reply.head["batch"])}
        self._dispatch()

    async def _is_ended_by(self, process: Compute, model: Loaded) -> bool:
        try:
            await self._tell(process, model)
        except Died:
            return True
        return False

    def _lacking(self, model: Loaded, busy: list[Compute]) -> Compute | None:
        """A process that takes jobs and has not got the model; one being prepared will get it."""
        for each in self._all:
            if each.ready and each.lives and model.digest not in each.models and each not in busy:
                return each
        return None

    def _take_in(self, model: Loaded, busy: list[Compute]) -> None:
        """The model is loaded; who was busy too long takes no job until it has it, too."""
        others = [old for old in self._loaded if old.digest != model.digest]
        self._loaded = [*others, model][-KEPT:]
        for each in busy:
            each.ready = False
            self._start(self._prepare_or_end(each))

    def _replace(self, process: Compute) -> None:
        """A process has ended: another takes its place."""
        if self._closing or process not in self._all:
            return
        self._all.remove(process)
        self.restarts += 1
        logger.warning("compute process %s ended; another is started", process.pid)
        self._start(self._succeed())

    async def _succeed(self) -> None:
        process = None
        while process is None:
            self._losses += 1
            await asyncio.sleep(min(PAUSE_S * 2 ** min(self._losses, 10), MOST_PAUSE_S))
            if self._closing:
                return
            try:
                process = await self._begin()
            except OSError as error:  # no memory, no room for a process
                logger.error("a compute process cannot be started: %s", error)
        if self._closing:
            process.end()
            return
        self._all.append(process)
        await self._prepare_or_end(process)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _end_unwanted(process: Compute, reply: asyncio.Future[Message], done: Any) -> None:
    """A long job whose caller left, or that is out of time, keeps the process from nobody."""
    if not reply.done():
        ending = asyncio.get_running_loop().call_later(UNWANTED_S, process.end)
        reply.add_done_callback(lambda _: ending.cancel())


def _ends_its_process(model: Loaded) -> PackageError:
    return PackageError("a model that loads", found="one that ends its process", where=model.folder)
