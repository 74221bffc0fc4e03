"""How long `cityforge trace` takes with 1,000 versions and 1,000,000 labels, as whole processes.

The store is made here: snapshots that share their labels (the last one holds them all), five
splits of each, versions of five algorithms registered by one key, and a log of answers.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "registry"))

from kept import (  # noqa: E402
    approved,
    digest,
    film_id,
    frame_id,
    frames_table,
    keep,
    label_id,
    part,
    registered,
)  # fmt: skip

from cityforge.project import Project  # noqa: E402
from cityforge.settings import Settings  # noqa: E402
from cityforge.tables import LABELS  # noqa: E402
from cityforge.trust.journal import open_journal, signer_of  # noqa: E402

PEOPLE = tuple(f"annotator{number}@city" for number in range(20))
ALGORITHMS = tuple(f"algorithm_{number}" for number in range(5))
FRAMES_OF_FILM = 250
LABELS_OF_FRAME = 8


def labels_of(frames: pa.Table) -> pa.Table:
    """LABELS, eight on each frame."""
    ids = frames["frame_id"].to_pylist()
    count = len(ids) * LABELS_OF_FRAME
    at = np.repeat(np.arange(len(ids)), LABELS_OF_FRAME)
    columns: dict[str, Any] = {
        "label_id": [label_id(each, number) for each in ids for number in range(LABELS_OF_FRAME)],
        "frame_id": pa.array(ids).take(pa.array(at)),
        "task": pa.array(["detection"]).take(pa.array(np.zeros(count, np.int64))),
        "class": pa.array(["汽车", "bus"]).take(pa.array(np.arange(count) % 2)),
        "annotator": pa.array(PEOPLE).take(pa.array(at % len(PEOPLE))),
        "annotation_id": pa.array([str(100000 + each) for each in range(len(ids))]).take(
            pa.array(at)
        ),
        "source": pa.array(["label-studio:1"]).take(pa.array(np.zeros(count, np.int64))),
        "origin": pa.array(["human"]).take(pa.array(np.zeros(count, np.int64))),
    }
    empty = {each.name: pa.nulls(count, each.type) for each in LABELS if each.name not in columns}
    return pa.table({**columns, **empty}).select(LABELS.names).cast(LABELS)


def make(root: Path, labels: int, snapshots: int, versions: int, answers: int) -> None:
    """Write a project with all that."""
    for path, text in (("dvc.yaml", "stages: {}\n"), ("params.yaml", "algorithms: {}\n")):
        (root / path).write_text(text, encoding="utf-8")
    project = Project(root)
    films = max(snapshots, labels // (FRAMES_OF_FILM * LABELS_OF_FRAME))
    frames = frames_table(range(films), FRAMES_OF_FILM)
    drawn = labels_of(frames)
    splits = []
    for number in range(1, snapshots + 1):
        held = films * number // snapshots
        some = frames.slice(0, held * FRAMES_OF_FILM)
        theirs = drawn.slice(0, some.num_rows * LABELS_OF_FRAME)
        of = keep(project, f"snapshot {number}", range(held), some, theirs)
        splits += [part(project, f"split {number} {name}", of, some, name) for name in ALGORITHMS]
        print(f"snapshot {number}: {theirs.num_rows:,} labels", file=sys.stderr, flush=True)
    register_all(project, splits, versions)
    log_answers(project, versions, answers)


def register_all(project: Project, splits: list[str], versions: int) -> None:
    """One signed entry a version, and an approval of the newest of each algorithm."""
    settings = Settings(keys=str(project.root / "keys"))
    journal = open_journal(project, settings)
    signer = signer_of(journal, settings, "trainer")
    numbers = dict.fromkeys(ALGORITHMS, 0)
    newest: dict[str, Any] = {}
    with journal.turn() as turn:
        for each in range(versions):
            split = splits[each * len(splits) // versions]
            name = ALGORITHMS[each % len(ALGORITHMS)]
            numbers[name] += 1
            body = registered(numbers[name], split, name)
            newest[name] = turn.append(signer, "register", name, body)
        for name, entry in newest.items():
            turn.append(signer, "approve", name, approved(entry))


def log_answers(project: Project, versions: int, answers: int) -> None:
    """A log as the endpoint writes it."""
    folder = project.work / "answers"
    folder.mkdir(parents=True)
    with (folder / "2026-03-02.jsonl").open("w", encoding="utf-8") as stream:
        for number in range(answers):
            name = ALGORITHMS[number % len(ALGORITHMS)]
            package = digest(f"{name} {versions // len(ALGORITHMS)} package")
            row = {
                "request_id": f"{package[:16]}-{number:032x}",
                "at": "2026-03-02T09:30:00.000+00:00", "algorithm": name,
                "version": versions // len(ALGORITHMS),
                "package_digest": package, "pictures": 1, "ms": 12.5,
            }  # fmt: skip
            stream.write(json.dumps(row, sort_keys=True) + "\n")


def timed(root: Path, words: list[str], times: int) -> dict[str, Any]:
    """Median seconds of a whole process, what it had of the processors, and its peak memory."""
    command = [sys.executable, "-m", "cityforge.cli.main", "--project", str(root), "trace", *words]
    taken, own, size = [], [], 0
    for _ in range(times):
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            command, capture_output=True, check=False, env={**os.environ, "CITYFORGE_JOURNAL": ""}
        )
        taken.append(time.perf_counter() - begun)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        own.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        if done.returncode:
            raise SystemExit(done.stderr.decode())
        size = len(done.stdout)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        "trace": " ".join(words), "median_s": round(statistics.median(taken), 2),
        "most_s": round(max(taken), 2), "processor_s": round(statistics.median(own), 2),
        "bytes_out": size, "peak_so_far_mb": round(peak),
    }  # fmt: skip


def main() -> None:
    """Make the store, time each kind of trace, print the figures as JSON."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--labels", type=int, default=1_000_000)
    asked.add_argument("--snapshots", type=int, default=20)
    asked.add_argument("--versions", type=int, default=1_000)
    asked.add_argument("--answers", type=int, default=100_000)
    asked.add_argument("--times", type=int, default=5)
    asked.add_argument("--store", type=Path, help="Make it here, or use it where it stands.")
    given = asked.parse_args()
    with TemporaryDirectory(prefix="cityforge-trace-") as scratch:
        root = given.store or Path(scratch)
        if not (root / "dvc.yaml").is_file():
            root.mkdir(parents=True, exist_ok=True)
            make(root, given.labels, given.snapshots, given.versions, given.answers)
        lineage = root / ".cityforge" / "lineage"
        size = sum(path.stat().st_size for path in lineage.rglob("*") if path.is_file())
        last = given.versions // len(ALGORITHMS)
        package = digest(f"{ALGORITHMS[0]} {last} package")
        rows = [
            timed(root, words, given.times)
            for words in (
                [label_id(frame_id(3, 7), 2)], [film_id(3)], ["路口 3.mp4"], [frame_id(3, 7)],
                [f"{ALGORITHMS[0]}@{last}"], [f"{package[:16]}-{0:032x}"], ["100100"], [PEOPLE[3]],
                [label_id(frame_id(3, 7), 2), "--json"], [film_id(3), "--json"],
                [f"{ALGORITHMS[0]}@{last}", "--json"],
            )
        ]  # fmt: skip
        print(json.dumps({"lineage_mb": round(size / 1e6, 1), "traces": rows}, indent=1))


if __name__ == "__main__":
    main()
