"""Weather and camera: pictures change as physics says, as the seed says, and quickly."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from cityforge.dataset.weather import (
    LONGEST_KERNEL,
    WEATHER,
    compression,
    fog,
    line_kernel,
    motion_blur,
    night,
    rain,
)

SEEDS = range(20)
MOST_MS = 10.0  # at 320 x 320; 1 to 2 when the machine is at rest
Scene = np.ndarray


@pytest.fixture
def street() -> Scene:
    """Sky above, dark ground below, a bright and a dark thing on it; (320, 320, 3)."""
    image = np.full((320, 320, 3), 70, np.uint8)
    image[:110] = (190, 205, 225)
    image[150:210, 60:120] = (200, 30, 30)
    image[220:300, 200:290] = 20
    return image


def made(name: str, image: Scene, seed: int) -> Scene:
    return WEATHER[name](image, np.random.default_rng(seed))


@pytest.mark.parametrize("name", WEATHER)
def test_the_seed_decides_the_picture_and_the_one_given_stays(name: str, street: Scene) -> None:
    before = street.copy()
    first = made(name, street, 1)
    assert (street == before).all()
    assert (first.shape, first.dtype) == (street.shape, np.uint8)
    assert np.abs(first.astype(int) - street).mean() > 0.3
    assert (made(name, street, 1) == first).all()
    assert not (made(name, street, 2) == first).all()


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (48, 1), (600, 530)])
@pytest.mark.parametrize("name", WEATHER)
def test_any_shape_and_any_part_of_a_picture_will_do(name: str, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (shape[0] + 4, shape[1] + 4, 3), np.uint8)
    part = image[2:-2, 2:-2]  # its rows do not lie behind one another
    for seed in range(3):
        assert made(name, part, seed).shape == (*shape, 3)


@pytest.mark.parametrize("name", WEATHER)
def test_a_picture_takes_a_few_milliseconds(name: str, street: Scene) -> None:
    spent = []
    for seed in range(5):
        begun = time.process_time()
        made(name, street, seed)
        spent.append(1000 * (time.process_time() - begun))
    assert min(spent) < MOST_MS


def test_night_is_dark_and_its_noise_grows_with_the_light(street: Scene) -> None:
    means = [night(street, np.random.default_rng(seed)).mean() for seed in SEEDS]
    assert max(means) < street.mean() * 0.85
    assert np.mean(means) < street.mean() * 0.5
    assert np.mean(means) > 3  # not black
    flat = np.full((64, 64, 3), 200, np.uint8)
    noisy = [night(flat, np.random.default_rng(seed)) for seed in SEEDS]
    smooth = [cv2.GaussianBlur(each, (15, 15), 4) for each in noisy]
    light = [float(each.mean()) for each in smooth]
    noise = [float((a.astype(int) - b).std()) for a, b in zip(noisy, smooth, strict=True)]
    assert min(noise) > 0.5
    assert max(noise) < 25
    assert np.corrcoef(light, noise)[0, 1] > 0.1


def test_fog_veils_what_is_far_more_than_what_is_near(street: Scene) -> None:
    stripes = street.copy()
    stripes[:, ::8] = 250
    stripes[:, 4::8] = 10
    for seed in SEEDS:
        after = fog(stripes, np.random.default_rng(seed)).astype(int)
        kept = after.std(1).mean(1) / stripes.std(1).mean(1)  # contrast (H,) of each row
        assert kept[-40:].mean() > kept[:40].mean() + 0.15
        assert 0.05 < kept[:40].mean() < 0.65
        assert kept[-40:].mean() > 0.6
        assert kept.max() < 1.02


def test_fog_follows_koschmieder(street: Scene) -> None:
    """I = J t + A (1 - t): along a row with one depth, all pixels lie on one line."""
    shades = np.broadcast_to(np.arange(0, 250, 10, dtype=np.uint8)[None, :, None], (96, 25, 3))
    for seed in SEEDS:
        after = fog(np.ascontiguousarray(shades), np.random.default_rng(seed)).astype(float)
        for row in (0, 48, 95):
            slope, air = np.polyfit(shades[row, :, 1].astype(float), after[row, :, 1], 1)
            line = slope * shades[row, :, 1] + air
            assert np.abs(after[row, :, 1] - line).max() < 9  # drift tilts it a little
            assert 0.05 < slope < 1


def test_rain_lightens_what_is_dark_and_leaves_a_bright_sky(street: Scene) -> None:
    for seed in SEEDS:
        after = rain(street, np.random.default_rng(seed)).astype(int)
        changed = after - street
        ground, sky = changed[220:300, 200:290], changed[:110]
        assert ground.mean() > 4
        assert ground.mean() > 3 * abs(sky.mean())
        streaks = changed[130:320].max(2) > 40
        assert 0.0005 < streaks.mean() < 0.3


def test_streaks_of_rain_run_downwards() -> None:
    dark = np.full((320, 320, 3), 30, np.uint8)
    dark[0, :40] = 255  # the sky that the drops show
    down, across = [], []
    for seed in SEEDS:
        after = rain(dark, np.random.default_rng(seed))[20:, :, 0].astype(float)
        across.append(np.abs(np.diff(after, axis=1)).mean())
        down.append(np.abs(np.diff(after, axis=0)).mean())
    assert np.mean(across) > 1.5 * np.mean(down)


def test_a_blurred_point_becomes_a_line_around_where_it_was() -> None:
    point = np.zeros((101, 101, 3), np.uint8)
    point[48:53, 48:53] = 255
    lengths = []
    for seed in SEEDS:
        after = motion_blur(point, np.random.default_rng(seed))[:, :, 0].astype(float)
        y, x = np.nonzero(after)
        weight = after[y, x] / after.sum()
        middle = (weight * x).sum(), (weight * y).sum()
        assert middle == pytest.approx((50, 50), abs=0.3)
        spread = np.linalg.eigvalsh(np.cov(np.stack([x, y]), aweights=weight))
        lengths.append(np.sqrt(spread[1] / spread[0]))
        assert after.sum() == pytest.approx(point[:, :, 0].sum(), rel=0.05)
    assert max(lengths) > 1.05


@pytest.mark.parametrize("angle", [0.0, 0.7, np.pi / 2, 2.5])
@pytest.mark.parametrize("length", [1.0, 3.0, 7.4, 11.0])
def test_a_kernel_is_a_line_of_its_length_and_angle(length: float, angle: float) -> None:
    kernel = line_kernel(length, angle)
    half = len(kernel) // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    assert kernel.sum() == pytest.approx(1)
    assert len(kernel) <= LONGEST_KERNEL
    assert ((kernel * x).sum(), (kernel * y).sum()) == pytest.approx((0, 0), abs=1e-6)
    along = x * np.cos(angle) + y * np.sin(angle)
    aside = x * np.sin(angle) - y * np.cos(angle)
    # A line of n points has a variance of (n² - 1) / 12.
    assert (kernel * along**2).sum() == pytest.approx((length**2 - 1) / 12, abs=0.8)
    assert (kernel * aside**2).sum() < 0.3


def test_a_large_picture_is_blurred_further_without_larger_kernels() -> None:
    wide = np.zeros((600, 600, 3), np.uint8)
    wide[:, 300:] = 255

    def widest(image: Scene) -> float:
        blurred = [motion_blur(image, np.random.default_rng(seed)) for seed in range(12)]
        middle = len(image) // 2
        return max(float(((b[middle, :, 0] > 8) & (b[middle, :, 0] < 247)).sum()) for b in blurred)

    assert widest(wide) > 2 * widest(wide[:150, 225:375])
    assert widest(wide) > LONGEST_KERNEL


def test_compression_loses_detail_and_keeps_colours(street: Scene) -> None:
    rng = np.random.default_rng(5)
    grain = np.clip(street + rng.normal(0, 12, street.shape), 0, 255).astype(np.uint8)
    for seed in SEEDS:
        after = compression(grain, np.random.default_rng(seed))
        assert np.abs(after.astype(int) - grain).mean() < 15
        # Red stays red: the channels are not mixed up.
        assert after[160:200, 70:110, 0].mean() > after[160:200, 70:110, 2].mean() + 100
        assert jpeg_bytes(after) < 0.9 * jpeg_bytes(grain)


def jpeg_bytes(image: Scene) -> int:
    return len(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])
