"""Runs a bundle where there is no network, and asks it what its pictures show.

    unshare -n python offline.py FOLDER -- COMMAND...

COMMAND verifies and serves the bundle on 127.0.0.1:PORT; FOLDER is where it unpacks. One line of
JSON on stdout: the status of /readyz, of a request without a token, the answer to each picture of
`conformance/`, and the statuses of feedback: to the first answer, then, after COMMAND was started
again, to the last. What the command said goes to stderr, without the token.
"""

from __future__ import annotations

import fcntl
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx

PORT = 3911
URL = f"http://127.0.0.1:{PORT}"
SIOCSIFFLAGS, UP_RUNNING = 0x8914, 0x41  # netdevice(7)
PATIENCE_S = 300
SECRET = re.compile(r"cf_[A-Za-z0-9_-]+")


def raise_loopback() -> None:
    """A new network namespace has its loopback down, and nothing else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        wanted = struct.pack("16sH14s", b"lo", UP_RUNNING, b"")
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, wanted)


def has_network() -> bool:
    """Whether a packet could leave this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return False
    return True


def token_of(stream: IO[str]) -> str:
    """The secret that the command tells, once it serves; its words are passed on."""
    found = ""
    for line in stream:
        match = SECRET.search(line)
        found = match[0] if match else found
        sys.stderr.write(SECRET.sub("cf_…", line))
        if line.startswith("serving at"):
            return found
    raise SystemExit("it ended before it served")


def pass_on(stream: IO[str]) -> None:
    for line in stream:
        sys.stderr.write(line)


def wait_until_ready(headers: dict[str, str]) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE_S:
        try:
            if httpx.get(f"{URL}/readyz", headers=headers, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)  # nothing tells when a port is open: asked again
    raise SystemExit("it was not ready in time")


def ask(folder: Path, headers: dict[str, str]) -> dict[str, Any]:
    expected = json.loads((folder / "bundle/conformance/expected.json").read_bytes())
    answers = []
    for each in expected["pictures"]:
        data = (folder / "bundle/conformance" / each["file"]).read_bytes()
        files = {"images": (each["file"], data)}
        answer = httpx.post(f"{URL}/predict", files=files, headers=headers, timeout=60)
        answers.append(answer.json())
    stranger = httpx.post(f"{URL}/predict", files=files, timeout=60).status_code
    return {"expected": expected, "answers": answers, "stranger": stranger}


def thank(answer: dict[str, object], headers: dict[str, str]) -> int:
    """The status of feedback to an answer."""
    said = {"request_id": answer["request_id"], "right": True}
    return httpx.post(f"{URL}/feedback", json=said, headers=headers, timeout=60).status_code


@contextmanager
def served(command: list[str], token: str = "") -> Iterator[dict[str, str]]:
    """Serve until it is not needed any more; what a caller must say. Told once: `token`."""
    words = {"stdout": sys.stderr, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **words) as process:
        try:
            headers = {"Authorization": f"Bearer {token_of(process.stderr) or token}"}
            threading.Thread(target=pass_on, args=(process.stderr,)).start()
            wait_until_ready(headers)
            yield headers
        finally:
            process.terminate()


def main(folder: Path, command: list[str]) -> None:
    raise_loopback()
    if has_network():
        raise SystemExit("the network is there")
    with served(command) as headers:
        found = ask(folder, headers)
        thanks = [thank(found["answers"][0], headers)]
    with served(command, headers["Authorization"].removeprefix("Bearer ")) as headers:
        thanks.append(thank(found["answers"][-1], headers))
    sys.stdout.write(json.dumps({"ready": 200, **found, "thanks": thanks}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[3:])
