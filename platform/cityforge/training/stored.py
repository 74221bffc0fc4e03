"""Weights as they lie in a file: safetensors, or a checkpoint that holds tensors only."""

from __future__ import annotations

import json
import pickle
import re
import struct
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cityforge.dataset.digests import digest_of_file
from cityforge.errors import InputError

SAFE = ".safetensors"
CHECKPOINTS = (".ckpt", ".pt", ".pth")
ABOUT = "train.json"
METADATA = "cityforge"
# Where checkpoints of the common trainers keep the network's tensors.
STATE_KEYS = ("state_dict", "model")
# What torch's reader of tensors raises on a file that is none, or is cut short.
UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError,
    AttributeError, AssertionError, OverflowError, struct.error,
)  # fmt: skip
# Beside tensors these may stand in a checkpoint: they hold values and run nothing.
PLAIN: list[Any] = [Namespace]
REFUSED = re.compile(r"GLOBAL (\S+)|Unsupported class (\S+)")
PICKLE = b"\x80"  # how a pickle begins that torch did not write


@dataclass(frozen=True)
class Stored:
    """Tensors by name, and what is known of the network that they are of; "" is unknown."""

    source: str
    digest: str  # sha256 of the file
    state: dict[str, Tensor]
    task: str = ""
    network: str = ""
    snapshot: str = ""  # digest of what it was trained on
    classes: tuple[str, ...] | None = None  # None: it does not say


def describing(
    *, task: str, network: str, classes: Sequence[str], snapshot_digest: str
) -> dict[str, str]:
    """The metadata that goes into a safetensors file, so that it says what it is by itself.

    One key only: safetensors writes several in an order that differs from run to run.
    """
    about = {
        "task": task, "network": network, "classes": list(classes),
        "snapshot_digest": snapshot_digest,
    }  # fmt: skip
    return {METADATA: json.dumps(about, ensure_ascii=False)}


def read_weights(path: Path, source: str) -> Stored:
    """Read the weights in a file; nothing in it is executed.

    Raises:
        InputError: no weights in it, code in it, or weights that are no numbers.
    """
    state, about = _read_safe(path) if path.suffix == SAFE else _read_checkpoint(path)
    if not state:
        raise InputError("a file of weights", found="no tensor", where=str(path))
    _refuse_no_numbers(state, path)
    classes = about.get("classes")
    return Stored(
        source=source,
        digest=digest_of_file(path),
        state=state,
        task=str(about.get("task", "")),
        network=str(about.get("network", "")),
        snapshot=str(about.get("snapshot_digest", "")),
        classes=tuple(str(each) for each in classes) if isinstance(classes, list) else None,
    )


def _read_safe(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            about = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            "a whole safetensors file", found=_first_line(error), where=str(path),
            do="fetch or export it anew",
        ) from error  # fmt: skip
    return state, _parsed(about[METADATA]) if METADATA in about else _beside(path)


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _beside(path: Path) -> Mapping[str, Any]:
    """train.json in the same folder, as the train stage writes it."""
    try:
        return _parsed((path.parent / ABOUT).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}


def _read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    try:
        with torch.serialization.safe_globals(PLAIN):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise InputError(
            "a checkpoint that holds tensors only", found=_why_not(error, path), where=str(path),
            do="save its state_dict as safetensors, where it came from, and name that file",
        ) from error  # fmt: skip
    if not isinstance(content, dict):
        raise _no_state(path, type(content).__name__)
    state = next((content[k] for k in STATE_KEYS if isinstance(content.get(k), dict)), content)
    if not all(isinstance(each, Tensor) for each in state.values()):
        raise _no_state(path, "the keys " + ", ".join(str(key) for key in list(content)[:6]))
    about = content.get("hyper_parameters")
    about = dict(about) if isinstance(about, dict) else {}
    own = {name: content.get(f"cityforge_{name}") for name in ("classes", "task", "network")}
    return dict(state), about | {name: each for name, each in own.items() if each}


def _why_not(error: BaseException, path: Path) -> str:
    refused = REFUSED.search(str(error))
    if refused:
        code = (refused[1] or refused[2]).rstrip(".,")
        return f"code or objects in it ({code}), which are never executed"
    with path.open("rb") as file:
        if file.read(1) == PICKLE:
            return "a pickle of another program, which is never executed"
    return "a file that does not read as one: cut short, or something else"


def _no_state(path: Path, found: str) -> InputError:
    return InputError(
        "a state dict (tensors by name, or under state_dict)", found=found, where=str(path)
    )


def _refuse_no_numbers(state: Mapping[str, Tensor], path: Path) -> None:
    broken = [
        name
        for name, each in state.items()
        if each.is_floating_point() and not bool(torch.isfinite(each).all())
    ]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise InputError(
            "weights that are finite numbers",
            found=f"nan or infinity in {broken[0]}{more}",
            where=str(path),
            do="take a checkpoint from before the training broke",
        )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__
