"""Holds the raw outputs of the ONNX file against torch's on real frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import CardError, DataError
from cityforge.inference.runtime import open_session
from cityforge.tasks.kinds import OUTPUTS


@dataclass(frozen=True)
class RawParity:
    """The largest difference of each raw output over all frames, where it matters."""

    frames: int
    difference: dict[str, float]  # by the output's name, in its own unit
    worst: dict[str, int] = field(default_factory=dict)  # the frame where it is, by its row


def parity(
    network: Any, model: Path, pictures: NDArray[Any], score_floor: float, task: str = "detection"
) -> RawParity:
    """Compare torch and onnxruntime on (N, H, W, 3) uint8 pictures.

    Boxes are compared where either side scores over `score_floor`, in pixels of the input.
    """
    import torch

    with torch.inference_mode():
        made = network(torch.from_numpy(pictures))
    ours = [each.numpy() for each in (made if isinstance(made, tuple) else (made,))]
    theirs = open_session(model.read_bytes()).run(None, {"pictures": pictures})
    apart = {
        name: np.abs(one - other)
        for name, one, other in zip(OUTPUTS[task], ours, theirs, strict=True)
    }
    if task == "detection":
        seen = (np.maximum(ours[0], theirs[0]) > score_floor).any(-1)  # (N, A)
        apart["boxes"] = np.where(seen[..., None], apart["boxes"], 0.0)
    of_frame = {
        name: each.reshape(len(pictures), -1).max(1, initial=0.0) for name, each in apart.items()
    }
    return RawParity(
        len(pictures),
        {name: float(each.max(initial=0.0)) for name, each in of_frame.items()},
        {name: int(each.argmax()) for name, each in of_frame.items() if len(each)},
    )


def refuse_apart(
    found: RawParity, most: Mapping[str, float], frame_ids: Sequence[str] = ()
) -> None:
    """Refuse an export that answers otherwise than what was trained.

    Args:
        most: the largest difference allowed, by the output's name.
        frame_ids: of the pictures, to say where it is.

    Raises:
        CardError: limits of other outputs than the network has.
        DataError: a difference over its limit.
    """
    if set(most) != set(found.difference):
        raise CardError(
            f"limits for {', '.join(found.difference)}",
            found=", ".join(most) or "none",
            where="export.max_difference",
        )
    over = [name for name, value in found.difference.items() if not value <= most[name]]
    if over:
        row = found.worst.get(over[0], 0)
        worst = f", most in {frame_ids[row]}" if row < len(frame_ids) else ""
        raise DataError(
            "ONNX within " + ", ".join(f"{most[name]:g} of torch in {name}" for name in over),
            found=", ".join(f"{found.difference[name]:.6f}" for name in over),
            where=f"{found.frames} frames{worst}",
            do="raise export.max_difference only if you know why they differ",
        )
