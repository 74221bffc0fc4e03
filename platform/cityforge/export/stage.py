"""The export stage: ONNX and INT8 from the trained weights, held against torch on val."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import (
    BoxAnswers,
    DataParams,
    ExportParams,
    Int8Params,
    ScoreAnswers,
)
from cityforge.dataset.labelled import LabelledFrames
from cityforge.dataset.snapshot import write_json
from cityforge.errors import DataError
from cityforge.export.answers import main_figure_name, with_thresholds
from cityforge.export.found import PARITY_FILE, Int8, Parity, SideName, Speed, write_found
from cityforge.export.onnx import MODEL_FILE, export_onnx
from cityforge.export.parity import parity, refuse_apart
from cityforge.export.quantize import METHOD, quantised
from cityforge.export.sides import (
    Way,
    answered_by,
    draft_about,
    onnx_way,
    parity_of,
    parts_of,
    refuse_other_score,
    torch_way,
)
from cityforge.export.speed import device, measured_rounds, speeds_of, times_quicker
from cityforge.footage.shards import FrameStore
from cityforge.inference.onnx_safety import refuse_unsafe_onnx
from cityforge.inference.package import INT8_FILE, About
from cityforge.tasks.picture import Fitted, decode_and_fit

LEAST_QUICKER = 1.05  # less than this is noise
SPEED_FRAMES = 8


@dataclass(frozen=True)
class Trained:
    """What an export is made from."""

    card: Algorithm
    network: Any  # in evaluation mode
    data: DataParams  # the input that it was trained for
    answers: BoxAnswers | ScoreAnswers
    train: LabelledFrames  # from which the ranges of the INT8 model are taken
    val: LabelledFrames  # on which the sides are compared
    store: FrameStore
    several_labels: bool = False

    def fitted(self, frames: LabelledFrames) -> list[Fitted]:
        """Frames as the network sees them."""
        size = self.data.input_width, self.data.input_height
        return [decode_and_fit(self.store.read(each), *size) for each in frames.frame_ids]


def export(
    trained: Trained,
    wanted: ExportParams,
    *,
    frames: pa.Table,
    footage: pa.Table,
    out: Path,
    say: Callable[[str], None],
) -> Int8:
    """Write both models and what was measured of them to `out`, whole or not at all.

    Args:
        frames: table FRAMES, for the slices.
        footage: table FOOTAGE, likewise.

    Raises:
        DataError: the ONNX file answers otherwise than torch.
    """
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        parts = parts_of(trained.val.frame_ids, frames, footage)
        found = _export(trained, wanted, parts, beside, say)
        shutil.rmtree(out, ignore_errors=True)
        beside.replace(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return found


def _export(
    trained: Trained,
    wanted: ExportParams,
    parts: Mapping[str, NDArray[Any]],
    out: Path,
    say: Callable[[str], None],
) -> Int8:
    task, path = trained.card.task, out / MODEL_FILE
    export_onnx(trained.network, trained.data, wanted.opset, path, task)
    model = path.read_bytes()
    refuse_unsafe_onnx(model, str(path))
    _hold_raw(trained, wanted, path, say)
    ways: dict[SideName, Way] = {
        "torch": torch_way(trained.network),
        "onnx": onnx_way(model, task),
    }
    int8, why = _int8(trained, wanted.int8, model)
    if int8 is not None:
        refuse_unsafe_onnx(int8, INT8_FILE)
        ways["int8"] = onnx_way(int8, task)
    about = draft_about(trained.card, trained.data, trained.answers, trained.several_labels)
    answered = answered_by(about, trained.val, trained.store.read, ways)
    about = with_thresholds(about, answered.truth, answered.found["torch"])
    compared = parity_of(about, answered, parts)
    refuse_other_score(about, compared, wanted.most_score_difference)
    shown = trained.fitted(_first(trained.val, SPEED_FRAMES))
    rounds = measured_rounds(about, ways, shown)
    kept = decided(wanted.int8, why, compared, rounds, task)
    if kept.offered and int8 is not None:
        (out / INT8_FILE).write_bytes(int8)
        kept = replace(kept, digest=hashlib.sha256(int8).hexdigest())
    write_found(out, compared, device(), speeds_of(rounds), kept)
    _say_all(about, compared, speeds_of(rounds), kept, say)
    return kept


def _hold_raw(
    trained: Trained, wanted: ExportParams, path: Path, say: Callable[[str], None]
) -> None:
    """Compare raw outputs of a batch, and write what was found for the package."""
    few = _first(trained.val, wanted.parity_frames)
    pictures = np.stack([each.canvas for each in trained.fitted(few)])
    floor = trained.answers.score_floor
    found = parity(trained.network, path, pictures, floor, trained.card.task)
    refuse_apart(found, wanted.max_difference, few.frame_ids)
    write_json(path.with_name(PARITY_FILE), {"frames": found.frames, **found.difference})
    apart = ", ".join(f"{name} {value:.1e}" for name, value in found.difference.items())
    say(f"{MODEL_FILE} {path.stat().st_size / 1e6:.1f} MB; at most apart from torch: {apart}")


def _first(frames: LabelledFrames, most: int) -> LabelledFrames:
    return frames.take(range(min(most, len(frames))))


def _int8(trained: Trained, asked: Int8Params, model: bytes) -> tuple[bytes | None, str]:
    """The INT8 model, or why there is none."""
    if not asked.offer:
        return None, "export.int8.offer is false"
    if not len(trained.train):
        return None, "no frame of train to take its ranges from"
    most = len(trained.train)
    rows = np.linspace(0, most - 1, min(asked.frames, most)).round().astype(int)
    shown = trained.fitted(trained.train.take(rows.tolist()))
    try:
        return quantised(model, (each.canvas for each in shown)), ""
    except DataError as error:
        return None, str(error)


def decided(asked: Int8Params, why: str, compared: Parity, rounds: Any, task: str) -> Int8:
    """Offer the INT8 model when it is quicker here, and about as good."""
    int8, torch = compared.side("int8"), compared.side("torch")
    if int8 is None or torch is None:
        return Int8(False, why)
    drop = drop_of(task, torch.score, int8.score)
    quicker = times_quicker(rounds, "int8", "onnx")
    made = Int8(
        False, "", drop, asked.most_drop, times_quicker=quicker, method=METHOD, frames=asked.frames
    )
    if drop is None:
        return replace(made, why="its drop could not be measured: val has nothing to find")
    said = f"drop {drop:.4f}, {quicker:.2f} times as quick as FP32"
    if drop > asked.most_drop:
        return replace(made, why=f"{said}; the drop is over {asked.most_drop:g}")
    if quicker < LEAST_QUICKER:
        return replace(made, why=f"{said}; that is not quicker")
    return replace(made, offered=True, why=said)


def drop_of(task: str, before: float | None, after: float | None) -> float | None:
    """By how much a main figure got worse; of a count's error as a share of what it was.

    >>> round(drop_of("detection", 0.61, 0.6), 3), round(drop_of("density", 2.0, 2.1), 3)
    (0.01, 0.05)
    """
    if before is None or after is None:
        return None
    if task != "density":
        return before - after
    return (after - before) / before if before > 0 else after


def _say_all(
    about: About, compared: Parity, speeds: list[Speed], int8: Int8, say: Callable[[str], None]
) -> None:
    name = main_figure_name(about)
    for side, speed in zip(compared.sides, speeds, strict=True):
        score = "–" if side.score is None else f"{side.score:.4f}"
        apart = "" if side.box_px is None else f", boxes at most {side.box_px:.1e} px apart"
        say(
            f"{side.name}: {name} {score} on {compared.frames} frames, "
            f"{speed.p50_ms:.1f} ms a picture{apart}"
        )
    say(f"INT8 {'offered' if int8.offered else 'not offered'}: {int8.why}")
