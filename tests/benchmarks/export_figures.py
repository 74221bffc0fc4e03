"""The exported models held against torch: parity, INT8 and speed, in one table.

    make bench-export                       both: about half an hour on a quiet machine
    make bench-export ARGS="synthetic 1"    one of them, with so many minutes of training
    make bench-export ARGS="kept FOLDER demo_crossing"    a project that is trained already

`street` needs CITYFORGE_REAL_DATA.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "loop"))

from scratch import cityforge, copy_project  # noqa: E402

Row = tuple[str, str, str]
MINUTES = "4"
METHODS = ("minmax", "entropy", "percentile")
# Histograms of a whole network take gigabytes.
CALIBRATED_ON = 16


def synthetic(scratch: Path, minutes: str) -> list[Row]:
    """The demo's crossing, trained for some minutes."""
    from cityforge.cli.demo import make_footage, take_in
    from cityforge.project import Project
    from cityforge.settings import Settings

    root = copy_project(scratch / "synthetic")
    project, settings = Project(root), Settings(tracking_uri="")
    take_in(project, settings, make_footage(project, settings))
    return trained(root, "demo_crossing", minutes)


def street(scratch: Path, minutes: str) -> list[Row]:
    """Photographs of litter, trained for some minutes."""
    source = Path(os.environ.get("CITYFORGE_REAL_DATA", "")) / "street_garbage"
    if not os.environ.get("CITYFORGE_REAL_DATA") or not source.is_dir():
        return [("street", "not measured: no CITYFORGE_REAL_DATA", "")]
    root = copy_project(scratch / "street")
    for words in (["footage", "add"], ["label", "import"]):
        run(root, *words, "street_garbage", str(source))
    return trained(root, "street_environment", minutes)


def run(root: Path, *words: str) -> None:
    done = cityforge(root, *words, timeout=3600)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-3000:]}")


def trained(root: Path, name: str, minutes: str) -> list[Row]:
    """Train, and measure what the export stage would write."""
    run(root, "run", name, "--stage", "train", "--set", f"train.minutes={minutes}")
    return measured(root, name)


def measured(root: Path, name: str) -> list[Row]:
    """Parity and INT8 as the export stage has them, then what it chose from."""
    from cityforge.export.found import read_int8, read_sides
    from cityforge.export.onnx import open_network
    from cityforge.export.stage import Trained, export
    from cityforge.footage.catalogue import read_catalogue
    from cityforge.project import Project
    from cityforge.training.data import open_training_data
    from cityforge.training.picked import with_trained_input

    project = Project(root)
    card, build = project.algorithm(name), project.build(name)
    params = with_trained_input(project.algorithm_params(name), build / "train")
    data = open_training_data(project, card)
    trained = Trained(
        card, open_network(build / "train"), params.data, params.evaluate,
        data.subset("train"), data.subset("val"), data.store,
    )  # fmt: skip
    footage = read_catalogue(project.dataset_folder(card.dataset))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "export"
        export(trained, params.export, frames=data.frames, footage=footage, out=out, say=say)
        found, int8 = read_sides(out), read_int8(out)
        model = (out / "model.onnx").read_bytes()
    size = f"{params.data.input_width}×{params.data.input_height}"
    rows = [(f"{name}: {card.network} at {size}", f"{found.frames} frames of val", "")]
    rows += [_side(side, found.sides[0]) for side in found.sides[1:]]
    said = "offered" if int8.offered else "not offered"
    rows.append(("  INT8", f"{said}: {int8.why}", "quicker than FP32 or not offered"))
    few = shown_of_train(trained, params.export.int8.frames)
    return rows + chosen_from(trained, model) + speeds(trained, model, few)


def _side(side: Any, torch: Any) -> Row:
    apart = abs((side.score or 0.0) - (torch.score or 0.0))
    text = (
        f"boxes {side.box_px or 0.0:.1e} px, scores {side.answer or 0.0:.1e}, "
        f"{side.unmatched} unmatched, mAP50 {side.score or 0.0:.4f} ({apart:.1e} from torch)"
    )
    exact = side.name == "onnx"
    promised = "0.01 px, 1e-4, mAP equal to 1e-4" if exact else "drop at most 0.01"
    return f"  {side.name} against torch", text, promised


