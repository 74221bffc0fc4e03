"""What is promised of the endpoint, and whether what was measured keeps it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from serving_load import Seen

PLAIN_SHARE = 0.85  # of the rate of a plain loop
PEER_SHARE = 1.0  # of the rate of LitServe
P99_OF_P50 = 3.0  # at LATENCY_CONCURRENCY
LATENCY_CONCURRENCY = 4
CLIP_TIMES = 10.0  # quicker than the clip lasts
MEMORY_TIMES = 1.1  # of that after 1,000 requests
REFUSAL_MS = 50.0  # p99, from the moment the request was meant to go
ACCEPTED_TIMES = 2.0  # p99 of that without a flood
NORMAL_IN_S = 2.0  # after a flood
NORMAL_TIMES = 2.0  # p99 of the same stream before the flood
BACK_IN_S = 5.0  # after kill -9


@dataclass(frozen=True)
class Figure:
    """One line of the table; `met` is None where nothing is promised."""

    what: str
    measured: str
    promised: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        return "" if self.met is None else "met" if self.met else "SHORT"


def at_least(what: str, value: float, text: str, limit: float, promised: str) -> Figure:
    """A figure that must not be less; what was not measured (NaN) is short."""
    return Figure(what, text, promised, bool(value >= limit))


def at_most(what: str, value: float, text: str, limit: float, promised: str) -> Figure:
    """A figure that must not be more; what was not measured (NaN) is short."""
    return Figure(what, text, promised, bool(value <= limit))


def table(figures: Sequence[Figure]) -> str:
    """All figures with what was promised, and whether that is kept."""
    rows = [("what", "measured", "promised", "")]
    rows += [(each.what, each.measured, each.promised, each.verdict) for each in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(f"{row[i]:{widths[i]}}" for i in range(3)), row[3]]).rstrip() for row in rows
    )


def exit_code(figures: Sequence[Figure]) -> int:
    """1 when a promise is not kept."""
    return int(any(each.met is False for each in figures))


def recovered(after: Seen, before: Seen) -> Figure:
    """A normal stream that begins when a flood ends, held against the same one before it."""
    since, took = after.meant - after.meant.min(), 1000 * (after.done - after.meant)
    late = since >= NORMAL_IN_S
    normal = before.ms(200, 99)
    then = float(np.percentile(took[late], 99, method="higher")) if late.any() else math.nan
    answered = bool((after.status[late] == 200).all())
    seconds = [took[(since >= each) & (since < each + 1)] for each in range(5)]
    each = ", ".join(f"{np.percentile(one, 99):.0f}" if len(one) else "-" for one in seconds)
    text = f"p99 of each second {each} ms; before {normal:.0f} ms; then {then / normal:.2f} times"
    if not answered:
        text += f"; {int((after.status[late] != 200).sum())} of them failed"
    return Figure(
        "  afterwards, half of what it can do", text,
        f"normal ({NORMAL_TIMES:g} times, none failed) in {NORMAL_IN_S:g} s",
        answered and bool(then <= NORMAL_TIMES * normal),
    )  # fmt: skip


def survived(what: str, seen: Seen, killed_at: float, back_s: float, most_lost: int) -> Figure:
    """Load under which a process was killed.

    Args:
        killed_at: seconds of the clock of `Seen`.
        back_s: until it was replaced; NaN: it was not.
        most_lost: requests that it may have had in its hands.
    """
    lost = seen.status != 200
    own = lost & (seen.status == 0) & (seen.done > killed_at - 1)
    own &= seen.sent < killed_at + back_s
    text = f"back in {back_s:.2f} s; {int(lost.sum())} of {len(lost)} lost"
    kept = int(lost.sum()) <= most_lost and bool((own == lost).all())
    return Figure(
        what, text, f"{BACK_IN_S:g} s, only what was in its hands ({most_lost} at most)",
        kept and bool(back_s <= BACK_IN_S),
    )  # fmt: skip
