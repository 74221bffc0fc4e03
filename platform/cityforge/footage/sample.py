"""Takes frames out of films: which ones, by the policy of the dataset's card."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.dataset import Sampling
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
from cityforge.footage.index import FilmIndex, decode_chosen, read_index
from cityforge.footage.looking import LOOKED_BACK, TICK_S, Looker
from cityforge.footage.slots import WHOLE, Quota, Stretch, Taken

# How much further than asked a neighbour may lie, where frames are far apart.
REACH_S = 0.5


@dataclass(frozen=True)
class Sample:
    """One frame that was taken, and the film `hold_s` before and behind it."""

    milliseconds: int  # since the film's first frame
    bgr: NDArray[np.uint8]  # (H, W, 3) upright
    before: NDArray[np.uint8] | None = None
    after: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class _Film:
    path: Path
    index: FilmIndex
    damaged: bool

    def frames(self, pts: NDArray[np.int64]) -> Iterator[tuple[int, Any]]:
        return decode_chosen(self.path, self.index, np.unique(pts), self.damaged)

    def moment(self, pts: int) -> float:
        return float((pts - self.index.zero) * self.index.time_base)


def sample_film(
    path: Path,
    sampling: Sampling,
    stretch: Stretch = WHOLE,
    hold_s: float = 0.0,
    quota: Quota | None = None,
    damaged: bool = False,
) -> Iterator[Sample]:
    """Yield the frames of a stretch of a film that the policy takes, in their order.

    Frames that do not decode whole are not taken; the next one of their slot is.
    What is taken depends on the film and the card alone.

    Args:
        hold_s: each frame comes with its neighbours this much before and behind it; 0: none.
        damaged: the probe met errors in the film.
    """
    index = read_index(path)
    film = _Film(path, index, damaged) if index else None
    taken, ahead = Taken(sampling, stretch, quota), Taken(sampling, stretch, quota)
    marked = _marked(path, film, sampling, (taken, ahead), hold_s)
    upright = Upright()
    for moment, frame, before, after in _with_neighbours(marked, hold_s):
        yield Sample(
            round(moment * 1000),
            upright.bgr(frame),
            None if before is None else upright.bgr(before),
            None if after is None else upright.bgr(after),
        )


def _marked(
    path: Path, film: _Film | None, sampling: Sampling, taken: tuple[Taken, Taken], hold_s: float
) -> Iterator[tuple[float, Any, bool]]:
    """Frames that were looked at, in their order, and whether each is taken."""
    if film and sampling.policy in ("every", "keyframes"):
        yield from _mark_ahead(film, sampling, *taken, hold_s)
        return
    seen = _ticks_of(film, taken[0]) if film else _every_frame(path)
    yield from _mark(seen, sampling, taken[0])


def _every_frame(path: Path) -> Iterator[tuple[float, Any]]:
    with open_film(path) as container:
        stream = picture_stream(container, path)
        for moment, frame in decode_film(container, stream, Damage(), clock_of(stream)):
            if not is_damaged(frame):
                yield moment, frame


def _mark(
    seen: Iterable[tuple[float, Any]], sampling: Sampling, taken: Taken
) -> Iterator[tuple[float, Any, bool]]:
    """Say of each frame whether it is taken, looking at it where the policy looks."""
    if sampling.policy in ("every", "keyframes"):
        alone = sampling.policy == "keyframes"
        for moment, frame in seen:
            yield moment, frame, (frame.key_frame or not alone) and taken.takes(moment)
        return
    looker = Looker(sampling.policy, sampling.threshold or 0.0)
    for moment, frame in seen:
        yield moment, frame, looker.finds(moment, frame) and taken.takes(moment)


def _mark_ahead(
    film: _Film,
    sampling: Sampling,
    taken: Taken,
    ahead: Taken,
    hold_s: float,
) -> Iterator[tuple[float, Any, bool]]:
    """Choose by the packets' timestamps, then decode only what is needed."""
    index = film.index
    moments = index.moments
    shown = index.shown & (moments > -TOLERANCE_S)
    candidate = shown & index.key if sampling.policy == "keyframes" else shown
    order = np.argsort(moments)
    order = order[candidate[order]]
    slots = taken.slots(moments[order])
    order, slots = order[slots >= 0], slots[slots >= 0]
    firsts = np.flatnonzero(np.append(True, np.diff(slots) != 0)[: len(slots)])
    firsts = firsts[[ahead.takes(float(at)) for at in moments[order[firsts]]]]
    mains = order[firsts]
    chosen = np.concatenate([mains, _neighbours(moments, shown, mains, hold_s)])
    frames = film.frames(index.pts[chosen])
    due = deque(
        (int(index.pts[place]), int(slot)) for place, slot in zip(mains, slots[firsts], strict=True)
    )
    main_pts = {pts for pts, _ in due}
    by_slot = order, slots

    for pts, frame in frames:
        while due and due[0][0] < pts:  # this one did not decode
            yield from _instead(film, by_slot, due.popleft(), taken, hold_s)
        if due and due[0][0] == pts:
            due.popleft()
        moment = film.moment(pts)
        yield moment, frame, pts in main_pts and taken.takes(moment)
    while due:
        yield from _instead(film, by_slot, due.popleft(), taken, hold_s)


