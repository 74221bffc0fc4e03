"""A kill or a failing disk at each write, sync and rename of an act: the old state or the new."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from crash import ACTS, City, make_packages

pytestmark = pytest.mark.slow

# Calls on MLflow's own database that are hit, spread over the act; all others are hit each time.
MOST_OF_MLFLOW = 6
LEAST_HIT = {"register": 40, "approve": 30, "rollback": 20, "withdraw": 15}


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, make_package: Callable[..., Path]
) -> dict[str, Future[dict[str, Any]]]:
    """Every act is hit in a process of its own, as many at once as there are processors."""
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            pytest.fail("no strace: apt-get install strace")
        pytest.skip("no strace: apt-get install strace")
    folders = {name: tmp_path_factory.mktemp(name) for name in ACTS}
    for folder in folders.values():
        make_packages(City(folder), make_package)
    pool = ThreadPoolExecutor(os.cpu_count())
    return {name: pool.submit(hit, name, folder) for name, folder in folders.items()}


def hit(name: str, folder: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("crash.py")
    scratch = folder / "tmp"  # what killed processes leave stays here
    scratch.mkdir()
    done = subprocess.run(
        [sys.executable, str(script), str(folder), name, str(MOST_OF_MLFLOW)],
        cwd=scratch, env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True, text=True, timeout=3600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", list(ACTS))
def test_a_blow_leaves_the_old_state_or_the_new(
    name: str, running: dict[str, Future[dict[str, Any]]]
) -> None:
    found = running[name].result()
    assert found["wrong"] == []
    assert found["hit"] >= LEAST_HIT[name], found
