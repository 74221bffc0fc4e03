"""Models for the tests of the pool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cityforge.endpoint.pool import Loaded
from cityforge.inference.package import open_package


@pytest.fixture(scope="module")
def bright_model(
    make_package: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Loaded]:
    """Models that tell how bright a picture is; the n-th, `batch` pictures at once."""
    folder = tmp_path_factory.mktemp("models")

    def make(number: int, batch: int = 1) -> Loaded:
        place = folder / str(number) / "package"
        if not place.exists():
            make_package(place, "tiny", str(number), task="classification", lock_digest=str(number))
        return Loaded(str(place), open_package(place).digest, batch)

    return make
