"""Holds the ONNX file against torch on real frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import DataError
from cityforge.inference.runtime import open_session


@dataclass(frozen=True)
class Parity:
    """The largest differences of raw output over all frames and cells that matter."""

    frames: int
    box_px: float
    score: float


def parity(network: Any, model: Path, pictures: NDArray[Any], score_floor: float) -> Parity:
    """Compare torch and onnxruntime on (N, H, W, 3) uint8 pictures.

    Boxes are compared where either side scores over `score_floor`.
    """
    import torch

    with torch.inference_mode():
        torch_scores, torch_boxes = (each.numpy() for each in network(torch.from_numpy(pictures)))
    scores, boxes = open_session(model.read_bytes()).run(None, {"pictures": pictures})
    seen = (np.maximum(scores, torch_scores) > score_floor).any(-1)
    box = np.abs(boxes - torch_boxes)[seen]
    return Parity(
        len(pictures), float(box.max(initial=0.0)), float(np.abs(scores - torch_scores).max())
    )


def refuse_apart(found: Parity, box_px: float, score: float) -> None:
    """Refuse an export that answers otherwise than what was trained.

    Raises:
        DataError: a difference over its limit.
    """
    if found.box_px > box_px or found.score > score:
        raise DataError(
            f"ONNX within {box_px} px and {score} of torch",
            found=f"{found.box_px:.4f} px and {found.score:.6f}",
            where=f"{found.frames} frames",
            do="raise export.max_box_difference_px only if you know why they differ",
        )
