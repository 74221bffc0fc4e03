"""A small evaluation: four frames of two cameras, three classes, one of them never seen."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from detected import Case, make_case


@pytest.fixture
def case() -> Case:
    return make_case("car", "bus", "tram")


@pytest.fixture
def case_of() -> Callable[[str, str, str], Case]:
    return make_case


@pytest.fixture
def grey_jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (400, 320), (90, 90, 90)).save(stream, "JPEG", quality=95)
    return stream.getvalue()
