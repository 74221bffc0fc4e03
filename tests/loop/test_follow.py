"""A running endpoint follows the champion: approval, rollback, a package that fails its check."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from scratch import cityforge, wait_until_ready

from cityforge.cli.demo import free_port

TAKES_S = 20.0  # until another version answers, on a busy machine


class Client:
    """Asks without a pause, and keeps what was answered."""

    def __init__(self, address: str, jpeg: bytes) -> None:
        self.answers: list[tuple[int, int | str]] = []
        self._files = {"images": ("a.jpg", jpeg, "image/jpeg")}
        self._address, self._end = address, threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._end.is_set():
                try:
                    answer = client.post(f"{self._address}/predict", files=self._files)
                    found = answer.json().get("version", answer.text)
                    self.answers.append((answer.status_code, found))
                except httpx.HTTPError as error:
                    self.answers.append((0, repr(error)))


@pytest.fixture(scope="module")
def two_versions(loop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with version 1 approved and version 2 waiting."""
    root = tmp_path_factory.mktemp("follow") / "project"
    shutil.copytree(loop, root, symlinks=True)
    ran = cityforge(root, "run", "bins", "--set", "evaluate.overlap=0.4")
    assert ran.returncode == 0, ran.stderr
    return root


@pytest.fixture
def served(two_versions: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    port = free_port()
    command = [str(Path(sys.executable).parent / "cityforge"), "serve", "bins", "--open"]
    command += ["--port", str(port)]
    with subprocess.Popen(command, cwd=two_versions, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield wait_until_ready(f"http://127.0.0.1:{port}", process), process
        finally:
            process.terminate()


def info(address: str) -> dict[str, object]:
    found: dict[str, object] = httpx.get(f"{address}/info", timeout=10).json()
    return found


def wait_for(there: Callable[[], bool]) -> float:
    """Seconds until something is so."""
    begun = time.monotonic()
    while time.monotonic() - begun < TAKES_S:
        if there():
            return time.monotonic() - begun
        time.sleep(0.1)  # nothing tells when an endpoint took another version: asked again
    raise AssertionError(f"not so within {TAKES_S} s")


def decide(root: Path, *words: str) -> None:
    done = cityforge(root, "model", *words)
    assert done.returncode == 0, done.stderr


def test_approval_and_rollback_take_effect_without_one_failed_request(
    two_versions: Path, served: tuple[str, subprocess.Popen[str]], stills: Path
) -> None:
    address, _ = served
    assert info(address)["version"] == 1
    assert info(address)["trust"] == "site"
    with Client(address, (stills / "街道 001.jpg").read_bytes()) as client:
        decide(two_versions, "approve", "bins", "2", "--by", "王芳", "--override", "--reason", "x")
        took = wait_for(lambda: info(address)["version"] == 2)
        decide(two_versions, "rollback", "bins", "--by", "王芳", "--reason", "too many alarms")
        back = wait_for(lambda: info(address)["version"] == 1)
        time.sleep(0.5)  # a few answers more of the version that came back
    assert {status for status, _ in client.answers} == {200}, client.answers
    versions = [version for _, version in client.answers]
    assert [each for each, _ in itertools.groupby(versions)] == [1, 2, 1]
    sys.stdout.write(f"approval took {took:.1f} s, rollback {back:.1f} s\n")

    answers = two_versions / ".cityforge/answers"
    rows = [
        json.loads(line) for path in answers.glob("*.jsonl") for line in path.open(encoding="utf-8")
    ]
    assert len(rows) >= len(client.answers)
    assert {row["version"] for row in rows} == {1, 2}
    assert all(row["request_id"].startswith(row["package_digest"][:16]) for row in rows)


def test_the_endpoint_ends_with_the_process_that_serves(
    served: tuple[str, subprocess.Popen[str]],
) -> None:
    address, process = served
    os.kill(process.pid, signal.SIGKILL)

    def gone() -> bool:
        try:
            httpx.get(f"{address}/readyz", timeout=2)
        except httpx.TransportError:
            return True
        return False

    wait_for(gone)
