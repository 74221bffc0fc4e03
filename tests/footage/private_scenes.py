"""Streets with plates and cards that ask for redaction, for the tests of what is made private."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cityforge.cards.dataset import Privacy
from cityforge.footage.detectors import Find

METHODS = ["blur", "pixelate", "fill"]
FINDER = "version-RFB-320.onnx"


def privacy(*kinds: str, method: str = "blur", finder: Path | None = None, **more: Any) -> Privacy:
    """A card's privacy; faces by the 320×240 network where `finder` is given."""
    detectors = {}
    if finder:
        detectors["face"] = {
            "path": finder.name, "sha256": sha256(finder.read_bytes()).hexdigest(), "width": 320,
            "height": 240, "layout": "scores_boxes", "mean": 127.0, "divide_by": 128.0,
            "colour": "rgb", "score": 0.5, "tiles": more.pop("tiles", 1),
        }  # fmt: skip
    redaction = {"method": method, "padding": 0.2, "hold_s": 0.5, "detectors": detectors, **more}
    return Privacy.model_validate(
        {
            "grade": "personal", "lawful_basis": "a test", "redact": list(kinds),
            "retention_days": 1, "redaction": redaction,
        }
    )  # fmt: skip


def street(grey: int, seed: int = 0, size: tuple[int, int] = (960, 540)) -> np.ndarray[Any, Any]:
    """A noisy grey picture of width × height with a few darker and lighter walls."""
    rng = np.random.default_rng(seed)
    picture = rng.normal(grey, 9, (size[1], size[0], 3))
    for _ in range(6):
        x, y = rng.integers(0, size[0] - 80), rng.integers(0, size[1] - 80)
        w, h = rng.integers(60, 400, 2)
        picture[y : y + h, x : x + w] += rng.integers(-25, 25)
    return np.clip(picture, 0, 255).astype(np.uint8)


def draw_plate(
    picture: np.ndarray[Any, Any],
    centre: tuple[int, int],
    width: int,
    angle: float = 0.0,
    text: str = "A 123 BC 77",
) -> tuple[float, float, float, float]:
    """Draw a plate (white, a black frame, dark letters) and return its xyxy before rotation."""
    height, fine = round(width / 4.6), 4  # drawn four times as large, then shrunk
    plate = np.full((height * fine, width * fine, 3), 245, np.uint8)
    edge = max(2, height * fine // 14)
    cv2.rectangle(plate, (0, 0), (width * fine - 1, height * fine - 1), (10, 10, 10), edge)
    font, thick = cv2.FONT_HERSHEY_SIMPLEX, max(2, round(height * fine * 0.09))
    (w, h), _ = cv2.getTextSize(text, font, 1, thick)
    scale = min(width * fine * 0.86 / w, height * fine * 0.62 / h)
    (w, h), _ = cv2.getTextSize(text, font, scale, thick)
    corner = ((width * fine - w) // 2, (height * fine + h) // 2)
    cv2.putText(plate, text, corner, font, scale, (10, 10, 10), thick, cv2.LINE_AA)
    plate = cv2.GaussianBlur(plate, (0, 0), fine / 2)
    middle = (width * fine / 2, height * fine / 2)
    turn = cv2.getRotationMatrix2D(middle, angle, 1 / fine)
    turn[:, 2] += np.subtract(centre, middle)
    size = picture.shape[1::-1]
    mask = cv2.warpAffine(np.full(plate.shape[:2], 255, np.uint8), turn, size) > 127
    picture[mask] = cv2.warpAffine(plate, turn, size)[mask]
    x, y = centre
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def overlap(find: Find, box: tuple[float, float, float, float]) -> float:
    """Share of `box` that lies in a find."""
    w = min(find.x2, box[2]) - max(find.x1, box[0])
    h = min(find.y2, box[3]) - max(find.y1, box[1])
    return max(0.0, w) * max(0.0, h) / ((box[2] - box[0]) * (box[3] - box[1]))


def shrunk(photo: np.ndarray[Any, Any], longest: int) -> np.ndarray[Any, Any]:
    scale = longest / max(photo.shape[:2])
    return cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
