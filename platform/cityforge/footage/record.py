"""Records a live stream until it is told to stop, connecting again whenever it breaks off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cityforge.errors import ServiceError
from cityforge.footage.live import END, Live, check_address, masked, no_stream, open_live
from cityforge.footage.segments import Segments, Totals
from cityforge.footage.spool import Segment
from cityforge.footage.timeline import WallClock, placed_packets

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


@dataclass
class Limits:
    """How long a recorder works. Times of `due` and `last_packet` are of the monotonic clock."""

    stop: threading.Event
    stop_after: float | None  # s of recording, from the first packet on
    give_up: float | None  # s without any packet
    last_packet: float = field(default_factory=time.monotonic)
    due: float | None = None

    def met_packet(self) -> None:
        """Note that a packet came."""
        self.last_packet = time.monotonic()
        if self.due is None and self.stop_after is not None:
            self.due = self.last_packet + self.stop_after

    def are_reached(self) -> bool:
        """Asked to stop, or recorded for long enough."""
        return self.stop.is_set() or (self.due is not None and time.monotonic() >= self.due)

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than recording goes on."""
        left = seconds if self.due is None else min(seconds, self.due - time.monotonic())
        self.stop.wait(max(0.0, left))

    def hold(self, url: str, why: str) -> None:
        """Give up where no packet came for too long.

        Raises:
            ServiceError: with the last reason.
        """
        if self.give_up is not None and time.monotonic() - self.last_packet >= self.give_up:
            raise ServiceError(
                f"a packet within {self.give_up:g} s",
                found=why,
                where=masked(url),
                do="what was recorded before is kept",
            )


def record(
    url: str,
    folder: Path,
    camera: str,
    *,
    seconds: float,
    on_segment: Callable[[Segment], None],
    timeout: float = 10.0,
    stop_after: float | None = None,
    give_up: float | None = None,
    udp: bool = False,
    stop: threading.Event | None = None,
    totals: Totals | None = None,
    on_break: Callable[[str], None] | None = None,
) -> Totals:
    """Record `url` into segments in `folder` until a limit is met or `stop` is set.

    A stream that breaks off is connected to again, after 1, 2, 4, … and at most 30 s.

    Args:
        url: an RTSP, HTTP, TCP, UDP or RTP address.
        folder: holds the segments; the one being written ends in `.part`.
        camera: goes into names and metadata.
        seconds: length of a segment; it is cut at the first keyframe behind that.
        on_segment: told of each segment once it is complete.
        timeout: longest wait for the connection and for each packet, s.
        stop_after: s from the first packet on.
        give_up: s without any packet; without it the first connection must succeed, and later
            ones are tried for ever.
        udp: ask an RTSP server for UDP in place of TCP.
        totals: kept up to date while recording, for whoever watches.
        on_break: told why a connection ended, before the next is tried.

    Raises:
        InputError: an address that is not recorded from.
        ServiceError: the stream does not start, no packet for `give_up` s, or no room on the disk.
    """
    check_address(url)
    folder.mkdir(parents=True, exist_ok=True)
    totals = totals if totals is not None else Totals()
    limits = Limits(stop or threading.Event(), stop_after, give_up)
    pause = FIRST_PAUSE_S
    while not limits.are_reached():
        before = totals.packets
        try:
            live = open_live(url, timeout, udp)
        except ServiceError as error:
            why = error.found
        else:
            with live:
                _record_connection(live, folder, camera, seconds, limits, totals, on_segment)
            if live.is_a_file and live.why_ended == END:
                break
            why = live.why_ended
        if limits.are_reached():
            break
        if not totals.packets and give_up is None:
            raise no_stream(url, why)
        limits.hold(url, why)
        pause = FIRST_PAUSE_S if totals.packets > before else pause
        if on_break:
            on_break(f"{why}; connecting again in {pause:g} s: {masked(url)}")
        limits.pause(pause)
        pause = min(LONGEST_PAUSE_S, pause * 2)
        totals.reconnects += not limits.are_reached()
    return totals


def _record_connection(
    live: Live,
    folder: Path,
    camera: str,
    seconds: float,
    limits: Limits,
    totals: Totals,
    on_segment: Callable[[Segment], None],
) -> None:
    clock = WallClock()
    segments = Segments(live, folder, camera, seconds, clock, totals, on_segment)
    try:
        for placed in placed_packets(live, clock):
            limits.met_packet()
            segments.take(placed)
            if limits.are_reached():
                return
    finally:
        segments.close()
