"""Prints the figures that the project promises, measured now, on this machine.

    make bench                      everything
    make bench ARGS="demo help"     some of it

Each project is made in a scratch folder; `street` and `highway` need CITYFORGE_REAL_DATA.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "loop"))

from scratch import ROOT, cityforge, copy_project, dvc  # noqa: E402

Row = tuple[str, str, str]
COMMAND = str(Path(sys.executable).parent / "cityforge")


def watched(command: list[str], root: Path) -> tuple[float, float, str]:
    """Run a command: its seconds, the peak of its whole tree's memory in GB, what it said."""
    begun = time.monotonic()
    peak = [0.0]
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        watcher = threading.Thread(target=_watch_memory, args=(process, peak), daemon=True)
        watcher.start()
        said = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{said[-3000:]}")
    return time.monotonic() - begun, peak[0], said


def _watch_memory(process: subprocess.Popen[str], peak: list[float]) -> None:
    top = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for each in [top, *top.children(recursive=True)]:
                total += _own_memory(each)
        except psutil.Error:
            pass
        peak[0] = max(peak[0], total / 1e9)
        time.sleep(0.5)  # between two readings of the memory


def _own_memory(process: psutil.Process) -> int:
    """Proportional share, so that pages which processes share are counted once."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def demo(scratch: Path) -> list[Row]:
    """The demo, then what must follow from it: nothing reruns, one edit reruns little."""
    root = copy_project(scratch / "demo")
    seconds, peak, said = watched([COMMAND, "demo"], root)
    metrics = json.loads(
        (root / "algorithms/demo_crossing/build/evaluate/metrics.json").read_text()
    )
    rows = [
        ("demo", f"{seconds:.0f} s, {peak:.2f} GB", "300 s, 3 GB"),
        ("demo's model, mAP50 on its test split", f"{metrics['map50']:.3f}", "0.60"),
    ]
    assert "request" in said, "the endpoint's answer"
    begun = time.monotonic()
    again = dvc(root, "repro")
    spent = time.monotonic() - begun
    rerun = again.count("Running stage")
    rows.append(("second dvc repro", f"{spent:.1f} s, {rerun} stages rerun", "5 s, none"))
    return rows + _one_edit(root)


def _one_edit(root: Path) -> list[Row]:
    made = cityforge(
        root,
        "algorithm",
        "new",
        "second_one",
        "--dataset",
        "demo_crossing",
        "--space",
        "road_traffic",
    )
    assert made.returncode == 0, made.stderr
    changed = cityforge(
        root, "run", "demo_crossing", "--set", "evaluate.overlap=0.55", "--stage", "evaluate"
    )
    ran = [line.split("'")[1] for line in changed.stdout.splitlines() if line.startswith("Running")]
    return [
        ("one edit in params.yaml (evaluate.overlap)", ", ".join(ran), "that one's, from there")
    ]


def real(name: str, dataset: str, promised: str) -> Callable[[Path], list[Row]]:
    """An algorithm on real photographs: import, run from scratch, approve, serve, ask."""

    def measure(scratch: Path) -> list[Row]:
        folder = Path(os.environ.get("CITYFORGE_REAL_DATA", ROOT.parent / "shared" / "data"))
        source = folder / dataset
        if not source.is_dir():
            return [(name, "not measured: no CITYFORGE_REAL_DATA", promised)]
        root = copy_project(scratch / name)
        for words in (
            ["footage", "add", dataset, str(source)],
            ["label", "import", dataset, str(source)],
        ):
            done = cityforge(root, *words)
            assert done.returncode == 0, done.stderr
        seconds, peak, _ = watched([COMMAND, "run", name], root)
        build = root / "algorithms" / name / "build"
        metrics = json.loads((build / "evaluate/metrics.json").read_text())
        trained: dict[str, Any] = json.loads((build / "train/train.json").read_text())
        figures = (
            f"mAP50 {metrics['map50']:.3f}, mAP50-95 {metrics['map50_95']:.3f}; training "
            f"{trained['seconds']:.0f} s, {trained['epochs']} epochs, "
            f"{trained['images_per_second']:.1f} pictures/s; run {seconds:.0f} s, {peak:.2f} GB"
        )
        return [(name, figures, promised)]

    return measure


def help_page(scratch: Path) -> list[Row]:
    """Start of the command line, best of five."""
    spent = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run([COMMAND, "--help"], check=True, capture_output=True)
        spent.append(time.perf_counter() - begun)
    return [("cityforge --help", f"{min(spent):.3f} s", "0.3 s")]


MEASURES: dict[str, Callable[[Path], list[Row]]] = {
    "help": help_page,
    "demo": demo,
    "street": real("street_environment", "street_garbage", "mAP50 0.25 in 600 s of training"),
    "highway": real("highway_traffic", "highway", "it runs"),
}


def main() -> None:
    chosen = sys.argv[1:] or list(MEASURES)
    unknown = [each for each in chosen if each not in MEASURES]
    if unknown:
        raise SystemExit(f"expected some of {', '.join(MEASURES)}, found {unknown[0]}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="cityforge-bench-") as scratch:
        for each in chosen:
            rows += MEASURES[each](Path(scratch))
            print(f"measured {each}", file=sys.stderr)
    widths = [max(len(row[i]) for row in [*rows, ("what", "measured", "promised")]) for i in (0, 1)]
    for row in [("what", "measured", "promised"), *rows]:
        print(f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}")


if __name__ == "__main__":
    main()
