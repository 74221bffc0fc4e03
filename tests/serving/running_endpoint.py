"""A real endpoint over a signed release: its own process, as a Bento is served."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

SERVING = Path(__file__).parents[2] / "serving"
STARTS_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_endpoint(release: Path, *options: str, **surroundings: str) -> Iterator[str]:
    """Its address, once it is ready; `surroundings` are CITYFORGE_* without their prefix."""
    shutil.copy(SERVING / "service.py", release)
    port, log = free_port(), release.parent / "endpoint.log"
    named = {f"CITYFORGE_{name.upper()}": value for name, value in surroundings.items()}
    own = {key: value for key, value in os.environ.items() if not key.startswith("CITYFORGE_")}
    environment = {
        **own, "OMP_NUM_THREADS": "1", "BENTOML_HOME": str(release.parent / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True", "CITYFORGE_COMPUTE": "1", **named,
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "cityforge.endpoint.bento",
        "serve",
        "service:Endpoint",
        "--working-dir",
        ".",
    ]
    address = f"{'https' if '--ssl-certfile' in options else 'http'}://127.0.0.1:{port}"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), *options],
            cwd=release, env=environment, stdout=written, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    try:
        wait_until_it_answers(address, process, log)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_it_answers(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for any answer of /readyz but 503: where a token is asked for, 401."""
    until = time.monotonic() + STARTS_S
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{address}/readyz", verify=False).status_code != 503:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)  # nothing tells when a port is open: asked again
    raise AssertionError(f"not ready in {STARTS_S:.0f} s: {log.read_text()}")
