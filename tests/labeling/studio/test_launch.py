"""The server's own surroundings: what it sees, and that it talks to nobody outside."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from cityforge.labeling.studio.credentials import (
    make_credentials,
)
from cityforge.labeling.studio.database import place_database
from cityforge.labeling.studio.environment import Environment
from cityforge.labeling.studio.launch import Place, server_variables, wait_until_it_answers

# Notes every address that the Python of the server connects to or looks up.
WATCH = """
import os, sys
def note(event, args):
    if event == "socket.connect":
        where = args[1]
    elif event == "socket.getaddrinfo":
        where = args[:2]
    else:
        return
    with open(os.environ["LABEL_STUDIO_NOTES"], "a") as stream:
        stream.write(f"{event} {where[0] if isinstance(where, tuple) else 'unix'}\\n")
sys.addaudithook(note)
"""


def place(folder: Path, host: str = "127.0.0.1", port: int = 8080) -> Place:
    return Place(host, port, folder / "data", folder / "files", folder / "log.txt")


@pytest.mark.services
def test_it_talks_to_nobody_outside_this_machine(
    label_studio_env: Path, tmp_path: Path, unused_port: Callable[[], int]
) -> None:
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    notes = tmp_path / "notes.txt"
    port = unused_port()
    where = place(tmp_path, port=port)
    where.files.mkdir(parents=True)
    credentials = make_credentials(tmp_path)
    watched = {
        **server_variables(where, credentials, os.environ, offline=True),
        "PYTHONPATH": str(tmp_path / "watch"),
        "LABEL_STUDIO_NOTES": str(notes),
    }
    environment = Environment(label_studio_env)
    place_database(environment, where.data, watched, print)
    command = [environment.program, "start", "--no-browser", "--internal-host", "127.0.0.1"]
    with where.log.open("wb") as log:
        process = subprocess.Popen(
            [environment.python, *command, "--port", str(port)],
            env=watched, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_until_it_answers(where.url, where.log, lambda: process.poll() is None)
        head = {"Authorization": f"Token {credentials.token.get_secret_value()}"}
        pages = ["/user/login/", "/heidi-tips/", "/version", "/api/version", "/api/projects"]
        for page in pages:
            answer = httpx.get(where.url + page, headers=head, trust_env=False, timeout=30)
            assert answer.status_code == (404 if page == "/heidi-tips/" else 200)
            assert "googletagmanager.com/gtag" not in answer.text
            assert "sentry-cdn" not in answer.text
    finally:
        process.terminate()
        process.wait()
    seen = {line.split()[-1] for line in notes.read_text("utf-8").splitlines()}
    assert "127.0.0.1" in seen
    assert seen <= {"127.0.0.1", "localhost", "::1", "unix"}


@pytest.mark.parametrize("offline", [True, False])
def test_variables_of_others_do_not_reach_the_server(tmp_path: Path, offline: bool) -> None:
    environ = {
        "PATH": "/bin", "CI": "true", "HOST": "elsewhere", "PASSWORD": "theirs", "DEBUG": "1",
        "SECRET_KEY": "theirs", "PYTHONPATH": "/theirs", "HTTPS_PROXY": "http://proxy:3128",
        "AWS_SECRET_ACCESS_KEY": "theirs", "LABEL_STUDIO_DJANGO_DB": "default",
        "LABEL_STUDIO_COLLECT_ANALYTICS": "true", "LABEL_STUDIO_USERNAME": "theirs",
    }  # fmt: skip
    found = server_variables(place(tmp_path), make_credentials(tmp_path), environ, offline=offline)
    ours = {"CI", "HOST", "PASSWORD", "DEBUG", "SECRET_KEY", "PYTHONPATH", "AWS_SECRET_ACCESS_KEY"}
    assert not ours & found.keys()
    assert (found["PATH"], found["LABEL_STUDIO_DJANGO_DB"]) == ("/bin", "default")
    assert found["LABEL_STUDIO_USERNAME"] == "admin@cityforge.local"
    assert found["HTTPS_PROXY"] == ("http://127.0.0.1:9" if offline else "http://proxy:3128")
    assert found["LABEL_STUDIO_COLLECT_ANALYTICS"] == ("false" if offline else "true")


@pytest.mark.parametrize(
    ("host", "hosts"), [("127.0.0.1", "localhost,127.0.0.1"), ("0.0.0.0", None)]
)
def test_only_an_open_server_answers_to_other_names(
    host: str, hosts: str | None, tmp_path: Path
) -> None:
    where = place(tmp_path, host=host)
    found = server_variables(where, make_credentials(tmp_path), {}, offline=True)
    assert found.get("LABEL_STUDIO_ALLOWED_HOSTS") == hosts
    assert where.url == "http://127.0.0.1:8080"
