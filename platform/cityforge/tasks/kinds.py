"""The kinds of task: a step that needs what differs by kind asks here.

Each kind is a folder beside this file. Parts that import torch are imported when asked for.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from cityforge.errors import CardError, NameUnknown

TASKS = ("detection", "classification", "density")
# What a network of each kind gives, in this order: the names in the ONNX file.
OUTPUTS: dict[str, tuple[str, ...]] = {
    "detection": ("scores", "boxes"),  # (N, A, C), (N, A, 4) xyxy
    "classification": ("scores",),  # (N, C)
    "density": ("density",),  # (N, C, h, w), objects a cell
}
OWN = "own"
LARGE = "detection/large"  # of the optional extra `large`
OWN_FILE = "network.py"


def network_names(task: str) -> list[str]:
    """The networks that a card of this task may name."""
    found = import_module(f"cityforge.tasks.{task}.network").BLUEPRINTS
    return sorted([*found, LARGE] if task == "detection" else found)


def build_network(
    task: str,
    name: str,
    class_count: int,
    *,
    loss: Mapping[str, Any],
    folder: Path | None = None,
) -> Any:
    """A network from scratch: (N, H, W, 3) uint8 RGB to the task's OUTPUTS.

    Args:
        name: as in the card; `own` takes `network(class_count)` of network.py in `folder`.
        loss: as in `train.loss`; several labels of a frame need other scores than one.

    Raises:
        NameUnknown: no network of that name.
        CardError: the algorithm's own network.py is missing or gives no such network.
        ServiceError: the network needs a library that is not installed.
    """
    if name == OWN:
        return _own_network(folder, class_count)
    known = network_names(task)
    if name not in known:
        raise NameUnknown(f"a network of task {task}", name, known, where="network")
    if name == LARGE:
        return import_module("cityforge.tasks.detection.large").build_large(class_count)
    module = import_module(f"cityforge.tasks.{task}.network")
    if task == "classification":
        return module.build(name, class_count, several_labels=bool(loss["several_labels"]))
    return module.build(name, class_count)


def objective_of(task: str, classes: Sequence[str], loss: Mapping[str, Any]) -> Any:
    """What the task learns; see `cityforge.tasks.learner.Objective`."""
    if task == "detection":
        from cityforge.tasks.detection.objective import DetectionObjective

        return DetectionObjective(classes, loss)
    if task == "density":
        from cityforge.tasks.density.objective import DensityObjective

        return DensityObjective(classes, loss)
    from cityforge.tasks.classification.objective import ClassificationObjective

    return ClassificationObjective(classes, loss)


def own_digest(name: str, folder: Path | None) -> str:
    """sha256 of the algorithm's own network.py; "" where the card names a network of ours."""
    path = (folder or Path()) / OWN_FILE
    if name != OWN or not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _own_network(folder: Path | None, class_count: int) -> Any:
    path = (folder or Path()) / OWN_FILE
    made = getattr(_own_module(path), "network", None)
    if not callable(made):
        raise CardError("a function network(class_count)", found="none", where=str(path))
    network = made(class_count)
    _refuse_half_a_network(network, path)
    return network


def _own_module(path: Path) -> Any:
    """The algorithm's own network.py, run anew, so that an edit is seen."""
    if not path.is_file():
        raise CardError(
            "a network of the algorithm's own", found="no file", where=str(path),
            do="write network(class_count) there, or name another network in the card",
        )  # fmt: skip
    name = f"cityforge_own_{path.parent.name}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CardError("a Python file", found="something else", where=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError, NameError) as error:
        raise CardError(
            "a Python file that runs", found=f"{type(error).__name__}: {error}", where=str(path)
        ) from error
    finally:
        # No other process could import it: cloudpickle then sends the classes themselves.
        del sys.modules[name]
    return module


def _refuse_half_a_network(network: Any, path: Path) -> None:
    """Say what an own network lacks of what training, tuning and export ask of it."""
    from torch import nn

    if not isinstance(network, nn.Module):
        raise CardError(
            "network(class_count) to give a torch.nn.Module",
            found=type(network).__name__, where=str(path),
        )  # fmt: skip
    lacks = [
        said
        for said, there in (
            ("backbone (a module)", isinstance(getattr(network, "backbone", None), nn.Module)),
            ("raw(pictures)", callable(getattr(network, "raw", None))),
            ("forward(pictures)", type(network).forward is not nn.Module.forward),
        )
        if not there
    ]
    if lacks:
        raise CardError(
            "a network with backbone, raw(pictures) and forward(pictures)",
            found=f"{type(network).__name__} without {', '.join(lacks)}", where=str(path),
            do="see the networks in cityforge/tasks",
        )  # fmt: skip
