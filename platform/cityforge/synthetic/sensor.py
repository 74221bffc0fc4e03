"""What camera and weather add to a painted frame: rain, blur, vignette, noise, caption."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import cv2
import numpy as np
import numpy.typing as npt

from cityforge.synthetic.cameras import Camera
from cityforge.synthetic.conditions import Condition

Image = npt.NDArray[np.uint8]

GRAIN_MARGIN = 64


@dataclass(frozen=True)
class Sensor:
    """Prepared layers for one clip.

    `darkening` (H, W, 3) multiplies, 255 is 1.0. `brighter` and `darker` are grain
    tiles, larger than a frame so that each frame takes another cut. `streaks` are
    tiles of falling rain.
    """

    camera: Camera
    condition: Condition
    seed: int
    darkening: Image
    brighter: Image
    darker: Image
    streaks: Image | None


def prepare_sensor(camera: Camera, condition: Condition, seed: int) -> Sensor:
    """Draw the layers once; the frames only cut and add them."""
    rng = np.random.default_rng([seed, 7])
    tall, wide = camera.height, camera.width
    x = np.linspace(-1.0, 1.0, wide)[None, :]
    y = np.linspace(-1.0, 1.0, tall)[:, None] * tall / wide
    fall = 1.0 - 0.26 * np.clip((x**2 + y**2) / 1.3, 0, 1) ** 1.5
    darkening = np.repeat((fall * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    size = (tall + GRAIN_MARGIN, wide + GRAIN_MARGIN)
    fine = rng.standard_normal(size).astype(np.float32)
    coarse = cv2.resize(
        rng.standard_normal((size[0] // 2, size[1] // 2)).astype(np.float32), size[::-1]
    )
    tint = rng.standard_normal((*size, 3)).astype(np.float32) * 0.45
    grain = (0.6 * fine + 0.8 * coarse)[:, :, None] + tint
    grain *= condition.noise
    return Sensor(
        camera, condition, seed, darkening,
        np.clip(grain, 0, 255).astype(np.uint8), np.clip(-grain, 0, 255).astype(np.uint8),
        _streaks(rng, tall, wide) if condition.rain_streaks > 0 else None,
    )  # fmt: skip


def _streaks(rng: np.random.Generator, tall: int, wide: int) -> Image:
    """A tile of rain twice as tall and somewhat wider than the frame."""
    tile = np.zeros((tall * 2, wide + GRAIN_MARGIN), np.uint8)
    for _ in range(int(tall * wide / 420)):
        x, y = int(rng.integers(0, wide + GRAIN_MARGIN)), int(rng.integers(0, tall * 2))
        length = int(rng.integers(5, 20)) * tall // 360 + 1
        bright = int(rng.integers(10, 44))
        cv2.line(tile, (x, y), (x - length // 7, y + length), (bright,), 1, cv2.LINE_AA)
    rain: Image = np.repeat(tile[:, :, None], 3, axis=2)
    return rain


def expose(sensor: Sensor, painted: Image, frame: int, clock: datetime) -> Image:
    """The frame (H, W, 3) BGR as the camera delivers it; `painted` is left as it was."""
    tall, wide = painted.shape[:2]
    rng = np.random.default_rng([sensor.seed, 11, frame])
    cut_y, cut_x, rain_x, rain_y = rng.integers(0, GRAIN_MARGIN, 4).tolist()
    image: Image = painted
    if sensor.streaks is not None:
        down = (rain_y * tall // GRAIN_MARGIN) % tall
        image = cv2.add(image, sensor.streaks[down : down + tall, rain_x : rain_x + wide])
    image = cv2.GaussianBlur(image, (3, 3), 0.55)
    image = cv2.multiply(image, sensor.darkening, scale=1 / 255)
    window = (slice(cut_y, cut_y + tall), slice(cut_x, cut_x + wide))
    exposed: Image = cv2.subtract(cv2.add(image, sensor.brighter[window]), sensor.darker[window])
    _caption(exposed, f"{sensor.camera.name}  {clock:%Y-%m-%d %H:%M:%S}")
    return exposed


def _caption(image: Image, text: str) -> None:
    scale = image.shape[1] / 640 * 0.36
    place = (int(8 * scale / 0.36), int(14 * scale / 0.36))
    for colour, thickness in (((0, 0, 0), 2), ((235, 235, 235), 1)):
        cv2.putText(
            image, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA
        )
