"""Answers pictures with onnxruntime; the same code in evaluation, predict and the endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import PackageError
from cityforge.inference.package import About, Package
from cityforge.tasks.kinds import OUTPUTS
from cityforge.tasks.picture import Fitted, decode_and_fit


@dataclass(frozen=True)
class Answer:
    """What a model found in one picture; boxes in pixels of the picture as it was sent.

    One row for each box, each class of the picture, or each count; the box of a class or of a
    count is the whole picture.
    """

    width: int
    height: int
    xyxy: NDArray[Any]  # (K, 4) float32
    score: NDArray[Any]  # (K,) falling; 1 for a count
    cls: NDArray[Any]  # (K,) index into the package's classes
    # Density: every class has its row.
    counts: NDArray[Any] | None = None  # (C,) objects
    density: NDArray[Any] | None = None  # (C, h, w) objects a cell, from the upper left corner
    cell_px: float | None = None  # side of a cell; the last ones reach over the picture's edge


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
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers())
    except Exception as error:
        raise PackageError("an ONNX model", found=str(error).splitlines()[0]) from error


def providers() -> list[str]:
    """What of onnxruntime runs models on this machine, the first where it can."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    return [each for each in wanted if each in available]


class Model:
    """A package, loaded and ready to answer.

    Raises:
        PackageError: no model, or one of another task than the package says.
    """

    def __init__(self, package: Package, threads: int = 0) -> None:
        self.about: About = package.about
        self.digest = package.digest
        self._session = open_session(package.model, threads)
        self._outputs = list(OUTPUTS[self.about.task])
        found = [each.name for each in self._session.get_outputs()]
        if not set(self._outputs) <= set(found):
            raise PackageError(
                f"a model of task {self.about.task}, which gives {', '.join(self._outputs)}",
                found=", ".join(found),
                where="model.onnx",
            )

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
        raw = self.raw(fitted)
        return [
            answer_of(self.about, [output[row] for output in raw], each, score_threshold)
            for row, each in enumerate(fitted)
        ]

    def raw(self, fitted: Sequence[Fitted]) -> list[NDArray[Any]]:
        """The network's outputs as the task's OUTPUTS name them, one row a picture."""
        batch = np.stack([each.canvas for each in fitted])
        outputs: list[NDArray[Any]] = self._session.run(self._outputs, {"pictures": batch})
        return outputs


def answer_of(
    about: About, raw: Sequence[NDArray[Any]], fitted: Fitted, floor: float | None
) -> Answer:
    """An answer from a network's raw output of one picture, in the order of OUTPUTS.

    Args:
        floor: under it nothing is answered; the package's own threshold when None.
    """
    if about.task == "classification":
        return _classes(about, raw[0], fitted, floor)
    least = about.score_threshold if floor is None else floor
    if about.task == "density":
        return _counts(raw[0], fitted, least)
    return _boxes(about, raw[0], raw[1], fitted, least)


def _boxes(
    about: About, scores: NDArray[Any], boxes: NDArray[Any], fitted: Fitted, floor: float
) -> Answer:
    """From (A, C) scores and (A, 4) xyxy in pixels of the input."""
    from cityforge.tasks.detection.decode import decode_boxes

    if about.overlap is None or about.max_boxes is None:  # `About` has seen to it
        raise PackageError("overlap and max_boxes", found="none", where="package.json")
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


def _classes(about: About, scores: NDArray[Any], fitted: Fitted, floor: float | None) -> Answer:
    """From (C,) scores; of several labels each may have a threshold of its own."""
    from cityforge.tasks.classification.decode import decode_classes

    several = bool(about.several_labels)
    own = about.class_thresholds if floor is None else None
    least = np.array([(own or {}).get(name, about.score_threshold) for name in about.classes])
    lowest = float(least.min()) if floor is None else floor
    cls, score = decode_classes(scores, score_floor=lowest, several_labels=several)
    if own:
        over = score >= least[cls].astype(score.dtype)
        cls, score = cls[over], score[over]
    return _of_whole_picture(fitted, cls, score)


def _counts(density: NDArray[Any], fitted: Fitted, floor: float) -> Answer:
    """From (C, h, w) objects a cell of the input; the grey around the picture does not count."""
    from cityforge.tasks.density.decode import STRIDE, decode_counts, density_on

    over = density_on(density, fitted.scale, fitted.width, fitted.height)
    counts = decode_counts(over, score_floor=floor)
    every = np.arange(len(counts))
    answer = _of_whole_picture(fitted, every, np.ones(len(counts)))
    return replace(answer, counts=counts, density=over, cell_px=STRIDE / fitted.scale)


def _of_whole_picture(fitted: Fitted, cls: NDArray[Any], score: NDArray[Any]) -> Answer:
    whole = np.array([0, 0, fitted.width, fitted.height], np.float32)
    xyxy = np.tile(whole, (len(cls), 1))
    return Answer(fitted.width, fitted.height, xyxy, score.astype(np.float32), cls.astype(np.int64))
