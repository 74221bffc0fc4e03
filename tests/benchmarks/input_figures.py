"""Prints the figures of a training's input: how quick it is, and how much memory it takes.

    make bench-input                   both
    make bench-input ARGS="speed"      some of it: speed memory

`speed` holds the loader against torchvision's reference for detection on the same JPEG files
and needs CITYFORGE_REAL_DATA. It counts seconds of one core, so that another program on the
machine changes little. `memory` trains on 2,000 and on 20,000 synthetic frames.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

from torchvision_side import THEIRS, theirs

from cityforge.cards.params import AlgorithmParams
from cityforge.cards.yaml_files import read_yaml
from cityforge.dataset.loader import LabelledFrames
from cityforge.dataset.weather import WEATHER
from cityforge.footage.shards import FrameStore, read_shard, write_shard

HERE = Path(__file__).resolve()
ALGORITHM, DATASET = "street_environment", "street_garbage"
ROUNDS, FRAMES = 3, 200  # each way takes so many frames in turn, so often
AT_LEAST, AT_MOST = 1.5, 1.15
FEW, MANY, VALIDATED = 2_000, 20_000, 64  # frames
STEPS = 30
BOXES = 8  # a frame
OURS, OURS_FLIPPED = "cityforge", "cityforge, flip alone"


def main() -> None:
    """Measure what was asked for, and print a line a figure."""
    if len(sys.argv) > 1 and sys.argv[1] == "--train":
        train_on(Path(sys.argv[2]))
        return
    print(f"load of this machine at the start: {os.getloadavg()[0]:.1f}; {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as scratch:
        for name in sys.argv[1:] or MEASURES:
            MEASURES[name](Path(scratch))


def params_of(algorithm: str) -> AlgorithmParams:
    path = HERE.parents[2] / "algorithms" / algorithm / "params.yaml"
    return AlgorithmParams.model_validate(read_yaml(path))


# --- speed ---


@dataclass(frozen=True)
class Photographs:
    """JPEG files with their boxes: (M, 4) xyxy pixels, (M,) class index."""

    paths: list[Path]
    boxes: list[tuple[NDArray[Any], NDArray[Any]]]


def speed(scratch: Path) -> None:
    """Frames decoded, augmented and batched per second of one core, ours and torchvision's."""
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    found, params = photographs(), params_of(ALGORITHM)
    size = (params.data.input_height, params.data.input_width)
    ways: dict[str, Callable[[int], Iterator[int]]] = {
        **ours(found, params, scratch),
        **theirs(found.paths, found.boxes, size, params.train.batch),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS):
        for name, draw in ways.items():
            begun, count = time.process_time(), 0
            for pictures in draw(number):
                count += pictures
            spent[name].append(count / (time.process_time() - begun))
    figures = {name: statistics.median(each) for name, each in spent.items()}
    for name, figure in figures.items():
        print(f"{figure:8.1f} frames/s a core  {name}")
    for name, preset in ((OURS, "ssd"), (OURS_FLIPPED, "hflip")):
        best = max(each for other, each in figures.items() if f"{THEIRS} {preset}" in other)
        ratio = figures[name] / best
        print(f"{name} / the quicker {THEIRS} {preset}: {ratio:.1f} (at least {AT_LEAST})")


def photographs() -> Photographs:
    folder = Path(os.environ.get("CITYFORGE_REAL_DATA", "none"))
    paths = sorted((folder / DATASET / "train" / "images").glob("*"))[:FRAMES]
    if not paths:
        raise SystemExit(f"speed needs CITYFORGE_REAL_DATA, a folder with {DATASET}")
    return Photographs(paths, [_yolo(path) for path in paths])


