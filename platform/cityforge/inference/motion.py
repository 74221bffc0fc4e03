"""How followed boxes move: a Kalman filter of constant velocity over real time.

Middle and logarithm of the sides of each box are filtered each for itself (Kalman 1960), so a
track is four pairs of a value and its rate, and all tracks are moved in one expression. All
noise is measured in the box's own size: what is near moves and trembles by more pixels. The
constants were chosen on synthetic traffic of other seeds than the tests count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PLACE = 0.06  # standard deviation of a found middle, in sides of the box
SIDE = 0.12  # of the logarithm of a found side
EDGE = 0.25  # of a middle and a side where the picture's edge cuts the box
EDGE_PX = 1.5
FIRST_SPEED = 4.0  # of the speed of what is new, in sizes a second
FIRST_GROWTH = 0.5  # of the rate of a new box's logarithm of the sides, 1/s
PUSH = 0.7  # of the change of speed within a second, in sizes a second
GROWTH_PUSH = 0.5
FLOOR_PX = 0.7  # no box is found better than this
GATE = 14.0  # squared deviations, 4 degrees of freedom: of right pairs 1 in 137 is above it
ALONE = 20.0  # cost of `Motion.costs` from which a track and a box stay alone rather than pair
MOST_WAYS = 4
NO_WAY = 4.0  # what it costs to go another way than others did from there
WAY_SHARE, WAY_SIZES = 0.2, 0.3  # how speeds of one way differ: of the speed, in sizes a second


class Motion:
    """The boxes of T tracks: values (T, 4) cx, cy, log w, log h, their rates and covariances.

    What has one box only has no speed yet: it may stand still, more or less, or go one of the
    `ways` that others went from there.
    """

    def __init__(self) -> None:
        none: Floats = np.zeros((0, 4))
        # The picture's edges as far as boxes have shown them: least and most of x, y.
        self._low: Floats = np.full(2, np.inf)
        self._high: Floats = np.full(2, -np.inf)
        self._age: Floats = np.zeros(0)  # (T,) seconds since the only box; NaN: it has more
        self._first_var: Floats = np.zeros((0, 2))  # (T, 2) of the only box's middle
        self._ways: Floats = np.zeros((0, MOST_WAYS, 2))  # (T, H, 2) pixels a second, or NaN
        self._at: Floats = none
        self._rate: Floats = none
        # Variances of the value and of its rate, and what both have in common.
        self._var: Floats = none
        self._both: Floats = none
        self._rate_var: Floats = none

    def add(self, xyxy: Floats, ways: Floats) -> None:
        """Begin tracks; xyxy (N, 4) pixels, ways (N, MOST_WAYS, 2) pixels a second or NaN."""
        at = _values(xyxy)
        size = _size(at)
        noise = self._noise(xyxy)
        self._age = np.concatenate([self._age, np.zeros(len(at))])
        self._ways = np.concatenate([self._ways, ways])
        speed = _both_kinds(FIRST_SPEED * size, FIRST_GROWTH)
        self._at = np.concatenate([self._at, at])
        self._rate = np.concatenate([self._rate, np.zeros_like(at)])
        self._var = np.concatenate([self._var, noise])
        self._first_var = np.concatenate([self._first_var, noise[:, :2]])
        self._both = np.concatenate([self._both, np.zeros_like(at)])
        self._rate_var = np.concatenate([self._rate_var, speed**2])

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Leave these tracks in this order."""
        self._at, self._rate = self._at[rows], self._rate[rows]
        self._var, self._both = self._var[rows], self._both[rows]
        self._rate_var = self._rate_var[rows]
        self._age, self._ways = self._age[rows], self._ways[rows]
        self._first_var = self._first_var[rows]

    def copy(self, rows: NDArray[np.int64]) -> None:
        """Add tracks that are now what `rows` are."""
        self.keep(np.append(np.arange(len(self._at)), rows))

    def advance(self, seconds: float) -> None:
        """Move on in time: white noise pushes the rates (Bar-Shalom et al. 2001, 6.2.2)."""
        if not len(self._at) or not seconds:
            return
        self._age = self._age + seconds
        push = _both_kinds(PUSH * _size(self._at), GROWTH_PUSH) ** 2
        self._at = self._at + self._rate * seconds
        self._var = (
            self._var + 2 * seconds * self._both + seconds**2 * self._rate_var
            + push * seconds**3 / 3
        )  # fmt: skip
        self._both = self._both + seconds * self._rate_var + push * seconds**2 / 2
        self._rate_var = self._rate_var + push * seconds

    def costs(self, xyxy: Floats) -> Floats:
        """How ill boxes (K, 4) fit the tracks: (T, K), inf out of reach.

        Twice the negative logarithm of the likelihood, but for a constant: squared deviations
        and the logarithm of the spread. A track whose place is uncertain reaches far and pays
        for it, so that it takes nothing from a track that is certain.
        """
        found, noise, usual = _values(xyxy), self._noise(xyxy), _noise(_values(xyxy))
        cost = _misfit(found[None] - self._at[:, None], self._var[:, None] + noise, usual)
        for row in np.flatnonzero(np.isfinite(self._ways[:, 0, 0])):
            by_ways, _ = self._by_ways(row, found, noise, usual)
            cost[row] = np.minimum(cost[row] + NO_WAY, by_ways)
        return cost

    def _by_ways(
        self, row: int, found: Floats, noise: Floats, usual: Floats
    ) -> tuple[Floats, Floats]:
        """Costs (K,) if the track went the best way for each box, and those ways (K, 2)."""
        ways = self._ways[row][np.isfinite(self._ways[row, :, 0])]  # (H, 2)
        at = np.tile(self._at[row], (len(ways), 1))
        at[:, :2] += ways * self._age[row]
        var = np.tile(self._var[row], (len(ways), 1))
        var[:, :2] = self._first_var[row] + (self._spread_of(row, ways) * self._age[row]) ** 2
        cost = _misfit(found[None] - at[:, None], var[:, None] + noise, usual)  # (H, K)
        best = cost.argmin(axis=0)
        return cost[best, np.arange(len(found))], ways[best]

    def _spread_of(self, row: int, ways: Floats) -> Floats:
        """Deviations (H, 1) of speed among those who go one way, pixels a second."""
        speed = np.hypot(ways[:, :1], ways[:, 1:])
        return np.asarray(WAY_SHARE * speed + WAY_SIZES * _size(self._at[row][None]))

    def correct(self, rows: NDArray[np.int64], xyxy: Floats) -> None:
        """Take boxes (N, 4) that were found for the tracks `rows` (N,)."""
        found, noise = _values(xyxy), self._noise(xyxy)
        for number, row in enumerate(rows.tolist()):
            if np.isfinite(self._ways[row, 0, 0]):
                self._choose(row, found[number][None], noise[number][None])
        self._age[rows], self._ways[rows] = np.nan, np.nan
        var, both = self._var[rows], self._both[rows]
        spread = var + noise
        off = found - self._at[rows]
        self._at[rows] += var / spread * off
        self._rate[rows] += both / spread * off
        self._var[rows] = var - var**2 / spread
        self._both[rows] = both - var * both / spread
        self._rate_var[rows] -= both**2 / spread

    def _choose(self, row: int, found: Floats, noise: Floats) -> None:
        """Let a track with one box go the way that leads to its second one (1, 4), if any does."""
        usual = _noise(found)
        cost, way = self._by_ways(row, found, noise, usual)
        still = _misfit(found - self._at[row], self._var[row] + noise, usual)
        if cost[0] > still[0] + NO_WAY:
            return
        age, spread = self._age[row], float(self._spread_of(row, way)[0, 0])
        self._at[row, :2] += way[0] * age
        self._rate[row, :2] = way[0]
        self._var[row, :2] = self._first_var[row] + (spread * age) ** 2
        self._both[row, :2] = spread**2 * age
        self._rate_var[row, :2] = spread**2

    def see(self, xyxy: Floats) -> None:
        """Take all boxes (N, 4) of a frame into account for where the picture ends."""
        if len(xyxy):
            self._low = np.minimum(self._low, xyxy[:, :2].min(axis=0))
            self._high = np.maximum(self._high, xyxy[:, 2:].max(axis=0))

    def _noise(self, xyxy: Floats) -> Floats:
        """(N, 4) variances of boxes as they are found; more along an axis that is cut."""
        usual = _noise(_values(xyxy))
        cut = (xyxy[:, :2] < self._low + EDGE_PX) | (xyxy[:, 2:] > self._high - EDGE_PX)  # (N, 2)
        sides = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 1.0)
        more = np.concatenate([EDGE * sides, np.full_like(sides, EDGE)], axis=1) ** 2
        return np.asarray(np.where(np.tile(cut, 2), np.maximum(more, usual), usual))

    def xyxy(self) -> Floats:
        """Where the tracks are now, (T, 4) pixels."""
        half = np.exp(self._at[:, 2:]) / 2
        return np.concatenate([self._at[:, :2] - half, self._at[:, :2] + half], axis=1)


