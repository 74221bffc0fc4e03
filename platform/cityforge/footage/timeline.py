"""Times of a live stream: repaired so that they never run back, and held against the clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cityforge.footage.live import Live

LONGEST_GAP_MS = 10_000  # a step further ahead is a clock that was set
LONGEST_STEP_BACK_MS = 1000  # less is a packet out of order
# What was there before it was asked for comes at once; a live packet lets wait.
WAITED_S = 0.005
WINDOW = 256  # packets: about 10 s of a street camera


@dataclass(frozen=True)
class Placed:
    """A packet with times that fit those before it, ms since the connection's start."""

    packet: Any
    pts: int
    dts: int
    jumped: bool = False  # the camera's own time went back, or far ahead


@dataclass
class Timeline:
    """Puts packets in order: decoding times never run back, and no time is missing.

    A time that is missing is one packet's length behind the last; where the camera's time jumps,
    or is made up, time goes on as the packets arrive.
    """

    trusted: bool = True  # False: the timestamps are made up
    shift: int | None = None  # added to the camera's times
    last: int = 0  # ms, time of the last packet
    last_dts: int = 0
    last_length: int = 0
    last_arrival: float = 0.0

    def place(
        self, packet: Any, pts: int | None, dts: int | None, length: int, arrived: float
    ) -> Placed:
        """Place one packet.

        Args:
            packet: handed through.
            pts: ms, as the camera has it; `dts` likewise.
            dts: ms.
            length: of the packet, ms; 0 where it is not known.
            arrived: Unix time.
        """
        stated = (dts if dts is not None else pts) if self.trusted else None
        waited = max(1, round((arrived - self.last_arrival) * 1000)) if self.last_arrival else 0
        step = (self.last_length if self.trusted else 0) or waited
        unknown = self.shift is None or stated is None
        moment, jumped = self.last + (step if unknown else waited), False
        self.last_arrival, self.last_length = arrived, length
        if stated is not None and self.shift is not None:
            gap = stated + self.shift - self.last
            jumped = not -LONGEST_STEP_BACK_MS <= gap <= LONGEST_GAP_MS
            moment = moment if jumped else self.last + gap
        if stated is not None:
            self.shift = moment - stated
        self.last = moment
        if dts is not None or stated is None:  # a pts alone may be far ahead of its dts
            self.last_dts = max(self.last_dts, moment)
        shown = moment if stated is None or pts is None else pts - stated + moment
        return Placed(packet, max(shown, self.last_dts), self.last_dts, jumped)


@dataclass
class WallClock:
    """What time it was at a moment of the stream.

    Packets may arrive late, never early: the least delay of the last packets counts.
    """

    delays: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def meet(self, moment_ms: int, arrived: float) -> None:
        """Note that the packet of `moment_ms` (since the connection's start) came at `arrived`."""
        self.delays.append(arrived - moment_ms / 1000)

    def at(self, moment_ms: int) -> datetime:
        """UTC of a moment of the stream."""
        return datetime.fromtimestamp(min(self.delays) + moment_ms / 1000, UTC)


def placed_packets(live: Live, clock: WallClock) -> Iterator[Placed]:
    """Yield a connection's packets with repaired times; `clock` learns when each arrived.

    What the connection brings at once at its start (met while it was opened, or kept by the
    camera) is held back until the first packet that had to be waited for: only then is it known
    how old it was.
    """
    timeline = Timeline(trusted=not live.has_no_times)
    early: list[Placed] | None = []
    before = 0.0
    for packet, arrived in live.packets():
        pts, dts = (_milliseconds(each, packet.time_base) for each in (packet.pts, packet.dts))
        length = _milliseconds(packet.duration, packet.time_base) or 0
        placed = timeline.place(packet, pts, dts, length, arrived)
        clock.meet(placed.dts, arrived)
        if early is None:
            yield placed
            continue
        early.append(placed)
        if (before and arrived - before > WAITED_S) or len(early) == WINDOW:
            yield from early
            early = None
        before = arrived
    yield from early or ()


def _milliseconds(stamp: int | None, time_base: Any) -> int | None:
    return None if stamp is None else round(stamp * time_base * 1000)
