"""Finds faces and plates: by an ONNX file that the card names, or by OpenCV's cascades."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.dataset import OnnxDetector, Privacy
from cityforge.errors import CardError, CheckFailed, FootageError

Array = NDArray[Any]

TILE_OVERLAP = 0.2  # of a part's side, with the next part
SAME_THING = 0.5  # intersection over union from which two finds are one


@dataclass(frozen=True)
class Find:
    """One face or plate; xyxy in pixels of the picture that it was found in."""

    kind: str  # face, plate
    x1: float
    y1: float
    x2: float
    y2: float
    score: float  # 0 to 1
    found: str  # detected, held, checked


class Detector(Protocol):
    """Finds one kind of thing in a picture; the same picture gives the same finds."""

    kind: str

    def find(self, bgr: Array) -> list[Find]:
        """Look at (H, W, 3) uint8; finds lie within the picture, best first."""
        ...


def open_detectors(privacy: Privacy, folder: Path) -> list[Detector]:
    """One detector for each kind that `privacy.redact` names.

    Args:
        folder: the dataset's folder, which the card's paths start from.

    Raises:
        CheckFailed: an ONNX file is missing, or another one than the card says.
        CardError: it does not answer in the layout that the card says.
    """
    given = (privacy.redaction.detectors if privacy.redaction else None) or {}
    return [
        OnnxFinder(kind, given[kind], folder) if kind in given else CascadeFinder(kind)
        for kind in dict.fromkeys(privacy.redact)
    ]


def read_model(card: OnnxDetector, folder: Path) -> bytes:
    """The bytes of a detector's file, held against the card's sha256.

    Raises:
        CheckFailed: the file is missing, or is another one.
    """
    path = folder / card.path
    try:
        model = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise CheckFailed(
            "the detector that the card names",
            found="no file",
            where=str(path),
            do="put the file there, or correct privacy.redaction.detectors in dataset.yaml",
        ) from error
    digest = hashlib.sha256(model).hexdigest()
    if digest != card.sha256:
        raise CheckFailed(
            f"a detector with sha256 {card.sha256}",
            found=digest,
            where=str(path),
            do="put the right file there, or enter its sha256 in dataset.yaml",
        )
    return model


class OnnxFinder:
    """An ONNX detector on the processor, one thread; the work is spread over processes.

    The picture is stretched to the network's input, whatever its shape: a 320×240 face detector
    is trained so. A network that was trained on pictures with borders finds less.
    """

    def __init__(self, kind: str, card: OnnxDetector, folder: Path) -> None:
        self.kind = kind
        self.card = card
        self._where = str(folder / card.path)
        self._session = _open_session(read_model(card, folder), self._where)
        self._input = self._session.get_inputs()[0].name
        self._names = [each.name for each in self._session.get_outputs()]
        self._hold_against_card()

    def find(self, bgr: Array) -> list[Find]:
        """See `Detector`; looks at the whole picture, and at tiles × tiles parts of it."""
        height, width = bgr.shape[:2]
        parts = [(0, 0, width, height), *parts_of(width, height, self.card.tiles)]
        finds = [find for part in parts for find in self._find_in(bgr, part)]
        return merged(within(finds, width, height))

    def _find_in(self, bgr: Array, part: tuple[int, int, int, int]) -> list[Find]:
        left, top, right, bottom = part
        answer = self._answer(bgr[top:bottom, left:right])
        boxes, scores = LAYOUTS[self.card.layout](answer, self.card)
        counts = scores >= self.card.score
        boxes = boxes[counts] * np.tile([right - left, bottom - top], 2) + [left, top, left, top]
        # A network that overflows must not pass for one that found nothing.
        if not (np.isfinite(scores).all() and np.isfinite(boxes).all()):
            raise FootageError("scores and boxes", found="no numbers", where=self._where)
        return [
            Find(self.kind, x1, y1, x2, y2, score, "detected")
            for (x1, y1, x2, y2), score in zip(boxes.tolist(), scores[counts].tolist(), strict=True)
        ]

    def _answer(self, bgr: Array) -> dict[str, Array]:
        import cv2

        size = (self.card.width, self.card.height)
        fitted = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
        if self.card.colour == "rgb":
            fitted = fitted[:, :, ::-1]
        planes = (fitted.astype(np.float32) - self.card.mean) / self.card.divide_by
        batch = np.ascontiguousarray(planes.transpose(2, 0, 1)[None], np.float32)  # (1, 3, H, W)
        return dict(zip(self._names, self._session.run(None, {self._input: batch}), strict=True))

    def _hold_against_card(self) -> None:
        inputs = self._session.get_inputs()
        wanted = (1, 3, self.card.height, self.card.width)
        taken = inputs[0].shape
        fits = len(taken) == 4 and all(
            have == want or not isinstance(have, int)
            for have, want in zip(taken, wanted, strict=True)
        )
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or not fits:
            raise CardError(
                f"a detector with one input {wanted} of float",
                found=", ".join(f"{each.name} {each.shape} {each.type}" for each in inputs),
                where=self._where,
                do="correct its width and height in dataset.yaml, or export it so",
            )
        answer = self._answer(np.zeros((*wanted[2:], 3), np.uint8))
        try:
            LAYOUTS[self.card.layout](answer, self.card)
        except ValueError as error:
            raise CardError(
                f"a detector of layout {self.card.layout}, {error}",
                found=", ".join(f"{name} {each.shape}" for name, each in answer.items()),
                where=self._where,
                do=f"correct its layout in dataset.yaml; known: {', '.join(LAYOUTS)}",
            ) from error


def _open_session(model: bytes, where: str) -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # its warnings of unused initializers say nothing here
    providers = ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:
        raise CardError(
            "an ONNX model in one file", found=str(error).splitlines()[0], where=where
        ) from error


def _scores_boxes(answer: dict[str, Array], card: OnnxDetector) -> tuple[Array, Array]:
    if len(answer) < 2:
        raise ValueError("two outputs")
    first, second, *_ = answer.values()
    scores, boxes = answer.get("scores", first), answer.get("boxes", second)
    if scores.ndim != 3 or boxes.shape != (1, scores.shape[1], 4) or scores.shape[0] != 1:
        raise ValueError("scores (1, A, C) and boxes (1, A, 4)")
    foreground = scores[0, :, 1:] if scores.shape[2] > 1 else scores[0]
    return boxes[0], foreground.max(axis=1)


def _yolo(answer: dict[str, Array], card: OnnxDetector) -> tuple[Array, Array]:
    (found, *_) = answer.values()
    # Fewer rows than columns: else it is transposed, and its numbers would be taken for others.
    if found.ndim != 3 or found.shape[0] != 1 or not 5 <= found.shape[1] <= found.shape[2]:
        raise ValueError("(1, 4 + C, A)")
    centre, half = found[0, :2], found[0, 2:4] / 2
    boxes = np.concatenate([centre - half, centre + half]).T
    return _as_shares(boxes, card), found[0, 4:].max(axis=0)


def _rows(answer: dict[str, Array], card: OnnxDetector) -> tuple[Array, Array]:
    (found, *_) = answer.values()
    if found.shape[-1:] != (6,) or found.shape[:-2] not in ((), (1,)) or found.ndim < 2:
        raise ValueError("(1, A, 6) or (A, 6)")
    rows = found.reshape(-1, 6)
    return _as_shares(rows[:, :4], card), rows[:, 4]


def _as_shares(boxes: Array, card: OnnxDetector) -> Array:
    shares: Array = boxes / np.tile([card.width, card.height], 2)
    return shares


# Each takes the outputs by name and gives boxes (A, 4) xyxy as shares, and scores (A,).
LAYOUTS: dict[str, Callable[[dict[str, Array], OnnxDetector], tuple[Array, Array]]] = {
    "scores_boxes": _scores_boxes,
    "yolo": _yolo,
    "rows": _rows,
}


def parts_of(width: int, height: int, tiles: int) -> list[tuple[int, int, int, int]]:
    """Overlapping parts of a picture, xyxy in pixels; none for one tile.

    >>> parts_of(180, 90, 2)
    [(0, 0, 100, 50), (80, 0, 180, 50), (0, 40, 100, 90), (80, 40, 180, 90)]
    """
    if tiles == 1:
        return []
    return [(x1, y1, x2, y2) for y1, y2 in _spans(height, tiles) for x1, x2 in _spans(width, tiles)]


def _spans(length: int, tiles: int) -> list[tuple[int, int]]:
    side = min(length, int(np.ceil(length / (tiles - TILE_OVERLAP * (tiles - 1)))))
    starts = np.linspace(0, length - side, tiles).round().astype(int).tolist()
    return [(start, start + side) for start in starts]


def within(finds: list[Find], width: int, height: int) -> list[Find]:
    """Clip finds to a picture; those that lie outside of it go."""
    clipped = [
        replace(
            find,
            x1=max(0.0, find.x1),
            y1=max(0.0, find.y1),
            x2=min(float(width), find.x2),
            y2=min(float(height), find.y2),
        )
        for find in finds
    ]
    return [find for find in clipped if find.x1 < find.x2 and find.y1 < find.y2]


def merged(finds: list[Find]) -> list[Find]:
    """Keep the best of finds that are one thing; best first, the order no accident."""
    import cv2

    ordered = sorted(finds, key=lambda each: (-each.score, each.x1, each.y1, each.x2, each.y2))
    boxes = [(each.x1, each.y1, each.x2 - each.x1, each.y2 - each.y1) for each in ordered]
    kept = cv2.dnn.NMSBoxes(boxes, [each.score for each in ordered], 0.0, SAME_THING)
    return [ordered[place] for place in sorted(kept)]


@dataclass(frozen=True)
class CascadeSet:
    """OpenCV's cascades for one kind, and how large a picture they look at."""

    files: tuple[tuple[str, bool], ...]  # name of the file; also in the mirrored picture
    longest: int  # pixels: a larger picture is shrunk so that its longer side has these
    step: float  # between two sizes that are looked for


