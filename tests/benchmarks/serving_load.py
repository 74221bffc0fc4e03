"""A load generator of one process: raw HTTP/1.1 over uvloop, its request bytes made once.

`closed` keeps so many requests under way; `paced` sends on a fixed schedule, whatever the answers
do, and counts from the moment a request was meant to go (coordinated omission).
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

BOUNDARY = "cityforge-load"
IDLE_S = 2.0  # a connection that rested longer may be closed by the other side: not used again
TICK_S = 0.001  # what uvloop can wait; all that is due by then goes at once
PATIENCE_S = 30.0  # for what is under way at the end
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
DIGEST = re.compile(rb'"digest": ?"([0-9a-f]{64})"')
RETRY = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)


def upload(
    address: str,
    files: Sequence[bytes],
    path: str = "/predict",
    field: str = "images",
    token: str = "",
) -> bytes:
    """The bytes of a POST of files, ready to be sent."""
    parts = []
    for number, data in enumerate(files):
        said = f'form-data; name="{field}"; filename="{number}.jpg"'
        head = f"--{BOUNDARY}\r\nContent-Disposition: {said}\r\nContent-Type: image/jpeg\r\n\r\n"
        parts.append(head.encode() + data + b"\r\n")
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    return post(address, path, f"multipart/form-data; boundary={BOUNDARY}", body, token)


def post(address: str, path: str, kind: str, body: bytes, token: str = "") -> bytes:
    """The bytes of any POST; the token may be the password of the address."""
    where = urlsplit(address)
    token = token or where.password or ""
    lines = [
        f"POST {path} HTTP/1.1", f"Host: {where.hostname}:{where.port}", f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
    ]  # fmt: skip
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@dataclass(frozen=True)
class Seen:
    """What became of each request, one row a request in the order the answers came.

    `meant`, `sent`, `done`: seconds of one clock; `status`: 0 where no answer came; `retry`:
    Retry-After in seconds, -1 without; `found`: what `look` found in the body, groups by spaces.
    """

    meant: NDArray[Any]
    sent: NDArray[Any]
    done: NDArray[Any]
    status: NDArray[Any]
    retry: NDArray[Any]
    found: list[str]
    begun: float
    seconds: float
    cpu_share: float  # of one core, that this process took meanwhile

    def counts(self) -> dict[int, int]:
        return dict(sorted(Counter(self.status.tolist()).items()))

    def rate(self, status: int = 200) -> float:
        """Answers of a status a second, between the first request and the last answer of it."""
        done = self.done[self.status == status]
        return len(done) / (done.max() - self.begun) if len(done) else 0.0

    def ms(self, status: int, percent: float, since: str = "meant") -> float:
        """A percentile of the time to an answer of this status: a value that was seen."""
        chosen = self.status == status
        took = (self.done - (self.meant if since == "meant" else self.sent))[chosen]
        return 1000 * float(np.percentile(took, percent, method="higher")) if len(took) else np.nan


class _Connection(asyncio.Protocol):
    """One connection: at most one request under way."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: Any = None
        self.under_way: tuple[float, float] | None = None  # meant, sent
        self.seen = b""
        self.rested = time.perf_counter()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self, meant: float) -> None:
        self.under_way = (meant, time.perf_counter())
        self.seen = b""
        self.transport.write(self.load.next_request())

    def data_received(self, data: bytes) -> None:
        self.seen = self.seen + data if self.seen else data
        end = self.seen.find(b"\r\n\r\n")
        if end < 0 or self.under_way is None:
            return
        head = self.seen[: end + 2]
        length = LENGTH.search(head)
        if length and len(self.seen) < end + 4 + int(length[1]):
            return
        if not length and CHUNKED.search(head) and not self.seen.endswith(b"0\r\n\r\n"):
            return
        self._answered(head, self.seen[end + 4 :])

    def _answered(self, head: bytes, body: bytes) -> None:
        found, retry = self.load.look.search(body, 0, 4096), RETRY.search(head)
        words = " ".join(each.decode() for each in found.groups()) if found else ""
        self._record(int(head[9:12]), words, int(retry[1]) if retry else -1)
        self.rested = time.perf_counter()
        if CLOSES.search(head):
            self.transport.close()
            return  # connection_lost goes on
        self.load.rests(self)

    def _record(self, status: int, found: str = "", retry: int = -1) -> None:
        if self.under_way:
            meant, sent = self.under_way
            self.under_way = None
            row = (meant, sent, time.perf_counter(), status, retry, found)
            self.load.rows.append(row)

    def connection_lost(self, error: Exception | None) -> None:
        self._record(0)
        self.load.is_lost(self)


class Load:
    """Requests under way; `ended` asks it to send no more.

    Args:
        requests: bytes of whole requests, sent in turn.
        look: what is noted of the first 4 KiB of each answer's body.
    """

    def __init__(
        self, address: str, requests: Sequence[bytes], look: re.Pattern[bytes] = DIGEST
    ) -> None:
        where = urlsplit(address)
        self.host, self.port = where.hostname, where.port
        self.requests = list(requests)
        self.look = look
        self.rows: list[tuple[float, float, float, int, int, str]] = []
        self.number = 0
        self.ended = False
        self.unconnected = 0  # connections that were refused
        self.opened: set[_Connection] = set()
        self.rests: Callable[[_Connection], None] = self._rest
        self.is_lost: Callable[[_Connection], None] = self._forget
        self._free: list[_Connection] = []
        self._waiting: deque[float] = deque()
        self._opening = 0

    def next_request(self) -> bytes:
        self.number += 1
        return self.requests[self.number % len(self.requests)]

    async def closed(self, concurrency: int, count: int, seconds: float) -> None:
        """So many under way, until `count` are sent or `seconds` are over."""
        until, alive = time.perf_counter() + seconds, asyncio.Event()

        def goes_on() -> bool:
            return not self.ended and self.number < count and time.perf_counter() < until

        def again(connection: _Connection) -> None:
            if goes_on():
                connection.send(time.perf_counter())
            else:
                connection.transport.close()

        async def one() -> None:
            while goes_on():
                connection = await self._open()
                if connection is None:
                    await asyncio.sleep(0.02)
                    continue
                again(connection)
                while connection in self.opened:
                    alive.clear()
                    await alive.wait()

        def lost(connection: _Connection) -> None:
            self.opened.discard(connection)
            alive.set()

        self.rests, self.is_lost = again, lost
        work = asyncio.gather(*(one() for _ in range(concurrency)))
        left = until + PATIENCE_S - time.perf_counter()
        try:
            await asyncio.wait_for(work, left)
        except TimeoutError:
            self._abandon()

    async def paced(self, rate: float, seconds: float, most: int = 1000) -> None:
        """`rate` requests a second by the clock, over as many connections as are wanted."""
        self.rests, self.is_lost = self._rest, self._forget
        begun, step, sent = time.perf_counter(), 1 / rate, 0
        while not self.ended and sent < rate * seconds:
            now = time.perf_counter()
            while begun + sent * step <= now and sent < rate * seconds:
                self._waiting.append(begun + sent * step)
                sent += 1
            self._dispatch(now, most)
            await asyncio.sleep(max(TICK_S, begun + sent * step - time.perf_counter()))
        until = time.perf_counter() + PATIENCE_S
        while self._waiting or any(each.under_way for each in self.opened):
            if time.perf_counter() > until:
                break
            self._dispatch(time.perf_counter(), most)
            await asyncio.sleep(0.005)
        self._abandon()

    def _dispatch(self, now: float, most: int) -> None:
        while self._waiting and self._free:
            connection = self._free.pop()
            if now - connection.rested > IDLE_S:
                connection.transport.close()
                continue
            connection.send(self._waiting.popleft())
        wanted = min(len(self._waiting), most - len(self.opened)) - self._opening
        for _ in range(wanted):
            self._opening += 1
            asyncio.get_running_loop().create_task(self._one_more())

    async def _one_more(self) -> None:
        try:
            connection = await self._open()
        finally:
            self._opening -= 1
        if connection is not None:
            self._rest(connection)

    def _rest(self, connection: _Connection) -> None:
        if self._waiting:
            connection.send(self._waiting.popleft())
        else:
            self._free.append(connection)

    def _forget(self, connection: _Connection) -> None:
        self.opened.discard(connection)
        if connection in self._free:
            self._free.remove(connection)

    def _abandon(self) -> None:
        """Close what is left; what still waits for an answer counts as without one."""
        for connection in list(self.opened):
            connection._record(0)
            connection.transport.abort()
        now = time.perf_counter()
        while self._waiting:
            self.rows.append((self._waiting.popleft(), now, now, 0, -1, ""))

    async def _open(self) -> _Connection | None:
        loop = asyncio.get_running_loop()
        try:
            made = loop.create_connection(lambda: _Connection(self), self.host, self.port)
            _, connection = await asyncio.wait_for(made, 5)
        except (OSError, TimeoutError):
            self.unconnected += 1
            return None
        self.opened.add(connection)
        return connection

    def run(self, work: Callable[[Load], Awaitable[None]]) -> Seen:
        """Run one of the ways to send, on a uvloop of its own."""
        import uvloop

        async def whole() -> None:
            await work(self)

        begun, busy = time.perf_counter(), time.thread_time()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(whole())
        seconds = time.perf_counter() - begun
        columns = list(zip(*self.rows, strict=True)) or [()] * 6
        meant, sent, done, status, retry = (np.array(each) for each in columns[:5])
        share = (time.thread_time() - busy) / seconds
        return Seen(meant, sent, done, status, retry, list(columns[5]), begun, seconds, share)


def closed(
    address: str,
    requests: Sequence[bytes],
    concurrency: int,
    count: int = 10**9,
    seconds: float = 3600.0,
) -> Seen:
    """See `Load.closed`."""
    return Load(address, requests).run(lambda load: load.closed(concurrency, count, seconds))


def paced(address: str, requests: Sequence[bytes], rate: float, seconds: float) -> Seen:
    """See `Load.paced`."""
    return Load(address, requests).run(lambda load: load.paced(rate, seconds))


@contextmanager
def under_load(
    address: str, requests: Sequence[bytes], concurrency: int, look: re.Pattern[bytes] = DIGEST
) -> Iterator[tuple[Load, list[Seen]]]:
    """A closed loop in a thread of its own; what it saw stands in the list afterwards."""
    load, found = Load(address, requests, look), list[Seen]()
    work = threading.Thread(
        target=lambda: found.append(load.run(lambda one: one.closed(concurrency, 10**9, 600.0)))
    )
    work.start()
    try:
        yield load, found
    finally:
        load.ended = True
        work.join(60)
