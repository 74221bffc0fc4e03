"""Training held against Ultralytics' yolo11n and against a bare torch loop, in one run.

    make bench-training                          everything: about 45 minutes on a quiet machine
    make bench-training ARGS="accuracy equal"    some of it: accuracy equal overhead accelerator

Needs CITYFORGE_REAL_DATA. Ultralytics (AGPL-3.0) is put into an environment of its own, in
the folder CITYFORGE_BENCH_ENV or a scratch one; nothing of it comes near the project's.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "loop"))

from scratch import cityforge, copy_project  # noqa: E402

NAME, DATASET, SIZE, EPOCHS, MINUTES = "street_environment", "street_garbage", 320, 15, 10.0
SEEDS = (7, 8, 9)
GPU_SIZE = 640  # of the picture where there is an accelerator, pixels
LOOPS = 4  # epochs of each side where the overhead is measured
TURNS = 5  # of both sides, one after the other; who begins changes
SHORT_MINUTES = 1.5  # budget of ours where the time to an accuracy is measured


DONE: dict[str, dict[str, Any]] = {}  # of this run: yolo11n's 15 epochs


def main() -> None:
    """Measure what was asked for, and print a line a figure."""
    if len(sys.argv) > 2 and sys.argv[1] == "--child":
        sys.stdout.write("\nRESULT " + json.dumps(CHILDREN[sys.argv[2]](*sys.argv[3:])) + "\n")
        return
    asked = sys.argv[1:] or list(MEASURES)
    print(f"load of this machine at the start: {os.getloadavg()[0]:.1f}; {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        root = prepared(scratch)
        for name in asked:
            MEASURES[name](scratch, root)
    print(f"load of this machine at the end: {os.getloadavg()[0]:.1f}")


def prepared(scratch: Path) -> Path:
    """A project with the photographs and their labels, up to its snapshot."""
    source = real_data()
    root = copy_project(scratch / "project")
    for words in (
        ["footage", "add", DATASET, str(source)],
        ["label", "import", DATASET, str(source)],
        ["run", NAME, "--stage", "split"],
    ):
        done = cityforge(root, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    return root


def real_data() -> Path:
    folder = Path(os.environ.get("CITYFORGE_REAL_DATA", "")) / DATASET
    if not os.environ.get("CITYFORGE_REAL_DATA") or not folder.is_dir():
        raise SystemExit(f"expected CITYFORGE_REAL_DATA with {DATASET}, found none")
    return folder


def accuracy(scratch: Path, root: Path) -> None:
    """Seconds until the mAP50 that yolo11n has after its 15 epochs."""
    theirs = DONE["peer"] = peer(scratch, EPOCHS, 0.0)
    target = theirs["rows"][-1]["map50"]
    spent = []
    for seed in SEEDS:
        ours = child("ours", root, SHORT_MINUTES, seed)
        reached = [row["wall"] for row in ours["rows"] if row["map50"] >= target]
        spent.append(reached[0] if reached else float("inf"))
        print(f"  seed {seed}: {_shown(ours['rows'])}")
    half = statistics.median(spent)
    print(f"  yolo11n: {_shown(theirs['rows'], 'seconds')}")
    print(
        f"time to accuracy: mAP50 {target:.3f} in {half:.0f} s (median of {spent}), yolo11n "
        f"{theirs['seconds']:.0f} s: {theirs['seconds'] / half:.1f} times quicker (promise: 5)"
    )
    print(
        f"images per second in training: {ours['images_per_second']:.1f} to "
        f"{theirs['images_per_second']:.1f}: "
        f"{ours['images_per_second'] / theirs['images_per_second']:.2f} times (promise: 2.5)"
    )


def equal(scratch: Path, root: Path) -> None:
    """What both come to in ten minutes; 15 epochs of yolo11n that took longer stand for it."""
    ours = child("ours", root, MINUTES, SEEDS[0])
    theirs = DONE.get("peer")
    if theirs is None or theirs["seconds"] < 60 * MINUTES:
        theirs = peer(scratch, EPOCHS, MINUTES / 60)
    best = max(ours["rows"], key=lambda row: row["map50"])
    print(f"  ours: {_shown(ours['rows'])}")
    print(f"  yolo11n: {_shown(theirs['rows'], 'seconds')}")
    print(
        f"after {MINUTES:g} minutes: mAP50 {best['map50']:.3f} to {theirs['best_map50']:.3f} "
        f"({best['map50'] / theirs['best_map50']:.2f} times, promise: 2), mAP50-95 "
        f"{best['map50_95']:.3f} to {theirs['best_map50_95']:.3f} (promise: higher)"
    )


def overhead(scratch: Path, root: Path) -> None:
    """`cityforge run` against a bare torch loop with the same network, loss and input."""
    sides: dict[str, list[float]] = {"bare": [], "run": []}
    for turn in range(TURNS):
        for name in ("bare", "run") if turn % 2 else ("run", "bare"):
            sides[name].append(_run(root, turn) if name == "run" else _bare(root, turn))
    bare, run = sides["bare"], sides["run"]
    share = statistics.median(r / b for r, b in zip(run, bare, strict=True))
    print(
        f"overhead: cityforge run {_list(run)} images/s, bare loop {_list(bare)}: "
        f"{share:.3f} (median of pairs, promise: 0.95)"
    )


def _bare(root: Path, seed: int) -> float:
    return float(child("bare", root, seed)["images_per_second"])


def _run(root: Path, seed: int) -> float:
    """Images a second of `cityforge run` in whole pictures."""
    values = {"epochs": LOOPS, "grow_from": 1.0, "grow_until": 0.0, "seed": seed}
    words = [word for key, value in values.items() for word in ("--set", f"train.{key}={value}")]
    done = cityforge(root, "run", NAME, "--stage", "train", *words, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    about = json.loads((root / f"algorithms/{NAME}/build/train/train.json").read_text())
    return float(about["images_per_second"])


def accelerator(scratch: Path, root: Path) -> None:
    """Images a second of detection/small at 640 px, where there is a GPU."""
    import torch

    if not torch.cuda.is_available():
        print("accelerator: not measured, torch sees no CUDA device")
        return
    found = child("on_gpu", root)
    print(
        f"accelerator: {found['images_per_second']:.1f} images per second in training, "
        f"detection/small at {GPU_SIZE} px on {found['device']}"
    )


def _list(values: list[float]) -> str:
    return " ".join(f"{value:.1f}" for value in values)


def _shown(rows: list[dict[str, float]], clock: str = "wall") -> str:
    return ", ".join(f"{row[clock]:.0f} s {row['map50']:.3f}" for row in rows)


def peer(scratch: Path, epochs: int, hours: float) -> dict[str, Any]:
    """Train yolo11n with Ultralytics' defaults, in its own environment."""
    data = scratch / "yolo"
    if not data.is_dir():
        shutil.copytree(real_data(), data, copy_function=shutil.copyfile)
        names = "names: [garbage, garbage_bin, overflow]"
        text = f"path: {data}\ntrain: train/images\nval: valid/images\nnc: 3\n{names}\n"
        (data / "data.yaml").write_text(text, encoding="utf-8")
    command = [
        str(peer_environment(scratch)), str(HERE.parent / "ultralytics_side.py"),
        str(data / "data.yaml"), str(scratch / f"peer-{hours}"), str(SIZE), str(epochs), str(hours),
    ]  # fmt: skip
    return _result(command, {"YOLO_CONFIG_DIR": str(scratch / "peer-config")})


