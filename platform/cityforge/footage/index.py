"""Finds chosen frames of a film without decoding those that nothing is chosen from.

The packets of a film say when each frame is shown and which stand alone. A chosen frame needs
the packets from the keyframe before it up to itself; of those, frames that no other frame is
built on are passed over (FFmpeg's skip_frame=nonref), which changes no bit of the others.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import FootageError
from cityforge.footage.film import (
    LONGEST_GAP_S,
    Clock,
    Damage,
    clock_of,
    decode_film,
    decode_packet,
    drain,
    is_damaged,
    open_film,
    packets_of,
    picture_stream,
    states_no_pts,
    unreadable,
)

# Nearer than this the packets between two runs are read and dropped; further off it is sought.
SEEK_PACKETS = 200


@dataclass(frozen=True, eq=False)
class FilmIndex:
    """Packets of a film's picture in decode order, from one reading without decoding."""

    pts: NDArray[np.int64]  # (P,) in units of time_base, all different
    key: NDArray[np.bool_]  # (P,) stands alone
    shown: NDArray[np.bool_]  # (P,) False: cut off by the file's edit list, or before a keyframe
    zero: int  # pts of the first frame that decodes
    time_base: float  # s

    @property
    def moments(self) -> NDArray[np.float64]:
        """(P,) seconds since the first frame."""
        return np.asarray((self.pts - self.zero) * self.time_base, np.float64)


def read_index(path: Path) -> FilmIndex | None:
    """Index of a film, or None where its timestamps do not say enough to choose by them."""
    about = path.stat()
    return _read_index(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=2)
def _read_index(path: Path, changed_ns: int, size: int) -> FilmIndex | None:
    pts, key, shown = array("q"), array("b"), array("b")
    before = None
    with open_film(path) as container:
        stream = picture_stream(container, path)
        if states_no_pts(stream):
            return None
        time_base = float(stream.time_base)
        damage = Damage()
        for packet in packets_of(container, stream, damage, Clock(time_base, 0.0)):
            if packet.size == 0:
                continue
            if packet.pts is None or packet.dts is None:
                return None
            if before is not None and packet.dts <= before:
                return None
            before = packet.dts
            pts.append(packet.pts)
            key.append(packet.is_keyframe)
            shown.append(not packet.is_discard)
        if damage.errors:
            return None
    zero = _first_shown(path)
    if not any(key) or zero is None:
        return None
    keys = np.array(key, np.bool_)
    decodes = np.arange(len(keys)) >= int(np.argmax(keys))  # not before the first keyframe
    found = FilmIndex(
        np.array(pts, np.int64), keys, np.array(shown, np.bool_) & decodes, zero, time_base
    )
    return found if _is_regular(found) and _begins_anew(path, found) else None


def _first_shown(path: Path) -> int | None:
    with open_film(path) as container:
        stream = picture_stream(container, path)
        clock = clock_of(stream)
        for _, frame in decode_film(container, stream, Damage(), clock):
            return None if frame.pts is None else int(frame.pts)
    return None


def _is_regular(index: FilmIndex) -> bool:
    ordered = np.sort(index.pts)
    gaps = np.diff(ordered)
    whole = bool(np.all(gaps > 0) and np.all(gaps * index.time_base <= LONGEST_GAP_S))
    return whole and bool(np.any(index.pts[index.shown] == index.zero))


def _begins_anew(path: Path, index: FilmIndex) -> bool:
    """Whether decoding can begin at the second keyframe.

    In a film that is refreshed bit by bit (x264's intra-refresh, as low-latency cameras send it)
    the packets that are marked so are only where recovering starts.
    """
    second = np.flatnonzero(index.key & index.shown)[1:2]
    return second.size == 0 or any(True for _ in decode_chosen(path, index, index.pts[second]))


def decode_chosen(
    path: Path, index: FilmIndex, chosen: NDArray[np.int64], damaged: bool = False
) -> Iterator[tuple[int, Any]]:
    """Yield (pts, frame) of the frames `chosen` by pts, in the order they are shown in.

    One that does not decode, or only in part, is left out. In a `damaged` film no frame is
    passed over within a run: a decoder patches what is broken with the frames it saw before.

    Raises:
        FootageError: the file is not the one that was indexed.
    """
    wanted = set(chosen.tolist())
    runs = _runs(index, chosen)
    if not runs:
        return
    with open_film(path) as container:
        stream = picture_stream(container, path)
        reader = _Reader(container, stream, index, path)
        for first, end in runs:
            for frame in reader.frames(first, end, wanted, damaged):
                if frame.pts in wanted and not is_damaged(frame):
                    yield frame.pts, frame