def _yolo(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    from PIL import Image

    text = path.parents[1] / "labels" / f"{path.stem}.txt"
    rows = np.loadtxt(text, ndmin=2) if text.stat().st_size else np.zeros((0, 5))
    with Image.open(path) as image:
        size = np.tile(image.size, 2)
    middle, half = rows[:, 1:3], rows[:, 3:5] / 2
    xyxy = np.concatenate([middle - half, middle + half], 1) * size
    return xyxy.astype(np.float32), rows[:, 0].astype(np.int64)


def ours(
    found: Photographs, params: AlgorithmParams, scratch: Path
) -> dict[str, Callable[[int], Iterator[int]]]:
    """Frames from a shard, with the augmentation of the card and with all of it."""
    from cityforge.dataset.loader import training_batches
    from cityforge.dataset.smaller import SmallFrames

    ids = [f"{number:016x}-0" for number in range(len(found.paths))]
    members = zip(ids, [path.read_bytes() for path in found.paths], strict=True)
    store = stored(scratch / "street", members)
    frames = LabelledFrames(ids, found.boxes)
    data = params.data.model_copy(update={"workers": 0})

    def way(kept: bool, **shares: Any) -> Callable[[int], Iterator[int]]:
        augment = params.train.augment.model_copy(update=shares)
        train = params.train.model_copy(update={"augment": augment})
        batches = training_batches(frames, store, data, train)
        if kept:
            list(batches)
        else:
            batches.dataset.small = SmallFrames(ids, store, batches.dataset.size, kept_bytes=0)

        def draw(number: int) -> Iterator[int]:
            batches.sampler.set_epoch(number)
            for batch in batches:
                yield len(batch.pictures)

        return draw

    only_flip: dict[str, Any] = {"mosaic": 0.0, "colour": 0.0, "scale": (1.0, 1.0)}
    return {
        OURS: way(kept=False),
        f"{OURS} + a tenth each of {', '.join(WEATHER)}": way(
            kept=False, **dict.fromkeys(WEATHER, 0.1)
        ),
        f"{OURS}, once its frames are kept": way(kept=True),
        OURS_FLIPPED: way(kept=False, **only_flip),
    }


def stored(folder: Path, members: Any) -> FrameStore:
    """A shard with these frames, and what reads it."""
    write_shard(folder / "a.tar", members)
    read = list(read_shard(folder / "a.tar"))
    columns = {
        "frame_id": [each.name for each in read],
        "shard": ["a.tar"] * len(read),
        "offset": [each.offset for each in read],
        "bytes": [len(each.data) for each in read],
    }
    return FrameStore(folder, pa.table(columns))


# --- memory ---


def memory(scratch: Path) -> None:
    """Peak memory of a training and its workers, on few and on many frames."""
    peaks = {}
    for count in (FEW, MANY):
        folder = scratch / str(count)
        synthetic(folder, count)
        command = [sys.executable, str(HERE), "--train", str(folder)]
        peaks[count] = peak_of(command)
        print(f"{count} frames, {STEPS} steps: {peaks[count] / 1e6:.0f} MB")
    print(f"memory, {MANY} / {FEW} frames: {peaks[MANY] / peaks[FEW]:.3f} (at most {AT_MOST})")


def peak_of(command: list[str]) -> int:
    """Bytes that a program and its children had at once, at most.

    Libraries count as they stand in the first process: their proportional share falls when
    another program on the machine uses them, too.
    """
    most = 0
    with subprocess.Popen(command) as process:
        top = psutil.Process(process.pid)
        while process.poll() is None:
            most = max(most, _bytes_of(top))
            time.sleep(0.1)  # between two readings of the memory
    if process.returncode:
        raise SystemExit(f"the training ended with {process.returncode}")
    return most


def _bytes_of(top: psutil.Process) -> int:
    total = 0
    try:
        total += 1024 * _field(f"/proc/{top.pid}/status", "RssFile")
        for each in [top, *top.children(recursive=True)]:
            for kind in ("Pss_Anon", "Pss_Shmem"):
                total += 1024 * _field(f"/proc/{each.pid}/smaps_rollup", kind)
    except (psutil.Error, OSError):
        pass  # a process ended meanwhile
    return total


def _field(path: str, name: str) -> int:
    """A figure of a /proc file, in KiB."""
    lines = Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def synthetic(folder: Path, count: int) -> None:
    """Frames, labels and split as a training finds them; 50 pictures stored again and again."""
    from cityforge.tables import FRAMES, LABELS, SPLIT, from_rows, write_table

    rng = np.random.default_rng(0)
    pictures = [_drawn(rng) for _ in range(50)]
    ids = [f"{number:016x}-0" for number in range(count)]
    write_shard(folder / "a.tar", ((ids[n], pictures[n % 50][0]) for n in range(count)))
    rows = [
        {
            "frame_id": each.name, "footage_id": each.name[:16], "pts_s": 0.0, "shard": "a.tar",
            "offset": each.offset, "bytes": len(each.data), "width": 320, "height": 320,
            "phash": "0" * 16, "sharpness": 1.0, "brightness": 120.0, "contrast": 1.0,
            "lighting": "day", "faults": [], "redactions": [],
        }
        for each in read_shard(folder / "a.tar")
    ]  # fmt: skip
    write_table(from_rows(rows, FRAMES), FRAMES, folder / "frames.parquet")
    labels = [
        {
            "label_id": f"{frame}{number}", "frame_id": frame, "task": "detection",
            "class": "car", "x1": box[0], "y1": box[1], "x2": box[2], "y2": box[3],
            "source": "drawn", "origin": "human",
        }
        for row, frame in enumerate(ids)
        for number, box in enumerate(pictures[row % 50][1])
    ]  # fmt: skip
    write_table(from_rows(labels, LABELS), LABELS, folder / "labels.parquet")
    split = [
        {"frame_id": frame, "subset": "val" if row < VALIDATED else "train", "group": frame}
        for row, frame in enumerate(ids)
    ]
    write_table(from_rows(split, SPLIT), SPLIT, folder / "split.parquet")


def _drawn(rng: np.random.Generator) -> tuple[bytes, list[list[float]]]:
    """A street of rectangles 320 x 320 as a JPEG, and their boxes."""
    import cv2

    image = np.full((320, 320, 3), 120, np.uint8)
    image += rng.integers(0, 12, image.shape, np.uint8)
    corners = rng.integers(0, 260, (BOXES, 2))
    sides = rng.integers(20, 60, (BOXES, 2))
    boxes = np.concatenate([corners, corners + sides], 1)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = rng.integers(0, 255, 3)
    return bytes(cv2.imencode(".jpg", image)[1]), boxes.astype(float).tolist()


@dataclass(frozen=True)
class Card:
    """What `make_learner` asks of an algorithm's card."""

    task: str
    network: str
    classes: list[str]


def train_on(folder: Path) -> None:
    """Open the tables and train for some steps, as the stage `train` does."""
    import pytorch_lightning as pl

    from cityforge.dataset.loader import labelled_frames
    from cityforge.tables import FRAMES, LABELS, SPLIT, read_table
    from cityforge.training.fit import fit, make_learner

    frames = read_table(FRAMES, folder / "frames.parquet")
    labels = read_table(LABELS, folder / "labels.parquet")
    split = read_table(SPLIT, folder / "split.parquet")
    card: Any = Card("detection", "detection/nano", ["car"])
    params = params_of(ALGORITHM)
    train = params.train.model_copy(update={"minutes": 60.0})
    train_frames, val_frames = (
        labelled_frames(split, labels, each, card.classes) for each in ("train", "val")
    )

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            trainer.should_stop = trainer.global_step >= STEPS
            self.steps = trainer.global_step

    stop = Stop()
    fit(
        make_learner(card, train),
        train_frames=train_frames,
        val_frames=val_frames,
        store=FrameStore(folder, frames),
        data=params.data,
        train=train,
        callbacks=[stop],
    )
    assert stop.steps == STEPS, stop.steps


MEASURES: dict[str, Callable[[Path], None]] = {"speed": speed, "memory": memory}


if __name__ == "__main__":
    main()
