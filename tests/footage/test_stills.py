"""Still photographs: every depth comes out as a person sees it, or is refused with a reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cityforge.errors import FootageError
from cityforge.footage.probe import probe
from cityforge.footage.stills import still_bgr, still_jpeg

RAMP = np.linspace(0, 1, 256, endpoint=False).reshape(8, 32)  # (H, W) 0 to 1


def write(path: Path, pixels: np.ndarray[Any, Any]) -> Path:
    from PIL import Image

    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("dtype", "scale", "mode", "note"),
    [
        (np.uint8, 256, "L", ()),
        (np.uint16, 65536, "I;16", ()),
        (np.int32, 65536, "I", ("32 bits a pixel; read as 16 bits",)),
        (np.int32, 256, "I", ("32 bits a pixel; read as 8 bits",)),
    ],
)
def test_grey_of_any_depth_keeps_its_scale(
    tmp_path: Path, dtype: type, scale: int, mode: str, note: tuple[str, ...]
) -> None:
    path = write(tmp_path / "a.tiff", (RAMP * scale).astype(dtype))
    found = probe(path)
    assert (found.pixel_format, found.notes) == (mode, note)
    expected = (RAMP * 256).astype(np.uint8)
    assert np.array_equal(still_bgr(path), np.repeat(expected[:, :, None], 3, axis=2))


@pytest.mark.parametrize(
    ("pixels", "mode"),
    [
        (RAMP.astype(np.float32), "F"),
        ((RAMP * 65537 * 8).astype(np.int32), "I"),
        ((RAMP * 100 - 50).astype(np.int32), "I"),
    ],
)
def test_a_picture_without_a_known_scale_is_refused(
    tmp_path: Path, pixels: np.ndarray[Any, Any], mode: str
) -> None:
    with pytest.raises(FootageError, match=f"8 or 16 bits.*mode {mode}.*a.tiff") as caught:
        probe(write(tmp_path / "a.tiff", pixels))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_every_other_mode_that_a_file_holds_is_read(tmp_path: Path, mode: str) -> None:
    from PIL import Image

    Image.new(mode, (32, 8)).save(tmp_path / "a.tiff")
    assert probe(tmp_path / "a.tiff").pixel_format == mode
    assert still_bgr(tmp_path / "a.tiff").shape == (8, 32, 3)


LARGE = """
import sys
from pathlib import Path
from PIL import Image
from cityforge.footage.probe import probe
from cityforge.footage.stills import still_bgr

path = Path(sys.argv[1])
Image.new("1", (10_000, 9_500)).save(path)  # 95 Mpx: Pillow warns from 89.5 on
found = probe(path)
print(found.width, found.height, *still_bgr(path).shape)
"""


def test_a_picture_just_under_the_limit_brings_no_warning(tmp_path: Path) -> None:
    # In a process of its own, as it takes much memory.
    command = [sys.executable, "-c", LARGE, str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("10000 9500 9500 10000 3\n", "")


def test_an_upright_jpeg_keeps_its_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", (RAMP * 256).astype(np.uint8))
    assert still_jpeg(path) == path.read_bytes()