def _runs(index: FilmIndex, chosen: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Stretches of packets [first, end) to decode; each begins with a keyframe."""
    if not len(chosen):
        return []
    order = np.argsort(index.pts)
    places = order[np.searchsorted(index.pts, chosen, sorter=order)]
    starts = np.flatnonzero(index.key)
    ends = np.append(starts[1:], len(index.pts))
    group = np.searchsorted(starts, places, side="right") - 1
    last = np.full(len(starts), -1)
    np.maximum.at(last, group, places)
    # A frame shown before the keyframe it follows in the file is built on the group before, too.
    leading = group[(index.pts[places] < index.pts[starts[group]]) & (group > 0)]
    last[leading - 1] = ends[leading - 1] - 1
    runs: list[tuple[int, int]] = []
    for number in np.flatnonzero(last >= 0):
        first, end = int(starts[number]), int(last[number]) + 1
        if runs and runs[-1][1] == first:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((first, end))
    return runs


class _Reader:
    """Feeds runs of packets to the decoder, seeking where it is far to the next."""

    def __init__(self, container: Any, stream: Any, index: FilmIndex, path: Path) -> None:
        self._container = container
        self._stream = stream
        self._index = index
        self._path = path
        self._damage = Damage()
        self._clock = Clock(index.time_base, 0.0)
        self._packets = self._demux()
        self._at = -1  # place of the packet read last
        self._order = np.argsort(index.pts)
        # Some decoders (libdav1d) read skip_frame only when they are opened.
        stream.codec_context.skip_frame = "DEFAULT"
        stream.codec_context.open(strict=False)

    def frames(self, first: int, end: int, wanted: set[int], damaged: bool) -> Iterator[Any]:
        """Frames of the packets [first, end); those nobody needs are passed over."""
        context = self._stream.codec_context
        for packet in self._from(first):
            context.skip_frame = "DEFAULT" if damaged or packet.pts in wanted else "NONREF"
            yield from decode_packet(packet, self._damage, self._clock)
            if self._at >= end - 1:
                break
        yield from drain(context, self._damage, self._clock)
        context.flush_buffers()

    def _demux(self) -> Iterator[Any]:
        return packets_of(self._container, self._stream, self._damage, self._clock)

    def _from(self, first: int) -> Iterator[Any]:
        if first - self._at > SEEK_PACKETS:
            self._seek(first)
        for packet in self._packets:
            if packet.size == 0:
                return
            self._at = self._place(packet)
            if self._at >= first:
                yield packet

    def _seek(self, first: int) -> None:
        """Go to a keyframe at or before `first`; where the file cannot, read up to it."""
        import av

        try:
            self._container.seek(int(self._index.pts[first]), stream=self._stream)
        except av.FFmpegError:
            self._container.seek(0, stream=self._stream)
        packets = self._demux()
        begun = next(packets, None)
        if begun is None or begun.size == 0 or self._place(begun) > first:
            begun, packets = self._from_the_start()
        self._packets = _chain(begun, packets)

    def _from_the_start(self) -> tuple[Any, Iterator[Any]]:
        import av

        try:
            self._container.seek(int(self._index.pts[0]), stream=self._stream)
        except av.FFmpegError as error:
            raise unreadable(self._path, error) from error
        packets = self._demux()
        begun = next(packets, None)
        if begun is None:
            raise unreadable(self._path, EOFError("it ends before its first packet"))
        return begun, packets

    def _place(self, packet: Any) -> int:
        ahead = self._at + 1
        if ahead < len(self._index.pts) and self._index.pts[ahead] == packet.pts:
            return ahead
        place = int(np.searchsorted(self._index.pts, packet.pts, sorter=self._order))
        if place < len(self._order) and self._index.pts[self._order[place]] == packet.pts:
            return int(self._order[place])
        raise FootageError(
            "the film that was looked at", found="another packet", where=str(self._path)
        )


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest
