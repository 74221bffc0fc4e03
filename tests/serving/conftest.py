"""A site of its own for each test."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from signed_site import Site, signed_site


@pytest.fixture
def site(make_package: Callable[..., Path], tmp_path: Path) -> Site:
    """A site with two people: one trains, another approves."""
    return signed_site(make_package, tmp_path)
