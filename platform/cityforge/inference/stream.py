"""Reads a clip as a stream: a thread decodes, ahead of the network by a few frames and no more."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import FootageError
from cityforge.footage.film import (
    TOLERANCE_S,
    Damage,
    Upright,
    clock_of,
    decode_film,
    is_damaged,
    open_film,
    picture_stream,
)
from cityforge.inference.evidence import shrunk
from cityforge.tasks.picture import Fitted, fit

AHEAD = 8  # frames
LARGE_PX = 2_500_000  # a picture of more is kept small while it waits
PATIENCE_S = 0.2  # between two looks whether the reader is gone


@dataclass(frozen=True)
class Looked:
    """A frame that is looked at."""

    at_s: float  # film time
    fitted: Fitted
    bgr: NDArray[Any]  # (H, W, 3) uint8 upright, smaller where it is very large


@dataclass(frozen=True)
class Limits:
    """Which frames of a clip are looked at, and how many."""

    fps: float  # at most so many a second of film
    most_s: float
    most_frames: int


class Stream:
    """The frames of a clip; a context, so that the thread ends with whoever reads.

    The first frame at or behind each step of 1/fps is taken, and none twice. A frame that does
    not decode whole is counted, and the next one stands in for it.

    Args:
        size: width and height of the network's input.
    """

    def __init__(self, path: Path, size: tuple[int, int], limits: Limits) -> None:
        self.cut = ""  # why the end is not looked at
        self.expected = 0  # frames, as the file says; 0: it does not
        self._path, self._size, self._limits = path, size, limits
        self._damage, self._torn = Damage(), 0
        self._queue: queue.Queue[Looked | BaseException | None] = queue.Queue(AHEAD)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)

    @property
    def damaged(self) -> int:
        """Frames that did not decode, or not whole."""
        return self._damage.errors + self._torn

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Looked]:
        """Raises FootageError: no film, sound only, or none of its frames decodes."""
        while (found := self._queue.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found

    def _run(self) -> None:
        try:
            count = 0
            for looked in self._looked():
                count += 1
                if not self._put(looked):
                    return
            if not count:
                where = str(self._path)
                raise FootageError("a film with frames that decode", found="none", where=where)
            self._put(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the frames are read
            self._put(error)

    def _put(self, what: Looked | BaseException | None) -> bool:
        """Wait until there is room; False where nobody reads any more."""
        while not self._left.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(what, timeout=PATIENCE_S)
                return True
        return False

    def _looked(self) -> Iterator[Looked]:
        upright, first = Upright(), None
        for at_s, frame in self._taken():
            bgr: NDArray[Any] = upright.bgr(frame)
            first = first or (bgr.shape[1], bgr.shape[0])
            yield looked_at(at_s, bgr, first, self._size)

    def _taken(self) -> Iterator[tuple[float, Any]]:
        limits, last, count = self._limits, -1, 0
        with open_film(self._path) as container:
            stream = picture_stream(container, self._path)
            self.expected = self._expect(container)
            for at_s, frame in decode_film(container, stream, self._damage, clock_of(stream)):
                if self._left.is_set():
                    return
                step = math.floor((at_s + TOLERANCE_S) * limits.fps)
                if step <= last:
                    continue
                if is_damaged(frame):
                    self._torn += 1
                    continue
                if at_s > limits.most_s + TOLERANCE_S:
                    self.cut = f"only the first {limits.most_s:g} s are looked at"
                    return
                if count == limits.most_frames:
                    self.cut = f"only {limits.most_frames} frames are looked at"
                    return
                last, count = step, count + 1
                yield at_s, frame

    def _expect(self, container: Any) -> int:
        seconds = (container.duration or 0) / 1e6
        frames = min(seconds, self._limits.most_s) * self._limits.fps
        return min(math.ceil(frames), self._limits.most_frames)


def looked_at(
    at_s: float, bgr: NDArray[Any], first: tuple[int, int], size: tuple[int, int]
) -> Looked:
    """Fit a frame into the network's input; colours are swapped where it is small.

    Args:
        first: width and height of the clip's first frame, which all answers belong to.
        size: of the network's input.
    """
    import cv2

    if (bgr.shape[1], bgr.shape[0]) != first:
        bgr = np.asarray(cv2.resize(bgr, first, interpolation=cv2.INTER_AREA))
    fitted = fit(bgr, *size)
    canvas = np.ascontiguousarray(fitted.canvas[:, :, ::-1])
    kept = shrunk(bgr) if bgr.shape[0] * bgr.shape[1] > LARGE_PX else bgr
    return Looked(at_s, replace(fitted, canvas=canvas), kept)
