"""One compute process as the front sees it: its pipe, what it has in hand, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cityforge.endpoint.wire import Assembly, Buffer, Message, packed

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
REAP_S = 0.05  # between two looks at a process that was ended
MOST_REAP_S = 5.0


class Died(Exception):
    """The process is gone before it replied."""


class NotBegun(Died):
    """The process is gone, and had something else in hand."""


class OutOfTime(Exception):
    """The process was ended: it took longer than it may."""


@dataclass(frozen=True)
class _Sent:
    """A message that the process has, or will read next."""

    reply: asyncio.Future[Message]
    limit_s: float


@dataclass(eq=False)
class Compute(asyncio.Protocol):
    """A process that answers one message at a time; the next one may lie before it already.

    Args:
        threads: of the network; 0 lets onnxruntime choose.
        nice: how far it stands behind the front.
        gone: told once, when the process has ended.

    `models` are those it holds: digest -> pictures that it takes at once.
    """

    threads: int
    nice: int
    gone: Callable[[Compute], None]
    ready: bool = False  # has the models that are asked for
    held: bool = False  # gets no more jobs: something else waits for it
    models: dict[str, int] = field(default_factory=dict)
    alone: bool = False  # what it has in hand may end it: nothing is put behind that
    _sent: deque[_Sent] = field(default_factory=deque)
    _deadline: asyncio.TimerHandle | None = None
    _late: bool = False
    _assembly: Assembly = field(default_factory=Assembly)
    _transport: Any = None
    _process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start the process and connect to it."""
        ours, theirs = socket.socketpair()
        for each in (ours, theirs):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        command = [sys.executable, "-m", "cityforge.endpoint.worker", str(theirs.fileno()),
                   str(self.threads), str(self.nice)]  # fmt: skip
        try:
            with theirs:
                self._process = subprocess.Popen(
                    command,
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, **dict.fromkeys(ONE_THREAD, "1")},
                )
        except OSError:
            ours.close()
            raise
        ours.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)

    @property
    def busy(self) -> bool:
        """Has a message in hand."""
        return bool(self._sent)

    @property
    def lives(self) -> bool:
        """Is not known to have ended."""
        return not self._transport.is_closing()

    @property
    def free(self) -> bool:
        """Takes jobs now."""
        return self.ready and not self.held and not self._sent and self.lives

    @property
    def takes_next(self) -> bool:
        """Is at work, and has nothing before it for when it is done."""
        waits = self.ready and not self.held and not self.alone and len(self._sent) == 1
        return waits and self.lives

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid if self._process else 0

    def ask(
        self, head: dict[str, Any], bodies: Sequence[Buffer], limit_s: float
    ) -> asyncio.Future[Message]:
        """Send a message to a process that is idle or `takes_next`.

        Returns:
            its reply, or `Died`, `NotBegun` or `OutOfTime`; the time begins when it is its turn.
        """
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Message] = loop.create_future()
        self._sent.append(_Sent(reply, limit_s))
        if len(self._sent) == 1:
            self._deadline = loop.call_later(limit_s, self._end_late)
        if self._transport.is_closing():
            self._lose(Died())
        else:
            self._transport.writelines(packed(head, bodies))
        return reply

    async def idle(self, patience_s: float) -> bool:
        """Wait until nothing is in hand, and take no job meanwhile; False: it took too long."""
        clock = asyncio.get_running_loop().time
        until = clock() + patience_s
        while self.busy and clock() < until:
            self.held = True  # each time: who waited before let go of it
            await asyncio.sleep(0.003)
        self.held = False  # the caller asks before anything else runs
        return not self.busy

    def end(self) -> None:
        """End the process: nothing it holds is worth waiting for."""
        if self._process and self._process.poll() is None:
            self._process.kill()

    def reap(self) -> None:
        """Wait until the process, which was ended, is gone."""
        if self._process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(MOST_REAP_S)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for message in self._assembly.feed(data):
            if self._sent:
                self._answered(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end()
        self._reap_soon()
        self._lose(OutOfTime() if self._late else Died())
        self.gone(self)

    def _end_late(self) -> None:
        self._late = True
        self.end()
        self._transport.abort()  # a process that cannot even end keeps nobody waiting

    def _reap_soon(self) -> None:
        """Reap without waiting: the front answers others."""
        if self._process and self._process.poll() is None:
            asyncio.get_running_loop().call_later(REAP_S, self._reap_soon)

    def _answered(self, message: Message) -> None:
        done = self._sent.popleft()
        if self._deadline:
            self._deadline.cancel()
        if self._sent:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._sent[0].limit_s, self._end_late)
        if not done.reply.done():
            done.reply.set_result(message)

    def _lose(self, error: Exception) -> None:
        """What it had in hand fails by `error`, and what lay before it was not begun."""
        lost, self._sent = self._sent, deque()
        if self._deadline:
            self._deadline.cancel()
        for number, each in enumerate(lost):
            if not each.reply.done():
                each.reply.set_exception(NotBegun() if number else error)
