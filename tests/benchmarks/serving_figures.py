"""The endpoint held against a plain loop, against LitServe, and against too much, in one table.

    make bench-serving ARGS="demo_crossing FOLDER"              everything: about 25 minutes
    make bench-serving ARGS="demo_crossing FOLDER throughput"   some of it
    make bench-serving ARGS="demo_crossing FOLDER steady --steady 5000"

FOLDER is a project whose algorithm has an approved version; `cityforge serve` runs there.
Parts: throughput, clip, steady, overload, killed. LitServe takes part where CITYFORGE_LITSERVE_ENV
names an environment with it and serving/requirements.txt. Beside each figure stands whether the
promise is met; where one is SHORT, the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent))

from serving_limits import (  # noqa: E402
    CLIP_TIMES,
    LATENCY_CONCURRENCY,
    MEMORY_TIMES,
    P99_OF_P50,
    PEER_SHARE,
    PLAIN_SHARE,
    Figure,
    at_least,
    at_most,
    exit_code,
    table,
)
from serving_load import Seen, closed  # noqa: E402
from serving_measured import Measured, say  # noqa: E402
from serving_sides import Plain, Side, film_of, litserve, ours, pictures_of  # noqa: E402
from serving_trouble import killed, overload  # noqa: E402

CONCURRENCY = (1, 4, 16)
CLIP_S, CLIP_FPS, PROMISED_FPS = 60, (5, 25), 5


def throughput(what: Measured) -> list[Figure]:
    """Requests a second at each concurrency: a plain loop, ours, LitServe, in turns."""
    with ExitStack() as stack:
        plain = Plain(what.package, what.processes, what.pictures)
        stack.callback(plain.close)
        mine = stack.enter_context(ours(what.root, what.algorithm, what.log("ours")))
        peer = stack.enter_context(litserve(what.package, what.processes, what.log("litserve")))
        sides = {"ours": mine, **({"litserve": peer} if peer else {})}
        for each in sides.values():
            closed(each.address, what.requests(each), 4, count=200)  # the first are slow
            each.rest()
        rows: list[Figure] = []
        for concurrency in CONCURRENCY:
            rows += _turns(what, plain, sides, concurrency)
        for each in sides.values():
            each.go_on()
    return rows


def _turns(what: Measured, plain: Plain, sides: dict[str, Side], concurrency: int) -> list[Figure]:
    rates: dict[str, list[float]] = {name: [] for name in ("plain", *sides)}
    runs: list[Seen] = []
    for _ in range(what.rounds):
        rates["plain"].append(plain.rate(min(concurrency, what.processes), what.seconds))
        for name, side in sides.items():
            seen = _one(what, side, concurrency)
            rates[name].append(seen.rate())
            runs += [seen] if name == "ours" else []
    middle = {name: statistics.median(each) for name, each in rates.items()}
    say(f"concurrency {concurrency}: {rates}")
    ratio = middle["ours"] / middle["plain"]
    text = f"{middle['ours']:.1f}/s, plain {middle['plain']:.1f}/s: {ratio:.2f}"
    name, promised = f"throughput, concurrency {concurrency}", f"{PLAIN_SHARE:g} of a plain loop"
    rows = [at_least(name, ratio, text, PLAIN_SHARE, promised)]
    if "litserve" in sides:
        ratio = middle["ours"] / middle["litserve"]
        text = f"{middle['ours']:.1f}/s, LitServe {middle['litserve']:.1f}/s: {ratio:.2f}"
        name = f"  against LitServe, concurrency {concurrency}"
        rows.append(at_least(name, ratio, text, PEER_SHARE, f"{PEER_SHARE:g} or more"))
    return [*rows, _latency(runs, concurrency)]


def _latency(runs: Sequence[Seen], concurrency: int) -> Figure:
    p50, p99 = (statistics.median(each.ms(200, of) for each in runs) for of in (50, 99))
    share = statistics.median(each.cpu_share for each in runs)
    said = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms: {p99 / p50:.2f} times; client {share:.0%} busy"
    name = f"  latency, concurrency {concurrency}"
    if concurrency != LATENCY_CONCURRENCY:
        return Figure(name, said)
    return at_most(name, p99 / p50, said, P99_OF_P50, f"p99 in {P99_OF_P50:g} p50")


def _one(what: Measured, side: Side, concurrency: int) -> Seen:
    side.go_on()
    seen = closed(side.address, what.requests(side), concurrency, seconds=what.seconds)
    side.rest()
    if set(seen.counts()) != {200}:
        raise SystemExit(f"expected only answers of 200, found {seen.counts()}: {side.address}")
    return seen


def clip(what: Measured) -> list[Figure]:
    """One minute of film, how much quicker than it lasts."""
    rows: list[Figure] = []
    with ours(what.root, what.algorithm, what.log("clip")) as side:
        for fps in CLIP_FPS:
            film = film_of(what.scratch / f"{fps}.mp4", what.pictures, fps, CLIP_S)
            begun = time.perf_counter()
            with film.open("rb") as stream:
                files = {"clip": ("film.mp4", stream, "video/mp4")}
                address = f"{side.address}/analyze?fps=5"
                found = httpx.post(address, files=files, headers=side.headers(), timeout=600)
            took = time.perf_counter() - begun
            if found.status_code != 200:
                raise SystemExit(f"expected 200, found {found.status_code}: {found.text[:500]}")
            frames = found.json()["clip"]["frames"]
            times = CLIP_S / took
            text = f"{took:.2f} s, {frames} frames looked at: {times:.1f} times as quick"
            name = f"clip, {CLIP_S} s of 720p, {fps} fps"
            if fps == PROMISED_FPS:
                rows.append(at_least(name, times, text, CLIP_TIMES, f"{CLIP_TIMES:g} times"))
            else:
                rows.append(Figure(name, text))
    return rows


def steady(what: Measured) -> list[Figure]:
    """Memory of all processes after 1,000 requests and after many more."""
    with ours(what.root, what.algorithm, what.log("steady")) as side:
        requests = what.requests(side)
        first = closed(side.address, requests, 4, count=1000)
        early = side.rss() / 1e6
        rest = closed(side.address, requests, 4, count=what.steady - 1000)
        late = side.rss() / 1e6
    failed = sum(
        count for seen in (first, rest) for status, count in seen.counts().items() if status != 200
    )
    text = f"{early:.0f} MB, then {late:.0f} MB: {late / early:.3f} times; {failed} failed"
    promised = f"{MEMORY_TIMES:g} times, none failed"
    met = not failed and late / early <= MEMORY_TIMES
    return [Figure(f"steady, {what.steady:,} requests", text, promised, met)]


PARTS: dict[str, Callable[[Measured], list[Figure]]] = {
    "throughput": throughput,
    "clip": clip,
    "steady": steady,
    "overload": overload,
    "killed": killed,
}


def asked_for() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("algorithm")
    parser.add_argument("folder", type=Path)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn")
    parser.add_argument("--steady", type=int, default=50_000, help="requests")
    parser.add_argument("--overload", type=float, default=60.0, help="seconds")
    words = parser.parse_args()
    unknown = [each for each in words.parts if each not in PARTS]
    if unknown:
        parser.error(f"expected some of {', '.join(PARTS)}, found {unknown[0]}")
    return words, words.parts or list(PARTS)


def main() -> int:
    from cityforge.inference.served import PACKAGE, read_published
    from cityforge.project import Project
    from cityforge.registry.published import pointer_path
    from cityforge.registry.site import Site
    from cityforge.settings import Settings

    words, parts = asked_for()
    root = words.folder.resolve()
    project = Project(root)
    cores = len(os.sched_getaffinity(0))
    say(f"load of this machine at the start: {os.getloadavg()[0]:.1f}; {cores} cores")
    rows: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="cityforge-bench-") as scratch:
        pictures = pictures_of(root, project.algorithm(words.algorithm).dataset)
        with ours(root, words.algorithm, Path(scratch) / "first.log"):
            pointer = pointer_path(Site(project, Settings()), words.algorithm)
            package = Path(read_published(pointer).folder) / PACKAGE
        what = Measured(
            words.algorithm, root, Path(scratch), package, pictures, words.rounds, words.seconds,
            words.steady, words.overload, cores,
        )  # fmt: skip
        for each in parts:
            found = PARTS[each](what)
            say(table(found))
            rows += found
    print(table(rows))
    say(f"load of this machine at the end: {os.getloadavg()[0]:.1f}")
    return exit_code(rows)


if __name__ == "__main__":
    sys.exit(main())
