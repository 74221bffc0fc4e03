"""Trainings that were begun and not ended: with other values nothing goes on from them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cityforge.dataset.snapshot import write_json
from cityforge.training.keeping import LAST, is_whole, read_own

INPUTS = "inputs.json"
DIGITS = 16  # of the digest, in a folder's name


def work_folder(trainings: Path, algorithm: str, digest: str) -> Path:
    """Where the checkpoints of a training with these inputs lie."""
    return trainings / f"{algorithm}-{digest[:DIGITS]}"


def note_inputs(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Keep what a training is made with beside its checkpoints."""
    write_json(folder / INPUTS, inputs)


def left_behind(folder: Path, algorithm: str, inputs: Mapping[str, Any]) -> str | None:
    """A line on the newest unfinished training of an algorithm, where `folder` begins anew.

    None where `folder` has something to go on from, or no other has.
    """
    if any(folder.glob(f"*/{LAST}")) or any(folder.glob("*/done.json")):
        return None
    name = re.compile(re.escape(algorithm) + rf"-[0-9a-f]{{{DIGITS}}}")
    found = [
        path
        for path in folder.parent.glob(f"*/*/{LAST}")
        if name.fullmatch(path.parent.parent.name)
    ]
    for last in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
        if is_whole(last):
            return _line(last, algorithm, inputs)
    return None


def _line(last: Path, algorithm: str, inputs: Mapping[str, Any]) -> str:
    other = last.parent.parent
    before, now = _flat(_noted(other)), _flat(json.loads(json.dumps(inputs)))
    keys = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    epoch = f"epoch {read_own(last)['epoch']}"
    if "train.epochs" in before:
        epoch += f" of {before['train.epochs']}"
    differing = ", ".join(keys) if before else "other values"
    return (
        f"'{algorithm}' begins anew: {differing} changed since {other.name}, "
        f"which had come to {epoch}; with the former values it goes on there"
    )


def _noted(folder: Path) -> Mapping[str, Any]:
    try:
        found = json.loads((folder / INPUTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # begun by an older version, or cut short
        return {}
    return found if isinstance(found, dict) else {}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        flat |= _flat(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return flat
