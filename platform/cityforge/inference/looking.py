"""What a model finds in a picture, and where its own backbone places that picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import PackageError
from cityforge.inference.package import Package
from cityforge.inference.runtime import Answer, answer_of, open_session
from cityforge.tasks.kinds import OUTPUTS
from cityforge.tasks.picture import decode_and_fit

BACKBONE = "/backbone/"  # how the exporter names the parts of a network's `backbone`


@dataclass(frozen=True)
class Look:
    """One picture as a model sees it."""

    answer: Answer
    embedding: NDArray[Any]  # (D,) float32 of length 1


class Looker:
    """A package that also gives the mean of its backbone's coarsest feature map."""

    def __init__(self, package: Package, threads: int = 0) -> None:
        self.about = package.about
        self.digest = package.digest
        self._feature = deepest_feature(package.model)
        self._outputs = list(OUTPUTS[self.about.task])
        self._session = open_session(_with_output(package.model, self._feature), threads)

    def look(self, pictures: Sequence[bytes], score_floor: float) -> list[Look]:
        """Look at pictures; boxes are in pixels of each picture.

        Raises:
            InputError: a picture that does not decode.
        """
        size = self.about.input_width, self.about.input_height
        fitted = [decode_and_fit(each, *size) for each in pictures]
        batch = np.stack([each.canvas for each in fitted])
        *raw, features = self._session.run([*self._outputs, self._feature], {"pictures": batch})
        means = features.mean((2, 3), dtype=np.float32)  # (N, D)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        return [
            Look(answer_of(self.about, [e[row] for e in raw], each, score_floor), means[row])
            for row, each in enumerate(fitted)
        ]


def deepest_feature(model: bytes) -> str:
    """The last tensor that the backbone hands to the rest of the network.

    Raises:
        PackageError: the model has no part that is named as a backbone.
    """
    import onnx

    inside: dict[str, int] = {}  # tensor made by the backbone: how deep
    handed: set[str] = set()
    for depth, node in enumerate(onnx.load_from_string(model).graph.node):
        if node.name.startswith(BACKBONE):
            inside.update(dict.fromkeys(node.output, depth))
        else:
            handed.update(node.input)
    found = sorted((depth, name) for name, depth in inside.items() if name in handed)
    if not found:
        raise PackageError("a model with a backbone", found="none", where="model.onnx")
    return found[-1][1]


def _with_output(model: bytes, tensor: str) -> bytes:
    """The same model with one of its inner tensors among its outputs."""
    import onnx

    opened = onnx.load_from_string(model)
    opened.graph.output.append(onnx.ValueInfoProto(name=tensor))
    serialised: bytes = opened.SerializeToString()
    return serialised
