"""A pool over real compute processes, as its tests start, ask and end it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import psutil
import pytest
from PIL import Image

from cityforge.endpoint.jobs import Job
from cityforge.endpoint.pool import Loaded, Pool

SOON_S = 20.0  # for what takes a second on a machine that does nothing else
POISON = {"name": "poison", "camera": {"no": "card"}}  # a fault within the process

BrightModel = Callable[..., Loaded]


def picture(level: int, scale: int = 1) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64 * scale, 48 * scale), (level,) * 3).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


@cache
def slow() -> bytes:
    """Takes a process a tenth of a second or two."""
    return picture(255, 64)


@asynccontextmanager
async def running(
    first: Loaded, size: int = 1, operation: str = "pictures", limit_s: float = SOON_S
) -> AsyncIterator[Pool]:
    """A pool of processes; none is left behind."""
    pool = Pool(operation, size, 1, 0, 8, limit_s)
    try:
        await pool.start(first)
        yield pool
    finally:
        await pool.close(0)
        await until(lambda: not pids())


def pids() -> set[int]:
    """Compute processes of this one that run."""
    found = set()
    for each in psutil.Process().children():
        try:
            if "cityforge.endpoint.worker" in each.cmdline():
                found.add(each.pid)
        except psutil.Error:
            pass
    return found


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON_S):
        while not what():
            await asyncio.sleep(0.002)


def ask(pool: Pool, model: Loaded, data: bytes, **head: Any) -> Job:
    return pool.submit(model.digest, {"name": "x", **head}, data)


async def brightness(job: Job) -> float:
    async with asyncio.timeout(SOON_S):
        head, body = await job.done
    assert head["status"] == 200, head
    scores = {each["name"]: each["score"] for each in json.loads(bytes(body))["classes"]}
    return float(scores.get("汽车", 0.0))


async def refuse_another_answer(pool: Pool, model: Loaded) -> None:
    assert await brightness(ask(pool, model, picture(255))) == pytest.approx(1)


async def kill_who_has_it(pool: Pool) -> None:
    """End the process while it is at work, and not only being prepared."""
    await until(lambda: pool.alive() and pool.busy())
    for each in pids():
        os.kill(each, signal.SIGKILL)
    await until(lambda: not pool.busy())


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())
