"""Answers pictures with onnxruntime; the same code in evaluation, predict and the endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import PackageError
from cityforge.inference.package import About, Package
from cityforge.tasks.detection.decode import decode_boxes
from cityforge.tasks.picture import Fitted, decode_and_fit


@dataclass(frozen=True)
class Answer:
    """What a model found in one picture; boxes in pixels of the picture as it was sent."""

    width: int
    height: int
    xyxy: NDArray[Any]  # (K, 4) float32
    score: NDArray[Any]  # (K,) falling
    cls: NDArray[Any]  # (K,) index into the package's classes


def open_session(model: bytes, threads: int = 0) -> Any:
    """An onnxruntime session over model bytes; 0 threads lets the runtime choose.

    Raises:
        PackageError: the bytes are no model.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    available = onnxruntime.get_available_providers()
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    providers = [each for each in wanted if each in available]
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:
        raise PackageError("an ONNX model", found=str(error).splitlines()[0]) from error


class Model:
    """A package, loaded and ready to answer."""

    def __init__(self, package: Package, threads: int = 0) -> None:
        self.about: About = package.about
        self.digest = package.digest
        self._session = open_session(package.model, threads)

    def answer(
        self, pictures: Sequence[bytes], score_threshold: float | None = None
    ) -> list[Answer]:
        """Answer JPEG, PNG, WebP, BMP or TIFF pictures.

        Args:
            score_threshold: under it nothing is answered; the package's own when None.

        Raises:
            InputError: a picture that does not decode.
        """
        about = self.about
        fitted = [decode_and_fit(each, about.input_width, about.input_height) for each in pictures]
        return self.answer_fitted(fitted, score_threshold)

    def answer_fitted(
        self, fitted: Sequence[Fitted], score_threshold: float | None = None
    ) -> list[Answer]:
        """Answer pictures that are fitted to the network's input already."""
        if not fitted:
            return []
        floor = self.about.score_threshold if score_threshold is None else score_threshold
        batch = np.stack([each.canvas for each in fitted])
        scores, boxes = self._session.run(None, {"pictures": batch})
        return [
            answer_of(self.about, scores[row], boxes[row], each, floor)
            for row, each in enumerate(fitted)
        ]


def answer_of(
    about: About, scores: NDArray[Any], boxes: NDArray[Any], fitted: Fitted, floor: float
) -> Answer:
    """An answer from a network's raw output: (A, C) scores, (A, 4) xyxy in input pixels."""
    xyxy, score, cls = decode_boxes(
        scores,
        boxes,
        scale=fitted.scale,
        width=fitted.width,
        height=fitted.height,
        score_floor=floor,
        overlap=about.overlap,
        max_boxes=about.max_boxes,
    )
    return Answer(fitted.width, fitted.height, xyxy, score, cls)
