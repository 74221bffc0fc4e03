"""What the export stage measured, as it lies beside the model: sides, speeds, the INT8 model.

| file | holds |
|---|---|
| `parity.json` | frames, and the largest raw difference of each output from torch |
| `sides.json` | `Parity`: torch, ONNX and INT8 on the frames of val |
| `speeds.json` | `Device` and a `Speed` for each side |
| `int8.json` | `Int8`: whether the INT8 model is offered, and why |

A side and a speed of INT8 are there also where it was made and not offered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from cityforge.errors import DataError
from cityforge.inference.package_files import INT8_FILE, MODEL_FILE

__all__ = [
    "INT8_FILE", "MODEL_FILE", "Device", "Int8", "Parity", "Side", "Speed",
    "read_int8", "read_sides", "read_speeds", "write_found",
]  # fmt: skip

PARITY_FILE = "parity.json"
SIDES_FILE = "sides.json"
SPEEDS_FILE = "speeds.json"
INT8_FOUND = "int8.json"

SideName = Literal["torch", "onnx", "int8", "endpoint"]


@dataclass(frozen=True)
class Side:
    """One way to run the same network on the same frames, held against the first of them."""

    name: SideName
    score: float | None  # the task's main figure: map50, accuracy or map, mae
    slices: Mapping[str, float | None] = field(default_factory=dict)  # "lighting night"
    box_px: float | None = None  # largest difference of a box edge, pixels of the frame
    answer: float | None = None  # largest difference of a score, or of a count a cell
    unmatched: int = 0  # answers over the threshold that only one of the two has


@dataclass(frozen=True)
class Parity:
    """The same frames through every way the model is run; the first side is the reference."""

    frames: int
    sides: list[Side]

    def side(self, name: str) -> Side | None:
        """The side of this name."""
        return next((each for each in self.sides if each.name == name), None)


@dataclass(frozen=True)
class Speed:
    """Time for one picture, from decoded picture to answer."""

    name: SideName
    p50_ms: float
    p95_ms: float
    images_per_s: float


@dataclass(frozen=True)
class Device:
    """The machine that speeds were measured on."""

    processor: str
    threads: int
    runtime: str  # onnxruntime and its version
    providers: list[str]


@dataclass(frozen=True)
class Int8:
    """The smaller model: offered beside the exact one, or why not.

    Attributes:
        drop: of the main figure on val, torch less INT8; of counts, by how much the error grew
            as a share. None where there is no INT8 model.
        times_quicker: than FP32 in onnxruntime; None likewise.
        method: how the ranges of its layers were found.
        frames: of train, from which they were found.
        digest: sha256 of the model, where it is offered.
    """

    offered: bool
    why: str
    drop: float | None = None
    most_drop: float | None = None
    times_quicker: float | None = None
    method: str = ""
    frames: int = 0
    digest: str | None = None


def write_found(
    folder: Path, parity: Parity, device: Device, speeds: list[Speed], int8: Int8
) -> None:
    """Write the files above, less parity.json."""
    contents: dict[str, Any] = {
        SIDES_FILE: asdict(parity),
        SPEEDS_FILE: {"device": asdict(device), "speeds": [asdict(each) for each in speeds]},
        INT8_FOUND: asdict(int8),
    }
    for name, content in contents.items():
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")


def read_sides(folder: Path) -> Parity:
    """The parity on val that the export stage measured."""
    content = _read(folder / SIDES_FILE)
    return Parity(content["frames"], [Side(**each) for each in content["sides"]])


def read_speeds(folder: Path) -> tuple[Device, list[Speed]]:
    """The machine, and how quick each side was on it."""
    content = _read(folder / SPEEDS_FILE)
    return Device(**content["device"]), [Speed(**each) for each in content["speeds"]]


def read_int8(folder: Path) -> Int8:
    """Whether there is an INT8 model, and why."""
    return Int8(**_read(folder / INT8_FOUND))


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            "what the export stage measured", found="no file", where=str(path),
            do="cityforge run ALGORITHM --stage export",
        ) from error  # fmt: skip
    return content
