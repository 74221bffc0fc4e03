"""`cityforge label start`: what it says, what `--status` and `--stop` say, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from cityforge.cli.label_server import start
from cityforge.errors import InputError
from cityforge.labeling.studio.environment import VERSION

Command = Callable[..., Result]


def runner(root: Path) -> Command:
    for name in ("dvc.yaml", "params.yaml"):
        (root / name).touch()
    app = typer.Typer()
    app.command()(start)

    def run(*words: str) -> Result:
        done = CliRunner().invoke(app, words, obj=root)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command in a project that has no server."""
    monkeypatch.setenv("CITYFORGE_LABEL_STUDIO_URL", "")
    return runner(tmp_path)


@pytest.fixture
def beside_server(label_studio, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command in the project of the running server."""
    monkeypatch.setenv("CITYFORGE_LABEL_STUDIO_URL", "")
    monkeypatch.setenv("CITYFORGE_LABEL_STUDIO_ENV", label_studio.settings.label_studio_env)
    return runner(label_studio.work.parent)


@pytest.mark.services
def test_running_server_is_said_and_its_password_only_when_asked(
    beside_server: Command, label_studio
) -> None:
    done = beside_server()
    assert done.exit_code == 0
    assert f"Label Studio {VERSION} runs already: {label_studio.url}\n" in done.stdout
    kept = ".cityforge/label-studio/access.json (--show-password shows it)"
    assert f"log in as {label_studio.user}, password in {kept}\n" in done.stdout
    for secret in (label_studio.password, label_studio.token):
        assert secret not in done.output
    shown = beside_server("--show-password")
    assert f"password {label_studio.password} " in shown.stdout
    assert label_studio.token not in shown.output


@pytest.mark.services
def test_running_server_as_json(beside_server: Command, label_studio) -> None:
    found = json.loads(beside_server("--json").stdout)
    assert (found["started"], found["url"]) == (False, label_studio.url)
    assert "password" not in found
    found = json.loads(beside_server("--json", "--show-password").stdout)
    assert found["password"] == label_studio.password
    found = json.loads(beside_server("--status", "--json").stdout)
    assert (found["running"], found["version"], found["problem"]) == (True, VERSION, "")


@pytest.mark.services
def test_status_of_the_running_server(beside_server: Command, label_studio) -> None:
    lines = beside_server("--status").stdout.splitlines()
    assert lines[0].startswith(f"Label Studio {VERSION} of this machine: {label_studio.url}, ")
    assert lines[1].startswith(f"process {label_studio.server.pid} since 20")


def test_nothing_running_is_no_failure(command: Command) -> None:
    for words, said in (
        (["--status"], "Label Studio of this machine: does not run\n"),
        (["--stop"], "no Label Studio of this project runs here\n"),
        (["--stop", "--json"], '{\n "stopped": false\n}\n'),
    ):
        done = command(*words)
        assert (done.exit_code, done.stdout) == (0, said)


@pytest.mark.parametrize("words", [["--stop", "--status"], ["--port", "0"], ["--port", "70000"]])
def test_wrong_usage_exits_2(words: list[str], command: Command) -> None:
    assert command(*words).exit_code == 2


@pytest.mark.parametrize("words", [[], ["--stop"]])
def test_configured_server_is_left_alone(
    words: list[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYFORGE_LABEL_STUDIO_URL", "http://127.0.0.1:1")
    with pytest.raises(InputError, match="expected no other Label Studio"):
        command(*words)