def _instead(
    film: _Film,
    by_slot: tuple[NDArray[np.int64], NDArray[np.int64]],
    missing: tuple[int, int],
    taken: Taken,
    hold_s: float,
) -> Iterator[tuple[float, Any, bool]]:
    """The next candidate of the same slot that decodes, for one that does not; and around it."""
    order, slots = by_slot
    places = order[slots == missing[1]]
    later = film.index.pts[places] > missing[0]
    found = next(film.frames(film.index.pts[places[later]]), None)
    if found is None:
        return
    moments, shown = film.index.moments, film.index.shown
    place = np.flatnonzero(film.index.pts == found[0])
    around = film.index.pts[_neighbours(moments, shown, place, hold_s)]
    for pts, frame in film.frames(np.append(around, found[0])):
        moment = film.moment(pts)
        yield moment, frame, pts == found[0] and taken.takes(moment)


def _neighbours(
    moments: NDArray[np.float64],
    shown: NDArray[np.bool_],
    mains: NDArray[np.int64],
    hold_s: float,
) -> NDArray[np.int64]:
    """Places of the frames at least `hold_s` before and behind each main one."""
    if hold_s == 0 or not len(mains):
        return np.empty(0, np.int64)
    order = np.argsort(moments)
    order = order[shown[order]]
    ordered = moments[order]
    at = moments[mains]
    later = np.searchsorted(ordered, at + hold_s - TOLERANCE_S)
    earlier = np.searchsorted(ordered, at - hold_s + TOLERANCE_S, side="right") - 1
    return np.concatenate([order[later[later < len(order)]], order[earlier[earlier >= 0]]])


def _ticks_of(film: _Film, taken: Taken) -> Iterator[tuple[float, Any]]:
    """Frames at the ticks of a stretch, and as many ticks around it as looking needs."""
    moments = film.index.moments
    inside = film.index.shown & (moments > -TOLERANCE_S)
    inside &= moments < taken.end + taken.seconds + REACH_S + TICK_S
    order = np.argsort(moments)
    order = order[inside[order]]
    ticks = np.floor((moments[order] + TOLERANCE_S) / TICK_S)
    firsts = order[np.append(True, np.diff(ticks) != 0)[: len(ticks)]]
    begin = int(np.searchsorted(moments[firsts], taken.begin - TOLERANCE_S))
    firsts = firsts[max(0, begin - LOOKED_BACK) :]
    for pts, frame in film.frames(film.index.pts[firsts]):
        yield film.moment(pts), frame


def _with_neighbours(
    marked: Iterable[tuple[float, Any, bool]], hold_s: float
) -> Iterator[tuple[float, Any, Any | None, Any | None]]:
    """Give each taken frame the nearest frames at least `hold_s` before and behind it."""
    if hold_s == 0:
        for moment, frame, is_taken in marked:
            if is_taken:
                yield moment, frame, None, None
        return
    past: deque[tuple[float, Any]] = deque()
    waiting: deque[tuple[float, Any, Any | None]] = deque()
    reach = hold_s + REACH_S
    for moment, frame, is_taken in marked:
        while waiting and moment >= waiting[0][0] + hold_s - TOLERANCE_S:
            at, held, before = waiting.popleft()
            yield at, held, before, frame if moment <= at + reach else None
        if is_taken:
            earlier = [f for m, f in past if moment - reach <= m <= moment - hold_s + TOLERANCE_S]
            waiting.append((moment, frame, earlier[-1] if earlier else None))
        past.append((moment, frame))
        while len(past) > 1 and past[1][0] <= moment - hold_s + TOLERANCE_S:
            past.popleft()  # a nearer one is far enough from all that come
    for at, held, before in waiting:
        yield at, held, before, None
