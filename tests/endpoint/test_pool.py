"""The pool over real compute processes: what is in hand when they die, hang and end."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest
from pool_at_work import (
    POISON,
    SOON_S,
    BrightModel,
    ask,
    brightness,
    kill_who_has_it,
    picture,
    pids,
    refuse_another_answer,
    run,
    running,
    slow,
    until,
)

from cityforge.endpoint import pool as pools
from cityforge.endpoint.compute import OutOfTime
from cityforge.endpoint.jobs import Fatal, Faulty, Lost
from cityforge.endpoint.pool import Pool
from cityforge.endpoint.running import _give_up


def test_each_job_of_a_batch_gets_its_own_answer(bright_model: BrightModel) -> None:
    async def test() -> None:
        model = bright_model(1, batch=8)
        async with running(model) as pool:
            first = ask(pool, model, slow())  # the others wait, and go together
            levels = [102, 153, 255, 204]
            jobs = [ask(pool, model, picture(level), name=f"{level}") for level in levels]
            jobs.insert(2, ask(pool, model, b"no picture", name="bad"))
            poison = pool.submit(model.digest, POISON, picture(9))
            last = ask(pool, model, picture(204))
            await brightness(first)
            bad = jobs.pop(2)
            found = [await brightness(each) for each in [*jobs, last]]
            assert found == pytest.approx([each / 255 for each in [*levels, 204]], abs=1e-4)
            head, _ = await bad.done
            assert head["status"] == 400
            assert "bad" in head["error"]
            with pytest.raises(Fatal):
                await poison.done
            # All but the first were one message, and each a second one, alone.
            assert {each.tries for each in [*jobs, bad, last]} == {2}
            assert pool.restarts == 0

    run(test)


def test_a_batch_is_of_one_model_and_as_large_as_said(bright_model: BrightModel) -> None:
    one, two = bright_model(1, batch=2), bright_model(2, batch=8)
    pool = Pool("pictures", 1, 1, 0, 8, 1)

    async def test() -> None:
        jobs = [ask(pool, model, b"") for model in (one, one, one, two, two, one)]
        held = {one.digest: 2, two.digest: 8}
        assert pool._take(held) == jobs[:2]
        assert pool._take(held) == jobs[2:3]
        jobs[3].drop()
        assert pool._take(held) == jobs[4:5]
        assert pool._take({two.digest: 8}) == []  # nobody has that model any more
        with pytest.raises(Lost):
            await jobs[5].done

    run(test)


@pytest.mark.parametrize(
    ("waiting", "asked", "room"), [(0, 1, True), (0, 32, True), (1, 7, True), (1, 8, False)]
)
def test_a_request_that_does_not_fit_is_told_before(waiting: int, asked: int, room: bool) -> None:
    pool = Pool("pictures", 1, 1, 0, 8, 1)

    async def test() -> None:
        for _ in range(waiting):
            pool.submit("digest", {}, b"")
        assert pool.room_for(asked) is room

    run(test)


def test_what_was_in_hand_is_done_again_once(bright_model: BrightModel) -> None:
    async def test() -> None:
        model = bright_model(1, batch=8)
        async with running(model) as pool:
            before = pids()
            first = ask(pool, model, slow())
            innocents = [ask(pool, model, slow()) for _ in range(3)]
            await brightness(first)
            await kill_who_has_it(pool)  # all three in one message
            assert [await brightness(each) for each in innocents] == pytest.approx([1, 1, 1])
            assert not pids() & before
            guilty, other = ask(pool, model, slow()), ask(pool, model, picture(255))
            for _ in range(pools.TRIES):
                await kill_who_has_it(pool)
            with pytest.raises(Fatal):
                await guilty.done
            assert await brightness(other) == pytest.approx(1)
            assert pool.restarts == 1 + pools.TRIES

    run(test)


def test_what_lay_before_a_process_that_died_was_not_tried(bright_model: BrightModel) -> None:
    async def test() -> None:
        model = bright_model(1, batch=1)
        async with running(model) as pool:
            guilty, behind = ask(pool, model, slow()), ask(pool, model, picture(255))
            assert (guilty.tries, behind.tries, len(pool.waiting)) == (1, 1, 0)
            await kill_who_has_it(pool)
            assert await brightness(behind) == pytest.approx(1)
            assert behind.tries == 1  # the one that it was answered in
            await until(lambda: guilty.tries == 2)
            third = ask(pool, model, picture(255))
            assert third.tries == 0  # nothing is put behind what ended a process
            for _ in range(pools.TRIES - 1):
                await kill_who_has_it(pool)
            with pytest.raises(Fatal):
                await guilty.done
            assert await brightness(third) == pytest.approx(1)

    run(test)


def test_a_pool_that_lost_a_thousand_processes_starts_another(
    bright_model: BrightModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "MOST_PAUSE_S", 0.1)
    begin, refused = Pool._begin, iter([OSError("no memory"), OSError("no memory")])

    async def rarely(pool: Pool) -> Any:
        if pool._losses:
            for error in refused:
                raise error
        return await begin(pool)

    async def test() -> None:
        model = bright_model(1)
        async with running(model) as pool:
            pool._losses = 2000
            monkeypatch.setattr(Pool, "_begin", rarely)
            os.kill(pids().pop(), signal.SIGKILL)
            await until(lambda: pool.restarts == 1)
            await refuse_another_answer(pool, model)
            assert next(refused, None) is None
            assert pool._losses == 0

    run(test)


def test_a_process_that_hangs_is_ended_and_what_waits_is_answered(
    bright_model: BrightModel,
) -> None:
    async def test() -> None:
        model = bright_model(1, batch=8)
        async with running(model, limit_s=1) as pool:
            os.kill(pids().pop(), signal.SIGSTOP)
            hung = ask(pool, model, picture(0))
            waits = ask(pool, model, picture(255))
            begun = asyncio.get_running_loop().time()
            with pytest.raises(OutOfTime):
                await hung.done
            assert asyncio.get_running_loop().time() - begun == pytest.approx(1, abs=0.5)
            assert await brightness(waits) == pytest.approx(1)
            first = ask(pool, model, slow())
            batch = [ask(pool, model, slow()) for _ in range(3)]
            await brightness(first)  # the others are in hand now, in one message
            os.kill(pids().pop(), signal.SIGSTOP)
            assert [await brightness(each) for each in batch] == pytest.approx([1] * 3)
            assert pool.restarts == 2

    run(test)


def test_nobody_computes_what_nobody_waits_for(bright_model: BrightModel) -> None:
    async def test() -> None:
        model = bright_model(1)
        async with running(model) as pool:
            first = ask(pool, model, slow())
            dropped = [ask(pool, model, slow()) for _ in range(50)]
            for each in dropped:
                each.drop()
            first.drop()
            await refuse_another_answer(pool, model)
            assert sum(each.tries for each in dropped) <= 1  # one lay before the process already

    run(test)


def test_a_long_job_whose_caller_left_gives_its_process_back(
    bright_model: BrightModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "UNWANTED_S", 0.2)

    async def test() -> None:
        model = bright_model(1)
        async with running(model, operation="clip") as pool:
            os.kill(pids().pop(), signal.SIGSTOP)
            head = {"path": "/nowhere", "name": "a", "fps": 5, "evidence": 0, "most_s": 1}
            left = pool.submit(model.digest, head, b"")
            waits = pool.submit(model.digest, head, b"")
            left.drop()
            async with asyncio.timeout(SOON_S):
                found, _ = await waits.done
            assert found["status"] == 400
            assert pool.restarts == 1

    run(test)


def test_what_is_out_of_time_takes_no_room_and_no_process(
    bright_model: BrightModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "UNWANTED_S", 0.2)

    async def test() -> None:
        model = bright_model(1)
        async with running(model, operation="clip") as pool:
            os.kill(pids().pop(), signal.SIGSTOP)
            head = {"path": "/nowhere", "name": "a", "fps": 5, "evidence": 0, "most_s": 1}
            in_hand, waits, last = (pool.submit(model.digest, head, b"") for _ in range(3))
            for each in (in_hand, waits):
                _give_up(each)
            await asyncio.sleep(0)
            assert list(pool.waiting) == [last]
            async with asyncio.timeout(SOON_S / 2):  # before the pool ends what hangs
                found, _ = await last.done
            assert found["status"] == 400
            assert pool.restarts == 1
            for each in (in_hand, waits):
                with pytest.raises(OutOfTime):
                    await each.done

    run(test)


def test_a_fault_of_ours_is_tried_again_and_is_no_fault_of_the_picture(
    bright_model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        model = bright_model(1)
        async with running(model) as pool:
            guilty = pool.submit(model.digest, {**POISON, "request_id": "abc-1"}, picture(9))
            with pytest.raises(Faulty):
                await guilty.done
            assert (guilty.tries, pool.restarts) == (pools.TRIES, 0)
            await refuse_another_answer(pool, model)

    run(test)
    told = [each.getMessage().partition(": ")[0] for each in caplog.records]
    assert told == ["a compute process could not answer abc-1"] * pools.TRIES


def test_a_pool_finishes_what_it_has_and_leaves_no_process(
    bright_model: BrightModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Pool._begin

    async def begin_slowly(pool: Pool) -> Any:
        process = await begin(pool)
        await asyncio.sleep(0.3 * bool(pool.restarts))
        return process

    async def test() -> None:
        monkeypatch.setattr(Pool, "_begin", begin_slowly)
        model = bright_model(1)
        async with running(model, size=2) as pool:
            jobs = [ask(pool, model, slow()) for _ in range(4)]
            await pool.close(SOON_S)
            assert [await brightness(each) for each in jobs] == pytest.approx([1] * 4)
        async with running(model) as pool:
            jobs = [ask(pool, model, slow()) for _ in range(3)]
            os.kill(pids().pop(), signal.SIGKILL)
            await until(lambda: pids() and not pool._all)  # its successor is on the way
            await pool.close(0)
            for each in jobs:
                with pytest.raises(Lost):
                    async with asyncio.timeout(SOON_S):
                        await each.done

    run(test)
