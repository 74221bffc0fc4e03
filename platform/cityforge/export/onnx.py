"""From trained weights to one ONNX file."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

from cityforge.cards.params import DataParams
from cityforge.errors import DataError

MODEL_FILE = "model.onnx"


def open_network(folder: Path, algorithm_folder: Path | None = None) -> Any:
    """The trained network in `folder` (of the train stage), in evaluation mode.

    Raises:
        DataError: the train stage has not run.
    """
    from safetensors.torch import load_file

    from cityforge.tasks.kinds import build_network

    about_path = folder / "train.json"
    if not about_path.is_file():
        raise DataError("a trained network", found="none", where=str(folder))
    about = json.loads(about_path.read_text(encoding="utf-8"))
    network = build_network(
        about["task"],
        about["network"],
        len(about["classes"]),
        loss=about["params"]["loss"],
        folder=algorithm_folder,
    )
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval()


def export_onnx(
    network: Any, data: DataParams, opset: int, path: Path, task: str = "detection"
) -> None:
    """Write `pictures` (N, H, W, 3) uint8 to the task's OUTPUTS.

    One file, weights inside; any number of pictures at once.
    """
    import torch

    from cityforge.tasks.kinds import OUTPUTS

    if hasattr(network, "for_export"):
        network = network.for_export(data.input_height, data.input_width)
    names = list(OUTPUTS[task])
    example = torch.zeros(2, data.input_height, data.input_width, 3, dtype=torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    free = {0: "pictures"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The tracing exporter: the same file as the newer one's for this network, twenty
        # times sooner; `parity` proves each export either way.
        torch.onnx.export(
            network,
            (example,),
            str(beside),
            dynamo=False,
            opset_version=opset,
            input_names=["pictures"],
            output_names=names,
            dynamic_axes=dict.fromkeys(("pictures", *names), free),
        )
    beside.replace(path)
