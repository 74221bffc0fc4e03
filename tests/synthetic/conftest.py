"""One tiny recording that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from cityforge.synthetic.footage import FootagePlan, generate

TINY = FootagePlan(seed=5, sessions=1, seconds=1.2, conditions=("day",))


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a one-day recording, 12 frames a camera."""
    out = tmp_path_factory.mktemp("footage")
    generate(out, TINY, workers=2)
    return out
