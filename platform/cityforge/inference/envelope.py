"""Marks answers to pictures outside the conditions that an algorithm was proven in.

What is told: the light of the picture, objects under the smallest size, and where the camera hangs.
An algorithm without an envelope is marked nowhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.cards.camera import CameraCard
from cityforge.footage.quality import BLACK_LUMA, lighting_of
from cityforge.inference.package import About
from cityforge.inference.runtime import Answer
from cityforge.tasks.picture import Fitted

DARK = ("night", "infrared")  # lightings that a picture is told to be too dark by
LOOKED_AT = 45  # rows of the picture, at most, that its light is told from
MOST_BLACK = 0.05  # share of a black picture that may be lighter than BLACK_LUMA
# Mark, key of the envelope, key of the camera's card, unit.
OF_CAMERA = (
    ("camera_height", "camera_height_m", "height_m", "m"),
    ("camera_pitch", "pitch_deg", "pitch_deg", "°"),
)


def marks_of(
    about: About, fitted: Fitted, answer: Answer, camera: CameraCard | None
) -> list[dict[str, str]]:
    """What of a picture and its camera lies outside the envelope, each a `schema.Mark`.

    A camera is judged where one is named.
    """
    envelope = about.envelope
    if not envelope:
        return []
    marks = _of_light(envelope, fitted)
    if about.task == "detection":
        marks += _of_size(envelope, answer)
    if camera is not None:
        marks += _of_camera(envelope, camera)
    return marks


def light_of(fitted: Fitted) -> str:
    """`day`, `night` or `infrared`, as the footage layer tells it, from the picture alone.

    Told by every n-th pixel of the canvas, without its grey border.
    """
    import cv2

    height = max(1, round(fitted.height * fitted.scale))
    width = max(1, round(fitted.width * fitted.scale))
    step = max(1.0, height / LOOKED_AT)
    size = max(1, round(width / step)), max(1, round(height / step))
    seen = fitted.canvas[:height, :width]
    colours = cv2.resize(seen, size, interpolation=cv2.INTER_NEAREST)
    luma: NDArray[Any] = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
    lighting = lighting_of(luma, colours)
    if lighting == "infrared" and (luma > BLACK_LUMA).mean() <= MOST_BLACK:
        return "night"  # no colour, for there is nothing to see
    return lighting


def _of_light(envelope: dict[str, Any], fitted: Fitted) -> list[dict[str, str]]:
    proven = envelope.get("illumination") or DARK
    if all(each in proven for each in DARK):
        return []
    found = light_of(fitted)
    if found in DARK and found not in proven:
        return [_mark("too_dark", found, ", ".join(proven))]
    return []


def _of_size(envelope: dict[str, Any], answer: Answer) -> list[dict[str, str]]:
    """Objects are as large as the evaluation slices them: by their area, here its square root."""
    least = float(envelope.get("smallest_object_px") or 0)
    if not least or not len(answer.xyxy):
        return []
    sides = answer.xyxy[:, 2:] - answer.xyxy[:, :2]
    area = sides[:, 0] * sides[:, 1]
    small = int(np.count_nonzero(area < least * least))
    if not small:
        return []
    found = f"{small} of {len(area)} objects, the smallest {float(area.min()) ** 0.5:.1f} px"
    return [_mark("too_small", found, f"{least:g} px or more")]


def _of_camera(envelope: dict[str, Any], camera: CameraCard) -> list[dict[str, str]]:
    if camera.height_m is None and camera.pitch_deg is None:
        proven = [_range(envelope[key], unit) for _, key, _, unit in OF_CAMERA if key in envelope]
        found = f"camera '{camera.name}' says neither height nor pitch"
        return [_mark("camera_unmeasured", found, ", ".join(proven))] if proven else []
    marks = []
    for what, key, own, unit in OF_CAMERA:
        value = getattr(camera, own)
        if value is None or key not in envelope:
            continue
        low, high = envelope[key]
        if not low <= value <= high:
            marks.append(_mark(what, _measure(value, unit), _range(envelope[key], unit)))
    return marks


def _range(limits: Any, unit: str) -> str:
    low, high = limits
    return f"{low:g} to {_measure(high, unit)}"


def _measure(value: float, unit: str) -> str:
    return f"{value:g}{unit}" if unit == "°" else f"{value:g} {unit}"


def _mark(what: str, found: str, proven: str) -> dict[str, str]:
    return {"what": what, "found": found, "proven": proven}
