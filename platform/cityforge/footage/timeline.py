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
    """Yield a connection's packets with repaired times; `clock` learns when each arrived."""
    timeline = Timeline(trusted=not live.has_no_times)
    for batch in _batches(live):
        placed = [timeline.place(*_stamps(packet), arrived) for packet, arrived in batch]
        for each, (_, arrived) in zip(placed, batch, strict=True):
            clock.meet(each.dts, arrived)
        yield from placed


def _batches(live: Live) -> Iterator[list[tuple[Any, float]]]:
    """Yield what came at once when the connection was opened, then each packet on its own.

    The first batch was met while the stream was looked into, or kept by the camera. How old it is
    shows only with the first packet that had to be waited for, so it is held back until then.
    """
    early: list[tuple[Any, float]] | None = []
    for packet, arrived in live.packets():
        if early is None:
            yield [(packet, arrived)]
            continue
        waited = bool(early) and arrived - early[-1][1] > WAITED_S
        early.append((packet, arrived))
        if waited or len(early) == WINDOW:
            yield _spread(early, live)
            early = None
    if early:
        yield _spread(early, live)


def _spread(early: list[tuple[Any, float]], live: Live) -> list[tuple[Any, float]]:
    """Packets without times of their own came evenly since the connection was asked for."""
    if not live.has_no_times:
        return early
    step = (early[-1][1] - live.asked_at) / len(early)
    return [(packet, live.asked_at + place * step) for place, (packet, _) in enumerate(early)]


def _stamps(packet: Any) -> tuple[Any, int | None, int | None, int]:
    pts, dts, length = (
        None if stamp is None else round(stamp * packet.time_base * 1000)
        for stamp in (packet.pts, packet.dts, packet.duration)
    )
    return packet, pts, dts, length or 0
