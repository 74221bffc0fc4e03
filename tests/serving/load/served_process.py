"""An endpoint over a tiny signed release: the command, settings and token that users have."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from serving_family import Family
from signed_site import Site

from cityforge.cli.serving import Asked, serve_command
from cityforge.endpoint.token_file import SCOPES, new_token
from cityforge.inference.served import Published, write_published

SERVICE = Path(__file__).parents[3] / "serving" / "service.py"
READY_S, ENDED_S = 60.0, 40.0


@dataclass(frozen=True)
class Running(Family):
    """An endpoint that answers at `address`; `pointer` says with which release.

    The address has the token in it, as `http://NAME:TOKEN@HOST:PORT`: httpx sends it by itself.
    """

    pointer: Path
    log: Path

    def publish(self, site: Site, folder: Path) -> None:
        """Ask it to answer with another release."""
        write_published(self.pointer, Published(str(folder), site.keys()))


@contextmanager
def running(site: Site, release: Path, **environment: str) -> Iterator[Running]:
    """Start an endpoint by the command of `cityforge serve`, and end it as a person would."""
    folder = site.folder / "endpoint"
    folder.mkdir()
    shutil.copy(SERVICE, folder)
    pointer = folder / "current.json"
    write_published(pointer, Published(str(release), site.keys()))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tokens = folder / "tokens.json"
    _, token = new_token(tokens, "load", SCOPES, rate=100_000, burst=100_000, days=1)
    command = serve_command(folder, Asked("127.0.0.1", port))
    told = {
        "BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True",
        "CITYFORGE_PUBLISHED": str(pointer), "CITYFORGE_ANSWERS": str(folder / "answers"),
        "CITYFORGE_FEEDBACK": str(folder / "feedback"), "CITYFORGE_TOKENS": str(tokens),
        "CITYFORGE_OPEN_TO_ALL": "false", "CITYFORGE_SECRET": str(folder / "request_ids.key"),
        "CITYFORGE_CAMERAS": str(folder / "cameras"), "CITYFORGE_COMPUTE": "2", **environment,
    }  # fmt: skip
    log = folder / "log.txt"
    with log.open("wb") as written:
        process = subprocess.Popen(
            command, env={**os.environ, **told}, stdout=written, stderr=written
        )
    found = Running(f"http://load:{token}@127.0.0.1:{port}", process, pointer, log)
    try:
        wait_until_it_answers(found, READY_S)
        assert httpx.get(f"http://127.0.0.1:{port}/info", timeout=20).status_code == 401
        yield found
    finally:
        _end(found)


def wait_until_it_answers(found: Running, seconds: float) -> float:
    """Seconds until it is ready."""
    begun = time.monotonic()
    while time.monotonic() < begun + seconds and found.process.poll() is None:
        try:
            if httpx.get(f"{found.address}/readyz", timeout=2).status_code == 200:
                return time.monotonic() - begun
        except httpx.TransportError:
            pass
        time.sleep(0.05)  # nothing tells when a port is open: asked again
    tail = found.log.read_text(errors="replace")[-3000:]
    raise AssertionError(f"not ready within {seconds} s ({found.process.poll()}):\n{tail}")


def _end(found: Running) -> None:
    family = found.family() if found.process.poll() is None else []
    if found.process.poll() is None:
        found.process.send_signal(signal.SIGTERM)
    try:
        found.process.wait(ENDED_S)
    finally:
        for each in family:
            if each.is_running():
                each.kill()
        psutil.wait_procs(family, 5)


def lives(process: psutil.Process) -> bool:
    """Whether a process is there, and not only its exit code."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
