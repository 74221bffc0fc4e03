"""The endpoint in trouble: ten times more than it can do, and processes that are killed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import psutil
from serving_limits import (
    ACCEPTED_TIMES,
    BACK_IN_S,
    REFUSAL_MS,
    Figure,
    at_most,
    recovered,
    survived,
)
from serving_load import Load, Seen, closed, paced, under_load
from serving_measured import Measured, say
from serving_sides import Side, ours

POLITE = {200, 503, 504}
UNDER_WAY = 4  # while a process is killed
BEFORE_S = 2.0  # of load, before it is
MOST_WAIT_S = 20.0  # for what does not come back


def overload(what: Measured) -> list[Figure]:
    """Ten times what it can do, on a fixed schedule; then half of it."""
    with ours(what.root, what.algorithm, what.log("overload")) as side:
        requests = what.requests(side)
        closed(side.address, requests, 4, count=200)
        quiet = closed(side.address, requests, 16, seconds=min(10.0, what.overload))
        capacity = quiet.rate()
        half = paced(side.address, requests, capacity / 2, min(10.0, what.overload))
        before = side.counted()
        seen = paced(side.address, requests, 10 * capacity, what.overload)
        after = paced(side.address, requests, capacity / 2, 10)
        counted = {
            status: count - before.get(status, 0) for status, count in side.counted().items()
        }
    say(f"sent {len(seen.status)}: {seen.counts()}; then {after.counts()}; metrics {counted}")
    return [
        *_flooded(what, seen, 10 * capacity),
        _agreed(seen, after, counted),
        *_refused(seen),
        _accepted(seen, quiet),
        recovered(after, half),
    ]


def _flooded(what: Measured, seen: Seen, rate: float) -> list[Figure]:
    told = seen.counts()
    title = f"overload, 10 times for {what.overload:.0f} s"
    return [
        Figure(title, f"{rate:.0f}/s: {_said(told)}", "2xx + 503 + 504 = sent", {*told} <= POLITE),
        Figure("  the client", f"{seen.cpu_share:.0%} of a core"),
    ]


def _agreed(seen: Seen, after: Seen, counted: dict[int, int]) -> Figure:
    told = [one.counts() for one in (seen, after)]
    both = {status: sum(each.get(status, 0) for each in told) for status in {*told[0], *told[1]}}
    agree = both == {status: count for status, count in counted.items() if count}
    text = f"{agree}: {_said(counted)} with {len(after.status)} after"
    return Figure("  metrics agree", text, "True", agree)


def _refused(seen: Seen) -> list[Figure]:
    p99, sent = seen.ms(503, 99), seen.ms(503, 99, "sent")
    again = float(np.mean(seen.retry[seen.status == 503] >= 1))
    text = f"{p99:.1f} ms from the intended moment, {sent:.1f} ms from sending"
    return [
        at_most("  a refusal, p99", p99, text, REFUSAL_MS, f"{REFUSAL_MS:.0f} ms"),
        Figure("  refusals with Retry-After", f"{again:.1%}", "100%", again == 1),
    ]


def _accepted(seen: Seen, quiet: Seen) -> Figure:
    p99, normal = seen.ms(200, 99), quiet.ms(200, 99)
    text = (
        f"{p99:.0f} ms ({seen.ms(200, 99, 'sent'):.0f} from sending), "
        f"{normal:.0f} ms at concurrency 16: {p99 / normal:.2f} times"
    )
    most = f"{ACCEPTED_TIMES:g} times"
    return at_most("  accepted, p99", p99 / normal, text, ACCEPTED_TIMES, most)


def killed(what: Measured) -> list[Figure]:
    """kill -9 of a compute process, then of the front, under load."""
    with ours(what.root, what.algorithm, what.log("killed")) as side:
        closed(side.address, what.requests(side), UNDER_WAY, count=200)
        number = len(side.compute())

        def is_replaced(victim: psutil.Process, load: Load, at: float) -> bool:
            pids = [each.pid for each in side.compute()]
            return victim.pid not in pids and len(pids) == number

        def answers(victim: psutil.Process, load: Load, at: float) -> bool:
            return any(row[3] == 200 and row[1] > at for row in load.rows[-UNDER_WAY:])

        compute = side.compute()[0]
        # A request whose process was killed is given to another: none is lost.
        first = _kill(what, side, compute, "kill -9 of a compute process", is_replaced, 0)
        # Each connection may lose what was under way, and what it sent to a socket nobody read.
        most = 2 * UNDER_WAY
        return [first, _kill(what, side, side.front(), "kill -9 of the front", answers, most)]


def _kill(
    what: Measured, side: Side, victim: psutil.Process, name: str,
    is_back: Callable[[psutil.Process, Load, float], bool], most_lost: int,
) -> Figure:  # fmt: skip
    with under_load(side.address, what.requests(side), UNDER_WAY) as (load, found):
        time.sleep(BEFORE_S)  # so that it is under load
        victim.kill()
        at, back_s = time.perf_counter(), math.nan
        while math.isnan(back_s) and time.perf_counter() < at + MOST_WAIT_S:
            if is_back(victim, load, at):
                back_s = time.perf_counter() - at
            time.sleep(0.01)  # nothing tells: looked at again
        time.sleep(BEFORE_S)  # what comes back stays
    say(f"{name}: {found[0].counts()}, back in {back_s:.2f} s, promised {BACK_IN_S:g} s")
    return survived(name, found[0], at, back_s, most_lost)


def _said(counts: dict[int, int]) -> str:
    return ", ".join(f"{count} of {status}" for status, count in sorted(counts.items()) if count)
