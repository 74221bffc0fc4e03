"""Files that are no pictures, or strange ones: some made by hand, the rest from a seed."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
Made = dict[str, bytes]


@cache
def picture(kind: str, mode: str = "RGB", size: tuple[int, int] = (48, 32)) -> bytes:
    """A picture with some texture, whole."""
    image = Image.effect_noise(size, 60).convert("RGB").convert(mode)
    return saved(image, kind)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int = 1, colour: int = 0, *more: bytes) -> bytes:
    """A PNG that says it is so large; its pixels are there when it is not too large to make."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    row = b"\0" * (1 + (width * depth + 7) // 8)
    packer = zlib.compressobj(1)
    rows = height if width * height < 2 * 10**8 else 8
    pixels = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()
    return (
        b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def of_size(width: int, height: int) -> bytes:
    """A JPEG whose header says another size than its data."""
    data = bytearray(picture("JPEG"))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def many_scans(times: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = saved(Image.new("RGB", (1024, 1024), "red"), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * times + data[-2:]


def with_exif(exif: bytes) -> bytes:
    """A JPEG with any bytes as its EXIF."""
    data = picture("JPEG")
    told = b"Exif\0\0" + exif
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(told) + 2) + told + data[2:]


def turned(orientation: int) -> bytes:
    image = Image.open(io.BytesIO(picture("JPEG")))
    exif = image.getexif()
    exif[0x0112] = orientation
    return saved(image, "JPEG", exif=exif)


def tiff(entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    """A TIFF of one directory: (tag, type, count, value) each."""
    rows = b"".join(struct.pack("<HHII", *each) for each in entries)
    count = struct.pack("<H", len(entries))
    return b"II*\0" + struct.pack("<I", 8) + count + rows + struct.pack("<I", following)


@cache
def by_hand() -> Made:
    """Name and bytes; none of them may stop an endpoint."""
    return dict(_by_hand())


def _by_hand() -> Iterator[tuple[str, bytes]]:
    yield from _huge().items()
    yield from _strange().items()
    yield from _no_pictures().items()
    for number in range(10):
        yield f"orientation {number}", turned(number)
    for kind in FORMATS:
        whole = picture(kind)
        yield f"{kind} of one pixel", saved(Image.new("RGB", (1, 1)), kind)
        yield f"{kind} without its end", whole[:-5]
        yield f"{kind} of its first half", whole[: len(whole) // 2]
        yield f"{kind} of its first 12 bytes", whole[:12]
        yield f"{kind} twice", whole * 2
        yield f"{kind} and a zip", whole + _zip()


def _huge() -> Made:
    bomb = zlib.compress(b"a" * 60_000_000, 9)
    texts = [chunk(b"tEXt", b"k%d\0v" % number) for number in range(20_000)]
    size = (0x100, 4, 1, 60_000), (0x101, 4, 1, 60_000)
    return {
        "PNG of 50,000×50,000": png(50_000, 50_000, 8, 2),
        "PNG of 2^31": png(2**31 - 1, 2**31 - 1),
        "PNG of 14,000×14,000, whole": png(14_000, 14_000),
        "PNG of 9,900×9,900, whole": png(9_900, 9_900),
        "PNG of 0×0": png(0, 0),
        "PNG with a bomb of a text": png(8, 8, 8, 0, chunk(b"zTXt", b"k\0\0" + bomb)),
        "PNG with a bomb of a profile": png(8, 8, 8, 0, chunk(b"iCCP", b"k\0\0" + bomb)),
        "PNG with 20,000 texts": png(8, 8, 8, 0, *texts),
        "PNG with a bomb of pixels": png(8, 8)[:33] + chunk(b"IDAT", bomb) + chunk(b"IEND", b""),
        "JPEG of 65,500×65,500": of_size(65_500, 65_500),
        "JPEG of 9,900×9,900 without its pixels": of_size(9_900, 9_900),
        "JPEG of 0×0": of_size(0, 0),
        "JPEG of 1,000 scans": many_scans(1000),
        "JPEG with 64 KiB of EXIF": with_exif(b"\xff" * 65_000),
        "TIFF of 60,000×60,000": tiff([*size]),
        "TIFF with a tag of 4 GiB": tiff([(0x100, 4, 2**32 - 1, 8), (0x10F, 2, 2**32 - 1, 8)]),
        "BMP of 60,000×60,000": b"BM" + struct.pack(
            "<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0
        ),
        "WebP of 16,383×16,383": _webp_of_size(16_383, 16_383),
        "WebP of 9,900×9,900 without its pixels": _webp_of_size(9_900, 9_900),
        "two very long rows": png(50_000_000, 1),
    }  # fmt: skip


def _strange() -> Made:
    noise = Image.open(io.BytesIO(picture("PNG")))
    frames = [Image.new("RGB", (32, 32), (each, 0, 0)) for each in range(0, 200, 10)]
    several = {"save_all": True, "append_images": frames}
    deep = Image.fromarray(np.arange(32 * 48, dtype=np.uint16).reshape(32, 48) * 40)
    made = {
        "JPEG of CMYK": picture("JPEG", "CMYK"),
        "JPEG of grey": picture("JPEG", "L"),
        "PNG of 16 bits": saved(deep, "PNG"),
        "PNG of a palette": saved(noise.convert("P"), "PNG"),
        "PNG of one bit": saved(noise.convert("1"), "PNG"),
        "PNG of grey and alpha": saved(noise.convert("LA"), "PNG"),
        "PNG that moves": saved(frames[0], "PNG", **several),
        "WebP that moves": saved(frames[0], "WEBP", **several),
        "WebP with alpha": saved(noise.convert("RGBA"), "WEBP"),
        "TIFF of 21 pages": saved(frames[0], "TIFF", **several),
        "TIFF of floats": saved(noise.convert("F"), "TIFF"),
        "TIFF of 16 bits": saved(deep, "TIFF"),
        "TIFF of CMYK": saved(noise.convert("CMYK"), "TIFF"),
        "TIFF that follows itself": tiff([(0x100, 4, 1, 8), (0x101, 4, 1, 8)], 8),
        "TIFF without a directory": b"II*\0\xff\xff\xff\xff",
        "BMP upside down": _upside_down(),
        "EXIF that follows itself": with_exif(b"II*\0\x08\0\0\0\0\0\x08\0\0\0"),
        "EXIF with 65,535 tags": with_exif(b"II*\0\x08\0\0\0\xff\xff" + b"\x12\1\3\0\xff" * 900),
        "GIF that moves": saved(frames[0], "GIF", **several),
        "ICO": saved(noise.resize((32, 32)), "ICO"),
    }
    for name in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        made[f"TIFF by {name}"] = saved(noise, "TIFF", compression=name)
    made["TIFF by group4"] = saved(noise.convert("1"), "TIFF", compression="group4")
    return made


def _webp_of_size(width: int, height: int) -> bytes:
    data = bytearray(picture("WEBP"))
    start = data.index(b"\x9d\x01\x2a") + 3  # of a VP8 key frame (RFC 6386, 9.1)
    data[start : start + 4] = struct.pack("<HH", width, height)
    return bytes(data)


def _upside_down() -> bytes:
    data = bytearray(picture("BMP"))
    data[22:26] = struct.pack("<i", -32)
    return bytes(data)


def _no_pictures() -> Made:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    entity = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'
    return {
        "nothing": b"",
        "one byte": b"\0",
        "words": b"these are words\n" * 50,
        "zeros": bytes(100_000),
        "SVG": svg,
        "XML with an entity": entity,
        "PDF": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF",
        "zip": _zip(),
        "zip named .jpg after a JPEG's head": picture("JPEG")[:200] + _zip(),
        "GIF and a script": b"GIF89a/*" + b"\0" * 20 + b"*/=alert(1)",
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nquit\n",
        "program": b"\x7fELF" + bytes(500),
        "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    }


@cache
def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.txt", b"0" * 1_000_000)
    return stream.getvalue()


def from_seed(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Damaged pictures: cut, flipped, joined, of random bytes; the same for the same seed."""
    random_of = random.Random(seed)
    ways: list[Callable[[random.Random, bytes], bytes]] = [
        _cut, _flipped, _overwritten, _grown, _joined, _random_after_head,
    ]  # fmt: skip
    for number in range(count):
        way, kind = random_of.choice(ways), random_of.choice(FORMATS)
        yield f"{number} {kind}{way.__name__}", way(random_of, picture(kind))


def _cut(random_of: random.Random, data: bytes) -> bytes:
    return data[: random_of.randrange(len(data))]


def _flipped(random_of: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random_of.choice((1, 1, 3, 30))):
        changed[random_of.randrange(len(changed))] ^= 1 << random_of.randrange(8)
    return bytes(changed)


def _overwritten(random_of: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    start, size = random_of.randrange(len(changed)), random_of.choice((1, 2, 4, 8, 64))
    changed[start : start + size] = random_of.choice((b"\xff", b"\0", b"\x7f")) * size
    return bytes(changed)


def _grown(random_of: random.Random, data: bytes) -> bytes:
    start = random_of.randrange(len(data))
    return data[:start] + random_of.randbytes(random_of.randrange(1, 5000)) + data[start:]


def _joined(random_of: random.Random, data: bytes) -> bytes:
    other = picture(random_of.choice(FORMATS))
    return data[: random_of.randrange(len(data))] + other[random_of.randrange(len(other)) :]


def _random_after_head(random_of: random.Random, data: bytes) -> bytes:
    return data[: random_of.choice((0, 2, 4, 16, 40))] + random_of.randbytes(
        random_of.randrange(1, 20_000)
    )