# Smallest find, in a picture that is not shrunk: a face of 20 to 24 pixels, a plate of 60×20.
# In one of 1920×1080 a face must have 30 to 36 pixels, which takes a quarter of the time.
CASCADES = {
    "face": CascadeSet(
        (("haarcascade_frontalface_default.xml", False), ("haarcascade_profileface.xml", True)),
        longest=1280,
        step=1.15,
    ),
    "plate": CascadeSet((("haarcascade_russian_plate_number.xml", False),), longest=1920, step=1.1),
}
NEIGHBOURS = 3  # windows that must agree


class CascadeFinder:
    """OpenCV's cascades for faces (from the front and both sides) or plates.

    The score is n / (n + 1) of the n windows that agree.
    """

    def __init__(self, kind: str) -> None:
        import cv2

        folder = Path(cv2.__file__).parent / "data"
        self.kind = kind
        self._set = CASCADES[kind]
        self._cascades: list[tuple[Any, bool]] = []
        for name, also_mirrored in self._set.files:
            cascade = cv2.CascadeClassifier(str(folder / name))
            self._cascades += [(cascade, False), (cascade, True)][: 1 + also_mirrored]

    def find(self, bgr: Array) -> list[Find]:
        """See `Detector`."""
        import cv2

        height, width = bgr.shape[:2]
        grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
        scale = min(1.0, self._set.longest / max(width, height))
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        finds = [find for each in self._cascades for find in self._find_by(*each, grey, scale)]
        return merged(within(finds, width, height))

    def _find_by(self, cascade: Any, mirrored: bool, grey: Array, scale: float) -> list[Find]:
        import cv2

        seen = cv2.flip(grey, 1) if mirrored else grey
        boxes, counts = cascade.detectMultiScale2(
            seen, scaleFactor=self._set.step, minNeighbors=NEIGHBOURS
        )
        finds = []
        for (x, y, w, h), count in zip(boxes, counts, strict=True):
            left = grey.shape[1] - x - w if mirrored else x
            x1, y1, x2, y2 = (float(each) / scale for each in (left, y, left + w, y + h))
            score = int(count) / (int(count) + 1)
            finds.append(Find(self.kind, x1, y1, x2, y2, score, "detected"))
        return finds
