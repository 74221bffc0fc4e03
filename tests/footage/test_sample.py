"""Which frames are taken, and that they stand upright."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cityforge.cards.dataset import Sampling
from cityforge.footage.film import Damage, clock_of, decode_film, open_film, picture_stream
from cityforge.footage.sample import Sample, sample_film
from cityforge.footage.stills import encode_jpeg, still_jpeg

Make = Callable[..., Path]


def every(path: Path, seconds: float) -> list[Sample]:
    return list(sample_film(path, Sampling(policy="every", seconds=seconds)))


def moments(path: Path, seconds: float) -> list[int]:
    return [each.milliseconds for each in every(path, seconds)]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.5, [0, 500, 1000, 1500]),
        (0.25, [0, 300, 500, 800, 1000, 1300, 1500, 1800]),  # the first frame behind each
        (1, [0, 1000]),
        (60, [0]),
        (0, [*range(0, 2000, 100)]),
    ],
)
def test_a_film_is_sampled_by_time(
    tmp_path: Path, make_film: Make, seconds: float, expected: list[int]
) -> None:
    greys = range(20, 220, 10)
    taken = every(make_film(tmp_path / "街.mp4", greys), seconds)
    assert [each.milliseconds for each in taken] == expected
    for each in taken:
        assert each.bgr.mean() == pytest.approx(greys[each.milliseconds // 100], abs=4)


def test_gaps_between_frames_are_kept(tmp_path: Path, make_film: Make) -> None:
    path = make_film(tmp_path / "gap.mkv", [50, 100, 150, 200], moments=[0, 3, 40, 41])
    assert moments(path, 1) == [0, 4000]
    assert moments(path, 0) == [0, 300, 4000, 4100]


def test_time_counts_from_the_first_frame(tmp_path: Path, make_film: Make) -> None:
    path = make_film(tmp_path / "late.mkv", [50, 100, 150], moments=[70, 75, 80])
    assert moments(path, 0.5) == [0, 500, 1000]


def test_no_two_frames_carry_one_moment(tmp_path: Path, make_film: Make) -> None:
    path = make_film(tmp_path / "quick.mkv", range(20, 120, 10), rate=4000)
    taken = moments(path, 0)
    assert len(taken) == len(set(taken)) > 1


def test_an_upright_jpeg_keeps_its_bytes(tmp_path: Path, make_picture: Make) -> None:
    path = make_picture(tmp_path / "照片.jpg")
    assert still_jpeg(path) == path.read_bytes()


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "size", "light"),
    [
        (3, (64, 48), np.s_[30:, :]),
        (6, (48, 64), np.s_[:, 30:]),
        (8, (48, 64), np.s_[:, :18]),
    ],
)
def test_a_turned_still_is_stored_upright(
    tmp_path: Path,
    make_picture: Make,
    format_name: str,
    orientation: int,
    size: tuple[int, int],
    light: tuple[slice, slice],
) -> None:
    path = make_picture(tmp_path / "turned", format_name=format_name, orientation=orientation)
    image = Image.open(io.BytesIO(still_jpeg(path)))
    assert image.format == "JPEG"
    assert image.size == size
    assert image.getexif().get(0x0112, 1) == 1
    assert np.asarray(image)[light].mean() > 190


@pytest.mark.parametrize(
    ("mode", "fill", "expected"),
    [
        ("L", 90, (90, 90, 90)),
        ("RGBA", (10, 200, 30, 255), (10, 200, 30)),
        ("P", 0, (0, 0, 0)),
        ("1", 1, (255, 255, 255)),
        ("I;16", 30000, (117, 117, 117)),  # 16 bits are scaled, not cut
    ],
)
def test_a_still_of_another_kind_is_stored_as_jpeg(
    tmp_path: Path, mode: str, fill: object, expected: tuple[int, int, int]
) -> None:
    Image.new(mode, (32, 32), fill).save(tmp_path / "still.png")
    stored = Image.open(io.BytesIO(still_jpeg(tmp_path / "still.png"))).convert("RGB")
    assert stored.getpixel((16, 16)) == pytest.approx(expected, abs=4)


def test_cmyk_is_stored_as_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    stored = Image.open(io.BytesIO(still_jpeg(tmp_path / "print.jpg")))
    assert stored.mode == "RGB"
    assert stored.getpixel((16, 16)) == pytest.approx((255, 0, 0), abs=4)


def test_encoding_keeps_the_colours() -> None:
    bgr = np.zeros((16, 16, 3), np.uint8)
    bgr[:] = (20, 120, 220)
    decoded = np.asarray(Image.open(io.BytesIO(encode_jpeg(bgr))))
    assert decoded[8, 8].tolist() == pytest.approx([220, 120, 20], abs=4)


@pytest.mark.real
def test_a_turned_film_is_stored_upright(real_data: Callable[[str], Path]) -> None:
    import cv2

    path = real_data("footage") / "decord_rot90.mov"
    stored = every(path, 0)[0].bgr.astype(float)
    read, reference = cv2.VideoCapture(str(path)).read()  # turns by the metadata
    assert read
    assert stored.shape == reference.shape
    assert np.abs(stored - reference).mean() < 4
    with open_film(path) as container:
        stream = picture_stream(container, path)
        _, raw = next(decode_film(container, stream, Damage(), clock_of(stream)))
    assert (raw.height, raw.width) == stored.shape[1::-1]  # the test sees a rotation


@pytest.mark.real
def test_a_broken_packet_costs_its_own_frame_only(real_data: Callable[[str], Path]) -> None:
    path = real_data("footage") / "decord_corrupted.mp4"
    damage = Damage()
    with open_film(path) as container:
        stream = picture_stream(container, path)
        frames = list(decode_film(container, stream, damage, clock_of(stream)))
    assert (len(frames), damage.errors) == (49, 1)
    assert frames[-1][0] > damage.times[0]  # reading went on behind the fault
