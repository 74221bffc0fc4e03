"""The pool over real compute processes: models that load, are exchanged, or crash."""

from __future__ import annotations

import asyncio
import os
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pool_at_work import (
    SOON_S,
    BrightModel,
    ask,
    brightness,
    picture,
    pids,
    refuse_another_answer,
    run,
    running,
    slow,
    until,
)

from cityforge.endpoint import pool as pools
from cityforge.endpoint.compute import Compute
from cityforge.endpoint.jobs import Lost
from cityforge.endpoint.pool import Loaded
from cityforge.errors import PackageError


def test_a_model_is_exchanged_while_jobs_go_on(bright_model: BrightModel) -> None:
    async def test() -> None:
        models = [bright_model(number) for number in range(1, 6)]
        async with running(models[0], size=2) as pool:
            jobs = []
            for old, new in pairwise(models):
                loading = asyncio.ensure_future(pool.load(new))
                while not loading.done():
                    jobs.append(ask(pool, old, picture(255)))
                    await asyncio.sleep(0.002)  # so that several meet each exchange
                await loading
                jobs.append(ask(pool, new, picture(255)))
            found = [await brightness(each) for each in jobs]
            assert found == pytest.approx([1] * len(jobs))
            assert len(jobs) > 10
            with pytest.raises(Lost):  # four newer ones are loaded
                await ask(pool, models[0], picture(255)).done
            await pool.load(models[0])
            await refuse_another_answer(pool, models[0])

    run(test)


def test_who_replaces_another_during_a_load_has_the_new_model(bright_model: BrightModel) -> None:
    async def test() -> None:
        old, new = bright_model(1), bright_model(2)
        async with running(old, size=2) as pool:
            first, second = (each.pid for each in pool._all)
            os.kill(second, signal.SIGSTOP)
            loading = asyncio.ensure_future(pool.load(new))
            await until(lambda: new.digest in pool._all[0].models)
            os.kill(first, signal.SIGKILL)
            await until(lambda: pool.restarts == 1 and pool.alive() == 2)
            assert not loading.done()
            os.kill(second, signal.SIGCONT)
            await loading
            jobs = [ask(pool, new, slow()) for _ in range(4)]  # both have to do some
            assert [await brightness(each) for each in jobs] == pytest.approx([1] * 4)

    run(test)


def test_a_model_that_does_not_load_leaves_the_one_before(
    bright_model: BrightModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Compute.ask
    good, crashes = bright_model(1), bright_model(2)

    def die(process: Compute, head: dict[str, Any], *rest: Any) -> Any:
        """As a process does whose network's library crashes over a model."""
        if head["digest"] == crashes.digest:
            os.kill(process.pid, signal.SIGKILL)
        return send(process, head, *rest)

    async def test() -> None:
        async with running(good) as pool:
            with pytest.raises(PackageError):
                await pool.load(Loaded(str(tmp_path), "no digest"))
            with monkeypatch.context() as patch:
                patch.setattr(Compute, "ask", die)
                with pytest.raises(PackageError, match="ends its process"):
                    await asyncio.wait_for(pool.load(crashes), SOON_S)
            assert pool.restarts == 2
            await refuse_another_answer(pool, good)
            await pool.load(crashes)
            await refuse_another_answer(pool, crashes)

    run(test)


def test_a_busy_process_holds_up_no_exchange(
    bright_model: BrightModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "BUSY_S", 0.1)

    async def test() -> None:
        old, new = bright_model(1), bright_model(2)
        async with running(old) as pool:
            stopped = pids().pop()
            os.kill(stopped, signal.SIGSTOP)
            before = ask(pool, old, picture(255))
            async with asyncio.timeout(2):
                await pool.load(new)
            after = ask(pool, new, picture(255))
            os.kill(stopped, signal.SIGCONT)
            assert await brightness(before) == pytest.approx(1)
            assert await brightness(after) == pytest.approx(1)
            assert pids() == {stopped}

    run(test)


def test_what_does_not_load_at_first_starts_no_pool(tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(PackageError):
            async with running(Loaded(str(tmp_path), "no digest"), size=2):
                pass

    run(test)
