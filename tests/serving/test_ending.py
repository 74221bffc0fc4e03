"""A real endpoint says when it cannot answer, and answers everyone before it ends."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from running_endpoint import running_endpoint
from signed_site import Site

from cityforge.endpoint.bento import FINISH_S, KILLED_AFTER_S
from cityforge.endpoint.limits import REQUEST_S
from cityforge.endpoint.running import PATIENCE_S
from cityforge.inference.served import Published, write_published

pytestmark = pytest.mark.services
SOON_S = 20.0


def process_of(address: str) -> psutil.Process:
    """The endpoint's own process, which starts and ends the others."""
    port = address.rpartition(":")[2]
    for each in psutil.Process().children():
        with suppress(psutil.ZombieProcess):  # of an earlier test: it ended, nobody asked how
            if port in each.cmdline():
                return each
    raise AssertionError(f"no process of {address}")


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + SOON_S
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)  # nothing tells: looked at again


def test_an_endpoint_that_may_not_answer_is_not_ready(site: Site) -> None:
    release, pointer = site.release(1), site.folder / "current.json"
    write_published(pointer, Published(str(release), site.keys()))
    named = {"published": str(pointer), "open_to_all": "true"}
    with running_endpoint(release, **named) as address:
        assert httpx.get(f"{address}/readyz").status_code == 200
        fronts = [" ".join(each.cmdline()) for each in process_of(address).children()]
        assert any(f"--timeout-graceful-shutdown {FINISH_S}" in each for each in fronts)
        write_published(pointer, Published(str(release), site.keys(), "its data was withdrawn"))
        wait_for(lambda: httpx.get(f"{address}/readyz").status_code == 503)
        assert "retry-after" in httpx.get(f"{address}/readyz").headers
        assert httpx.get(f"{address}/livez").status_code == 200
        write_published(pointer, Published(str(release), site.keys()))
        wait_for(lambda: httpx.get(f"{address}/readyz").status_code == 200)


def test_who_is_not_answered_when_an_endpoint_ends_is_told(site: Site) -> None:
    asked = ("--timeout-graceful-shutdown", "2")
    head = (
        b"POST /analyze HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    )
    with running_endpoint(site.release(1), *asked, open_to_all="true") as address:
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), SOON_S) as caller:
            caller.sendall(head)
            process = process_of(address)
            wait_for(lambda: httpx.get(f"{address}/readyz").status_code == 200)
            begun = time.monotonic()
            process.terminate()
            told = b"".join(iter(lambda: caller.recv(65536), b""))
        assert 1 < time.monotonic() - begun < 9  # the body itself would be given up after 10 s
        said, _, body = told.partition(b"\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in said.lower()
        assert json.loads(body)["error"] == "expected an answer, found an endpoint that ends"
        process.wait(SOON_S)


def test_an_endpoint_is_given_the_time_that_it_takes_to_end() -> None:
    assert REQUEST_S < FINISH_S
    assert FINISH_S + PATIENCE_S < KILLED_AFTER_S


def test_bentoml_lets_it_finish(tmp_path: Path) -> None:
    """Circus, as `python -m cityforge.endpoint.bento` starts it."""
    program = (
        "from cityforge.endpoint.bento import look_often\n"
        "look_often()\n"
        "from circus.arbiter import Arbiter\nfrom circus.watcher import Watcher\n"
        "made = Arbiter([Watcher('a', 'true')], 'tcp://127.0.0.1:0', 'tcp://127.0.0.1:0')\n"
        "print(made.check_delay, [each.graceful_timeout for each in made.watchers])"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert said.stdout.strip() == f"1.0 [{KILLED_AFTER_S}]"