def peer_environment(scratch: Path) -> Path:
    """Python of an environment with Ultralytics and the torch that we have; made when missing."""
    import torch
    import torchvision

    folder = Path(os.environ.get("CITYFORGE_BENCH_ENV", scratch / "peer-env"))
    python = folder / "bin" / "python"
    if not python.exists():
        uv = str(Path(sys.executable).parent / "uv")
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
        same = [f"torch=={torch.__version__.partition('+')[0]}",
                f"torchvision=={torchvision.__version__.partition('+')[0]}"]  # fmt: skip
        install = [uv, "pip", "install", "--quiet", "--python", python, "ultralytics", *same]
        subprocess.run(install, check=True)
    return python


def child(kind: str, root: Path, *words: Any) -> dict[str, Any]:
    """One training of ours in a process of its own."""
    command = [sys.executable, str(HERE), "--child", kind, str(root), *map(str, words)]
    return _result(command, {})


def _result(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise SystemExit(f"{command[1]} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    return found


def opened(root: str) -> tuple[Any, Any, Any, Any, Any]:
    """Card, parameters, frames of train/ and of valid/, and their store."""
    from cityforge.dataset.loader import labelled_frames
    from cityforge.footage.catalogue import read_catalogue
    from cityforge.project import Project
    from cityforge.tables import SPLIT, from_rows
    from cityforge.training.data import open_training_data

    project = Project(Path(root))
    card = project.algorithm(NAME)
    data = open_training_data(project, card)
    films = read_catalogue(project.dataset_folder(DATASET)).to_pylist()
    part = {film["footage_id"]: film["name"].partition("/")[0] for film in films}
    rows = []
    for row in data.frames.select(["frame_id", "footage_id"]).to_pylist():
        subset = "train" if part[row["footage_id"]] == "train" else "val"
        rows.append({"frame_id": row["frame_id"], "subset": subset, "group": row["footage_id"]})
    split = from_rows(rows, SPLIT)
    frames = [labelled_frames(split, data.labels, each, card.classes) for each in ("train", "val")]
    return card, project.algorithm_params(NAME), *frames, data.store


def ours(root: str, minutes: str, seed: str) -> dict[str, Any]:
    """Train on train/, judge on valid/ every second epoch (of ten minutes every fourth)."""
    from cityforge.training.fit import fit, make_learner

    card, params, train_frames, val_frames, store = opened(root)
    train = params.train.model_copy(
        update={"minutes": float(minutes), "epochs": 1000, "seed": int(seed), "patience": 1000,
                "validate_every": 2 if float(minutes) < MINUTES else 4}
    )  # fmt: skip
    begun = time.monotonic()
    walls: list[float] = []
    outcome = fit(
        make_learner(card, train),
        train_frames=train_frames,
        val_frames=val_frames,
        store=store,
        data=params.data,
        train=train,
        on_validation=lambda epoch, score: walls.append(time.monotonic() - begun) or False,
    )
    judged = [row for row in outcome.history if "val_map50" in row]
    rows = [
        {"wall": wall, "map50": row["val_map50"], "map50_95": row["val_map50_95"]}
        for wall, row in zip(walls, judged, strict=True)
    ]
    return {"rows": rows, "images_per_second": outcome.images_per_second}


def bare(root: str, seed: str) -> dict[str, Any]:
    """As many epochs of a loop that does nothing but train."""
    import torch

    from cityforge.dataset.loader import training_batches
    from cityforge.project import Project
    from cityforge.training.data import open_training_data
    from cityforge.training.fit import make_learner
    from cityforge.training.quicken import keep_memory

    project = Project(Path(root))
    card, params = project.algorithm(NAME), project.algorithm_params(NAME)
    data = open_training_data(project, card)
    train = params.train.model_copy(update={"seed": int(seed)})
    keep_memory()
    learner = make_learner(card, train)
    network, objective = learner.network.train(), learner.objective
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    batches = training_batches(data.subset("train"), data.store, params.data, train)
    seen, spent = 0, 0.0
    for epoch in range(LOOPS):
        batches.sampler.set_epoch(epoch)
        begun = time.monotonic()
        for batch in batches:
            loss = objective.losses(network, batch)["loss"]
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimiser.step()
            optimiser.zero_grad()
            seen += len(batch.pictures)
        spent += time.monotonic() - begun
    return {"images_per_second": seen / spent}


def on_gpu(root: str) -> dict[str, Any]:
    """A few epochs of the larger network with whole pictures."""
    import torch

    from cityforge.training.fit import fit, make_learner

    card, params, train_frames, val_frames, store = opened(root)
    card = card.model_copy(update={"network": "detection/small"})
    values = {"device": "gpu", "epochs": LOOPS, "grow_from": 1.0, "grow_until": 0.0}
    train = params.train.model_copy(update=values)
    size = {"input_width": GPU_SIZE, "input_height": GPU_SIZE}
    outcome = fit(
        make_learner(card, train),
        train_frames=train_frames,
        val_frames=val_frames,
        store=store,
        data=params.data.model_copy(update=size),
        train=train,
    )
    name = torch.cuda.get_device_name(0)
    return {"images_per_second": outcome.images_per_second, "device": name}


MEASURES = {
    "accuracy": accuracy, "equal": equal, "overhead": overhead, "accelerator": accelerator,
}  # fmt: skip
CHILDREN = {"ours": ours, "bare": bare, "on_gpu": on_gpu}

if __name__ == "__main__":
    main()
