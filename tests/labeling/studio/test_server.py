"""The local server: started, found running, ended; and nothing that is not ours touched."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from people import log_in

from cityforge.errors import InputError, ServiceError
from cityforge.labeling.studio.credentials import (
    credentials_path,
    read_credentials,
)
from cityforge.labeling.studio.database import DATABASE
from cityforge.labeling.studio.environment import VERSION, studio_folder
from cityforge.labeling.studio.running import Server, keep_server, read_server
from cityforge.labeling.studio.server import access, start, status, stop
from cityforge.provenance import birth_of
from cityforge.settings import Settings


@pytest.fixture
def settings(label_studio_env: Path) -> Settings:
    return Settings(label_studio_url="", label_studio_env=str(label_studio_env))


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / ".cityforge"
    yield folder
    stop(folder, grace_s=2)


def sleeper(command: str = "exec sleep 60") -> subprocess.Popen[bytes]:
    """A process in a session of its own that is no server."""
    return subprocess.Popen(["sh", "-c", command], start_new_session=True)


def record(pid: int, birth: str) -> Server:
    return Server(
        url="http://127.0.0.1:1", host="127.0.0.1", port=1, pid=pid, birth=birth,
        version=VERSION, since="2026-01-01T00:00:00+00:00", data="", files="",
    )  # fmt: skip


@pytest.mark.services
def test_status_and_access_of_the_running_server(label_studio) -> None:
    found = status(label_studio.work, label_studio.settings)
    assert (found.running, found.problem, found.configured) == (True, "", False)
    assert found.version == VERSION
    assert (found.url, found.pid) == (label_studio.url, label_studio.server.pid)
    assert found.users is not None and found.users >= 1
    assert found.projects is not None
    reached = access(label_studio.work, label_studio.settings)
    assert reached.url == label_studio.url
    assert reached.token.get_secret_value() == label_studio.token
    assert label_studio.token not in repr(reached)


@pytest.mark.services
def test_pictures_of_its_folder_are_served_and_no_others(label_studio) -> None:
    live = label_studio
    head = {"Authorization": f"Token {live.token}"}
    (live.files / "frames").mkdir(exist_ok=True)
    (live.files / "frames" / "北门.jpg").write_bytes(b"\xff\xd8picture")
    (live.files.parent / "secret.jpg").write_bytes(b"secret")
    with httpx.Client(base_url=live.url, headers=head, trust_env=False) as client:
        project = client.post("/api/projects", json={"title": "served"}).json()["id"]
        try:
            sent = {"project": project, "path": str(live.files / "frames"), "title": "frames"}
            assert client.post("/api/storages/localfiles", json=sent).status_code == 201
            found = client.get("/data/local-files/", params={"d": "frames/北门.jpg"})
            assert found.content == b"\xff\xd8picture"
            for outside in ("../secret.jpg", "frames/../../secret.jpg"):
                refused = client.get("/data/local-files/", params={"d": outside})
                assert refused.status_code >= 400
                assert refused.content != b"secret"
        finally:
            client.delete(f"/api/projects/{project}")


@pytest.mark.services
def test_started_again_it_is_found_running(label_studio, unused_port: Callable[[], int]) -> None:
    before = label_studio.server
    server, is_new = start(label_studio.work, label_studio.settings, port=unused_port())
    assert (server, is_new) == (before, False)


@pytest.mark.services
def test_start_stop_and_start_again(
    work: Path, settings: Settings, unused_port: Callable[[], int]
) -> None:
    port = unused_port()
    said: list[str] = []
    started = time.monotonic()
    server, is_new = start(work, settings, port, say=said.append)
    assert is_new
    assert time.monotonic() - started < 120
    assert said[-1] == f"waiting for Label Studio {VERSION} on http://127.0.0.1:{port}"
    assert os.getsid(server.pid) == server.pid  # no Ctrl-C of this terminal reaches it
    keep_server(work, replace(server, host="0.0.0.0"))  # as if it had been opened to others
    assert stop(work) is not None
    assert birth_of(server.pid) == ""
    assert stop(work) is None
    assert not status(work, settings).running
    with pytest.raises(ServiceError, match="none running on this machine"):
        access(work, settings)
    # The database is older than these credentials now.
    credentials_path(work).unlink()
    again, is_new = start(work, settings, say=said.append)
    assert (again.port, again.data, is_new) == (port, server.data, True)
    assert again.host == "127.0.0.1"
    assert "setting password and token of our account" in said
    first = read_credentials(work)
    assert first is not None
    start(work, settings, reset_token=True)
    second = read_credentials(work)
    assert second is not None
    assert (second.token, second.password) != (first.token, first.password)
    assert status(work, settings).problem == ""
    assert log_in(again.url, second.user, second.password.get_secret_value()).status_code == 302
    assert log_in(again.url, first.user, first.password.get_secret_value()).status_code == 200


@pytest.mark.services
def test_two_starts_at_once_make_one_server(
    work: Path, settings: Settings, unused_port: Callable[[], int]
) -> None:
    port = unused_port()
    found: list[tuple[Server, bool]] = []
    both = [
        threading.Thread(target=lambda: found.append(start(work, settings, port))) for _ in range(2)
    ]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert sorted(is_new for _, is_new in found) == [False, True]
    assert found[0][0] == found[1][0]


@pytest.mark.services
@pytest.mark.parametrize(("way", "stays"), [(signal.SIGKILL, True), (signal.SIGINT, False)])
def test_start_that_is_ended_while_it_waits(
    way: signal.Signals,
    stays: bool,
    work: Path,
    settings: Settings,
    tmp_path: Path,
    unused_port: Callable[[], int],
) -> None:
    """A killed one leaves a server that the next one finds; Ctrl-C takes the server with it."""
    code = (
        "import signal, sys; from pathlib import Path;"
        # A job in the background of a shell is begun with Ctrl-C ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from cityforge.settings import load_settings;"
        "from cityforge.labeling.studio.server import start;"
        f"start(Path({str(work)!r}), load_settings(), {unused_port()})"
    )
    environ = {**os.environ, "CITYFORGE_LABEL_STUDIO_ENV": settings.label_studio_env}
    starter = subprocess.Popen([sys.executable, "-c", code], env=environ, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while read_server(work) is None and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(1.0)  # the server is starting, and not ready for long yet
    starter.send_signal(way)
    starter.wait()
    launched = read_server(work)
    assert launched is not None
    end = time.monotonic() + 30
    while launched.is_alive() != stays and time.monotonic() < end:
        time.sleep(0.1)
    assert launched.is_alive() == stays
    assert start(work, settings)[1] != stays
    assert status(work, settings).problem == ""


def test_port_of_another_program_is_left_to_it(work: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServiceError, match=f"expected port {port} to be free, found another"):
            start(work, Settings(label_studio_url=""), port)
    assert read_server(work) is None


@pytest.mark.parametrize("host", ["nowhere.example", "::1", "203.0.113.7", "127.0.0.1; rm"])
def test_host_must_be_an_address_of_this_machine(
    host: str, work: Path, unused_port: Callable[[], int]
) -> None:
    with pytest.raises(InputError, match="expected an IPv4 address of this machine"):
        start(work, Settings(label_studio_url=""), unused_port(), host)


def test_server_that_ends_at_once_shows_the_end_of_its_log(
    work: Path, tmp_path: Path, label_studio_env: Path, unused_port: Callable[[], int]
) -> None:
    broken = tmp_path / "env"
    (broken / "bin").mkdir(parents=True)
    (broken / "bin" / "python").symlink_to(sys.executable)
    (broken / "bin" / "label-studio").write_text("raise SystemExit('no tables')", encoding="utf-8")
    settings = Settings(label_studio_url="", label_studio_env=str(broken))
    (studio_folder(work) / "data").mkdir(parents=True)
    (studio_folder(work) / "data" / DATABASE).touch()
    with pytest.raises(ServiceError, match=r"found it ended: no tables, in .*log.txt"):
        start(work, settings, unused_port())
    left = read_server(work)
    assert left is not None
    assert not left.is_alive()
    assert (studio_folder(work) / "log.txt").read_text("utf-8").count("no tables") == 1


def test_recycled_process_number_is_never_ended(work: Path) -> None:
    other = sleeper()
    try:
        for birth in ("", "another-boot 12", birth_of(other.pid) + "0"):
            keep_server(work, record(other.pid, birth))
            assert stop(work) is None
            assert not status(work, Settings(label_studio_url="")).running
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


# The parent of a server: what ended it is its to know, and nobody else's here.
PARENT = """
import subprocess, sys
child = subprocess.Popen(["sh", "-c", sys.argv[1]], start_new_session=True)
print(child.wait())
"""


@pytest.mark.parametrize(
    ("command", "ended_by"),
    [
        ("echo $$; exec sleep 60", signal.SIGTERM),
        ("trap '' TERM; echo $$; while true; do sleep 0.1; done", signal.SIGKILL),
    ],
)
def test_stop_asks_first_and_kills_after(
    command: str, ended_by: signal.Signals, work: Path
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, command], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    pid = int(parent.stdout.readline())
    keep_server(work, record(pid, birth_of(pid)))
    started = time.monotonic()
    assert stop(work, grace_s=0.5) is not None
    assert (time.monotonic() - started > 0.5) == (ended_by is signal.SIGKILL)
    told, _ = parent.communicate(timeout=10)
    assert told.strip() == str(-ended_by)


def test_record_of_another_shape_is_no_server(work: Path) -> None:
    keep_server(work, record(1, "x"))
    found = read_server(work)
    assert found is not None
    assert replace(found, pid=2) != found
    path = studio_folder(work) / "server.json"
    for broken in ("", "[]", '{"pid": 1}'):
        path.write_text(broken, encoding="utf-8")
        assert read_server(work) is None
