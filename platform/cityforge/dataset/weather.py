"""What a street camera's picture goes through: night, fog, rain, motion blur, compression.

Each function takes a picture (H, W, 3) uint8 RGB and a generator and returns a new picture
of the same shape; no box moves.

What was looked at (320 x 320, one core): torchvision's transforms have of these only JPEG
compression, in twice the time of OpenCV's; kornia works on float batches and takes 2 to 12 ms
for rain, motion blur and JPEG; albumentations 2 takes 68 ms for fog, is no longer maintained
and asks the network for a newer version when imported, and its successor is AGPL. So the
filters, the encoder and the blending are OpenCV's, and the rest are the short formulas below.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[Any]
Change = Callable[[Picture, np.random.Generator], Picture]

LONGEST_KERNEL = 11  # pixels; from 12 on OpenCV filters by Fourier transform, 150 times slower
NOISE_SIDE = 512
NOISE_UNIT = 32  # of the stored noise: one standard deviation
# Linear RGB of street lamps: high-pressure sodium, warm and cold LED.
LAMPS = np.array([[1.0, 0.72, 0.38], [1.0, 0.88, 0.68], [0.90, 0.96, 1.0]], np.float32)


def night(image: Picture, rng: np.random.Generator) -> Picture:
    """Little light, that of lamps, and the noise of a sensor at high gain.

    Light falls off from the lamps over a dim ground; the noise is Gaussian with a variance
    linear in the signal (Foi et al. 2008, "Practical Poissonian-Gaussian noise modeling").
    """
    import cv2

    steep = cv2.LUT(image, _gamma_table(float(rng.uniform(1.0, 1.5))))
    light = _lamp_light(image.shape[0], image.shape[1], rng)
    return _noisy(cv2.multiply(steep, light, scale=1 / 128), rng)


def fog(image: Picture, rng: np.random.Generator) -> Picture:
    """Koschmieder's law: I = J t + A (1 - t), t = exp(-b d), with airlight A at depth d.

    The depth is that of a flat ground up to a horizon, uneven by a tenth: fog drifts.
    The farthest keeps 10 to 50 % of its light, the nearest nearly all.
    """
    import cv2

    height, width = image.shape[:2]
    depth = _ground_depth(height, rng)[:, None] * _drift(height, width, rng)
    passed = np.power(np.float32(rng.uniform(0.1, 0.5)), depth)  # (H, W), exp(-b d)
    air = np.empty_like(image)
    air[:] = _airlight(image, rng)
    return np.asarray(cv2.blendLinear(image, air, passed, 1 - passed))


def rain(image: Picture, rng: np.random.Generator) -> Picture:
    """Streaks of one direction over a thin veil.

    A drop shows a wide view of the bright sky and passes a pixel within the exposure: it
    lightens what is darker than the sky in part (Garg and Nayar 2007, "Vision and rain").
    Rain farther off is a veil without streaks.
    """
    import cv2

    height, width = image.shape[:2]
    streaks = _streaks(height, width, rng)
    veil = np.float32(rng.uniform(0.05, 0.2))
    covered = veil + streaks * ((1 - veil) * np.float32(rng.uniform(0.35, 0.7) / 255))
    sky = np.empty_like(image)
    sky[:] = _airlight(image, rng)
    return np.asarray(cv2.blendLinear(image, sky, 1 - covered, covered))


def motion_blur(image: Picture, rng: np.random.Generator) -> Picture:
    """The mean along a short line, as while a camera shakes; the middle stays where it is.

    The line has 1 to 4 % of the longer side; one longer than a kernel is walked in parts.
    """
    import cv2

    longest = max(image.shape[:2])
    length = max(3.0, longest * float(rng.uniform(0.01, 0.04)))
    angle = float(rng.uniform(0, np.pi))
    passes = int(np.ceil((length / LONGEST_KERNEL) ** 2))  # variances add up
    kernel = line_kernel(length / np.sqrt(passes), angle)
    for _ in range(passes):
        image = np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE))
    return image


def compression(image: Picture, rng: np.random.Generator) -> Picture:
    """Blocks and bled colours: there and back as a JPEG of quality 12 to 60."""
    import cv2

    quality = round(float(np.exp(rng.uniform(np.log(12), np.log(60)))))
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"a picture of {image.shape} that no JPEG can hold")
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))


# By their key in `train.augment`, as light meets them: the scene, the air, the lens, the wire.
WEATHER: dict[str, Change] = {
    "night": night,
    "fog": fog,
    "rain": rain,
    "motion_blur": motion_blur,
    "compression": compression,
}


def line_kernel(length: float, angle: float) -> NDArray[Any]:
    """A line of `length` pixels through the middle of an odd square, its weights sum to 1."""
    side = min(LONGEST_KERNEL, 2 * int(np.ceil((length - 1) / 2)) + 1)
    half = side // 2
    across, down = np.meshgrid(np.arange(-half, half + 1), np.arange(-half, half + 1))
    along = across * np.cos(angle) + down * np.sin(angle)
    aside = across * np.sin(angle) - down * np.cos(angle)
    weight = np.clip(1 - np.abs(aside), 0, 1) * np.clip(length / 2 + 0.5 - np.abs(along), 0, 1)
    return np.asarray(weight / weight.sum(), np.float32)


def _gamma_table(gamma: float) -> NDArray[Any]:
    return np.asarray(255 * (np.arange(256) / 255) ** gamma + 0.5, np.uint8)


def _lamp_light(height: int, width: int, rng: np.random.Generator) -> Picture:
    """Light (H, W, 3) uint8 of some lamps over a dim ground, 128 is daylight."""
    import cv2

    rows, columns = max(2, height // 16), max(2, width // 16)
    y = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None]
    x = np.linspace(0, 1, columns, dtype=np.float32)[None, :, None]
    kind = LAMPS[rng.integers(len(LAMPS))]
    light = np.float32(rng.uniform(0.12, 0.35)) * (0.5 + 0.5 * kind) * np.ones_like(x + y)
    for _ in range(int(rng.integers(1, 5))):
        at_x, at_y, reach = rng.uniform(0, 1), rng.uniform(0.0, 0.8), rng.uniform(0.08, 0.3)
        off = (x - np.float32(at_x)) ** 2 + (y - np.float32(at_y)) ** 2
        fall = np.exp(off / np.float32(-2 * reach**2))
        light = light + np.float32(rng.uniform(0.2, 0.9)) * kind * fall
    coarse = np.clip(light * 128, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height)))


def _noisy(image: Picture, rng: np.random.Generator) -> Picture:
    """Add noise of deviation sqrt(read² + shot · signal), both in grey levels."""
    import cv2

    read, shot = rng.uniform(1.0, 4.0), rng.uniform(0.1, 0.5)
    deviation = np.sqrt(read**2 + shot * np.arange(256))
    table = np.asarray(deviation * 8 + 0.5, np.int16)  # eighths of a grey level
    spread = np.asarray(cv2.LUT(image, table))
    noise = _noise_of(image.shape[0], image.shape[1], rng)
    added = cv2.multiply(spread, noise, scale=1 / (8 * NOISE_UNIT))
    return np.asarray(cv2.add(image, added, dtype=cv2.CV_8U))


def _noise_of(height: int, width: int, rng: np.random.Generator) -> NDArray[Any]:
    """Noise (H, W, 3) int16: a piece of a sheet that is drawn once, as drawing takes 3 ms."""
    sheet = _noise_sheet()
    y, x = int(rng.integers(NOISE_SIDE)), int(rng.integers(NOISE_SIDE))
    if y + height <= NOISE_SIDE and x + width <= NOISE_SIDE:
        return sheet[y : y + height, x : x + width]
    rows = np.arange(y, y + height) % NOISE_SIDE
    columns = np.arange(x, x + width) % NOISE_SIDE
    return np.ascontiguousarray(sheet[np.ix_(rows, columns)])


@lru_cache(maxsize=1)
def _noise_sheet() -> NDArray[Any]:
    drawn = np.random.default_rng(0).standard_normal((NOISE_SIDE, NOISE_SIDE, 3), np.float32)
    return np.asarray(drawn * NOISE_UNIT, np.int16)


def _ground_depth(height: int, rng: np.random.Generator) -> NDArray[Any]:
    """Depth (H,) of the rows of a flat ground, 1 at the horizon and above it."""
    horizon = rng.uniform(-0.3, 0.3)  # in picture heights from the top
    below = np.linspace(0, 1, height, dtype=np.float32) - np.float32(horizon)
    nearest = 1 - horizon
    return np.asarray(nearest / 8 / np.maximum(below, nearest / 8), np.float32)


def _drift(height: int, width: int, rng: np.random.Generator) -> NDArray[Any]:
    import cv2

    coarse = rng.uniform(0.9, 1.1, (5, 5)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height)))


def _airlight(image: Picture, rng: np.random.Generator) -> NDArray[Any]:
    """Colour (3,) of the lit air: a grey near the brightest of the picture, at night a dark one."""
    few = image[:: max(1, image.shape[0] // 32), :: max(1, image.shape[1] // 32)]
    bright = float(np.percentile(few.max(2), 90))
    grey = bright * rng.uniform(0.75, 0.95) + rng.uniform(-3, 3, 3)
    return np.asarray(np.clip(grey, 0, 255), np.uint8)


def _streaks(height: int, width: int, rng: np.random.Generator) -> NDArray[Any]:
    """How much of each pixel a streak covers, (H, W) float32, 0 to 255."""
    import cv2

    shift = 4  # OpenCV takes sixteenths of a pixel
    count = max(1, round(height * width * rng.uniform(0.0008, 0.003)))
    lean = np.deg2rad(rng.uniform(-20, 20) + rng.normal(0, 2, count))
    length = height * rng.uniform(0.02, 0.1) * rng.uniform(0.5, 1.5, count)
    begin = rng.uniform(-0.1, 1.0, (count, 2)) * (width, height)
    end = begin + np.stack([np.sin(lean), np.cos(lean)], 1) * length[:, None]
    lines = np.round(np.stack([begin, end], 1) * 2**shift).astype(np.int32)
    mask = np.zeros((height, width), np.uint8)
    thick = max(1, round(height / 400))
    cv2.polylines(mask, list(lines), False, 255, thick, cv2.LINE_AA, shift)
    return mask.astype(np.float32)
