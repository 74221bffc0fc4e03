"""A PostgreSQL server of these tests' own, and a project with drawn pictures on disk."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from postgresql_server import Server, running_server
from streets import Streets, make_streets

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A running server."""
    yield from running_server()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty storage, of both kinds one behind the other."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tuning.db'}"
    from cityforge.project import Project
    from cityforge.settings import Settings
    from cityforge.training.storage import storage_url

    server = request.getfixturevalue("postgresql")
    stated = server.new_database(f"t{abs(hash(request.node.name)) % 10**10}")
    return storage_url(Project(tmp_path), Settings(tuning_storage=stated))


@pytest.fixture
def launch() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a cheap worker; whatever lives at the end of the test is killed."""
    import json

    started: list[subprocess.Popen[str]] = []

    def start(url: str, trials: int, seconds: float = 0.0, grace_s: int = 30,
              minutes: float = 10.0) -> subprocess.Popen[str]:  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, str(HERE / "cheap_worker.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdin
        job = {"url": url, "trials": trials, "seconds": seconds, "grace_s": grace_s,
               "minutes": minutes, "parent": 0}  # fmt: skip
        with process.stdin as stdin:
            stdin.write(json.dumps(job))
        process.stdin = None  # closed: communicate would flush it
        return process

    yield start
    for each in started:
        if each.poll() is None:
            each.send_signal(signal.SIGKILL)
        each.wait()


@pytest.fixture
def streets(tmp_path: Path) -> Streets:
    """A project with 48 drawn frames, ready for `tune`."""
    return make_streets(tmp_path / "city")
