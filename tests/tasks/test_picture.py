"""Any picture comes upright, in RGB, at the size its header says, or is refused in a line."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cityforge.errors import InputError
from cityforge.tasks.picture import GREY, decode, decode_and_fit, fit, picture_size

FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "TIFF"]


def encoded(image: Image.Image, format_name: str = "PNG", orientation: int = 1) -> bytes:
    stream = io.BytesIO()
    exif = image.getexif()
    if orientation != 1:
        exif[0x0112] = orientation
    image.save(stream, format_name, exif=exif)
    return stream.getvalue()


def quarters(width: int = 80, height: int = 40) -> Image.Image:
    """Red upper left, green upper right, blue lower left, white lower right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    pixels[: height // 2, width // 2 :] = (0, 255, 0)
    pixels[height // 2 :, : width // 2] = (0, 0, 255)
    pixels[height // 2 :, width // 2 :] = (255, 255, 255)
    return Image.fromarray(pixels)


def corners(image: np.ndarray) -> str:
    """The colours of the quarters as letters: upper left, upper right, lower left, lower right."""
    height, width = image.shape[:2]
    named = {(True, False, False): "r", (False, True, False): "g", (False, False, True): "b"}
    spots = [(y, x) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]
    return "".join(named.get(tuple((image[spot] > 128).tolist()), "w") for spot in spots)


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_is_decoded_to_rgb(format_name: str) -> None:
    data = encoded(quarters(), format_name)
    image = decode(data)
    assert (image.shape, image.dtype) == ((40, 80, 3), np.uint8)
    assert corners(image) == "rgbw"
    assert picture_size(data) == (80, 40)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (2, "grwb"), (3, "wbgr"), (4, "bwrg"), (5, "rbgw"), (6, "brwg"), (7, "wgbr"), (8, "gwrb"),
    ],
)  # fmt: skip
def test_a_picture_is_turned_upright_and_its_size_with_it(
    format_name: str, orientation: int, expected: str
) -> None:
    data = encoded(quarters(), format_name, orientation)
    image = decode(data)
    assert corners(image) == expected
    assert picture_size(data) == (image.shape[1], image.shape[0])
    fitted = decode_and_fit(data, 64, 64)
    assert (fitted.width, fitted.height) == picture_size(data)


@pytest.mark.parametrize(
    ("size", "shrink_to", "expected"),
    [
        ((800, 400), None, (800, 400)),
        ((800, 400), (401, 200), (800, 400)),
        ((800, 400), (400, 200), (400, 200)),
        ((800, 400), (100, 200), (400, 200)),  # the tighter side decides
        ((800, 400), (200, 100), (200, 100)),
        ((800, 400), (10, 10), (100, 50)),
        ((801, 403), (200, 100), (201, 101)),
    ],
)
def test_a_large_jpeg_is_decoded_smaller(
    size: tuple[int, int], shrink_to: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    image = decode(encoded(quarters(*size), "JPEG"), shrink_to)
    assert image.shape == (expected[1], expected[0], 3)
    assert corners(image) == "rgbw"


def test_decoding_smaller_and_turned_fits_as_the_whole_picture_does() -> None:
    data = encoded(quarters(1600, 800), "JPEG", 6)
    quick, slow = decode_and_fit(data, 96, 96), fit(decode(data), 96, 96)
    assert (quick.scale, quick.width, quick.height) == (slow.scale, 800, 1600)
    assert np.abs(quick.canvas.astype(int) - slow.canvas).mean() < 2


@pytest.mark.parametrize(
    ("width", "height", "inner", "scale"),
    [(320, 320, (320, 160), 4.0), (64, 64, (64, 32), 0.8), (640, 40, (80, 40), 1.0)],
)
def test_a_picture_is_fitted_into_the_upper_left_corner(
    width: int, height: int, inner: tuple[int, int], scale: float
) -> None:
    fitted = fit(np.asarray(quarters()), width, height)
    assert fitted.canvas.shape == (height, width, 3)
    assert (fitted.scale, fitted.width, fitted.height) == (scale, 80, 40)
    assert corners(fitted.canvas[: inner[1], : inner[0]]) == "rgbw"
    assert (fitted.canvas[inner[1] :] == GREY).all()
    assert (fitted.canvas[:, inner[0] :] == GREY).all()


@pytest.mark.parametrize(
    ("image", "format_name", "expected"),
    [
        (Image.new("L", (32, 32), 90), "JPEG", (90, 90, 90)),
        (Image.new("L", (32, 32), 90), "PNG", (90, 90, 90)),
        (Image.new("LA", (32, 32), (90, 10)), "PNG", (90, 90, 90)),
        (Image.new("RGBA", (32, 32), (10, 200, 30, 0)), "PNG", (10, 200, 30)),
        (Image.new("RGBA", (32, 32), (10, 200, 30, 255)), "WEBP", (10, 200, 30)),
        (Image.new("1", (32, 32), 1), "PNG", (255, 255, 255)),
        (Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", (255, 0, 0)),
        (Image.new("I;16", (32, 32), 30000), "PNG", (117, 117, 117)),
    ],
)
def test_other_kinds_of_pixels_become_rgb(
    image: Image.Image, format_name: str, expected: tuple[int, int, int]
) -> None:
    found = decode(encoded(image, format_name))
    assert found.shape == (32, 32, 3)
    assert found[16, 16].tolist() == pytest.approx(expected, abs=4)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b"hello" * 50, "250 bytes of something else"),
        (b"\xff\xd8\xff", ""),
        (b"GIF89a" + bytes(50), "56 bytes of something else"),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes, found: str) -> None:
    for read in (picture_size, decode):
        with pytest.raises(InputError) as refusal:
            read(data)
        assert found in refusal.value.found


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_picture_is_refused(format_name: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    data = encoded(Image.fromarray(noise), format_name)
    with pytest.raises(InputError):
        decode(data[: int(len(data) * share)])


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG that says it is this large and holds nothing."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    header += struct.pack(">I", zlib.crc32(chunk))
    return header + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(10_001, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_by_the_header(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="pixels"):
        decode(png_header(*size))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_picture_is_decoded_or_refused_and_nothing_else() -> None:
    dice = random.Random(1)
    outcomes = {"decoded": 0, "refused": 0}
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    for format_name in FORMATS:
        whole = encoded(Image.fromarray(noise), format_name, 6 if format_name != "BMP" else 1)
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(dice.randint(1, 6)):
                data[int(len(data) * dice.random() ** 3)] = dice.randrange(256)
            try:
                image = decode(bytes(data))
            except InputError:
                outcomes["refused"] += 1
            else:
                assert image.shape[2] == 3
                outcomes["decoded"] += 1
    assert sum(outcomes.values()) == 300
    assert min(outcomes.values()) > 30
