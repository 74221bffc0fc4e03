"""The load generator itself: against a server whose answers are known."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from serving_load import Load, Seen, closed, paced, upload

DIGEST = "ab" * 32
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n{"digest":"' + DIGEST.encode() + b'"}'
FULL = b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
PARTS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
Reply = Callable[[int], tuple[float, bytes]]


@contextmanager
def server(reply: Reply) -> Iterator[str]:
    """Answers request number N as `reply(N)` says: after so many seconds, with these bytes."""
    loop, numbers = asyncio.new_event_loop(), iter(range(10**6))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                await reader.readexactly(length)
                pause, data = reply(next(numbers))
                await asyncio.sleep(pause)
                for half in (data[:20], data[20:]):
                    writer.write(half)
                    await writer.drain()
                if not data or b"close" in data:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    started = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    port = started.sockets[0].getsockname()[1]
    work = threading.Thread(target=loop.run_forever)
    work.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        work.join(5)
        for each in asyncio.all_tasks(loop):
            each.cancel()
        started.close()
        loop.run_until_complete(asyncio.sleep(0.05))  # what is cancelled ends meanwhile
        loop.close()


@pytest.mark.parametrize(
    ("reply", "counts", "found"),
    [
        (lambda n: (0.0, OK), {200: 40}, {DIGEST}),
        (lambda n: (0.0, PARTS), {200: 40}, {""}),
        (lambda n: (0.0, FULL if n % 4 == 0 else OK), {200: 30, 503: 10}, {DIGEST, ""}),
        (lambda n: (0.0, b"" if n % 4 == 0 else OK), {0: 10, 200: 30}, {DIGEST, ""}),
    ],
    ids=["answers", "in chunks", "some refused", "some lost"],
)
def test_every_request_is_told_once(reply: Reply, counts: dict[int, int], found: set[str]) -> None:
    with server(reply) as address:
        seen = closed(address, [upload(address, [b"x" * 5000])], 3, count=40)
    assert seen.counts() == counts
    assert set(seen.found) == found
    assert set(seen.retry[seen.status == 503].tolist()) <= {7}


def test_time_counts_from_the_intended_moment() -> None:
    """One connection's answer that hangs must not hide that others were due meanwhile."""
    with server(lambda n: (0.5 if n == 0 else 0.0, OK)) as address:
        request = [upload(address, [b"x"])]
        alone = Load(address, request).run(lambda load: load.paced(100, 1.0, most=1))
    assert alone.counts() == {200: 100}
    # With one connection 50 requests wait for the first; the k-th for 0.5 s less k hundredths.
    assert alone.ms(200, 75) > 150
    assert alone.ms(200, 75, since="sent") < 120
    assert np.allclose(np.diff(np.sort(alone.meant)), 0.01)


def test_a_schedule_is_kept_whatever_the_answers_do() -> None:
    with server(lambda n: (0.2, OK)) as address:
        seen: Seen = paced(address, [upload(address, [b"x"])], 200, 1.0)
    assert seen.counts() == {200: 200}
    assert seen.ms(200, 99) < 1000
    assert seen.sent.max() - seen.sent.min() < 2.5