def _misfit(off: Floats, spread: Floats, noise: Floats) -> Floats:
    """Squared deviations (...,) of (..., 4) and the logarithm of the spread; inf out of reach."""
    far = (off**2 / spread).sum(axis=-1)
    wide = np.log(spread / noise).sum(axis=-1)
    return np.asarray(np.where(far < GATE, far + wide, np.inf))


def _values(xyxy: Floats) -> Floats:
    """(N, 4) cx, cy, log w, log h; a box without area counts as one pixel wide."""
    sides = np.log(np.maximum(xyxy[:, 2:] - xyxy[:, :2], 1.0))
    return np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, sides], axis=1)


def _both_kinds(of_place: Floats, of_sides: float) -> Floats:
    """(N, 4) deviations of a middle, from (N, 1) pixels, and of logarithms of sides."""
    columns = np.repeat(of_place, 4, axis=1)
    columns[:, 2:] = of_sides
    return columns


def _size(at: Floats) -> Floats:
    """(N, 1) root of the area, pixels."""
    return np.asarray(np.exp(at[:, 2:].mean(axis=1, keepdims=True)))


def _noise(at: Floats) -> Floats:
    """(N, 4) variances of a box as it is found."""
    sides = np.exp(at[:, 2:])
    place = np.maximum(PLACE * sides, FLOOR_PX)
    return np.asarray(np.concatenate([place, SIDE + FLOOR_PX / sides], axis=1) ** 2)
