"""Eight processes promote and roll back one algorithm, two killed now and then.

For half a minute; `CITYFORGE_RIVALS_S` says otherwise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from crash import City, make_packages
from rivals import PACKAGES

SECONDS = int(os.environ.get("CITYFORGE_RIVALS_S", "30"))


@pytest.mark.slow
def test_one_champion_at_every_moment_and_no_approval_lost(
    tmp_path: Path, make_package: Callable[..., Path]
) -> None:
    make_packages(City(tmp_path), make_package, PACKAGES)
    script = Path(__file__).with_name("rivals.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(SECONDS)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    faults = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.fault")]
    assert done.returncode == 0, (done.stderr[-2000:], faults)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["faults"] == []
    assert set(found["codes"]) == {0}
    assert (found["lost"], found["wrong_before"], found["twice"], found["audit"]) == ([], [], 0, [])
    assert found["alias"] == found["champion"]
    acts = found["acts"]
    assert acts["approve"] >= SECONDS // 12, acts
    assert acts["rollback"] >= SECONDS // 6, acts
    assert found["killed"] >= SECONDS // 6
    assert found["looked"] >= SECONDS // 6