def shown_of_train(trained: Any, most: int) -> list[Any]:
    """Canvases of frames over the whole of train."""
    step = max(1, len(trained.train) // most)
    few = trained.train.take(range(0, len(trained.train), step)[:most])
    return [each.canvas for each in trained.fitted(few)]


def chosen_from(trained: Any, model: bytes) -> list[Row]:
    """Each way to find ranges, with the last layers in float and without: its drop on val."""
    from cityforge.export.quantize import quantised
    from cityforge.export.sides import draft_about, measured_sides, onnx_way

    about = draft_about(trained.card, trained.data, trained.answers, False)
    exact = onnx_way(model, trained.card.task)
    rows = []
    for method in METHODS:
        for tail_in_float in (True, False):
            canvases = shown_of_train(trained, CALIBRATED_ON)
            made = quantised(model, canvases, method, tail_in_float=tail_in_float)
            ways: Any = {"onnx": exact, "int8": onnx_way(made, trained.card.task)}
            found = measured_sides(about, trained.val, trained.store.read, ways)
            whole, small = (side.score or 0.0 for side in found.sides)
            tail = "last layers in float" if tail_in_float else "all layers in INT8"
            rows.append((f"  INT8 by {method}, {tail}", f"drop {whole - small:+.4f}", ""))
            say(f"{rows[-1][0]}: {rows[-1][1]}")
    return rows


def speeds(trained: Any, model: bytes, canvases: list[Any]) -> list[Row]:
    """One picture at a time, on one core and on all of them."""
    import torch

    from cityforge.export.answers import with_thresholds
    from cityforge.export.quantize import quantised
    from cityforge.export.sides import answered_by, draft_about, onnx_way, torch_way
    from cityforge.export.speed import device, measured_rounds, speeds_of, times_quicker

    task, val = trained.card.task, trained.val
    about = draft_about(trained.card, trained.data, trained.answers, False)
    int8 = quantised(model, canvases)
    answered = answered_by(about, val, trained.store.read, {"onnx": onnx_way(model, task)})
    about = with_thresholds(about, answered.truth, answered.found["onnx"])
    shown = trained.fitted(val.take(range(min(8, len(val)))))
    machine = device()
    rows = [("  machine", f"{machine.processor}, {machine.threads} cores, {machine.runtime}", "")]
    for threads in sorted({1, machine.threads}):
        torch.set_num_threads(threads)
        ways: Any = {
            "torch": torch_way(trained.network),
            "onnx": onnx_way(model, task, threads),
            "int8": onnx_way(int8, task, threads),
        }
        rounds = measured_rounds(about, ways, shown)
        for each in speeds_of(rounds):
            said = f"p50 {each.p50_ms:.2f} ms, p95 {each.p95_ms:.2f} ms, {each.images_per_s:.1f}/s"
            rows.append((f"  {each.name}, threads {threads}", said, ""))
        pairs: Any = (("onnx", "torch"), ("int8", "torch"), ("int8", "onnx"))
        text = ", ".join(
            f"{quick} {times_quicker(rounds, quick, slow):.2f} times as quick as {slow}"
            for quick, slow in pairs
        )
        rows.append((f"  threads {threads}", text, "ONNX 5 times torch eager"))
    return rows


def say(line: str) -> None:
    print(line, file=sys.stderr)


def main() -> None:
    words = sys.argv[1:]
    known = {"synthetic": synthetic, "street": street}
    say(f"load of this machine at the start: {os.getloadavg()[0]:.1f}; {os.cpu_count()} cores")
    if words[:1] == ["kept"]:
        rows = measured(Path(words[1]), words[2])
    else:
        minutes = words.pop() if words and words[-1].replace(".", "").isdecimal() else MINUTES
        unknown = [each for each in words if each not in known]
        if unknown:
            raise SystemExit(f"expected some of {', '.join(known)}, found {unknown[0]}")
        rows = []
        with tempfile.TemporaryDirectory(prefix="cityforge-bench-") as scratch:
            for each in words or known:
                rows += known[each](Path(scratch), minutes)
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    for row in [("what", "measured", "promised"), *rows]:
        print(f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}")
    say(f"load of this machine at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
